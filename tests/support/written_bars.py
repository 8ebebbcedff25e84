"""Bars as a test writes them: what the strategy makes of each, without candles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from domain.positions import Direction
from domain.strategies.apex import BAR, DEFAULT_CONFIG, STRATEGY, STRATEGY_VERSION, Evaluation
from services.markets.evaluating import EvaluationService, StoredEvaluation
from tests.support.engine import Engine


class WrittenEvaluations(EvaluationService):
    """Says of each bar what the test wrote; a bar that nobody wrote of did not close."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.database, engine.venue, engine.wall)
        self.written: dict[str, list[Evaluation]] = {}
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        """What happens once, while a bot asks for its bars."""

    async def since(
        self, key: object, clock: object, symbol: str, last_opened_at: datetime | None
    ) -> Sequence[StoredEvaluation]:
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        bars = self.written.get(symbol, [])
        if last_opened_at is None:
            bars = bars[-1:]
        return [
            StoredEvaluation(None, bar.opened_at, bar)
            for bar in bars
            if last_opened_at is None or bar.opened_at > last_opened_at
        ]

    def write(self, engine: Engine, symbol: str, side: Direction | None, **changes: Any) -> None:
        """The bar that closed just now."""
        bar = replace(evaluation(engine.venue.market.now - BAR.length, side), **changes)
        self.written.setdefault(symbol, []).append(bar)


def evaluation(opened_at: datetime, side: Direction | None, close: str = "100") -> Evaluation:
    return Evaluation(
        strategy=STRATEGY,
        config_hash=DEFAULT_CONFIG.config_hash,
        code_version=STRATEGY_VERSION,
        opened_at=opened_at,
        closed_at=opened_at + BAR.length,
        close=Decimal(close),
        atr=Decimal(2),
        side=side,
        long_filter={},
        short_filter={},
        score=4 if side else 0,
        score_parts={},
        inputs={},
        bars_since_hole=None,
        hole_blocks_entry=False,
        reason="written by the test",
    )


def written_bars(engine: Engine) -> WrittenEvaluations:
    """The engine's bars, to be written by the test; survives `wire`."""
    written = WrittenEvaluations(engine)
    wire = engine.wire

    def rewire() -> None:
        wire()
        engine.evaluations = written
        engine.signals._evaluations = written
        engine.hunt_service._evaluations = written

    engine.wire = rewire  # type: ignore[method-assign]
    engine.wire()
    return written
