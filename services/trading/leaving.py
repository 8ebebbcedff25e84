"""Making the exit order that a position is due: asked for, or its trigger has fired.

Needs nothing but the database: no market data, no strategy, no venue metadata. A position has at
most one live exit; a failed one is made again with growing pauses.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import structlog
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import OrderTask
from domain.exits import partial_quantity
from domain.money import ZERO
from domain.orders import (
    FINAL_STATES,
    Leg,
    OrderState,
    OrderType,
    TimeInForce,
    derive_client_order_id,
)
from domain.positions import Direction
from domain.strategies.apex import ExitPlan, ExitReason, exit_quantity
from models.bots import BotRun
from models.markets import VenueState
from models.trading import Order, Position, Trigger, TriggerState
from services.notices import NoticeKind, tell
from services.orders.exit_requests import (
    cause_of_request,
    end_request,
    oldest_open_request,
    unsold,
)
from services.orders.market_rules import rules_from_record

RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MAX = 60.0
RETRY_DOUBLINGS_MAX = 6
"""Enough to reach the longest pause; a power of two that grows for ever leaves the numbers."""
FAILING_AFTER = 5
"""Attempts in vain after which the user is told; that is after about half a minute."""

_FINAL = tuple(state.value for state in FINAL_STATES)
_COMMANDED = frozenset({ExitReason.EMERGENCY_STOP, ExitReason.KILL_SWITCH, ExitReason.BOT_STOPPED})

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


@dataclass(frozen=True, slots=True)
class _Attempts:
    """Earlier attempts at an exit.

    Attributes:
        made: how many there were.
        in_vain: how many came after the last one that filled anything.
        ended_at: when the latest ended.
    """

    made: int
    in_vain: int
    ended_at: datetime | None


async def leave(
    session: AsyncSession, run: BotRun, bot_id: UUID, position: Position, wall: datetime
) -> Leaving:
    """Commit the exit that a position is due, if any. Its row is locked by the caller.

    Args:
        session: a transaction of the position's user.
        run: the run that the position belongs to.
        bot_id: the bot that will carry the order out.
        position: an open position.
        wall: wall time.
    """
    if position.open_quantity <= ZERO or await _has_live_exit(session, position.id):
        return NOTHING
    due = await _due(session, position, wall)
    if due is None:
        return NOTHING
    leg, cause, trigger = due.leg, due.cause, due.trigger
    earlier = await _earlier_attempts(session, position, cause, leg)
    if earlier.in_vain >= FAILING_AFTER:
        await _tell_of_failing(session, run, position, (cause, leg), earlier, wall)
    wait = _wait_before_retry(earlier, wall)
    if wait > 0:
        return Leaving(retry_seconds=wait)
    if due.quantity <= ZERO:
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
        type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
        quantity=due.quantity,
        created_at=await venue_now(session, run),
        intended_at=wall,
    )
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
    task = OrderTask(order_id=order.id, state=OrderState.INTENDED, leg=leg, symbol=order.symbol)
    return Leaving(order=task)


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
            end_request(session, request, wall, is_sold=left < request.quantity)
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
        select(Order.id).where(
            Order.position_id == position_id,
            Order.leg != Leg.ENTRY.value,
            col(Order.state).not_in(_FINAL),
        )
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


async def _earlier_attempts(
    session: AsyncSession, position: Position, cause: str, leg: Leg
) -> _Attempts:
    row = (
        await session.exec(
            select(
                func.max(Order.attempt),
                func.max(Order.attempt).filter(col(Order.filled_quantity) > ZERO),
                func.max(Order.settled_at),
            ).where(
                Order.account_id == position.account_id,
                Order.run_id == position.run_id,
                Order.cause == cause,
                Order.leg == leg.value,
            )
        )
    ).one()
    made, filled = int(row[0] or 0), int(row[1] or 0)
    return _Attempts(made=made, in_vain=made - filled, ended_at=row[2])


async def _tell_of_failing(
    session: AsyncSession,
    run: BotRun,
    position: Position,
    exit_: tuple[str, Leg],
    earlier: _Attempts,
    wall: datetime,
) -> None:
    """Tell of an exit that the venue does not carry out, once for each cause of leaving."""
    cause, leg = exit_
    latest = await session.exec(
        select(Order.refusal_reason).where(
            Order.position_id == position.id,
            Order.run_id == run.id,
            Order.cause == cause,
            Order.leg == leg.value,
            Order.attempt == earlier.made,
        )
    )
    facts = {
        "position_id": position.id.hex,
        "symbol": position.symbol,
        "venue": run.venue,
        "mode": run.mode,
        "attempts": earlier.in_vain,
        "remaining": f"{position.open_quantity.normalize():f}",
        "reason": latest.one_or_none(),
    }
    about = f"{position.id.hex}:{cause}"
    await tell(session, position.user_id, NoticeKind.EXIT_FAILING, about, now=wall, facts=facts)


def _wait_before_retry(earlier: _Attempts, now: datetime) -> float:
    """Longer after each attempt that filled nothing; an exit that gets on does not slow down."""
    if not earlier.made or earlier.ended_at is None:
        return 0.0
    doublings = min(max(earlier.in_vain - 1, 0), RETRY_DOUBLINGS_MAX)
    pause = min(RETRY_SECONDS_FIRST * 2**doublings, RETRY_SECONDS_MAX)
    return (earlier.ended_at + timedelta(seconds=pause) - now).total_seconds()


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
