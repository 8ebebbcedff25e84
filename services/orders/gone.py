"""What changes of a position without a report about an order: parts that are gone, corrected fees.

A part that left the account by manual actions counts as closed elsewhere: its price is not known,
so it is no part of the P&L, and no order can sell it any more. The rest goes on as it was.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import structlog
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.positions import PositionState
from domain.strategies.apex import ExitPlan, ExitReason, on_exit_filled
from models.bots import BotRun
from models.connections import Account
from models.trading import Position
from services.analytics.counting import count_trade, counted
from services.notices import NoticeKind, tell
from services.orders.booking import store_plan
from services.orders.exit_requests import end_requests
from services.orders.folding import apply_fold, fold_of
from services.orders.market_rules import rules_from_record
from services.orders.protection import cancel_triggers, sync_triggers

_log = structlog.get_logger("nija.orders")


class Gone(StrEnum):
    """How a part of a position came to be gone."""

    ELSEWHERE = "closed_elsewhere"
    WRITTEN_OFF = "written_off"


async def take_out(
    session: AsyncSession,
    position: Position,
    quantity: Decimal,
    how: Gone,
    *,
    at: datetime,
    wall: datetime,
) -> None:
    """Book that a part of an open position is gone; the position closes if nothing is left.

    Args:
        session: a transaction of the position's user.
        position: an open position; its row is locked by the caller.
        quantity: how much, in the base currency.
        how: what became of it.
        at: venue time.
        wall: wall time.
    """
    if how is Gone.ELSEWHERE:
        position.closed_elsewhere_quantity += quantity
    else:
        position.written_off_quantity += quantity
    position.sellable_quantity = None
    await refold_alone(session, position, ExitReason(how.value), at=at, wall=wall)
    _log.warning(
        f"position.{how.value}",
        position_id=str(position.id),
        symbol=position.symbol,
        quantity=str(quantity),
        state=position.state,
    )


async def refold_alone(
    session: AsyncSession,
    position: Position,
    reason: ExitReason,
    *,
    at: datetime,
    wall: datetime,
) -> None:
    """Fold a position anew without a report about an order; `reason` is why, if that closes it."""
    before = counted(position)
    was_closed = position.state == PositionState.CLOSED
    folded = await fold_of(session, position)
    apply_fold(position, folded)
    if folded.state is PositionState.OPEN and position.exit_plan is not None:
        plan = on_exit_filled(
            ExitPlan.from_record(position.exit_plan),
            remaining=position.open_quantity,
            rules=rules_from_record(position.rules),
        )
        store_plan(position, plan)
        run = (await session.exec(select(BotRun).where(BotRun.id == position.run_id))).one()
        await sync_triggers(session, position, run.bot_id, plan, at)
    elif folded.state is PositionState.CLOSED and not was_closed:
        position.exit_reason, position.closed_at = reason, at
        await cancel_triggers(session, position.id)
        await end_requests(session, position, wall)
    await count_trade(session, position, before, counted(position))
    session.add(position)
    await session.flush()


async def tell_closed_elsewhere(
    session: AsyncSession, position: Position, quantity: Decimal, wall: datetime
) -> None:
    """Tell once of a part that left by manual actions."""
    account = (
        await session.exec(select(Account).where(col(Account.id) == position.account_id))
    ).one()
    facts = {
        "position_id": position.id.hex,
        "symbol": position.symbol,
        "venue": account.venue,
        "mode": account.mode,
        "quantity": f"{quantity.normalize():f}",
        "remaining": f"{position.open_quantity.normalize():f}",
        "is_closed": position.state == PositionState.CLOSED,
    }
    about = f"{position.id.hex}:{position.closed_elsewhere_quantity.normalize():f}"
    kind = NoticeKind.CLOSED_ELSEWHERE
    await tell(session, position.user_id, kind, about, now=wall, facts=facts)
