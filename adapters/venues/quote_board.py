"""Prices of many markets within a second: one request for all, single ones for what it leaves out.

The venue's batch call is asked first. What it does not answer within a moment, or leaves out, is
asked market by market beside it, in the caller's order, so a batch call that fails, hangs or omits
a market costs no market its price, and neither does a part of it that hangs: what the other parts
answer counts at once. A market that gives no price either way is left alone for a growing while,
and is asked again after everything else, so it costs the others nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import structlog

from adapters.venues.errors import VenueRejectedQuestionError
from domain.markets import Quote, VenueKey
from domain.ports import VenueRefusedKeys, VenueUnavailable
from domain.requests import Purpose, requests_for

BUDGET_SECONDS = 1.5
HEDGE_SECONDS = 0.4
BATCH_SIZE = 100
SINGLES_AT_ONCE = 8
SINGLE_SECONDS = 1.0
SILENT_SECONDS_FIRST = 1.0
SILENT_SECONDS_MAX = 15.0
REJECTED_SECONDS = 60.0
PROBES_AT_ONCE = 4

_log = structlog.get_logger("nija.quotes")
AskBatch = Callable[[Sequence[str], float], Awaitable[Mapping[str, Decimal]]]
AskOne = Callable[[str, datetime, float], Awaitable[Quote]]


@dataclass(slots=True)
class _Batch:
    """A batch call.

    Attributes:
        found: what its parts have answered so far.
        old: those of them that were answered before the present call for quotes.
    """

    task: asyncio.Task[None]
    found: dict[str, Quote]
    old: frozenset[str] = frozenset()

    def has(self, symbol: str) -> bool:
        """Whether it has answered for a market since the present call began."""
        return symbol in self.found and symbol not in self.old


@dataclass(slots=True)
class _Silence:
    """How often in a row a market gave no price, and until when it is not asked alone."""

    times: int
    until: float


class QuoteBoard:
    """Asks one venue for the prices of many markets.

    Args:
        key: the venue, for the log.
        ask_batch: last prices of some markets within some seconds; may leave markets out.
        ask_one: the quote of one market at a venue time, within some seconds.
        budget_seconds: how long a call takes at most.
        hedge_seconds: how long the batch call is waited for before single questions begin.
    """

    def __init__(
        self,
        key: VenueKey,
        ask_batch: AskBatch,
        ask_one: AskOne,
        *,
        budget_seconds: float = BUDGET_SECONDS,
        hedge_seconds: float = HEDGE_SECONDS,
    ) -> None:
        self._key = key
        self._ask_batch = ask_batch
        self._ask_one = ask_one
        self._budget_seconds = budget_seconds
        self._hedge_seconds = hedge_seconds
        self._silences: dict[str, _Silence] = {}
        self._rejected: dict[str, float] = {}
        self._batch: _Batch | None = None
        self._is_batch_failing = False
        self._probing = asyncio.Semaphore(PROBES_AT_ONCE)
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._probed: dict[str, Quote] = {}

    async def quotes(self, symbols: Sequence[str], at: datetime) -> Mapping[str, Quote]:
        """The quotes that can be had at once, by symbol; a market without one is left out.

        The batch call carries the last price only, so bid and ask of what it answers are that. A
        market that was silent before is asked in the background, and its answer, with the time it
        was asked at, is part of the next call's.

        Args:
            symbols: the markets, the most urgent first.
            at: a venue time before the call; every price is at least as new as its own time.
        """
        wanted = list(dict.fromkeys(symbols))
        if not wanted:
            return {}
        deadline = _now() + self._budget_seconds
        found: dict[str, Quote] = {}
        batch = self._start_batch(wanted, at)
        # After a batch call that failed none is waited for, until one was answered again.
        if not self._is_batch_failing:
            seconds = min(self._hedge_seconds, self._budget_seconds)
            await asyncio.wait({batch.task}, timeout=seconds)
        _take(batch, found)
        alone = self._to_ask_alone(wanted, found, at)
        if alone:
            singles = asyncio.create_task(self._singles(alone, at, deadline, batch, found))
            await self._wait(batch, singles, alone, deadline, found)
        elif not found:  # nothing else to hope for
            await asyncio.wait({batch.task}, timeout=self._hedge_seconds)
        _take(batch, found)
        if not batch.task.done():
            self._is_batch_failing = True
        for symbol in wanted:
            late = batch.found.get(symbol) or self._probed.get(symbol)
            if symbol not in found and late is not None:
                found[symbol] = late
        self._note(wanted, found)
        return found

    async def close(self) -> None:
        """Abandon what is under way."""
        running = [*self._probes.values()]
        if self._batch is not None:
            running.append(self._batch.task)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _start_batch(self, symbols: Sequence[str], at: datetime) -> _Batch:
        """The batch call: one at a time, so that a hanging one does not pile up."""
        if self._batch is None or self._batch.task.done():
            found: dict[str, Quote] = {}
            self._batch = _Batch(asyncio.create_task(self._ask_all(symbols, at, found)), found)
        self._batch.old = frozenset(self._batch.found)
        return self._batch

    async def _wait(
        self,
        batch: _Batch,
        singles: asyncio.Task[None],
        alone: Sequence[str],
        deadline: float,
        found: dict[str, Quote],
    ) -> None:
        """Until every market has a price, or single questions ended and no batch is hoped for."""
        waited: set[asyncio.Task[Any]] = {task for task in (batch.task, singles) if not task.done()}
        try:
            while waited and (left := deadline - _now()) > 0:
                _, waited = await asyncio.wait(
                    waited, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
                _take(batch, found)
                if all(symbol in found for symbol in alone):
                    return
                if singles.done() and self._is_batch_failing:
                    return
        finally:
            singles.cancel()
            await asyncio.gather(singles, return_exceptions=True)

    async def _ask_all(self, symbols: Sequence[str], at: datetime, found: dict[str, Quote]) -> None:
        now = _now()
        askable = [symbol for symbol in symbols if self._rejected.get(symbol, 0.0) <= now]
        chunks = [askable[i : i + BATCH_SIZE] for i in range(0, len(askable), BATCH_SIZE)]
        answered = await asyncio.gather(*(self._chunk(chunk, at, found) for chunk in chunks))
        self._is_batch_failing = not all(answered)

    async def _chunk(self, symbols: Sequence[str], at: datetime, found: dict[str, Quote]) -> bool:
        """Whether the venue answered; a list that it rejects is halved until the cause is found."""
        try:
            prices = await self._ask_batch(symbols, self._budget_seconds)
        except VenueRejectedQuestionError:
            if len(symbols) == 1:
                self._rejected[symbols[0]] = _now() + REJECTED_SECONDS
                return True
            half = len(symbols) // 2
            parts = await asyncio.gather(
                self._chunk(symbols[:half], at, found), self._chunk(symbols[half:], at, found)
            )
            return all(parts)
        except (VenueUnavailable, VenueRefusedKeys) as failure:
            if not self._is_batch_failing:
                _log.warning("quotes.batch_failed", venue=str(self._key), error=str(failure))
            return False
        for symbol in symbols:
            if (last := prices.get(symbol)) is not None:
                found[symbol] = Quote(symbol, bid=last, ask=last, last=last, at=at)
        return True

    def _to_ask_alone(
        self, wanted: Sequence[str], found: Mapping[str, Quote], at: datetime
    ) -> list[str]:
        """What is to be asked now; who was silent before is asked in the background."""
        now = _now()
        alone = []
        for symbol in wanted:
            if symbol in found:
                continue
            silence = self._silences.get(symbol)
            if silence is None:
                alone.append(symbol)
            elif silence.until <= now and symbol not in self._probes:
                self._probes[symbol] = asyncio.create_task(self._probe(symbol, at))
        return alone

    async def _probe(self, symbol: str, at: datetime) -> None:
        try:
            async with self._probing:
                with requests_for(Purpose.LOOK_UP):  # whatever stops are judged by goes first
                    self._probed[symbol] = await self._ask_one(symbol, at, self._budget_seconds)
        except (VenueUnavailable, VenueRefusedKeys):
            self._note_silence(symbol)
        else:
            self._silences.pop(symbol, None)
        finally:
            self._probes.pop(symbol, None)

    async def _singles(
        self,
        symbols: Sequence[str],
        at: datetime,
        deadline: float,
        batch: _Batch,
        found: dict[str, Quote],
    ) -> None:
        queue = iter(symbols)

        async def work() -> None:
            for symbol in queue:
                left = deadline - _now()
                if left <= 0:
                    return
                if batch.has(symbol):  # its part of the batch call came after all
                    continue
                try:
                    found[symbol] = await self._ask_one(symbol, at, min(left, SINGLE_SECONDS))
                except (VenueUnavailable, VenueRefusedKeys):
                    self._note_silence(symbol)
                except asyncio.CancelledError:  # no answer while the call had time for it
                    self._note_silence(symbol)
                    raise

        await asyncio.gather(*(work() for _ in range(min(SINGLES_AT_ONCE, len(symbols)))))

    def _note_silence(self, symbol: str) -> None:
        before = self._silences.get(symbol)
        times = 1 if before is None else before.times + 1
        wait = min(SILENT_SECONDS_FIRST * 2 ** min(times - 1, 10), SILENT_SECONDS_MAX)
        self._silences[symbol] = _Silence(times, _now() + wait)
        if times == 1:
            _log.warning("quotes.market_silent", venue=str(self._key), symbol=symbol)

    def _note(self, wanted: Sequence[str], found: Mapping[str, Quote]) -> None:
        for symbol in found:
            self._silences.pop(symbol, None)
            self._probed.pop(symbol, None)
        # Memory is kept for what is asked for at present, so that names cannot fill it.
        present = set(wanted)
        kept: tuple[dict[str, Any], ...] = (self._silences, self._rejected, self._probed)
        for memory in kept:
            for symbol in memory.keys() - present:
                del memory[symbol]


def _take(batch: _Batch, found: dict[str, Quote]) -> None:
    """What the batch call has answered since this call began; what was asked alone is as new."""
    for symbol, quote in batch.found.items():
        if batch.has(symbol):
            found.setdefault(symbol, quote)


def _now() -> float:
    return asyncio.get_running_loop().time()
