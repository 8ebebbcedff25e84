"""Collecting the closed one-minute candles of watched markets beside the quotes.

Each market's question is a task of its own that outlives a look: candles that come late are judged
by the look after they came, and a market or endpoint that hangs delays nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from domain.markets import Candle, Timeframe, VenueClock
from domain.ports import MarketData, VenueRefusedKeys, VenueUnavailable
from domain.strategies.apex import BAR
from services.isolation import isolated

PATIENCE_SECONDS = 0.3
REVISIT = timedelta(minutes=3)
"""How much of what was judged before is asked for and judged again with each new minute."""
LIVE_LENGTH = BAR.length
"""A candle that closed longer ago than this fires nothing by itself: the newest price decides."""
AWAITED_SECONDS = 5.0
"""A market that hangs for longer holds up no announcement of a bar."""
PROMPT_SECONDS = 5.0
"""Between two looks that are no further apart than this by the wall, nothing is late."""

_log = structlog.get_logger("nija.watch")
_MINUTE = Timeframe.M1


@dataclass(frozen=True, slots=True)
class _Question:
    """A question, and the close time up to which its answer will have been judged."""

    task: asyncio.Task[Sequence[Candle]]
    until: datetime
    asked_at: float


class ClosedCandles:
    """The candles that one venue's watch has judged, and questions whose answers are not yet."""

    def __init__(self) -> None:
        self._epoch: str | None = None
        self._judged_until: dict[str, datetime] = {}
        self._questions: dict[str, _Question] = {}
        self._given: frozenset[str] = frozenset()
        self._silent: frozenset[str] = frozenset()

    async def collect(
        self,
        market: MarketData,
        symbols: Sequence[str],
        clock: VenueClock,
        *,
        before: VenueClock | None,
        wall_gap: float,
    ) -> Mapping[str, Sequence[Candle]]:
        """The candles to judge now, by symbol; what was judged shortly before is among them.

        They are given again until `confirm` says that they were judged.

        Args:
            market: the venue.
            symbols: markets whose triggers wait.
            clock: the venue's clock.
            before: the venue's clock at the look before this one, if it was of this epoch.
            wall_gap: seconds of wall time since that look.
        """
        is_new = clock.epoch != self._epoch
        if is_new:
            await self.close()
            self._epoch = clock.epoch
        closed = _MINUTE.floor(clock.now - market.settling)
        oldest = _MINUTE.floor(closed - LIVE_LENGTH)
        if before is not None and wall_gap <= PROMPT_SECONDS:
            oldest = min(oldest, _MINUTE.floor(before.now) - REVISIT)
        if is_new and before is None:
            # What an epoch's first look finds closed is older than anything that is armed in it.
            self._judged_until = dict.fromkeys(symbols, closed)
        for symbol in self._questions.keys() - set(symbols):
            self._questions.pop(symbol).task.cancel()
        for symbol in symbols:
            judged = min(self._judged_until.get(symbol, oldest), closed)
            if judged < closed and not self._is_to_answer(symbol, closed):
                since = max(judged - REVISIT, oldest)
                asking = asyncio.create_task(_ask(market, symbol, since, closed))
                self._questions[symbol] = _Question(asking, closed, _now())
        return await self._answers()

    def confirm(self, symbols: Collection[str]) -> None:
        """Note that the candles given for some markets were judged, and what fired is committed."""
        for symbol in symbols:
            question = self._questions.pop(symbol, None)
            if question is not None:
                self._judged_until[symbol] = question.until

    @property
    def are_awaited(self) -> bool:
        """Whether candles that were asked for a moment ago are still to come."""
        now = _now()
        return any(
            symbol not in self._given and now - question.asked_at < AWAITED_SECONDS
            for symbol, question in self._questions.items()
        )

    async def close(self) -> None:
        """Forget everything and abandon what is under way."""
        tasks = [question.task for question in self._questions.values()]
        self._questions.clear()
        self._judged_until.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_to_answer(self, symbol: str, closed: datetime) -> bool:
        """Whether a market's question has an answer to wait for or to judge.

        An answer that was given and could not be judged to its end is in a new one with what closed
        since.
        """
        question = self._questions.get(symbol)
        return question is not None and (symbol not in self._given or question.until >= closed)

    async def _answers(self) -> Mapping[str, Sequence[Candle]]:
        if not self._questions:
            self._given = frozenset()
            return {}
        tasks = {question.task for question in self._questions.values()}
        await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
        found: dict[str, Sequence[Candle]] = {}
        silent: set[str] = set()
        for symbol, question in list(self._questions.items()):
            if not question.task.done():
                silent.add(symbol)
                continue
            with isolated("watch.candles_failed", symbol=symbol):
                try:
                    found[symbol] = question.task.result()
                except (VenueUnavailable, VenueRefusedKeys):
                    silent.add(symbol)
            if symbol not in found:
                del self._questions[symbol]
        if silent - self._silent:
            _log.warning("watch.candles_silent", symbols=sorted(silent))
        self._silent, self._given = frozenset(silent), frozenset(found)
        return found


async def _ask(
    market: MarketData, symbol: str, since: datetime, until: datetime
) -> Sequence[Candle]:
    return await market.candles(symbol, _MINUTE, since=since, until=until)


def _now() -> float:
    return asyncio.get_running_loop().time()
