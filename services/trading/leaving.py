"""Making the exit order that a position is due: asked for, or its trigger has fired.

Needs nothing but the database: no market data, no strategy, no venue metadata. A position has at
most one live exit; a failed one is made again with growing delays, and one that the market does not
take in one order piece by piece.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import structlog
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import OrderTask
from domain.exits import partial_quantity
from domain.money import ZERO
from domain.orders import (
    Leg,
    OrderState,
    TimeInForce,
    derive_client_order_id,
)
from domain.positions import Direction
from domain.strategies.apex import ExitPlan, ExitReason, exit_quantity
from models.bots import BotRun
from models.markets import VenueState
from models.trading import Order, Position, Trigger, TriggerState
from services.orders.conditions import is_exit, is_live
from services.orders.exit_progress import note_due, tell_if_late
from services.orders.exit_requests import (
    cause_of_request,
    end_request,
    oldest_open_request,
    unsold,
)
from services.orders.market_rules import rules_from_record
from services.trading.exit_attempts import Attempts, OrderForm, earlier_attempts, fit_order
from services.trading.exit_delays import wait_before_retry

_COMMANDED = frozenset({ExitReason.EMERGENCY_STOP, ExitReason.KILL_SWITCH, ExitReason.BOT_STOPPED})

MarkOrder = Callable[[AsyncSession, Position, Order], Awaitable[None]]

_log = structlog.get_logger("nija.bots")


@dataclass(frozen=True, slots=True)
class Leaving:
    """What was made: an exit order to send, or the wait before a failed one is made again."""

    order: OrderTask | None = None
    retry_seconds: float | None = None


NOTHING = Leaving()


@dataclass(frozen=True, slots=True)
class _Due:
    """An exit that is due: its leg, its cause, and the base currency that it has to sell."""

    leg: Leg
    cause: str
    quantity: Decimal
    trigger: Trigger | None = None


async def leave(
    session: AsyncSession,
    run: BotRun,
    bot_id: UUID,
    position: Position,
    wall: datetime,
    mark: MarkOrder | None = None,
) -> Leaving:
    """Commit the exit that a position is due, if any. Its row is locked by the caller.

    Args:
        session: a transaction of the position's user.
        run: the run that the position belongs to.
        bot_id: the bot that will carry the order out.
        position: an open position.
        wall: wall time.
        mark: notes on the order, before it is stored, that it is being sent.
    """
    if position.open_quantity <= ZERO or await _has_live_exit(session, position.id):
        return NOTHING
    due = await _due(session, position, wall)
    if due is None:
        return NOTHING
    leg, cause, trigger = due.leg, due.cause, due.trigger
    earlier = await earlier_attempts(session, position, cause, leg, wall)
    note_due(position, wall, in_vain=earlier.in_vain, latest=earlier.latest)
    session.add(position)
    await tell_if_late(session, position, cause, wall)
    form = await _form(session, position, due, earlier, wall)
    wait = await wait_before_retry(session, position, earlier, form, wall)
    if wait > 0:
        return Leaving(retry_seconds=wait)
    if form is None:
        return NOTHING
    attempt = earlier.made + 1
    order = Order(
        user_id=position.user_id,
        account_id=position.account_id,
        bot_id=bot_id,
        run_id=run.id,
        position_id=position.id,
        trigger_id=trigger.id if trigger else None,
        cause=cause,
        leg=leg,
        attempt=attempt,
        client_order_id=str(
            derive_client_order_id(position.account_id, run.id, cause, leg, attempt)
        ),
        symbol=position.symbol,
        side=Direction(position.side).exit_side,
        type=form.type,
        time_in_force=TimeInForce.IOC,
        quantity=form.quantity,
        limit_price=form.limit_price,
        created_at=await venue_now(session, run),
        intended_at=wall,
    )
    if mark is not None:
        await mark(session, position, order)
    session.add(order)
    await session.flush()
    _log.info(
        "exit.intended",
        bot_id=str(bot_id),
        position_id=str(position.id),
        symbol=position.symbol,
        leg=leg,
        attempt=attempt,
    )
    return Leaving(order=_task_of(order))


async def _form(
    session: AsyncSession, position: Position, due: _Due, earlier: Attempts, wall: datetime
) -> OrderForm | None:
    if due.quantity <= ZERO:
        return None
    return await fit_order(session, position, due.quantity, earlier, wall)


def _task_of(order: Order) -> OrderTask:
    return OrderTask(
        order_id=order.id, state=OrderState(order.state), leg=order.leg, symbol=order.symbol
    )


async def _due(session: AsyncSession, position: Position, wall: datetime) -> _Due | None:
    """What a position has to do next: leave whole, by its stop, in part, or by a target."""
    if position.close_requested is not None:
        leg = Leg.FLATTEN if position.close_requested in _COMMANDED else Leg.EXIT
        cause = position.close_cause or f"close:{position.id}"
        return _Due(leg, cause, _planned_quantity(position, leg))
    trigger = await _fired_trigger(session, position.id)
    if trigger is None or trigger.leg != Leg.STOP:
        while (request := await oldest_open_request(session, position.id)) is not None:
            quantity = _part(position, await unsold(session, request))
            if quantity > ZERO:
                return _Due(Leg.REDUCE, cause_of_request(request.id), quantity)
            # The market's step has grown since: what is left of it cannot be sold by itself.
            left = await unsold(session, request)
            is_sold = left < request.quantity
            await end_request(session, position, request, wall, is_sold=is_sold)
            await session.flush()
    if trigger is None:
        return None
    leg = Leg(trigger.leg)
    return _Due(leg, f"trigger:{trigger.id}", _planned_quantity(position, leg), trigger)


def _planned_quantity(position: Position, leg: Leg) -> Decimal:
    if position.exit_plan is None:
        return position.open_quantity
    rules = rules_from_record(position.rules)
    plan = ExitPlan.from_record(position.exit_plan)
    return exit_quantity(plan, leg, position.open_quantity, rules)


def _part(position: Position, asked: Decimal) -> Decimal:
    price = position.stop_loss or position.decision_price
    rules = rules_from_record(position.rules)
    return partial_quantity(asked, position.open_quantity, rules, price=price)


async def _has_live_exit(session: AsyncSession, position_id: UUID) -> bool:
    found = await session.exec(
        select(Order.id).where(Order.position_id == position_id, is_exit(), is_live())
    )
    return found.first() is not None


async def _fired_trigger(session: AsyncSession, position_id: UUID) -> Trigger | None:
    """The fired trigger that goes first: the stop, else the nearest target."""
    fired = (
        await session.exec(
            select(Trigger).where(
                Trigger.position_id == position_id, Trigger.state == TriggerState.FIRED.value
            )
        )
    ).all()
    return min(fired, key=lambda trigger: (trigger.leg != Leg.STOP, trigger.leg), default=None)


async def venue_now(session: AsyncSession, run: BotRun) -> datetime:
    """The venue's clock as last seen by its watcher; the run's start where it was never seen."""
    seen = (
        await session.exec(
            select(VenueState.clock_at).where(
                VenueState.venue == run.venue, VenueState.realm == run.realm
            )
        )
    ).one_or_none()
    return seen or run.venue_started_at
