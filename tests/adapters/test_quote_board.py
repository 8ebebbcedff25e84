"""Prices of many markets at once: whatever fails costs its own market, and no time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from adapters.venues.errors import VenueRejectedQuestionError
from adapters.venues.quote_board import QuoteBoard
from domain.markets import Quote, Realm, VenueKey
from domain.ports import VenueUnavailable

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
BUDGET = 0.3
MANY = [f"C{number}-USD" for number in range(200)]


class Venue:
    """Answers batch and single questions; sets of names say what fails or hangs."""

    def __init__(self) -> None:
        self.prices = {symbol: Decimal(7) for symbol in ("A-USD", "B-USD", *MANY)}
        self.batch_fails = False
        self.batch_hangs = False
        self.batch_hangs_with: set[str] = set()
        self.silent: set[str] = set()
        self.hanging: set[str] = set()
        self.poison: set[str] = set()
        self.batches: list[Sequence[str]] = []
        self.singles: list[str] = []

    async def batch(self, symbols: Sequence[str], seconds: float) -> Mapping[str, Decimal]:
        self.batches.append(symbols)
        if self.batch_hangs or self.batch_hangs_with & set(symbols):
            await asyncio.sleep(seconds)
            raise VenueUnavailable("no answer in time")
        if self.batch_fails:
            raise VenueUnavailable("down")
        if self.poison & set(symbols):
            raise VenueRejectedQuestionError("unknown product")
        left_out = self.silent | self.hanging
        return {it: self.prices[it] for it in symbols if it in self.prices and it not in left_out}

    async def one(self, symbol: str, at: datetime, seconds: float) -> Quote:
        self.singles.append(symbol)
        if symbol in self.hanging:
            await asyncio.sleep(seconds)
        if symbol in self.silent | self.hanging or symbol not in self.prices:
            raise VenueUnavailable("no price")
        price = self.prices[symbol]
        return Quote(symbol, bid=price - 1, ask=price + 1, last=price, at=at)


@pytest.fixture
def venue() -> Venue:
    return Venue()


@pytest.fixture
async def board(venue: Venue) -> AsyncIterator[QuoteBoard]:
    key = VenueKey("coinbase", Realm.SIMULATED)
    it = QuoteBoard(key, venue.batch, venue.one, budget_seconds=BUDGET, hedge_seconds=0.1)
    yield it
    await it.close()


async def seconds_of(
    board: QuoteBoard, symbols: Sequence[str]
) -> tuple[Mapping[str, Quote], float]:
    begun = asyncio.get_running_loop().time()
    found = await board.quotes(symbols, AT)
    return found, asyncio.get_running_loop().time() - begun


async def test_two_hundred_markets_cost_two_questions(venue: Venue, board: QuoteBoard) -> None:
    found = await board.quotes(MANY, AT)

    assert set(found) == set(MANY)
    assert [len(batch) for batch in venue.batches] == [100, 100]
    assert venue.singles == []
    assert found[MANY[0]] == Quote(MANY[0], Decimal(7), Decimal(7), Decimal(7), AT)


@pytest.mark.parametrize("how", ["batch_fails", "batch_hangs"])
async def test_without_the_batch_call_markets_are_asked_one_by_one(
    venue: Venue, board: QuoteBoard, how: str
) -> None:
    setattr(venue, how, True)

    first = await board.quotes(["A-USD", "B-USD"], AT)
    second, seconds = await seconds_of(board, ["A-USD", "B-USD"])

    assert set(first) == set(second) == {"A-USD", "B-USD"}
    assert seconds < 0.08, "a batch call that failed is not waited for again"


async def test_a_hanging_batch_call_is_asked_once_at_a_time(
    venue: Venue, board: QuoteBoard
) -> None:
    venue.batch_hangs = True
    for _ in range(3):
        await board.quotes(["A-USD"], AT)

    assert len(venue.batches) == 1


async def test_a_batch_call_that_works_again_is_used_again(venue: Venue, board: QuoteBoard) -> None:
    venue.batch_fails = True
    await board.quotes(["A-USD"], AT)
    venue.batch_fails = False
    await board.quotes(["A-USD"], AT)
    await asyncio.sleep(0)
    venue.singles.clear()

    assert set(await board.quotes(["A-USD"], AT)) == {"A-USD"}
    assert venue.singles == []


async def test_a_part_of_the_batch_call_that_hangs_costs_no_other_part(
    venue: Venue, board: QuoteBoard
) -> None:
    others = [f"D{number}-USD" for number in range(50)]  # no question alone has an answer for them
    venue.batch_hangs_with = {others[0]}

    found = await board.quotes([*MANY[:100], *others], AT)

    assert set(MANY[:100]) <= set(found)
    assert not set(venue.singles) & set(MANY)


async def test_what_a_hanging_batch_call_answered_before_is_asked_anew(
    venue: Venue, board: QuoteBoard
) -> None:
    wanted = [*MANY[:100], "B-USD"]
    venue.batch_hangs_with = {"B-USD"}
    await board.quotes(wanted, AT)  # "B-USD" is answered alone, so the call ends before its batch
    venue.prices = dict.fromkeys(venue.prices, Decimal(8))

    found = await board.quotes(wanted, AT + timedelta(seconds=1))

    assert {quote.last for quote in found.values()} == {Decimal(8)}


@pytest.mark.parametrize("how", ["silent", "hanging"])
async def test_a_silent_market_costs_itself_only_and_later_no_time(
    venue: Venue, board: QuoteBoard, how: str
) -> None:
    getattr(venue, how).add("B-USD")

    first, took_first = await seconds_of(board, ["B-USD", *MANY])
    second, took_second = await seconds_of(board, ["B-USD", *MANY])

    assert set(first) == set(second) == set(MANY)
    assert took_first < BUDGET + 0.1
    assert took_second < 0.1
    assert venue.singles.count("B-USD") == 1, "left alone for a while"


async def test_a_silent_market_that_speaks_again_is_heard(venue: Venue, board: QuoteBoard) -> None:
    venue.silent.add("B-USD")
    await board.quotes(["B-USD"], AT)
    venue.silent.clear()

    assert set(await board.quotes(["B-USD"], AT)) == {"B-USD"}


async def test_a_market_that_the_batch_call_rejects_is_found_and_left_out(
    venue: Venue, board: QuoteBoard
) -> None:
    venue.poison.add("GONE-USD")
    wanted = [*MANY[:50], "GONE-USD", *MANY[50:]]

    first = await board.quotes(wanted, AT)
    venue.batches.clear()
    second = await board.quotes(wanted, AT)

    assert set(first) == set(second) == set(MANY)
    assert len(venue.batches) == 2, "it is not in the batch any more"


async def test_no_markets_are_no_question(venue: Venue, board: QuoteBoard) -> None:
    assert await board.quotes([], AT) == {}
    assert venue.batches == []
