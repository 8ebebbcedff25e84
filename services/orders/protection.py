"""Keeping the trigger table equal to a position's exit plan."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.orders import Leg
from domain.strategies.apex import ExitPlan, exit_triggers
from domain.triggers import Condition, PastPrice, TriggerKind
from domain.triggers import Trigger as PriceCondition
from models.connections import Account, Connection, ConnectionStatus
from models.trading import Position, Trigger, TriggerState
from services.orders.exit_progress import note_whether_due

LIVE = (TriggerState.ARMED.value, TriggerState.FIRED.value)


async def sync_triggers(
    session: AsyncSession, position: Position, bot_id: UUID, plan: ExitPlan, at: datetime
) -> None:
    """Arm, move and cancel triggers until they say what the plan says.

    A trigger that has fired is left alone unless its step of the plan is over: its exit is under
    way. Without keys, of a connection that was removed, none is armed: nothing can be sold.
    """
    account = (await session.exec(select(Account).where(Account.id == position.account_id))).one()
    conditions = exit_triggers(plan, str(position.id), at)
    if await _has_no_keys(session, account):
        conditions = ()
    wanted = {_leg(condition): condition for condition in conditions}
    live = {
        trigger.leg: trigger
        for trigger in (
            await session.exec(
                select(Trigger).where(
                    Trigger.position_id == position.id, col(Trigger.state).in_(LIVE)
                )
            )
        ).all()
    }
    for leg, condition in wanted.items():
        trigger = live.pop(leg, None)
        if trigger is None:
            session.add(_armed(position, account, bot_id, condition))
        elif trigger.state == TriggerState.ARMED:
            moved = price_condition(trigger).moved(condition.price, at)
            trigger.price, trigger.moved_at = moved.price, moved.moved_at
            trigger.past_prices = [
                {"price": str(past.price), "until": past.until.isoformat()} for past in moved.past
            ]
            session.add(trigger)
    for over in live.values():
        over.state = (
            TriggerState.DONE if over.state == TriggerState.FIRED else TriggerState.CANCELLED
        )
        session.add(over)
    await note_whether_due(session, position)


def price_condition(row: Trigger) -> PriceCondition:
    """The price condition of a stored trigger."""
    return PriceCondition(
        trigger_id=str(row.id),
        owner_id=str(row.position_id),
        kind=TriggerKind.STOP if row.leg == Leg.STOP else TriggerKind.TARGET,
        condition=Condition(row.direction),
        price=row.price,
        armed_at=row.armed_at,
        past=tuple(
            PastPrice(Decimal(past["price"]), datetime.fromisoformat(past["until"]))
            for past in row.past_prices
        ),
    )


async def _has_no_keys(session: AsyncSession, account: Account) -> bool:
    if account.connection_id is None:  # paper
        return False
    removed = await session.exec(
        select(Connection.id).where(
            Connection.id == account.connection_id,
            Connection.status == ConnectionStatus.REMOVED.value,
        )
    )
    return removed.first() is not None


def _leg(condition: PriceCondition) -> str:
    return condition.trigger_id.rpartition(":")[2]


def _armed(
    position: Position, account: Account, bot_id: UUID, condition: PriceCondition
) -> Trigger:
    return Trigger(
        user_id=position.user_id,
        account_id=position.account_id,
        bot_id=bot_id,
        position_id=position.id,
        venue=account.venue,
        realm=account.realm,
        symbol=position.symbol,
        leg=_leg(condition),
        direction=condition.condition,
        price=condition.price,
        armed_at=condition.armed_at,
    )


async def cancel_triggers(session: AsyncSession, position_id: UUID) -> None:
    """End every trigger of a position that is over."""
    for state, end in (
        (TriggerState.ARMED, TriggerState.CANCELLED),
        (TriggerState.FIRED, TriggerState.DONE),
    ):
        await session.exec(
            update(Trigger)
            .where(col(Trigger.position_id) == position_id, col(Trigger.state) == state.value)
            .values(state=end.value)
        )
