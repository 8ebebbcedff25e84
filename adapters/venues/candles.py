"""A memory of final candles, extended as time goes on.

One `CandleSeries` keeps one contiguous stretch of one symbol and timeframe, so that any number of
bots cost one request a bar. Venues list the newest candle late, and revise it: the series is asked
only for candles that are old enough to be final, with each extension it asks again for the last
ones it knows and takes the venue's present word, and it goes on asking for a newest candle that is
missing until it is too late to be expected. A candle that is missing inside the stretch does not
exist: no one traded.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from adapters.venues.errors import VenueRejectedQuestionError
from domain.markets import Candle, Timeframe
from domain.ports import VenueUnavailable

KEPT_CANDLES_MAX = 2_000
EXTENSION_CANDLES_MAX = 1_200
REVISED_CANDLES = 3
"""How many of the newest known candles are asked for again with each extension."""
EXPECTED_LENGTH = timedelta(minutes=2)
"""How long after its close a candle that is missing is still expected to be listed."""
EXPECTED_FRESH_SECONDS = 1.0
WAIT_SECONDS = 20.0
BACKOFF_SECONDS_FIRST = 1.0
BACKOFF_SECONDS_MAX = 15.0

FetchCandles = Callable[[datetime, datetime], Awaitable[Sequence[Candle]]]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Candles that open in [since, until), without a doubt about any."""

    since: datetime
    until: datetime
    candles: tuple[Candle, ...] = ()


@dataclass(frozen=True, slots=True)
class _Tail:
    """What the venue listed behind the stretch when last asked; the newest may yet appear."""

    until: datetime
    candles: tuple[Candle, ...]
    asked_at: float


