"""Evaluations: what the strategy makes of each bar, stored once for everybody."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.dialects.postgresql import insert

from domain.markets import Candle, VenueClock, VenueKey
from domain.ports import Venues, WallClock
from domain.strategies.apex import (
    BAR,
    DEFAULT_CONFIG,
    WINDOW,
    ApexConfig,
    Evaluation,
    evaluate,
)
from models.bots import Evaluation as EvaluationRow
from services.database import Database

MISSED_BARS_MAX = 288
"""A bot that slept longer than a day evaluates only the last day's bars."""

CACHED_MAX = 2_000
_NAMESPACE = uuid.UUID("0f6c3a52-9a0e-5d0a-8f43-0d9a5b1c7e55")


@dataclass(frozen=True, slots=True)
class StoredEvaluation:
    """An evaluation and the id of its row. `evaluation` is None where there were too few bars."""

    id: uuid.UUID | None
    opened_at: datetime
    evaluation: Evaluation | None


class EvaluationService:
    """Evaluates bars for all bots of this process."""

    def __init__(
        self,
        database: Database,
        venues: Venues,
        clock: WallClock,
        config: ApexConfig = DEFAULT_CONFIG,
    ) -> None:
        self._database = database
        self._venues = venues
        self._clock = clock
        self._config = config
        self._cache: OrderedDict[uuid.UUID, StoredEvaluation] = OrderedDict()
        self._locks: dict[tuple[VenueKey, str], asyncio.Lock] = {}

    @property
    def config(self) -> ApexConfig:
        """The parameters in force."""
        return self._config

    async def since(
        self, key: VenueKey, clock: VenueClock, symbol: str, last_opened_at: datetime | None
    ) -> Sequence[StoredEvaluation]:
        """Evaluations of every bar closed since `last_opened_at`, oldest first.

        Without a last bar, only the newest one. Empty when no bar closed.

        Raises:
            VenueUnavailable: the candles could not be had.
        """
        market = self._venues.market_data(key)
        # A bar that may still change is no bar yet: an entry is not made from unsettled data.
        newest_open = BAR.floor(clock.now - market.settling) - BAR.length
        if last_opened_at is not None and last_opened_at >= newest_open:
            return ()
        missed = 1
        if last_opened_at is not None:
            missed = min((newest_open - last_opened_at) // BAR.length, MISSED_BARS_MAX)
        # The venue is asked outside the lock: one question serves all, and one that hangs fails
        # those who share it, not one after the other.
        bars = await market.last_bars(symbol, BAR, count=WINDOW + missed - 1, until=clock.now)
        lock = self._locks.setdefault((key, symbol), asyncio.Lock())
        async with lock:
            return await self._evaluate_new(key, clock, symbol, bars, last_opened_at)

    async def _evaluate_new(
        self,
        key: VenueKey,
        clock: VenueClock,
        symbol: str,
        bars: Sequence[Candle],
        last_opened_at: datetime | None,
    ) -> Sequence[StoredEvaluation]:
        if last_opened_at is None:
            wanted = range(max(len(bars) - 1, 0), len(bars))
        else:
            wanted = range(
                next(
                    (i for i, bar in enumerate(bars) if bar.opened_at > last_opened_at), len(bars)
                ),
                len(bars),
            )
        found: list[StoredEvaluation] = []
        fresh: list[StoredEvaluation] = []
        for index in wanted:
            row_id = self._row_id(key, clock, symbol, bars[index].opened_at)
            stored = self._cache.get(row_id)
            if stored is None:
                evaluation = evaluate(bars[: index + 1], self._config)
                stored = StoredEvaluation(
                    row_id if evaluation else None, bars[index].opened_at, evaluation
                )
                fresh.append(stored)
            found.append(stored)
        await self._store(key, clock, symbol, fresh)
        return found

    def _row_id(
        self, key: VenueKey, clock: VenueClock, symbol: str, opened_at: datetime
    ) -> uuid.UUID:
        """The row's id is a function of what it is about, so every process gives the same one."""
        return uuid.uuid5(
            _NAMESPACE,
            f"{key}|{clock.epoch}|{symbol}|{opened_at.isoformat()}|{self._config.config_hash}",
        )

    async def _store(
        self,
        key: VenueKey,
        clock: VenueClock,
        symbol: str,
        fresh: Sequence[StoredEvaluation],
    ) -> None:
        rows = [
            {
                "id": stored.id,
                "venue": key.venue,
                "realm": key.realm,
                "epoch": clock.epoch,
                "symbol": symbol,
                "bar_at": stored.opened_at,
                "config_hash": stored.evaluation.config_hash,
                "strategy": stored.evaluation.strategy,
                "code_version": stored.evaluation.code_version,
                "side": stored.evaluation.side,
                "score": stored.evaluation.score,
                "record": stored.evaluation.to_record(),
                "created_at": self._clock.now(),
            }
            for stored in fresh
            if stored.evaluation is not None
        ]
        if rows:
            async with self._database.as_system() as session:
                await session.exec(insert(EvaluationRow).values(rows).on_conflict_do_nothing())
        for stored in fresh:
            if stored.id is not None:
                self._cache[stored.id] = stored
        while len(self._cache) > CACHED_MAX:
            self._cache.popitem(last=False)
