"""Making the exit order that a position is due: asked for, or its trigger has fired.

Needs nothing but the database: no market data, no strategy, no venue metadata. A position has at
most one live exit, and others only where the venue does not give them back: beside these the rest
leaves, where all of it is to. A failed exit is made again with growing delays, and one that the
market does not take in one order piece by piece.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import structlog
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import OrderTask
from domain.exits import partial_quantity
from domain.money import ZERO, floor_to_step
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
from services.orders.exit_progress import note_due, tell_if_late
from services.orders.exit_requests import (
    cause_of_request,
    end_request,
    oldest_open_request,
    unsold,
)
from services.orders.live_exits import live_exits, may_sell, seconds_until_set_aside
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
    if position.open_quantity <= ZERO:
        return NOTHING
    live = await live_exits(session, position.id)
    due = await (_due_beside(session, position, live) if live else _due(session, position, wall))
    if due is None:
        return NOTHING
    wait = max((seconds_until_set_aside(order, wall) for order in live), default=0.0)
    if wait > 0:
        return Leaving(retry_seconds=wait)
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
    await _set_aside(session, live, wall)
    if mark is not None:
        await mark(session, position, order)
    session.add(order)
    await session.flush()
    return Leaving(order=_intended(order))


async def _form(
    session: AsyncSession, position: Position, due: _Due, earlier: Attempts, wall: datetime
) -> OrderForm | None:
    if due.quantity <= ZERO:
        return None
    return await fit_order(session, position, due.quantity, earlier, wall)


def _intended(order: Order) -> OrderTask:
    """Log that an exit was made, and name it for whoever carries it out."""
    _log.info(
        "exit.intended",
        bot_id=str(order.bot_id),
        position_id=str(order.position_id),
        symbol=order.symbol,
        leg=order.leg,
        attempt=order.attempt,
    )
    return OrderTask(
        order_id=order.id, state=OrderState(order.state), leg=order.leg, symbol=order.symbol
    )


async def _due(session: AsyncSession, position: Position, wall: datetime) -> _Due | None:
    """What a position has to do next: leave whole, by its stop, in part, or by a target."""
    if position.close_requested is not None:
        return _whole(position, position.close_requested)
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
    return None if trigger is None else _triggered(position, trigger)


async def _due_beside(
    session: AsyncSession, position: Position, live: Sequence[Order]
) -> _Due | None:
    """What may leave beside exits that have not ended: the rest, where all of it is to leave.

    Not what is too little to be sold by itself; that leaves with what the others leave over.
    """
    if position.close_requested is not None:
        due = _whole(position, position.close_requested)
    else:
        trigger = await _fired_trigger(session, position.id)
        if trigger is None or trigger.leg != Leg.STOP:
            return None
        due = _triggered(position, trigger)
    rules = rules_from_record(position.rules)
    rest = floor_to_step(position.open_quantity - may_sell(live), rules.quantity_step)
    price = position.stop_loss or position.decision_price
    if rest <= ZERO or rest < rules.quantity_min or rest * price < rules.notional_min:
        return None
    return replace(due, quantity=min(due.quantity, rest))


async def _set_aside(session: AsyncSession, live: Sequence[Order], wall: datetime) -> None:
    """Note that an exit is made beside those that have not ended; before it is stored."""
    fresh = [order for order in live if order.set_aside_at is None]
    for order in fresh:
        order.set_aside_at = wall
        session.add(order)
        _log.warning(
            "exit.set_aside",
            order_id=str(order.id),
            position_id=str(order.position_id),
            symbol=order.symbol,
            leg=order.leg,
            state=order.state,
        )
    if fresh:
        await session.flush()


def _whole(position: Position, reason: str) -> _Due:
    leg = Leg.FLATTEN if reason in _COMMANDED else Leg.EXIT
    cause = position.close_cause or f"close:{position.id}"
    return _Due(leg, cause, _planned_quantity(position, leg))


def _triggered(position: Position, trigger: Trigger) -> _Due:
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
