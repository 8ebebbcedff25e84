"""Finding out what became of an order, and booking it.

The venue's own report is the only source; what it amounts to is decided by
`domain.reconciliation.settle`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import OrderResult
from domain.markets import VenueKey
from domain.money import ZERO
from domain.orders import Leg, OrderReport, OrderState, Side
from domain.ports import (
    AccountRef,
    VenueAccount,
    VenueRefusedKeys,
    Venues,
    VenueUnavailable,
    WallClock,
)
from domain.positions import PositionState
from domain.reconciliation import Anomaly, Correction, OurOrder, settle
from domain.requests import Purpose, requests_for
from models.bots import BotRun, RunState
from models.connections import Account
from models.trading import Fill, Order, Position
from services.accounts import account_ref
from services.database import Database
from services.notices import NoticeKind, tell
from services.orders.booking import book
from services.orders.cancelling import OrderCancelling
from services.orders.conditions import is_in
from services.orders.exit_progress import LATE_AFTER, note_lateness
from services.orders.look_ups import Seen, filled_of, look_up, look_up_widely
from services.orders.refusals import ABSENT, REPETITION_WITHHELD, Refusal, is_judged
from services.orders.refused_keys import delay_with_refused_keys
from services.orders.resending import OrderResending
from services.orders.row_locks import CONNECTIONS_MAX, LockRetry, lock_position_and_order
from services.orders.venue_time import time_of_look_up

SEND_LENGTH_MAX = timedelta(seconds=12)
"""Wall time after which a send counts as unanswered."""

ENTRY_SEND_LENGTH_MAX = timedelta(seconds=4)
"""The same for entries, counted from before they are marked as being sent. It is shorter than
engaging a kill switch waits, so that no entry can begin after the switch was reported engaged."""

IN_FLIGHT_MAX = SEND_LENGTH_MAX + timedelta(seconds=3)
"""Wall time in which a send may still arrive at the venue: until then not listed proves nothing,
however fast the venue's own clock runs."""

DOUBT_LENGTH = timedelta(minutes=30)
"""How long an order taken for absent is still looked for: a venue may list it late. The same time
is given to one that the venue accepted and no longer knows, from when it was first asked in vain,
before it is taken for absent. What the venue could not be asked in that time is asked once it can
be (`is_doubted`)."""

ACCEPTED_SECONDS_MAX = 2.0
"""How long the look at an order that was just accepted may delay the record of its acceptance."""

UNSEEN_SECONDS_MAX = 3.0
"""How much longer a look-up may take than until the order is to be sent again."""

_log = structlog.get_logger("nija.orders")


