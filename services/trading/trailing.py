"""Managing what is open on each closed bar: trailing stops, and the strategy's reversal exit.

Needs the bar's evaluation and the stored rules, nothing else of a venue. No lock of an entry is
taken, and each position is a transaction of its own: whatever is wrong with one, or with entries,
keeps no other from being protected; those that are locked come last. One that could not
be managed is told of, and its bars are judged again for it alone. Repeating a bar changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from sqlalchemy import text
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
from services.trading.scans import MissedBar, Scan, cause_of

LOCKED_MILLISECONDS_AGAIN = 1_000
"""How long a position is waited for that was locked when its bar was new."""

_log = structlog.get_logger("nija.bots")


@dataclass
class Managed:
    """What came of managing the open positions of a run.

    Attributes:
        is_asked: whether one was asked to leave.
        left_out: positions that could not be managed, and the first of their bars.
        is_locked: whether any of those is locked by another transaction.
    """

    is_asked: bool = False
    left_out: list[MissedBar] = field(default_factory=list)
    is_locked: bool = False


async def manage_positions(database: Database, scan: Scan) -> Managed:
    """Apply the new bars to the open positions of a run, and those that were left out before."""
    run = scan.context.run
    managed = Managed()
    if not scan.context.has_positions or not (scan.bars or scan.again):
        return managed
    symbols = {symbol for symbol, _stored in scan.bars}
    async with database.for_user(run.user_id) as session:
        positions = (
            await session.exec(
                select(col(Position.id), col(Position.symbol))
                .where(
                    Position.run_id == run.id,
                    Position.state == PositionState.OPEN.value,
                    col(Position.symbol).in_(symbols) | col(Position.id).in_(list(scan.again)),
                )
                .order_by(col(Position.opened_at), col(Position.id))
            )
        ).all()
    locked: list[tuple[UUID, str]] = []
    for position_id, symbol in positions:
        await _try(database, scan, position_id, symbol, managed, locked)
    for position_id, symbol in locked:
        await _try(database, scan, position_id, symbol, managed, None)
    return managed


async def _try(
    database: Database,
    scan: Scan,
    position_id: UUID,
    symbol: str,
    managed: Managed,
    locked: list[tuple[UUID, str]] | None,
) -> None:
    """Manage one position; one that is locked is noted, or waited for where there is no list."""
    bars = scan.bars_of(position_id, symbol)
    missed = MissedBar(position_id, symbol, bars[0].opened_at)
    try:
        async with database.for_user(scan.context.run.user_id) as session:
            is_asked = await _manage(session, scan, position_id, bars, waits=locked is None)
    except (RowsLocked, OperationalError) as failure:
        if locked is not None and isinstance(failure, RowsLocked):
            locked.append((position_id, symbol))
            return
        managed.is_locked = True
        managed.left_out.append(missed)
        _log.warning(
            "position.not_managed", position_id=str(position_id), error=type(failure).__name__
        )
    except Exception as failure:  # noqa: BLE001 - a boundary: the other positions go on
        managed.left_out.append(missed)
        _log.exception(
            "position.not_managed", position_id=str(position_id), error=type(failure).__name__
        )
    else:
        managed.is_asked |= is_asked


async def _manage(
    session: AsyncSession,
    scan: Scan,
    position_id: UUID,
    bars: Sequence[StoredEvaluation],
    *,
    waits: bool,
) -> bool:
    run, skips = scan.context.run, not waits
    if position_id in scan.again:
        # It was waited for at full length before; it is looked at again and again, with its bot.
        connection = await session.connection()
        await connection.execute(text(f"SET LOCAL lock_timeout = {LOCKED_MILLISECONDS_AGAIN}"))
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
