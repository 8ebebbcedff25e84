"""The memory of candles against an oracle: the answer is the market's, whatever came before."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.venues import candles as candles_module
from adapters.venues.candles import CandleSeries
from domain.markets import Candle, Timeframe
from domain.ports import VenueUnavailable

ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def at(minute: int) -> datetime:
    return ORIGIN + minute * MINUTE


def candle(minute: int, close: int = 1) -> Candle:
    price = Decimal(close)
    return Candle(at(minute), price, price, price, price, Decimal(1))


class Market:
    """Candles by minute, with holes; notes what it is asked."""

    def __init__(self, holes: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.holes = set(holes)
        self.asked: list[tuple[datetime, datetime]] = []
        self.closes: dict[int, int] = {}
        self.is_down = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, since: datetime, until: datetime) -> Sequence[Candle]:
        self.asked.append((since, until))
        await self.gate.wait()
        await asyncio.sleep(0)
        if self.is_down:
            raise VenueUnavailable("down")
        return list(reversed(self.between(since, until)))

    def between(self, since: datetime, until: datetime) -> list[Candle]:
        first, last = (since - ORIGIN) // MINUTE, (until - ORIGIN) // MINUTE
        return [
            candle(number, self.closes.get(number, 1))
            for number in range(first, last)
            if number not in self.holes
        ]


def series(market: Market, expected: timedelta = timedelta(0)) -> CandleSeries:
    return CandleSeries(Timeframe.M1, market.fetch, expected=expected)


questions = st.lists(
    st.tuples(st.integers(0, 400), st.integers(1, 120), st.integers(0, 30)), max_size=25
)


@given(questions, st.sets(st.integers(0, 600)), st.integers(0, 40), st.integers(20, 80))
def test_every_answer_is_the_markets(
    asked: list[tuple[int, int, int]], holes: set[int], expected: int, kept: int
) -> None:
    market = Market(holes)

    async def ask_all() -> None:
        memory = series(market, timedelta(minutes=expected))
        for start, count, later in asked:
            since, until = at(start), at(start + count)
            now = until + later * MINUTE
            known = memory.settled(since, until)
            answer = await memory.between(since, until, now)
            assert list(answer) == market.between(since, until)
            assert known is None or known == answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candles_module, "KEPT_CANDLES_MAX", kept)
        patch.setattr(candles_module, "EXTENSION_CANDLES_MAX", 60)
        asyncio.run(ask_all())


async def test_going_on_asks_for_the_new_bar_and_the_last_known_ones() -> None:
    market = Market({3})
    memory = series(market)

    await memory.between(at(0), at(10), at(10))
    await memory.between(at(1), at(11), at(11))

    assert market.asked == [(at(0), at(10)), (at(7), at(11))]
    assert memory.settled(at(0), at(11)) == tuple(market.between(at(0), at(11)))


async def test_many_callers_ask_once() -> None:
    market = Market()
    memory = series(market)

    answers = await asyncio.gather(*(memory.between(at(0), at(10), at(10)) for _ in range(100)))

    assert len(market.asked) == 1
    assert set(map(len, answers)) == {10}


async def test_unsettled_bar_may_still_appear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candles_module, "EXPECTED_FRESH_SECONDS", 0.05)
    market = Market({9})
    memory = series(market, expected=timedelta(seconds=90))

    late = await memory.between(at(0), at(10), at(10))
    again = await memory.between(at(0), at(10), at(10))
    market.holes.clear()
    await asyncio.sleep(0.06)
    listed = await memory.between(at(0), at(10), at(10))

    assert len(late) == len(again) == 9
    assert len(listed) == 10
    assert len(market.asked) == 2


async def test_first_question_about_an_unsettled_bar_is_asked_once_for_all() -> None:
    market = Market()
    memory = series(market, expected=timedelta(seconds=90))

    answers = await asyncio.gather(*(memory.between(at(9), at(10), at(10)) for _ in range(50)))

    assert set(map(len, answers)) == {1}
    assert len(market.asked) == 1


async def test_stretch_without_candles_is_an_answer() -> None:
    market = Market(set(range(20)))
    memory = series(market)

    assert await memory.between(at(0), at(10), at(20)) == ()
    assert await memory.between(at(2), at(8), at(20)) == ()
    assert len(market.asked) == 1


async def test_failure_leaves_the_memory_usable() -> None:
    market = Market()
    memory = series(market)
    await memory.between(at(0), at(5), at(5))

    async def fail(_: datetime, __: datetime) -> Sequence[Candle]:
        raise ConnectionError

    memory._fetch, fetch = fail, memory._fetch
    with pytest.raises(ConnectionError):
        await memory.between(at(0), at(8), at(8))
    memory._fetch = fetch

    assert len(await memory.between(at(0), at(8), at(8))) == 8


async def test_far_history_does_not_push_the_present_out() -> None:
    market = Market()
    memory = series(market)
    now = at(100_000)
    await memory.between(at(99_900), now, now)

    await memory.between(at(0), at(10), now)

    assert memory.settled(at(99_900), now) is not None


async def test_a_candle_revised_after_it_was_final_is_taken_as_revised() -> None:
    market = Market()
    memory = series(market)
    await memory.between(at(0), at(10), at(10))
    market.closes[9] = 77

    answer = await memory.between(at(0), at(11), at(11))

    assert answer[9].close == Decimal(77)
    assert memory.settled(at(9), at(10)) == (candle(9, 77),)


async def test_a_candle_listed_after_its_successor_is_taken_in() -> None:
    market = Market({9})
    memory = series(market)
    await memory.between(at(0), at(11), at(11))
    market.holes.clear()

    answer = await memory.between(at(0), at(12), at(12))

    assert [it.opened_at for it in answer] == [at(minute) for minute in range(12)]


async def test_a_hanging_question_fails_all_callers_together_then_at_once() -> None:
    market = Market()
    market.gate.clear()
    memory = CandleSeries(Timeframe.M1, market.fetch, wait_seconds=0.05)
    try:
        begun = asyncio.get_running_loop().time()
        asked = (memory.between(at(0), at(10), at(10)) for _ in range(100))
        found = await asyncio.gather(*asked, return_exceptions=True)
        took = asyncio.get_running_loop().time() - begun
    finally:
        await memory.close()

    assert all(isinstance(one, VenueUnavailable) for one in found)
    assert len(market.asked) == 1
    assert took < 1, "in turn they would wait 5 s"


async def test_after_a_failure_callers_are_refused_without_a_question() -> None:
    market = Market()
    market.is_down = True
    memory = series(market)
    with pytest.raises(VenueUnavailable):
        await memory.between(at(0), at(10), at(10))

    with pytest.raises(VenueUnavailable):
        await memory.between(at(0), at(10), at(10))

    assert len(market.asked) == 1
