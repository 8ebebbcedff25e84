"""Exits that people and alerts ask for: all of a position, or a part of it.

All of it is a mark on the position. A part is a row of its own: several may wait, each is sold
once, and the rest of the position keeps its stop and its targets. Where nothing can be sold parts
do not pile up: those that come to all there is ask for all, and beyond `OPEN_MAX` the quantity of
one that is open already grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import structlog
from sqlalchemy import update
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.money import ZERO, floor_to_step
from domain.orders import Leg, OrderState
from domain.positions import PositionState
from domain.strategies.apex import ExitReason
from models.connections import Account
from models.markets import VenueState
from models.trading import ExitRequest, ExitRequestState, Fill, Order, Position
from services.notices import NoticeKind, tell
from services.orders.dust import TOO_SMALL
from services.orders.exit_progress import note_whether_due
from services.orders.market_rules import rules_from_record

COMMAND = "command:"
"""How the cause of what a call asked for begins."""

OPEN_MAX = 8
"""Requests of one position that are open at the same time."""

_PREFIX = "request:"

_log = structlog.get_logger("nija.orders")


def cause_of_request(request_id: UUID) -> str:
    """The cause of the exit orders that carry a request out."""
    return f"{_PREFIX}{request_id}"


async def request_exit(
    session: AsyncSession,
    position: Position,
    *,
    cause: str,
    reason: ExitReason,
    wall: datetime,
    quantity: Decimal | None = None,
) -> ExitRequest | None:
    """Ask for the exit of a position, or of a part of it. Repeating a cause changes nothing.

    Parts that come to all there is, ask for all. A position that is leaving already keeps its
    reason and cause. A pending position leaves once its entry has filled.

    Args:
        session: a transaction of the position's user.
        position: a live position; its row is locked by the caller.
        cause: what asks, such as `command:{id}` or `alert:{id}`; unique for the position.
        reason: the exit reason that the position gets if this closes it.
        wall: wall time.
        quantity: what is to leave, in the base currency, positive; None means all.

    Returns:
        The request for a part: `denied` where it is less than a quantity step, `merged` where an
        open one carries it out. None where all of the position was asked for, now or before.
    """
    known = await request_by_cause(session, position.id, cause)
    if known is not None:
        return known
    position.exit_asked_at = wall
    if position.close_requested is not None:
        return None
    if quantity is None or _is_all(position, quantity):
        await _ask_for_all(session, position, cause, reason)
        return None
    step = rules_from_record(position.rules).quantity_step
    request = ExitRequest(
        user_id=position.user_id,
        account_id=position.account_id,
        position_id=position.id,
        cause=cause,
        quantity=quantity,
        reason=reason,
        requested_at=await venue_time_of(session, position),
        created_at=wall,
    )
    if floor_to_step(quantity, step) <= ZERO:
        request.state, request.ended_at = ExitRequestState.DENIED, wall
        request.refusal_code = "quantity_minimum"
        request.refusal_reason = f"It is less than the market's step of {step:f}"
    else:
        waiting = await _open_requests(session, position.id)
        if _is_all(position, quantity + await _unsold_of(session, waiting)):
            await _ask_for_all(session, position, cause, reason)
            return None
        if len(waiting) >= OPEN_MAX:
            _merge(session, request, into=waiting[-1], wall=wall)
    session.add(request)
    await session.flush()
    return request


async def oldest_open_request(session: AsyncSession, position_id: UUID) -> ExitRequest | None:
    """The open request of a position that is to be carried out first."""
    return next(iter(await _open_requests(session, position_id)), None)


async def request_by_cause(
    session: AsyncSession, position_id: UUID, cause: str
) -> ExitRequest | None:
    """The request for a part of a position that a cause asked for."""
    found = await session.exec(
        select(ExitRequest).where(
            ExitRequest.position_id == position_id, ExitRequest.cause == cause
        )
    )
    return found.one_or_none()


async def sold_for(session: AsyncSession, position_id: UUID, cause: str) -> Decimal:
    """What the exit orders of a cause sold of a position, in the base currency."""
    found = await session.exec(
        select(func.sum(Fill.quantity))
        .join(Order, col(Order.id) == Fill.order_id)
        .where(Fill.position_id == position_id, Order.cause == cause)
    )
    return found.one() or ZERO


async def unsold(session: AsyncSession, request: ExitRequest) -> Decimal:
    """What a request still has to sell, in the base currency."""
    return await _unsold_of(session, [request])


async def asked_for(session: AsyncSession, position_id: UUID) -> Decimal:
    """What the open requests for a position still have to sell, in the base currency."""
    return await _unsold_of(session, await _open_requests(session, position_id))


async def conclude_requests(
    session: AsyncSession, position: Position, order: Order, wall: datetime
) -> None:
    """End the requests that a booking has answered.

    Args:
        session: the transaction that books.
        position: as its fills show it now; locked.
        order: what was reported about.
        wall: wall time.
    """
    if position.state in {PositionState.CLOSED, PositionState.CANCELLED}:
        await end_requests(session, position, wall)
        return
    request = await request_of(session, order)
    if request is None or request.state != ExitRequestState.OPEN:
        return
    if not OrderState(order.state).is_final:
        return
    left = await unsold(session, request)
    step = rules_from_record(position.rules).quantity_step
    is_refused = order.state == OrderState.REFUSED and order.refusal_code in TOO_SMALL
    if floor_to_step(left, step) <= ZERO:
        await end_request(session, position, request, wall, is_sold=left < request.quantity)
    elif is_refused and order.quantity == floor_to_step(left, step):
        # One for less was cut to what was free then; one for more broke a step that grew.
        refusal = (order.refusal_code or "", order.refusal_reason or "")
        is_sold = left < request.quantity
        await end_request(session, position, request, wall, is_sold=is_sold, refusal=refusal)


async def end_request(
    session: AsyncSession,
    position: Position,
    request: ExitRequest,
    wall: datetime,
    *,
    is_sold: bool,
    refusal: tuple[str, str] = ("quantity_minimum", "It is less than the market's step"),
) -> None:
    """End a request: done where anything of it was sold, else denied with the reason.

    Whoever asked for it by a call had its answer long before, and is told; an alert has an outcome.
    """
    request.state = ExitRequestState.DONE if is_sold else ExitRequestState.DENIED
    request.ended_at = wall
    if not is_sold:
        request.refusal_code, request.refusal_reason = refusal
        if await _is_of_a_call(session, request):
            await _tell_refused(session, position, request, wall)
    session.add(request)
    await note_whether_due(session, position)
    _log.info("exit_request.ended", request_id=str(request.id), state=request.state)


async def _is_of_a_call(session: AsyncSession, request: ExitRequest) -> bool:
    """Whether a call asked for it, or for a part that was merged into it."""
    if request.cause.startswith(COMMAND):
        return True
    merged = await session.exec(
        select(ExitRequest.id)
        .where(ExitRequest.merged_into == request.id, col(ExitRequest.cause).startswith(COMMAND))
        .limit(1)
    )
    return merged.first() is not None


async def _tell_refused(
    session: AsyncSession, position: Position, request: ExitRequest, wall: datetime
) -> None:
    account = await session.get_one(Account, position.account_id)
    facts = {
        "position_id": position.id.hex,
        "symbol": position.symbol,
        "mode": account.mode,
        "quantity": f"{request.quantity.normalize():f}",
        "reason": request.refusal_reason,
    }
    kind, about = NoticeKind.EXIT_PART_REFUSED, request.id.hex
    await tell(session, position.user_id, kind, about, now=wall, facts=facts)


async def request_of(session: AsyncSession, order: Order) -> ExitRequest | None:
    """The request that an exit order carries out, if it does one."""
    if order.leg != Leg.REDUCE or not order.cause.startswith(_PREFIX):
        return None
    return await session.get(ExitRequest, UUID(order.cause.removeprefix(_PREFIX)))


async def _open_requests(session: AsyncSession, position_id: UUID) -> Sequence[ExitRequest]:
    """Oldest first."""
    found = await session.exec(
        select(ExitRequest)
        .where(
            ExitRequest.position_id == position_id,
            ExitRequest.state == ExitRequestState.OPEN.value,
        )
        .order_by(col(ExitRequest.created_at), col(ExitRequest.id))
    )
    return found.all()


async def _unsold_of(session: AsyncSession, requests: Sequence[ExitRequest]) -> Decimal:
    """What requests of one position still have to sell together, in the base currency."""
    if not requests:
        return ZERO
    causes = [cause_of_request(request.id) for request in requests]
    rows = await session.exec(
        select(col(Order.cause), func.sum(Fill.quantity))
        .join(Fill, col(Fill.order_id) == Order.id)
        .where(Fill.position_id == requests[0].position_id, col(Order.cause).in_(causes))
        .group_by(col(Order.cause))
    )
    sold: dict[str, Decimal] = dict(rows.all())
    left = (
        request.quantity - sold.get(cause, ZERO)
        for request, cause in zip(requests, causes, strict=True)
    )
    return sum((max(ZERO, quantity) for quantity in left), ZERO)


async def _ask_for_all(
    session: AsyncSession, position: Position, cause: str, reason: ExitReason
) -> None:
    position.close_requested = reason
    position.close_cause = cause
    session.add(position)
    await session.flush()


def _merge(
    session: AsyncSession, request: ExitRequest, *, into: ExitRequest, wall: datetime
) -> None:
    """Have an open request sell what another one asks for; the other is kept for the record."""
    into.quantity += request.quantity
    session.add(into)
    request.state, request.merged_into = ExitRequestState.MERGED, into.id
    request.ended_at = wall


def _is_all(position: Position, quantity: Decimal) -> bool:
    step = rules_from_record(position.rules).quantity_step
    return position.state == PositionState.OPEN and quantity >= floor_to_step(
        position.open_quantity, step
    )


async def end_requests(session: AsyncSession, position: Position, wall: datetime) -> None:
    """End what is left of the requests for a position that is over."""
    is_closed = position.state == PositionState.CLOSED
    values: dict[str, object] = {"state": ExitRequestState.DONE.value, "ended_at": wall}
    if not is_closed:
        values |= {
            "state": ExitRequestState.DENIED.value,
            "refusal_code": "never_opened",
            "refusal_reason": "The position's entry did not fill",
        }
    await session.exec(
        update(ExitRequest)
        .where(
            col(ExitRequest.position_id) == position.id,
            col(ExitRequest.state) == ExitRequestState.OPEN.value,
        )
        .values(**values)
    )


async def venue_time_of(session: AsyncSession, position: Position) -> datetime:
    """The venue's clock as last seen; when the position was opened where it was never seen."""
    found = await session.exec(
        select(col(VenueState.clock_at))
        .join(
            Account,
            (col(Account.venue) == VenueState.venue) & (col(Account.realm) == VenueState.realm),
        )
        .where(Account.id == position.account_id)
    )
    return found.first() or position.opened_at