class CandleSeries:
    """The final candles of one symbol and timeframe that were fetched so far.

    A question is shared by everybody who needs its answer. Whoever waits longer than a bound, or
    comes while questions fail, gets `VenueUnavailable` at once; the question itself goes on.

    Args:
        timeframe: length of the candles.
        fetch: asks the venue for the candles that open in [since, until), both aligned; any order,
            any excess.
        expected: how long after its close a missing candle is still expected.
        wait_seconds: how long a caller waits for a question.
    """

    def __init__(
        self,
        timeframe: Timeframe,
        fetch: FetchCandles,
        *,
        expected: timedelta = EXPECTED_LENGTH,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._timeframe = timeframe
        self._reach = timeframe.length * EXTENSION_CANDLES_MAX
        self._fetch = fetch
        self._expected = expected
        self._wait_seconds = wait_seconds
        self._stretch: _Stretch | None = None
        self._tail: _Tail | None = None
        self._questions: dict[tuple[datetime, datetime], asyncio.Task[Sequence[Candle]]] = {}
        self._failures = 0
        self._closed_until = 0.0

    def settled(self, since: datetime, until: datetime) -> tuple[Candle, ...] | None:
        """The candles that open in [since, until), if no question is needed to tell."""
        stretch = self._stretch
        if stretch is None or since < stretch.since or stretch.until < until:
            return None
        return _slice(stretch.candles, since, until)

    async def between(self, since: datetime, until: datetime, now: datetime) -> tuple[Candle, ...]:
        """The candles that open in [since, until), aligned times, all of them final at `now`.

        Raises:
            VenueUnavailable: there was no answer within the bound, or there was none shortly ago.
        """
        known = self.settled(since, until)
        if known is None:
            known = self._with_tail(since, until)
        if known is not None:
            return known
        stretch = self._stretch
        if stretch is not None and since < stretch.since - self._reach:
            # Far history is not what the bots of today share; it must not push that out.
            return _cut(await self._answer(since, until), since, until)
        if stretch is None or until > stretch.until + self._reach:
            stretch = _Stretch(since, since)
        start = since if since < stretch.since else self._revised_from(stretch)
        end = until if until > stretch.until else stretch.since
        fetched = await self._answer(start, end)
        self._keep(stretch, start, end, fetched, now)
        others = [candle for candle in stretch.candles if not start <= candle.opened_at < end]
        return _cut((*others, *fetched), since, until)

    async def close(self) -> None:
        """Abandon what is under way."""
        tasks = list(self._questions.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _revised_from(self, stretch: _Stretch) -> datetime:
        return max(stretch.since, stretch.until - self._timeframe.length * REVISED_CANDLES)

    async def _answer(self, start: datetime, end: datetime) -> Sequence[Candle]:
        """One question for everybody who needs the same candles."""
        task = self._questions.get((start, end))
        if task is None:
            if _now() < self._closed_until:
                raise VenueUnavailable("The venue gave no candles a moment ago")
            task = asyncio.create_task(self._ask(start, end))
            self._questions[start, end] = task
            task.add_done_callback(_mark_seen)
        try:
            async with asyncio.timeout(self._wait_seconds):
                # A caller that gives up must not take the others' answer away.
                return await asyncio.shield(task)
        except TimeoutError:
            raise VenueUnavailable("The venue gives no candles in time") from None

    async def _ask(self, start: datetime, end: datetime) -> Sequence[Candle]:
        try:
            fetched = await self._fetch(start, end)
        except VenueRejectedQuestionError:
            raise
        except VenueUnavailable:
            self._failures += 1
            wait = BACKOFF_SECONDS_FIRST * 2 ** min(self._failures - 1, 10)
            self._closed_until = _now() + min(wait, BACKOFF_SECONDS_MAX)
            raise
        else:
            self._failures, self._closed_until = 0, 0.0
            return fetched
        finally:
            self._questions.pop((start, end), None)

    def _with_tail(self, since: datetime, until: datetime) -> tuple[Candle, ...] | None:
        stretch, tail = self._stretch, self._tail
        if stretch is None or tail is None or since < stretch.since or until > tail.until:
            return None
        if _now() - tail.asked_at >= EXPECTED_FRESH_SECONDS:
            return None
        return _cut((*stretch.candles, *tail.candles), since, until)

    def _keep(
        self,
        before: _Stretch,
        start: datetime,
        end: datetime,
        fetched: Sequence[Candle],
        now: datetime,
    ) -> None:
        """Grow the stretch by what is certain of [start, end), which touches or spans it."""
        stretch = self._stretch
        if stretch is None or not (start <= stretch.until and stretch.since <= end):
            stretch = before  # there is none, or what grew meanwhile lies elsewhere
        known = _cut(fetched, start, end)
        listed_until = known[-1].opened_at + self._timeframe.length if known else start
        certain = max(listed_until, self._timeframe.floor(now - self._expected))
        certain_until = min(end, certain)
        if start < stretch.since and certain_until < stretch.since:
            return  # The clock went back: what was asked for does not reach the stretch.
        since, until = min(stretch.since, start), max(stretch.until, certain_until)
        # What the venue lists now of the range that was asked for replaces what it listed before.
        others = [it for it in stretch.candles if not start <= it.opened_at < end]
        candles = _cut((*others, *known), since, until)
        if len(candles) > KEPT_CANDLES_MAX:
            candles = candles[-KEPT_CANDLES_MAX:]
            since = candles[0].opened_at
        self._stretch = _Stretch(since, until, candles)
        if end > until:
            self._tail = _Tail(end, _cut(fetched, until, end), _now())


def _slice(candles: Sequence[Candle], since: datetime, until: datetime) -> tuple[Candle, ...]:
    """The candles that open in [since, until) of some in order."""
    first = bisect_left(candles, since, key=_opened_at)
    return tuple(candles[first : bisect_left(candles, until, lo=first, key=_opened_at)])


def _cut(candles: Iterable[Candle], since: datetime, until: datetime) -> tuple[Candle, ...]:
    """The candles that open in [since, until) of any; oldest first, each once, the last told."""
    by_opening = {candle.opened_at: candle for candle in candles}
    return _slice([by_opening[opened_at] for opened_at in sorted(by_opening)], since, until)


def _opened_at(candle: Candle) -> datetime:
    return candle.opened_at


def _mark_seen(task: asyncio.Task[Sequence[Candle]]) -> None:
    if not task.cancelled():
        task.exception()  # there may be no caller left to raise it to


def _now() -> float:
    return asyncio.get_running_loop().time()
