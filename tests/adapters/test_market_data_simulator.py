"""Public data over HTTP: closed candles only, and one request for many callers."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest

from adapters.venues.coinbase import CoinbaseMarketData
from adapters.venues.errors import VenueRejectedQuestionError
from domain.markets import FeeRates, MarketRules, Realm, Timeframe, VenueKey
from domain.ports import VenueUnavailable
from tests.support.simulator_process import Simulator, running_simulator

pytestmark = pytest.mark.integration

SYMBOL = "BTC-USD"
START = "2026-03-01T12:00:00Z"


@pytest.fixture
def requests_of(market_data: CoinbaseMarketData, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts requests by the last word of their path."""
    counts: dict[str, int] = {}
    for client in (market_data._prompt, market_data._bulk):
        monkeypatch.setattr(client, "fetch", counting(client.fetch, counts))
    return counts


def counting(fetch: Any, counts: dict[str, int]) -> Any:
    async def counted(url: str, *args: Any) -> Any:
        name = urlsplit(url).path.rsplit("/", 1)[-1]
        counts[name] = counts.get(name, 0) + 1
        return await fetch(url, *args)

    return counted


async def test_rules_are_the_venues(market_data: CoinbaseMarketData) -> None:
    rules = await market_data.rules()

    assert rules[SYMBOL] == MarketRules(
        symbol=SYMBOL,
        base="BTC",
        quote="USD",
        quantity_step=Decimal("0.00000001"),
        price_step=Decimal("0.01"),
        quantity_min=Decimal("0.00000001"),
        notional_min=Decimal(1),
        quantity_max=Decimal(3400),
        notional_max=Decimal(150_000_000),
    )
    assert market_data.key == VenueKey("coinbase", Realm.SIMULATED)


async def test_clock_advances_with_the_replay(
    market_data: CoinbaseMarketData, simulator: Simulator
) -> None:
    before = await market_data.clock()
    simulator.advance(3)
    after = await market_data.clock()

    assert after.now - before.now == timedelta(minutes=3)
    assert after.epoch == before.epoch


@pytest.mark.parametrize("timeframe", list(Timeframe))
async def test_only_closed_candles_in_order(
    market_data: CoinbaseMarketData, simulator: Simulator, timeframe: Timeframe
) -> None:
    simulator.advance(2)
    now = (await market_data.clock()).now
    since = timeframe.floor(now) - 700 * timeframe.length

    candles = await market_data.candles(
        SYMBOL, timeframe, since=since, until=now + timedelta(hours=1)
    )

    opened = [candle.opened_at for candle in candles]
    assert opened == [since + number * timeframe.length for number in range(700)]
    assert opened[-1] + timeframe.length <= now


async def test_new_bar_is_there_as_soon_as_the_replay_has_passed_it(
    market_data: CoinbaseMarketData, simulator: Simulator
) -> None:
    for _ in range(5):
        simulator.advance()
        now = (await market_data.clock()).now
        (bar,) = await market_data.last_bars(SYMBOL, Timeframe.M1, count=1, until=now)
        assert bar.opened_at == now - timedelta(minutes=1)


async def test_five_minute_bars_are_their_one_minute_bars(market_data: CoinbaseMarketData) -> None:
    until = Timeframe.M5.floor((await market_data.clock()).now)
    (bar,) = await market_data.last_bars(SYMBOL, Timeframe.M5, count=1, until=until)
    minutes = await market_data.candles(SYMBOL, Timeframe.M1, since=bar.opened_at, until=until)

    assert bar.open == minutes[0].open
    assert bar.close == minutes[-1].close
    assert bar.high == max(candle.high for candle in minutes)
    assert bar.low == min(candle.low for candle in minutes)
    assert bar.volume == sum(candle.volume for candle in minutes)


async def test_many_bots_cost_one_request_a_bar(
    market_data: CoinbaseMarketData, simulator: Simulator, requests_of: dict[str, int]
) -> None:
    now = (await market_data.clock()).now
    await market_data.last_bars(SYMBOL, Timeframe.M1, count=300, until=now)
    requests_of.clear()
    simulator.advance()
    until = now + timedelta(minutes=1)

    answers = await asyncio.gather(
        *(market_data.last_bars(SYMBOL, Timeframe.M1, count=300, until=until) for _ in range(200))
    )

    assert requests_of == {"clock": 1, "candles": 1}
    assert len({answer[-1].opened_at for answer in answers}) == 1
    assert len(answers[0]) == 300