class OrderSettling:
    """Looks orders up and books what is found.

    Attributes:
        lock_retry: carries bookings out while other transactions hold rows.
    """

    def __init__(
        self,
        database: Database,
        venues: Venues,
        clock: WallClock,
        *,
        grace: timedelta,
        bookings_at_once: int = CONNECTIONS_MAX,
    ) -> None:
        self._database = database
        self._venues = venues
        self._clock = clock
        self._grace = grace
        self.lock_retry = LockRetry(of_all=bookings_at_once)
        self._cancelling = OrderCancelling(database, clock, self.lock_retry)
        self._resending = OrderResending(database, self.lock_retry, grace)

    async def result(self, user_id: UUID, order_id: UUID) -> OrderResult:
        """Where an order stands by our own books."""
        order, _ours, _ref = await self._load(user_id, order_id)
        return _result(order)

    async def settle(
        self, user_id: UUID, order_id: UUID, *, doubt_the_end: bool = False
    ) -> OrderResult:
        """Look an order up and book it.

        An order never sent is left alone, and so is a final one unless its end is doubted: one
        taken for absent may come back.

        Raises:
            VenueUnavailable, VenueRefusedKeys: the venue could not be asked.
        """
        return await self._settle(user_id, order_id, doubt_the_end=doubt_the_end)

    async def settle_or_delay(self, user_id: UUID, order_id: UUID) -> OrderResult:
        """As `settle`, for who carries the order out and asks until there is an end.

        With refused keys it is asked for after a delay. An exit that cannot be asked for is sent
        again where a repetition makes no second order.

        Raises:
            VenueUnavailable: the venue could not be asked, and it is not to be sent again now.
        """
        try:
            return await self._settle(user_id, order_id, resends_unseen=True)
        except VenueRefusedKeys:
            order, _ours, _ref = await self._load(user_id, order_id)
            delay = delay_with_refused_keys(order, self._clock.now())
            return _result(order).model_copy(update={"keys_refused_seconds": delay})

    async def _settle(
        self,
        user_id: UUID,
        order_id: UUID,
        *,
        doubt_the_end: bool = False,
        resends_unseen: bool = False,
    ) -> OrderResult:
        order, ours, ref = await self._load(user_id, order_id)
        if order.state == OrderState.INTENDED or (ours.state.is_final and not doubt_the_end):
            return _result(order)
        try:
            with requests_for(Purpose.LOOK_UP):
                result = await self._look_up(order, ours, ref, resends_unseen=resends_unseen)
        except (VenueUnavailable, VenueRefusedKeys):
            await self._note_lateness(order, is_unanswered=True)
            raise
        if not result.state.is_final:
            await self._note_lateness(order, is_unanswered=False)
        return result

    async def _note_lateness(self, order: Order, *, is_unanswered: bool) -> None:
        """Have the user told of an exit whose fate takes its time, whatever keeps it."""
        wall = self._clock.now()
        if order.leg == Leg.ENTRY or wall - order.intended_at < LATE_AFTER:
            return
        async with self._database.for_user(order.user_id) as session:
            await note_lateness(session, order.id, wall, is_unanswered=is_unanswered)

    async def settle_accepted(
        self, order: Order, ref: AccountRef, venue_order_id: str
    ) -> OrderResult:
        """Look up an order that the venue has just accepted, and book it.

        Args:
            order: the row as it was marked as being sent; it has no fills.
            ref: its account.
            venue_order_id: the venue's id of it.

        Returns:
            How it stands; still `sending` when the venue does not list it yet, and then nothing
            was booked.

        Raises:
            VenueUnavailable, VenueRefusedKeys: the venue could not be asked.
        """
        order.venue_order_id = venue_order_id
        ours = _our_order(order, {})
        return await self._look_up(order, ours, ref, just_accepted=True)

    async def _look_up(
        self,
        order: Order,
        ours: OurOrder,
        ref: AccountRef,
        *,
        just_accepted: bool = False,
        resends_unseen: bool = False,
    ) -> OrderResult:
        account = await self._venues.account(ref)
        repeats = account.repeats_known_orders
        resend_at = self._resending.unseen_due_at(order) if resends_unseen and repeats else None
        try:
            seen = await _ask(account, order, self._look_up_seconds(resend_at, just_accepted))
        except VenueUnavailable:
            if resend_at is None or self._clock.now() < resend_at:
                raise
            return _result(await self._resending.resend(order))
        key = VenueKey(ref.venue, ref.realm)
        now = await time_of_look_up(self._database, self._venues, key, order, self._clock.now())
        report, fills = seen
        now = max([now, *(fill.filled_at for fill in fills)])
        if report is not None and order.missed_at is not None:
            await self._note_missed(order, None)
        if report is None and not filled_of(ours, fills):
            if repeats and not just_accepted and self._resending.may(order):
                if self._resending.is_due(order, self._clock.now()):
                    return _result(await self._resending.resend(order))
                if ours.state.needs_lookup:
                    # The venue's answer to the repetition will tell what a listing that lags does
                    # not: however late it is, the order is not taken for absent before.
                    return _result(order)
            if just_accepted or self._is_in_flight(order) or self._is_withheld(order):
                return _result(order)
        return await self._conclude(order, ours, ref, account, seen, now)

    async def _conclude(
        self,
        order: Order,
        ours: OurOrder,
        ref: AccountRef,
        account: VenueAccount,
        seen: Seen,
        now: datetime,
    ) -> OrderResult:
        """Book what the venue shows of an order; nothing of it is waited for any more."""
        report, fills = seen
        correction = settle(ours, report, fills, now=now, grace=self._grace)
        if ours.state.needs_lookup and correction and correction.state is OrderState.ABSENT:
            report, fills = await look_up_widely(account, order)
            correction = settle(ours, report, fills, now=now, grace=self._grace)
        if correction is not None and Anomaly.VANISHED in correction.anomalies:
            await self._note_vanished(order, ref, account)
        result = await self._correct(order, ours, report, correction, now)
        if report is None or report.state.is_final or result.state.is_final:
            return result
        return await self._cancel_if_stuck(order, ours, account, report, result)

    async def _correct(
        self,
        order: Order,
        ours: OurOrder,
        report: OrderReport | None,
        correction: Correction | None,
        now: datetime,
    ) -> OrderResult:
        if correction is None:
            return _result(order)
        if report is None and order.venue_order_id is not None:
            correction = self._end_unlisted(order, ours, correction)
        return await self._book(order, ours, correction, now)

    async def _cancel_if_stuck(
        self,
        order: Order,
        ours: OurOrder,
        account: VenueAccount,
        report: OrderReport,
        result: OrderResult,
    ) -> OrderResult:
        """Cancel an immediate order that the venue still has open, and look what became of it."""
        if ours.state.is_final or not self._cancelling.is_due(order):
            return result
        await self._cancelling.cancel(order, account, report.venue_order_id)
        order, ours, ref = await self._load(order.user_id, order.id)
        if ours.state.is_final or ours.state is OrderState.INTENDED:
            return _result(order)
        return await self._look_up(order, ours, ref)

    def _look_up_seconds(self, resend_at: datetime | None, just_accepted: bool) -> float | None:
        """How long a look-up may take: none that lasts keeps an exit from being sent again."""
        if just_accepted:
            return ACCEPTED_SECONDS_MAX
        if resend_at is None:
            return None
        left = (resend_at - self._clock.now()).total_seconds()
        return max(left, 0.0) + UNSEEN_SECONDS_MAX

    def _end_unlisted(self, order: Order, ours: OurOrder, correction: Correction) -> Correction:
        """Judge an order that the venue had accepted and does not know any more by its fills.

        One that they do not complete may be carried out yet. It is doubted for as long as one that
        never arrived is, counted from the first look that missed it: a venue that was away may need
        a moment to list what it has. Then it counts as absent like that one: whatever waits for its
        end goes on, and a fill that turns up later is booked.
        """
        filled = ours.filled_quantity + sum((fill.quantity for fill in correction.new_fills), ZERO)
        if filled >= ours.quantity:
            is_back = frozenset({Anomaly.CAME_BACK} if ours.state.is_final else ())
            anomalies = correction.anomalies | is_back
            return replace(correction, state=OrderState.FILLED, anomalies=anomalies)
        if not ours.state.is_final and self._has_passed(order.missed_at, DOUBT_LENGTH):
            return replace(correction, state=OrderState.ABSENT)
        return correction

    def _has_passed(self, since: datetime | None, length: timedelta) -> bool:
        return since is not None and self._clock.now() - since >= length

    async def _note_missed(self, order: Order, at: datetime | None) -> None:
        order.missed_at = at

        async def note() -> None:
            async with self._database.for_user(order.user_id) as session:
                _position, row = await lock_position_and_order(session, order.id, waits=False)
                row.missed_at = at
                session.add(row)

        await self.lock_retry.carry_out(order.account_id, note)

    async def _note_vanished(self, order: Order, ref: AccountRef, account: VenueAccount) -> None:
        if order.missed_at is None:
            await self._note_missed(order, self._clock.now())
        if not self._has_passed(order.sent_at, self._grace):
            return  # venues may list what they just accepted a moment later
        facts = {
            "position_id": order.position_id.hex,
            "symbol": order.symbol,
            "leg": order.leg,
            "venue": ref.venue,
            "is_sent_again": account.repeats_known_orders and self._resending.may(order),
        }
        async with self._database.for_user(order.user_id) as session:
            about, now = order.id.hex, self._clock.now()
            kind = NoticeKind.ORDER_VANISHED
            await tell(session, order.user_id, kind, about, now=now, facts=facts)

    def _is_in_flight(self, order: Order) -> bool:
        """Whether a send of it may still arrive, or be answered.

        Also once the latest was answered: the one before it left less than that long ago.
        """
        is_awaited = order.state == OrderState.SENDING or (
            order.state == OrderState.UNKNOWN and order.sends > 1
        )
        if not is_awaited or order.sent_at is None:
            return False
        return self._clock.now() - order.sent_at <= IN_FLIGHT_MAX

    def _is_withheld(self, order: Order) -> bool:
        """Whether it may have sold, unlisted so far, and is kept from being sent again.

        The grace is short since a repetition tells more than a listing that lags. Without one the
        exit is doubted for as long as an accepted one, before another is made in its place.
        """
        is_unknown = OrderState(order.state).needs_lookup
        is_withheld = is_unknown and order.refusal_code == REPETITION_WITHHELD
        return is_withheld and not self._has_passed(order.missed_at, DOUBT_LENGTH)

    async def _load(self, user_id: UUID, order_id: UUID) -> tuple[Order, OurOrder, AccountRef]:
        async with self._database.for_user(user_id) as session:
            order = (await session.exec(select(Order).where(Order.id == order_id))).one()
            fills = (
                await session.exec(
                    select(col(Fill.venue_fill_id), col(Fill.quantity)).where(
                        Fill.order_id == order_id
                    )
                )
            ).all()
            ref = await account_ref(session, order.account_id)
        return order, _our_order(order, dict(fills)), ref

    async def _book(
        self, order: Order, ours: OurOrder, correction: Correction, now: datetime
    ) -> OrderResult:
        for anomaly in sorted(correction.anomalies):
            _log.error("order.anomaly", order_id=str(order.id), anomaly=anomaly.value)
        if not correction.changes(ours):
            return _result(order)

        async def carry_out() -> tuple[Order, bool]:
            is_absent = correction.state is OrderState.ABSENT
            async with self._database.for_user(order.user_id) as session:
                booked = await book(
                    session,
                    order.id,
                    fills=correction.new_fills,
                    state=correction.state,
                    venue_order_id=correction.venue_order_id,
                    at=now,
                    wall=self._clock.now(),
                    refusal=_absence(order) if is_absent else None,
                    came_back=Anomaly.CAME_BACK in correction.anomalies,
                    waits=False,
                )
                return booked, await _is_guard_due(session, booked)

        booked, guard_due = await self.lock_retry.carry_out(order.account_id, carry_out)
        _log.info(
            "order.settled",
            order_id=str(booked.id),
            leg=booked.leg,
            symbol=booked.symbol,
            side=booked.side,
            state=booked.state,
            filled_quantity=str(booked.filled_quantity),
        )
        return _result(booked, guard_due=guard_due)


