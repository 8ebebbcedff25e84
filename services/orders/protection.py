"""Keeping the trigger table equal to a position's exit plan."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.orders import Leg
from domain.positions import Direction
from domain.strategies.apex import ExitPlan
from models.connections import Account
from models.trading import Position, Trigger, TriggerState

LIVE = (TriggerState.ARMED.value, TriggerState.FIRED.value)


async def sync_triggers(
    session: AsyncSession, position: Position, bot_id: UUID, plan: ExitPlan, at: datetime
) -> None:
    """Arm, move and cancel triggers until they say what the plan says.

    A trigger that has fired is left alone unless its step of the plan is over: its exit is under
    way.
    """
    wanted = {Leg.STOP: plan.stop} | {target.leg: target.price for target in plan.open_targets}
    live = {
        Leg(trigger.leg): trigger
        for trigger in (
            await session.exec(
                select(Trigger).where(
                    Trigger.position_id == position.id, col(Trigger.state).in_(LIVE)
                )
            )
        ).all()
    }
    account = (await session.exec(select(Account).where(Account.id == position.account_id))).one()
    for leg, price in wanted.items():
        trigger = live.pop(leg, None)
        if trigger is None:
            session.add(_armed(position, account, bot_id, leg, price, at))
        elif trigger.state == TriggerState.ARMED and trigger.price != price:
            trigger.price_before, trigger.price, trigger.moved_at = trigger.price, price, at
            session.add(trigger)
    for over in live.values():
        over.state = (
            TriggerState.DONE if over.state == TriggerState.FIRED else TriggerState.CANCELLED
        )
        session.add(over)


def _armed(
    position: Position,
    account: Account,
    bot_id: UUID,
    leg: Leg,
    price: Decimal,
    at: datetime,
) -> Trigger:
    is_stop = leg is Leg.STOP
    is_long = position.side == Direction.LONG
    return Trigger(
        user_id=position.user_id,
        account_id=position.account_id,
        bot_id=bot_id,
        position_id=position.id,
        venue=account.venue,
        realm=account.realm,
        symbol=position.symbol,
        leg=leg,
        direction="below" if is_stop == is_long else "above",
        price=price,
        armed_at=at,
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
