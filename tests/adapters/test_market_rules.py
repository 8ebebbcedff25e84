"""Metadata beside the work: the last good list serves, a bad row costs one market."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from adapters.venues.coinbase.parse import parse_markets
from adapters.venues.errors import VenueAnswerMalformedError
from adapters.venues.market_rules import FRESH_SECONDS, ListedMarkets, MarketRulesCache
from domain.markets import MarketRules, MarketStatus, Realm, VenueKey
from domain.ports import VenueUnavailable

KEY = VenueKey("coinbase", Realm.SIMULATED)


def rules(symbol: str, step: str = "0.01") -> MarketRules:
    base, quote = symbol.split("-")
    value = Decimal(step)
    return MarketRules(symbol, base, quote, value, value, value, value)


def product(symbol: str, **changes: object) -> dict[str, Any]:
    base, quote = symbol.split("-")
    flags = ("is_disabled", "trading_disabled", "view_only", "cancel_only")
    modes = ("auction_mode", "post_only", "limit_only")
    return {
        "product_id": symbol,
        "base_currency_id": base,
        "quote_currency_id": quote,
        "base_increment": "0.001",
        "price_increment": "0.01",
        "base_min_size": "0.001",
        "quote_min_size": "1",
        **dict.fromkeys((*flags, *modes), False),
        **changes,
    }


class Venue:
    """A product list that answers, fails, or hangs until it is let go."""

    def __init__(self) -> None:
        self.listed: Mapping[str, MarketRules] = {"BTC-USD": rules("BTC-USD")}
        self.malformed: Mapping[str, str] = {}
        self.is_down = False
        self.defect: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = 0

    async def answer(self) -> ListedMarkets:
        self.asked += 1
        await self.gate.wait()
        if self.defect is not None:
            raise self.defect
        if self.is_down:
            raise VenueUnavailable("down")
        return ListedMarkets(self.listed, self.malformed)


@pytest.fixture
def venue() -> Venue:
    return Venue()


@pytest.fixture
async def cache(venue: Venue) -> AsyncIterator[MarketRulesCache]:
    """One that asks whenever it is asked for fresh rules."""
    it = MarketRulesCache(KEY, venue.answer, fresh_seconds=0)
    yield it
    await it.close()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_known_rules_ask_nothing_of_their_caller(
    venue: Venue, cache: MarketRulesCache
) -> None:
    venue.gate.clear()

    assert cache.known() == {}
    venue.gate.set()
    await settle()

    assert set(cache.known()) == {"BTC-USD"}
    assert venue.asked == 1


async def test_who_holds_rules_never_waits_for_a_hanging_list(
    venue: Venue, cache: MarketRulesCache
) -> None:
    await cache.rules()
    venue.gate.clear()
    cache.doubt()

    async with asyncio.timeout(0.05):
        assert set(await cache.rules()) == {"BTC-USD"}


async def test_a_failing_refresh_leaves_the_last_good_rules(
    venue: Venue, cache: MarketRulesCache
) -> None:
    await cache.rules()
    venue.is_down = True
    cache.doubt()
    await settle()

    assert set(await cache.rules()) == {"BTC-USD"}
    assert venue.asked == 2


async def test_a_refresh_that_fails_by_a_defect_is_noted_and_not_asked_again_at_once(
    venue: Venue, cache: MarketRulesCache
) -> None:
    venue.defect = TypeError("unhashable")
    for _ in range(3):
        assert not cache.known()
        await settle()

    assert venue.asked == 1


async def test_the_first_question_is_bounded(
    venue: Venue,
) -> None:
    cache = MarketRulesCache(KEY, venue.answer, first_answer_seconds=0.02)
    venue.gate.clear()

    async with asyncio.timeout(0.5):
        with pytest.raises(VenueUnavailable):
            await cache.rules()
    await cache.close()


async def test_a_row_that_turns_bad_keeps_its_last_good_rules(
    venue: Venue, cache: MarketRulesCache
) -> None:
    venue.listed = {"BTC-USD": rules("BTC-USD"), "ETH-USD": rules("ETH-USD")}
    await cache.rules()
    venue.listed = {"BTC-USD": rules("BTC-USD", "0.1")}
    venue.malformed = {"ETH-USD": "no usable field"}

    fresh = await cache.fresh()

    assert fresh["ETH-USD"] == rules("ETH-USD")
    assert fresh["BTC-USD"].price_step == Decimal("0.1")
    assert set(cache.malformed) == {"ETH-USD"}


async def test_a_market_that_is_no_longer_listed_is_halted_not_forgotten(
    venue: Venue, cache: MarketRulesCache
) -> None:
    venue.listed = {"BTC-USD": rules("BTC-USD"), "OLD-USD": rules("OLD-USD")}
    await cache.rules()
    venue.listed = {"BTC-USD": rules("BTC-USD")}

    gone = (await cache.fresh())["OLD-USD"]

    assert (gone.status, gone.active) == (MarketStatus.HALTED, False)


@pytest.mark.parametrize("how", ["absent", "paused"])
async def test_a_market_that_stopped_trading_is_looked_at_again_soon_until_it_is_back(
    venue: Venue, cache: MarketRulesCache, how: str
) -> None:
    open_ = {"BTC-USD": rules("BTC-USD"), "ETH-USD": rules("ETH-USD")}
    venue.listed = open_
    await cache.rules()
    usual = cache.refresh_seconds
    paused = {"ETH-USD": replace(rules("ETH-USD"), active=False)} if how == "paused" else {}
    venue.listed = {"BTC-USD": rules("BTC-USD"), **paused}

    for _ in range(3):
        assert not (await cache.fresh())["ETH-USD"].active
        assert cache.refresh_seconds <= 60 < usual

    venue.listed = open_
    assert (await cache.fresh())["ETH-USD"].active
    assert cache.refresh_seconds == usual


async def test_a_market_that_never_traded_is_not_waited_for(
    venue: Venue, cache: MarketRulesCache
) -> None:
    venue.listed = {"BTC-USD": rules("BTC-USD"), "OLD-USD": replace(rules("OLD-USD"), active=False)}

    await cache.rules()

    assert cache.refresh_seconds > 60


async def test_an_empty_list_is_no_list(venue: Venue, cache: MarketRulesCache) -> None:
    await cache.rules()
    venue.listed = {}

    assert set(await cache.fresh()) == {"BTC-USD"}


async def test_fresh_rules_were_asked_for_after_the_call(
    venue: Venue, cache: MarketRulesCache
) -> None:
    await cache.rules()
    venue.gate.clear()
    cache.doubt()
    await settle()
    call = asyncio.create_task(cache.fresh())
    await settle()
    asked_before = venue.asked
    venue.gate.set()
    await call

    assert venue.asked == asked_before + 1


@pytest.mark.parametrize("is_down", [False, True])
async def test_fresh_rules_are_asked_for_every_few_seconds_however_often_they_are_wanted(
    venue: Venue, is_down: bool
) -> None:
    cache = MarketRulesCache(KEY, venue.answer)
    await cache.rules()
    venue.is_down = is_down
    cache._asked_at = _long_ago()
    for _ in range(20):
        assert set(await cache.fresh()) == {"BTC-USD"}
    assert venue.asked == 2

    cache._asked_at = _long_ago()
    await cache.fresh()

    assert venue.asked == 3
    await cache.close()


async def test_what_a_refused_order_shows_to_be_old_is_asked_for_at_once(venue: Venue) -> None:
    cache = MarketRulesCache(KEY, venue.answer)
    await cache.rules()
    venue.listed = {"BTC-USD": rules("BTC-USD", "0.1")}

    cache.doubt()

    assert (await cache.fresh())["BTC-USD"].price_step == Decimal("0.1")
    await cache.close()


def _long_ago() -> float:
    return asyncio.get_running_loop().time() - FRESH_SECONDS


@pytest.mark.parametrize(
    "changes",
    [
        {"base_increment": "0"},
        {"price_increment": "NaN"},
        {"quote_min_size": None},
        {"limit_only": "false"},
        {"base_currency_id": ""},
        {"product_id": None},
        {"product_id": "ETH-USD\0"},
        {"product_id": "ETH-\ud800"},
        {"product_id": "E" * 5_000 + "-USD"},
        {"base_max_size": []},
        {"quote_max_size": {"value": "1"}},
    ],
)
def test_one_malformed_product_costs_one_market(changes: dict[str, object]) -> None:
    answer = {"products": [product("BTC-USD"), product("ETH-USD", **changes)]}

    listed = parse_markets(answer)

    assert set(listed.rules) == {"BTC-USD"}
    assert len(listed.malformed) == 1
    assert all(name.isprintable() and len(name) < 100 for name in listed.malformed)


@pytest.mark.parametrize("answer", [{}, {"products": []}, {"products": "none"}])
def test_no_list_of_products_is_malformed(answer: dict[str, object]) -> None:
    with pytest.raises(VenueAnswerMalformedError):
        parse_markets(answer)


def test_a_row_that_is_no_object_is_malformed_alone() -> None:
    listed = parse_markets({"products": [product("BTC-USD"), "ETH-USD", None]})

    assert set(listed.rules) == {"BTC-USD"}
    assert len(listed.malformed) == 2
