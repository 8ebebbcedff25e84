"""Sending an intended order, once.

The row is marked as being sent, and that commits, before anything leaves. From then on only a
look-up at the venue can say what became of the order. Nothing is sent a second time, but for an
exit that a look-up made intended again: under the same client order id, at a venue that answers an
id it knows with the order it has.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import OrderResult
from domain.exits import exit_limit_price
from domain.key_leases import keys_held_until
from domain.markets import MarketRules, MarketStatus, VenueKey
from domain.orders import (
    Accepted,
    CurrencyBalance,
    Leg,
    OrderState,
    OrderType,
    PlaceOutcome,
    Refused,
    Side,
    Unknown,
)
from domain.ports import (
    AccountRef,
    VenueAccount,
    VenueRefusedKeys,
    Venues,
    VenueUnavailable,
    WallClock,
)
from domain.requests import Purpose, requests_for
from models.trading import Order, Position
from services.accounts import KeysReplaced, account_ref, let_entries_pass, require_keys
from services.database import Database
from services.orders.booking import book
from services.orders.dust import last_price
from services.orders.last_gates import entry_refusal, exit_refusal, hold_bot
from services.orders.refusals import after_failed_send
from services.orders.row_locks import LockRetry, lock_position_and_order
from services.orders.sending import (
    deadline,
    free_after_refusal,
    rules_after_refusal,
    send_order,
)
from services.orders.settling import OrderSettling
from services.orders.venue_time import time_without_asking
from services.trading.entry_terms import EntryTerms, hold_terms

KEYS_REFUSED = ("keys_refused", "The broker refused the API keys")

_log = structlog.get_logger("nija.orders")


@dataclass(frozen=True, slots=True)
class _Sendable:
    """An order that may be sent.

    Attributes:
        order: its row.
        ref: its account.
        key: its venue.
        is_entry: whether it adds risk.
        venue_now: for an exit the venue's time by what is known of it; an entry asks for it.
    """

    order: Order
    ref: AccountRef
    key: VenueKey
    is_entry: bool
    venue_now: datetime | None


@dataclass(frozen=True, slots=True)
class Marked:
    """An order whose row says that it is being sent; whoever marked it sends it, at once.

    Attributes:
        sendable: what was found to send.
        account: where to.
        order: its row.
        venue_now: the venue's time.
        deadline: when the send must have ended, by the loop's clock; until then whoever removes
            the account's keys waits for it.
    """

    sendable: _Sendable
    account: VenueAccount
    order: Order
    venue_now: datetime
    deadline: float


@dataclass(frozen=True, slots=True)
class Sent:
    """An order that left, and what the venue answered."""

    marked: Marked
    outcome: PlaceOutcome


class OrderPlacing:
    """Sends intended orders."""

    def __init__(
        self,
        database: Database,
        venues: Venues,
        clock: WallClock,
        settling: OrderSettling,
    ) -> None:
        self._database = database
        self._venues = venues
        self._clock = clock
        self._settling = settling
        self._marking = LockRetry()

    async def place(self, user_id: UUID, order_id: UUID) -> OrderResult:
        """Send an order if it is still only intended, then settle what can be settled at once.

        Raises:
            VenueUnavailable: before anything was sent; the entry is still intended. An exit is sent
                without the venue's clock.
            VenueUnavailable, VenueRefusedKeys: after it was accepted; the acceptance is recorded.
        """
        marked = await self.mark(user_id, order_id)
        if isinstance(marked, OrderResult):
            return marked
        return await self.conclude(await self.send(marked))

    async def mark(
        self, user_id: UUID, order_id: UUID, *, waits: bool = True
    ) -> Marked | OrderResult:
        """Commit that an order leaves, if it is still intended; how it stands where it does not.

        Args:
            user_id: whose order it is.
            order_id: the order.
            waits: whether an exit's rows that another transaction has locked are asked for again.

        Raises:
            VenueUnavailable: the entry is still intended.
            RowsLocked: another transaction has the exit's rows locked.
        """
        while True:
            with suppress(KeysReplaced):  # since the account was read
                return await self._mark(user_id, order_id, waits=waits)

    async def _mark(self, user_id: UUID, order_id: UUID, *, waits: bool) -> Marked | OrderResult:
        sendable = await self._load(user_id, order_id)
        if sendable is None:
            return await self._settling.result(user_id, order_id)
        venue_now = sendable.venue_now
        if venue_now is None:
            venue_now = (await self._venues.market_data(sendable.key).clock()).now
        try:
            account = await self._venues.account(sendable.ref)
        except VenueRefusedKeys:
            return await self._end_without_keys(sendable.order, venue_now, waits=waits)
        until = deadline(is_entry=sendable.is_entry)
        account_id = sendable.ref.account_id

        async def mark() -> Order | None:
            return await self._mark_sending(user_id, order_id, sendable, venue_now)

        is_alone = sendable.is_entry or not waits  # an entry's own transaction waits for its rows
        try:
            order = await (mark() if is_alone else self._marking.carry_out(account_id, mark))
        except VenueRefusedKeys:  # removed since the account was read
            return await self._end_without_keys(sendable.order, venue_now, waits=waits)
        if order is None:
            return await self._settling.result(user_id, order_id)
        return Marked(sendable, account, order, venue_now, until)

    async def account(self, ref: AccountRef) -> VenueAccount:
        """Where the orders of an account are sent to.

        Raises:
            VenueRefusedKeys: its keys cannot sign a request.
        """
        return await self._venues.account(ref)

    async def mark_new(
        self,
        session: AsyncSession,
        position: Position,
        order: Order,
        ref: AccountRef,
        account: VenueAccount,
    ) -> Marked:
        """Mark an exit that is being made; to be sent once the transaction has committed.

        Making and marking in one transaction is what the gate of an exit asks for: its position
        is locked, and nobody else can have seen the order.

        Args:
            session: the transaction that makes the order.
            position: what it leaves; locked.
            order: the order, not stored yet.
            ref: the account that holds the position, with the keys that it has by the rows that
                this transaction has read since it locked the account.
            account: where to send it.
        """
        until = deadline(is_entry=False)
        key = VenueKey(ref.venue, ref.realm)
        wall = self._clock.now()
        venue_now = await time_without_asking(session, self._venues, key, order, wall)
        await self._fit_to_market(session, key, position, order)
        self._note_sending(order, venue_now)
        sendable = _Sendable(order, ref, key, is_entry=False, venue_now=venue_now)
        return Marked(sendable, account, order, venue_now, until)

    async def send(self, marked: Marked) -> Sent:
        """Send what this process has just marked; never called twice with the same mark."""
        order, is_entry = marked.order, marked.sendable.is_entry
        purpose = Purpose.ENTRY if is_entry else Purpose.EXIT
        with requests_for(purpose), keys_held_until(marked.deadline):
            outcome = await send_order(marked.account, order, marked.deadline)
        _log.info(
            "order.sent",
            order_id=str(order.id),
            leg=order.leg,
            symbol=order.symbol,
            side=order.side,
            quantity=str(order.quantity),
            outcome=type(outcome).__name__.lower(),
            refusal_code=outcome.code if isinstance(outcome, Refused) else None,
        )
        return Sent(marked, outcome)

    async def conclude(self, sent: Sent) -> OrderResult:
        """Settle what can be settled at once of an order that left.

        Raises:
            VenueUnavailable, VenueRefusedKeys: after it was accepted; the acceptance is recorded.
        """
        marked, outcome = sent.marked, sent.outcome
        order, venue_now = marked.order, marked.venue_now
        # Whatever is asked here tells what became of the order: never refused for want of requests.
        with requests_for(Purpose.LOOK_UP):
            if isinstance(outcome, Accepted):
                return await self._settle(marked, outcome)
            market = await rules_after_refusal(
                self._venues.market_data(marked.sendable.key), order, outcome
            )
            free = await free_after_refusal(marked.account, order, outcome)
        return await self._record_failure(order, outcome, venue_now, market, free)

    async def _settle(self, marked: Marked, accepted: Accepted) -> OrderResult:
        """Book the accepted order as the venue shows it; most have ended by now.

        Its acceptance alone is recorded only where nothing can be seen yet: a row still marked as
        being sent is looked up anyway.

        Raises:
            VenueUnavailable, VenueRefusedKeys: the venue could not be asked; the acceptance is
                recorded.
        """
        order = marked.order
        try:
            result = await self._settling.settle_accepted(
                order, marked.sendable.ref, accepted.venue_order_id
            )
        except (VenueUnavailable, VenueRefusedKeys):
            await self._record(order, accepted, marked.venue_now)
            raise
        if result.state is OrderState.SENDING:
            return await self._record(order, accepted, marked.venue_now)
        return result

    async def _load(self, user_id: UUID, order_id: UUID) -> _Sendable | None:
        async with self._database.for_user(user_id) as session:
            order = (await session.exec(select(Order).where(Order.id == order_id))).one()
            if order.state != OrderState.INTENDED:
                return None
            ref = await account_ref(session, order.account_id)
            key, is_entry = VenueKey(ref.venue, ref.realm), Leg(order.leg).is_entry
            venue_now = None
            if not is_entry:
                wall = self._clock.now()
                venue_now = await time_without_asking(session, self._venues, key, order, wall)
        return _Sendable(order, ref, key, is_entry, venue_now)

    async def _mark_sending(
        self, user_id: UUID, order_id: UUID, sendable: _Sendable, venue_now: datetime
    ) -> Order | None:
        """Commit that the order is about to leave; None when it must not or already has.

        Raises:
            VenueRefusedKeys, KeysReplaced: the account has not the keys any more that it had.
        """
        is_entry, key = sendable.is_entry, sendable.key
        terms: EntryTerms | None = None
        async with self._database.for_user(user_id) as session:
            if is_entry:
                # Exits take neither lock: nothing that is done to entries may keep one waiting.
                await let_entries_pass(session)
                await hold_bot(session, order_id)
                terms = await hold_terms(session, user_id, self._clock.now())
            position, order = await lock_position_and_order(session, order_id, waits=is_entry)
            if order.state != OrderState.INTENDED:
                return None
            await require_keys(session, sendable.ref)
            refusal = (
                await entry_refusal(session, terms, position, order, venue_now)
                if terms is not None
                else await exit_refusal(session, position, order)
            )
            if refusal is not None:
                state = OrderState.DENIED
                if order.sends:
                    # It may be at the venue, and what it may sell is no other's, until it is seen
                    # or was looked for in vain for long enough, from now on.
                    is_known = order.venue_order_id is not None
                    state = OrderState.OPEN if is_known else OrderState.UNKNOWN
                    order.missed_at = self._clock.now()
                await self._book_unsent(session, order_id, state, refusal, venue_now)
                return None
            if not is_entry:
                await self._fit_to_market(session, key, position, order)
            self._note_sending(order, venue_now)
            session.add(order)
        return order

    def _note_sending(self, order: Order, venue_now: datetime) -> None:
        order.state = OrderState.SENDING
        order.sends += 1
        order.sent_at = self._clock.now()
        order.venue_sent_at = venue_now
        order.venue_first_sent_at = order.venue_first_sent_at or venue_now

    async def _fit_to_market(
        self, session: AsyncSession, key: VenueKey, position: Position, order: Order
    ) -> None:
        """Send an exit as a limit order where the market is known to take no others at present."""
        rules = self._venues.market_data(key).known_rules().get(order.symbol)
        if rules is None or rules.status is not MarketStatus.LIMIT_ONLY:
            return
        if order.type == OrderType.LIMIT or order.sends:
            return
        price = await last_price(session, position) or position.stop_loss or position.decision_price
        order.type = OrderType.LIMIT
        order.limit_price = exit_limit_price(Side(order.side), price, rules, tries=0)

    async def _end_without_keys(
        self, order: Order, venue_now: datetime, *, waits: bool
    ) -> OrderResult:
        """End an order that cannot be sent for want of keys.

        An exit ends as one that the venue refused and is made again with growing delays; one that
        was sent before is of unknown fate until the venue can be asked.
        """

        async def end() -> None:
            async with self._database.for_user(order.user_id) as session:
                _position, row = await lock_position_and_order(session, order.id, waits=False)
                if row.state == OrderState.INTENDED:
                    state = OrderState.UNKNOWN if row.sends else OrderState.REFUSED
                    if Leg(row.leg).is_entry:
                        state = OrderState.DENIED
                    await self._book_unsent(session, row.id, state, KEYS_REFUSED, venue_now)

        await (self._marking.carry_out(order.account_id, end) if waits else end())
        return await self._settling.result(order.user_id, order.id)

    async def _book_unsent(
        self,
        session: AsyncSession,
        order_id: UUID,
        state: OrderState,
        refusal: tuple[str, str],
        at: datetime,
    ) -> None:
        await book(
            session,
            order_id,
            fills=(),
            state=state,
            at=at,
            wall=self._clock.now(),
            refusal=refusal,
        )
        _log.info(f"order.{state.value}", order_id=str(order_id), code=refusal[0])

    async def _record(self, order: Order, accepted: Accepted, venue_now: datetime) -> OrderResult:
        async def record() -> Order:
            async with self._database.for_user(order.user_id) as session:
                return await book(
                    session,
                    order.id,
                    fills=(),
                    state=OrderState.OPEN,
                    venue_order_id=accepted.venue_order_id,
                    at=venue_now,
                    wall=self._clock.now(),
                    waits=False,
                )

        row = await self._settling.lock_retry.carry_out(order.account_id, record)
        return OrderResult(state=OrderState(row.state))

    async def _record_failure(
        self,
        sent: Order,
        outcome: Refused | Unknown,
        venue_now: datetime,
        market: MarketRules | None = None,
        free: CurrencyBalance | None = None,
    ) -> OrderResult:
        """Book what a send that was not accepted tells about the order, whatever came meanwhile."""
        row = await self._settling.lock_retry.carry_out(
            sent.account_id,
            lambda: self._book_failure(sent, outcome, venue_now, market, free),
        )
        return OrderResult(state=OrderState(row.state))

    async def _book_failure(
        self,
        sent: Order,
        outcome: Refused | Unknown,
        venue_now: datetime,
        market: MarketRules | None,
        free: CurrencyBalance | None,
    ) -> Order:
        async with self._database.for_user(sent.user_id) as session:
            position, order = await lock_position_and_order(session, sent.id, waits=False)
            if free is not None and isinstance(outcome, Refused):
                position.sellable_quantity = free.available
                session.add(position)
                there, all_there = free.available.normalize(), free.total.normalize()
                held = f"; {there:f} {free.currency} of {all_there:f} is free"
                outcome = Refused(outcome.code, outcome.reason + held)
            if isinstance(outcome, Refused):
                order.refused_sends += 1
                session.add(order)
            told = after_failed_send(order, sent.sends, outcome)
            if told is None:
                return order
            state, refusal = told
            return await book(
                session,
                order.id,
                fills=(),
                state=state,
                at=venue_now,
                wall=self._clock.now(),
                refusal=refusal,
                market=market,
            )