async def _ask(account: VenueAccount, order: Order, seconds_max: float | None) -> Seen:
    try:
        async with asyncio.timeout(seconds_max):
            return await look_up(account, order)
    except TimeoutError:
        raise VenueUnavailable("The venue takes its time to show the order") from None


def is_doubted(now: datetime) -> ColumnElement[bool]:
    """Which orders were taken for absent and may yet turn up, in a statement with their accounts.

    Time alone does not end the doubt, or an order that was filled would be lost with a venue or
    worker that was away for longer: a reconciliation of the account that the venue answered has to
    come after its end.
    """
    until = func.least(now, col(Account.reconciled_at)) - DOUBT_LENGTH
    return (is_in(OrderState.ABSENT)) & (
        col(Account.reconciled_at).is_(None) | (col(Order.settled_at) > until)
    )


async def _is_guard_due(session: AsyncSession, order: Order) -> bool:
    """Whether something is left to guard: an exit to repeat, or a run that may end now.

    Not after an entry whose fill armed all there is to guard, unless its exit is asked for, nor
    after the exit that closed the position of a run that goes on.
    """
    position = await session.get(Position, order.position_id)
    if position is None or not order.filled_quantity:
        return True
    if order.leg == Leg.ENTRY:
        return position.close_requested is not None
    if position.state != PositionState.CLOSED:
        return True
    run = await session.get(BotRun, position.run_id)
    return run is None or run.state != RunState.ENTERING


def _absence(order: Order) -> Refusal:
    if order.refusal_code is not None and is_judged(order.refusal_code):
        return order.refusal_code, order.refusal_reason or ""
    if order.venue_order_id is None:
        return ABSENT, "The venue never had the order"
    return ABSENT, "The venue had accepted the order and does not know it any more"


def _our_order(order: Order, fills: dict[str, Decimal]) -> OurOrder:
    return OurOrder(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=Side(order.side),
        quantity=order.quantity,
        state=OrderState(order.state),
        sent_at=order.venue_sent_at,
        venue_order_id=order.venue_order_id,
        fills=fills,
    )


def _result(order: Order, *, guard_due: bool = True) -> OrderResult:
    return OrderResult(
        state=OrderState(order.state),
        filled_quantity=order.filled_quantity,
        guard_due=guard_due,
    )
