"""Managing what is open on each closed bar: trailing stops, and the strategy's reversal exit.

Needs the bar's evaluation and the stored rules, nothing else of a venue. No lock of an entry is
taken, and each position is a transaction of its own: whatever is wrong with one, or with entries,
keeps no other from being protected; those that are locked come last. Repeating a bar changes
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog
from sqlalchemy.exc import OperationalError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.positions import Direction, PositionState
from domain.risk import RISK_PROFILES, RiskLevel
from domain.strategies.apex import (
    EntrySource,
    ExitPlan,
    ExitReason,
    calls_for_exit,
    on_bar_closed,
)
from models.connections import Account, UserSettings
from models.trading import Position
from services.database import Database
from services.markets.evaluating import StoredEvaluation
from services.orders.booking import store_plan
from services.orders.market_rules import rules_from_record
from services.orders.protection import sync_triggers
from services.orders.row_locks import RowsLocked
from services.trading.scans import Scan, cause_of

_log = structlog.get_logger("nija.bots")


async def manage_positions(database: Database, scan: Scan) -> bool:
    """Apply the new bars to the open positions of a run; whether one was asked to leave."""
    run = scan.context.run
    if not scan.context.has_positions or not scan.bars:
        return False
    async with database.for_user(run.user_id) as session:
        positions = (
            await session.exec(
                select(col(Position.id), col(Position.symbol))
                .where(
                    Position.run_id == run.id,
                    Position.state == PositionState.OPEN.value,
                    col(Position.symbol).in_({symbol for symbol, _stored in scan.bars}),
                )
                .order_by(col(Position.opened_at), col(Position.id))
            )
        ).all()
    is_asked = False
    locked: list[tuple[UUID, list[StoredEvaluation]]] = []
    for position_id, symbol in positions:
        bars = [stored for name, stored in scan.bars if name == symbol]
        is_asked |= await _try(database, scan, position_id, bars, locked)
    for position_id, bars in locked:
        is_asked |= await _try(database, scan, position_id, bars, None)
    return is_asked


async def _try(
    database: Database,
    scan: Scan,
    position_id: UUID,
    bars: list[StoredEvaluation],
    locked: list[tuple[UUID, list[StoredEvaluation]]] | None,
) -> bool:
    """Manage one position; one that is locked is noted, or waited for where there is no list."""
    try:
        async with database.for_user(scan.context.run.user_id) as session:
            return await _manage(session, scan, position_id, bars, waits=locked is None)
    except (RowsLocked, OperationalError) as failure:
        if locked is not None and isinstance(failure, RowsLocked):
            locked.append((position_id, bars))
        else:
            _log.warning(
                "position.not_managed", position_id=str(position_id), error=type(failure).__name__
            )
    except Exception as failure:  # noqa: BLE001 - a boundary: the other positions go on
        _log.exception(
            "position.not_managed", position_id=str(position_id), error=type(failure).__name__
        )
    return False


async def _manage(
    session: AsyncSession,
    scan: Scan,
    position_id: UUID,
    bars: Sequence[StoredEvaluation],
    *,
    waits: bool,
) -> bool:
    run, skips = scan.context.run, not waits
    # Before the position, as whoever books a fill.
    account = await session.exec(
        select(Account.id)
        .where(Account.id == run.account_id)
        .with_for_update(read=True, key_share=True, skip_locked=skips)
    )
    row = (
        await session.exec(
            select(Position).where(Position.id == position_id).with_for_update(skip_locked=skips)
        )
    ).one_or_none()
    if account.first() is None or row is None:
        raise RowsLocked("position")
    if row.exit_plan is None or row.state != PositionState.OPEN:
        return False
    plan = ExitPlan.from_record(row.exit_plan)
    for stored in bars:
        evaluation = stored.evaluation
        if evaluation is None:
            continue
        if await _is_called_off(session, scan, row, stored):
            row.close_requested = ExitReason.SIGNAL_REVERSAL
            row.close_cause = cause_of(row.symbol, stored)
            session.add(row)
            return True
        after = on_bar_closed(
            plan,
            close=evaluation.close,
            atr=evaluation.atr,
            closed_at=evaluation.closed_at,
            rules=rules_from_record(row.rules),
        )
        if after != plan:
            plan = after
            store_plan(row, plan)
            session.add(row)
            await sync_triggers(session, row, run.bot_id, plan, evaluation.closed_at)
    return False


async def _is_called_off(
    session: AsyncSession, scan: Scan, position: Position, stored: StoredEvaluation
) -> bool:
    """Whether the strategy leaves a position on this bar.

    Only on the newest one, since what an older bar called for may be over; and only a position that
    it opened itself, unless its user wants it otherwise.
    """
    evaluation = stored.evaluation
    if evaluation is None or position.close_requested is not None or not scan.is_newest(stored):
        return False
    profile = RISK_PROFILES[RiskLevel(scan.context.run.risk_level)]
    if not calls_for_exit(Direction(position.side), evaluation, profile.entry_score):
        return False
    if position.source == EntrySource.STRATEGY:
        return True
    may_close = await session.exec(
        select(UserSettings.strategy_may_close_signals).where(
            UserSettings.user_id == position.user_id
        )
    )
    return may_close.one()