async def test_quotes_asked_together_are_asked_once(
    market_data: CoinbaseMarketData, requests_of: dict[str, int]
) -> None:
    await market_data.quote(SYMBOL)
    requests_of.clear()

    quotes = await asyncio.gather(*(market_data.quote(SYMBOL) for _ in range(100)))

    assert requests_of["ticker"] == 1
    assert quotes[0].bid < quotes[0].ask


async def test_quote_after_an_advance_is_never_from_before_it(
    market_data: CoinbaseMarketData, simulator: Simulator
) -> None:
    before = await market_data.quote(SYMBOL)
    simulator.advance()
    after = await market_data.quote(SYMBOL)

    assert after.at - before.at == timedelta(minutes=1)
    assert after.last != before.last


async def test_book_has_both_sides_in_order(market_data: CoinbaseMarketData) -> None:
    book = await market_data.order_book(SYMBOL)

    assert list(book.bids) == sorted(book.bids, key=lambda level: -level.price)
    assert list(book.asks) == sorted(book.asks, key=lambda level: level.price)
    assert book.bids[0].price < book.asks[0].price


async def test_unknown_market_is_an_error_not_an_absence(market_data: CoinbaseMarketData) -> None:
    now = (await market_data.clock()).now

    for question in (
        market_data.quote("NO-USD"),
        market_data.order_book("NO-USD"),
        market_data.last_bars("NO-USD", Timeframe.M1, count=1, until=now),
    ):
        with pytest.raises(VenueRejectedQuestionError):
            await question


async def test_silent_venue_is_unavailable() -> None:
    data = CoinbaseMarketData(simulator_url="http://127.0.0.1:9")
    try:
        for question in (data.clock(), data.rules(), data.quote(SYMBOL)):
            with pytest.raises(VenueUnavailable):
                await question
    finally:
        await data.close()


async def test_restarted_replay_is_a_new_epoch_with_its_own_candles() -> None:
    data: CoinbaseMarketData | None = None
    seen = []
    for seed in ("1", "2"):
        with running_simulator(
            NIJA_SIMULATOR_SEED=seed, NIJA_SIMULATOR_SYMBOLS=SYMBOL, NIJA_REPLAY_START=START
        ) as simulator:
            data = data or CoinbaseMarketData(simulator_url=simulator.url)
            # The second one has another address here; a replay that is restarted keeps its own.
            for client in (data._prompt, data._bulk):
                client.urls["api"]["rest"] = simulator.url
            data._simulator_url = simulator.url
            clock = await data.clock()
            bars = await data.last_bars(SYMBOL, Timeframe.M1, count=50, until=clock.now)
            seen.append((clock, bars))
    assert data is not None
    await data.close()

    (first, first_bars), (second, second_bars) = seen
    assert first.now == second.now
    assert first.epoch != second.epoch
    assert first_bars[-1].opened_at == second_bars[-1].opened_at
    assert first_bars[-1].close != second_bars[-1].close


async def test_real_clock_goes_on_between_two_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    data = CoinbaseMarketData(simulator_url=None)
    asked = 0

    async def server_time(_: object) -> dict[str, str]:
        nonlocal asked
        asked += 1
        return {"iso": "", "epochSeconds": "1709005034", "epochMillis": "1709005034333"}

    monkeypatch.setattr(data._prompt, "v3_public_get_brokerage_time", server_time)
    try:
        first = await data.clock()
        await asyncio.sleep(0.05)
        second = await data.clock()
    finally:
        await data.close()

    assert first.epoch == second.epoch == "real"
    assert first.now >= datetime(2024, 2, 27, 3, 37, 14, 333_000, tzinfo=UTC)
    assert timedelta(milliseconds=40) < second.now - first.now < timedelta(seconds=5)
    assert asked == 1
    assert data.key.realm is Realm.REAL
    assert await data.public_fees() == FeeRates(Decimal("0.006"), Decimal("0.012"))


async def test_fees_that_were_seen_serve_while_they_cannot_be_asked_for(
    market_data: CoinbaseMarketData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paper orders pay by them; an exit waits for no table of fees."""
    seen = await market_data.public_fees()
    market_data._fees_question.forget()
    monkeypatch.setattr(market_data, "_simulator_url", "http://127.0.0.1:9")

    assert await market_data.public_fees() == seen
