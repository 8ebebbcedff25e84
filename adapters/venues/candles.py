"""A memory of closed candles, extended as time goes on.

One `CandleSeries` keeps one contiguous stretch of one symbol and timeframe, so that any number of
bots cost one request a bar. A candle that is missing inside the stretch does not exist: nobody
traded. The stretch ends where candles have
settled: venues list the newest one late, and revise it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.markets import Candle, Timeframe

KEPT_CANDLES_MAX = 2_000
EXTENSION_CANDLES_MAX = 1_200
UNSETTLED_FRESH_SECONDS = 1.0

FetchCandles = Callable[[datetime, datetime], Awaitable[Sequence[Candle]]]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Settled candles that open in [since, until), without a doubt about any."""

    since: datetime
    until: datetime
    candles: tuple[Candle, ...] = ()


@dataclass(frozen=True, slots=True)
class _Tail:
    """What was listed after the settled stretch when the venue was last asked."""

    until: datetime
    candles: tuple[Candle, ...]
    asked_at: float


class CandleSeries:
    """The closed candles of one symbol and timeframe that were fetched so far.

    Args:
        timeframe: length of the candles.
        fetch: asks the venue for the candles that open in [since, until), both aligned; any order,
            any excess.
        settling: how long after its close a candle may still appear or change.
    """

    def __init__(self, timeframe: Timeframe, fetch: FetchCandles, *, settling: timedelta) -> None:
        self._timeframe = timeframe
        self._reach = timeframe.length * EXTENSION_CANDLES_MAX
        self._fetch = fetch
        self._settling = settling
        self._stretch: _Stretch | None = None
        self._tail: _Tail | None = None
        self._turn = asyncio.Lock()

    def settled(self, since: datetime, until: datetime) -> tuple[Candle, ...] | None:
        """The candles that open in [since, until), if no question is needed to tell."""
        stretch = self._stretch
        if stretch is None or since < stretch.since or stretch.until < until:
            return None
        return _slice(stretch.candles, since, until)

    async def between(self, since: datetime, until: datetime, now: datetime) -> tuple[Candle, ...]:
        """The candles that open in [since, until), aligned times, all of them closed at `now`.

        One caller asks the venue; the others wait for it and find the answer here.
        """
        async with self._turn:
            known = self.settled(since, until)
            if known is None:
                known = self._with_tail(since, until)
            if known is not None:
                return known
            stretch = self._stretch
            if stretch is not None and since < stretch.since - self._reach:
                # Far history is not what the bots of today share; it must not push that out.
                return _cut(await self._fetch(since, until), since, until)
            if stretch is None or until > stretch.until + self._reach:
                stretch = self._stretch = _Stretch(since, since)
            start = since if since < stretch.since else stretch.until
            end = until if until > stretch.until else stretch.since
            fetched = await self._fetch(start, end)
            self._keep(stretch, start, end, fetched, now)
            return _cut((*stretch.candles, *fetched), since, until)

    def _with_tail(self, since: datetime, until: datetime) -> tuple[Candle, ...] | None:
        stretch, tail = self._stretch, self._tail
        if stretch is None or tail is None or since < stretch.since or until > tail.until:
            return None
        if asyncio.get_running_loop().time() - tail.asked_at >= UNSETTLED_FRESH_SECONDS:
            return None
        return _cut((*stretch.candles, *tail.candles), since, until)

    def _keep(
        self,
        stretch: _Stretch,
        start: datetime,
        end: datetime,
        fetched: Sequence[Candle],
        now: datetime,
    ) -> None:
        """Grow the stretch by what has settled of [start, end), which touches or spans it."""
        settled_until = min(end, self._timeframe.floor(now - self._settling))
        if start < stretch.since and settled_until < stretch.since:
            return  # The clock went back: what was asked for does not reach the stretch.
        since, until = min(stretch.since, start), max(stretch.until, settled_until)
        candles = _cut((*stretch.candles, *fetched), since, until)
        if len(candles) > KEPT_CANDLES_MAX:
            candles = candles[-KEPT_CANDLES_MAX:]
            since = candles[0].opened_at
        self._stretch = _Stretch(since, until, candles)
        if end > until:
            asked_at = asyncio.get_running_loop().time()
            self._tail = _Tail(end, _cut(fetched, until, end), asked_at)


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
