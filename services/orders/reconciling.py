"""Reconciliation of accounts: our books against the venue's.

Fills are booked one by one; this compares the sums (`comparing`). An order of ours whose end we
missed is settled first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, update
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, func, nulls_first, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Mode, VenueKey
from domain.orders import Balances
from domain.ports import (
    AccountRef,
    VenueAccount,
    VenueRefusedKeys,
    Venues,
    VenueUnavailable,
    WallClock,
)
from domain.reconciliation import BalanceFinding
from models.bots import BotRun, RunState
from models.connections import Account, Connection, ConnectionStatus
from models.ledgers import Flow
from models.trading import Fill, Order
from services.accounts import account_ref
from services.database import Database
from services.isolation import isolated
from services.markets.holding_prices import Holding, ask_prices
from services.markets.last_clock import clock_by_any_means
from services.notices import NoticeKind, tell
from services.orders.comparing import (
    close_what_is_short,
    compare_balances,
    compared_balances,
)
from services.orders.conditions import is_under_way
from services.orders.doubted_orders import ToLookUp, orders_to_look_up
from services.orders.emptied import remove_emptied
from services.orders.exit_progress import tell_of_late_exits
from services.orders.keyless import (
    cancel_triggers_without_keys,
    end_orders_without_keys,
    mark_positions_without_keys,
)
from services.orders.late_reports import (
    SETTLES_WITHIN,
    Unsettled,
    correct_fee,
    find_late_reports,
    may_be_settled,
    oldest_unsettled,
    unread_commissions_max,
)
from services.orders.settling import DOUBT_LENGTH, OrderSettling, is_doubted
from services.orders.turns import Turns, UserAccount

PATIENCE = 9
"""Paper accounts wait this many intervals longer: nobody but us moves their books. So do those that
are asked for commissions only."""

READ_AGAIN = timedelta(minutes=15)
"""Wall time after which executions are read again whose commissions may still change."""

_log = structlog.get_logger("nija.reconcile")


@dataclass(slots=True)
class _Begun:
    """A reconciliation that may take several turns.

    Attributes:
        counts_until: wall time up to which it ends doubts: since when it looks orders up, or less.
        looked_up: orders that it has looked up, whatever came of it.
        cut_off: orders whose look-up a turn's end has cut off.
        unknown: markets of which something could not be found out: nothing is concluded from their
            currencies.
        unread_since: venue time from which on executions were to be read again and could not be:
            they may explain what came, and by their commissions what went, so only what cannot be
            sold any more is concluded. None where nothing is unread.
    """

    counts_until: datetime
    looked_up: set[UUID] = field(default_factory=set)
    cut_off: set[UUID] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    unread_since: datetime | None = None

    def leave_unread(self, unsettled: Unsettled | None, since: datetime) -> None:
        """Go on without what the executions would tell; a doubt about their commissions lasts."""
        self.unread_since = since
        if unsettled is not None:
            end = unsettled.settled_at + SETTLES_WITHIN
            self.counts_until = min(self.counts_until, end - datetime.resolution)

    def leave_out(self, order: ToLookUp) -> None:
        """Go on without what an order's look-up would tell; a doubt about it lasts."""
        self.looked_up.add(order.order_id)
        self.unknown.add(order.symbol)
        if order.absent_since is not None:
            end = order.absent_since + DOUBT_LENGTH
            self.counts_until = min(self.counts_until, end - datetime.resolution)


class Reconciling:
    """Reconciles accounts that trade, or did a moment ago."""

    def __init__(
        self,
        database: Database,
        venues: Venues,
        settling: OrderSettling,
        clock: WallClock,
        *,
        interval_seconds: float,
    ) -> None:
        self._database = database
        self._venues = venues
        self._settling = settling
        self._clock = clock
        self._interval = timedelta(seconds=interval_seconds)
        self._turns = Turns(self._try)
        self._begun: dict[UUID, _Begun] = {}
        self._has_begun_all = False
        self._read_at: dict[UUID, datetime] = {}

    async def run(self, interval_seconds: float) -> None:
        """Reconcile until cancelled, by rounds that wait for no account.

        The first gives everybody a turn: a crash may have been anywhere. It is not repeated because
        something else fails, which may be every second for long: asking venues for every account as
        often would use up what they allow.
        """
        try:
            while True:
                for part in (self._tell, self._begin, self._end_without_keys, self._remove_emptied):
                    await self._do(part)
                await asyncio.sleep(interval_seconds)
        finally:
            await self._turns.stop()

    async def reconcile_due(self, *, everybody: bool) -> None:
        """Reconcile every account that trades and whose last time is too long ago.

        An account with an order whose absence may be doubted counts as trading, and one that
        traded is asked for a while whether its commissions were settled since. Connections that
        were kept for such an order, or for a run that has ended since, go afterwards.
        """
        await self._tell()
        await asyncio.gather(*self._turns.begin(await self._due(everybody=everybody)))
        await self._end_without_keys()
        await self._remove_emptied()

    async def _do(self, part: Callable[[], Awaitable[None]]) -> None:
        try:
            await part()
        except (SQLAlchemyError, OSError) as failure:
            _log.warning("reconcile.later", part=part.__name__, error=type(failure).__name__)
        except Exception as failure:  # noqa: BLE001 - a boundary: the other parts go on
            _log.exception("reconcile.defect", part=part.__name__, error=type(failure).__name__)

    async def _tell(self) -> None:
        await tell_of_late_exits(self._database, self._clock)

    async def _begin(self) -> None:
        self._turns.begin(await self._due(everybody=not self._has_begun_all))
        self._has_begun_all = True

    async def _due(self, *, everybody: bool) -> Sequence[UserAccount]:
        now = self._clock.now()
        before, tried_at = now - self._interval, col(Account.reconcile_tried_at)
        live = select(BotRun.account_id).where(BotRun.state != RunState.ENDED.value)
        doubted = (
            select(Order.account_id)
            .join(Account, col(Account.id) == Order.account_id)
            .where(is_doubted(now))
            .correlate(None)
        )
        trades = col(Account.id).in_(live) | col(Account.id).in_(doubted)
        statement = select(col(Account.user_id), col(Account.id)).where(trades | _settles(now))
        if not everybody:
            statement = statement.where(
                tried_at.is_(None)
                | (tried_at < before - PATIENCE * self._interval)
                | ((col(Account.mode) == Mode.LIVE.value) & (tried_at < before) & trades)
            )
        statement = statement.order_by(nulls_first(tried_at), col(Account.id))
        async with self._database.as_system() as session:
            return (await session.exec(statement)).all()

    async def _end_without_keys(self) -> None:
        await end_orders_without_keys(self._database, self._venues, self._clock)
        await mark_positions_without_keys(self._database)
        await cancel_triggers_without_keys(self._database)

    async def _remove_emptied(self) -> None:
        live = select(BotRun.account_id).where(BotRun.state != RunState.ENDED.value)
        leaving = (
            select(col(Account.user_id), col(Account.id))
            .join(Connection, col(Connection.id) == Account.connection_id)
            .where(
                Connection.status == ConnectionStatus.EXIT_ONLY.value, col(Account.id).not_in(live)
            )
        )
        async with self._database.as_system() as session:
            found = (await session.exec(leaving)).all()
        for user_id, account_id in found:
            with isolated("reconcile.connection_not_removed", account_id=account_id):
                async with self._database.for_user(user_id) as session:
                    await remove_emptied(session, account_id, self._clock.now())

    async def _try(self, user_id: UUID, account_id: UUID) -> None:
        error, until = None, self._clock.now()
        try:
            until = await self.reconcile(user_id, account_id)
        except VenueUnavailable:
            # Not knowing is not a difference: the last reconciliation stands, the next round asks
            # again.
            return
        except VenueRefusedKeys:
            error = "The broker refused the API keys"
        else:
            await self._note_working_keys(user_id, account_id)
        async with self._database.for_user(user_id) as session:
            now = self._clock.now()
            account = (
                await session.exec(
                    select(Account)
                    .where(Account.id == account_id)
                    .with_for_update(key_share=True)
                    .execution_options(populate_existing=True)
                )
            ).one_or_none()
            if account is None:  # its user was deleted meanwhile
                return
            if error is not None and not await _trades(session, account_id, now):
                account.reconcile_tried_at = now  # nobody needs these keys now: they are no news
                return
            is_removed = await _is_removed(session, account)
            if error is not None and account.reconcile_error is None and not is_removed:
                about, facts = f"{account_id.hex}:{now:%Y-%m-%d}", {"venue": account.venue}
                await tell(session, user_id, NoticeKind.KEYS_REFUSED, about, now=now, facts=facts)
            account.reconcile_error, account.reconcile_tried_at = error, now
            if error is None or is_removed:
                # Refused keys have seen nothing, so they end no doubt; those of a connection that
                # was removed never will.
                account.reconciled_at = until
            session.add(account)

    async def _note_working_keys(self, user_id: UUID, account_id: UUID) -> None:
        """Note of keys that were refused that they work: exits of the account wait for that.

        Before the account says so too, in a transaction that locks the connection alone: who dies
        between the two notes it again.
        """
        refused = select(Account.connection_id).where(
            Account.id == account_id, col(Account.reconcile_error).is_not(None)
        )
        async with self._database.for_user(user_id) as session:
            await session.exec(
                update(Connection)
                .where(
                    col(Connection.id).in_(refused),
                    col(Connection.status) != ConnectionStatus.REMOVED.value,
                )
                .values(last_connected_at=self._clock.now())
            )

    async def reconcile(self, user_id: UUID, account_id: UUID) -> datetime:
        """Settle what is unsettled, then compare balances. Running it twice is running it once.

        What cannot be found out about one order keeps only its own two currencies from being
        compared. One that is cut off goes on behind the orders that it has looked up: with many of
        them, each slow, it would otherwise never come to the last.

        Returns:
            Wall time since which everything was looked up whose end was doubted; where something
            could not be, a time that does not end the doubt about it.

        Raises:
            VenueUnavailable, VenueRefusedKeys: the venue could not be asked.
        """
        begun = self._begun.pop(account_id, None) or _Begun(self._clock.now())
        try:
            await self._go_on(user_id, account_id, begun)
        except asyncio.CancelledError:
            self._begun[account_id] = begun
            raise
        return begun.counts_until

    async def _go_on(self, user_id: UUID, account_id: UUID, begun: _Begun) -> None:
        async with self._database.for_user(user_id) as session:
            ref = await account_ref(session, account_id)
            orders = await orders_to_look_up(session, account_id, self._clock.now())
            mark = await _mark(session, account_id)
        account = await self._venues.account(ref)
        for order in orders:
            if order.order_id not in begun.looked_up:
                await self._look_up(ref, account, order, begun)
        observed = await account.balances()
        key = VenueKey(ref.venue, ref.realm)
        market = self._venues.market_data(key)
        now = (await clock_by_any_means(self._database, self._venues, key, self._clock.now())).now
        differing = await self._differing(ref, observed)
        if await self._book_late_reports(ref, account, now, begun, differs=bool(differing)):
            observed = await account.balances()
        if differing:
            with (
                isolated("reconcile.not_priced", account_id=account_id),
                suppress(VenueUnavailable),
            ):
                # What came or went is worth what it costs now, in whatever currency.
                await ask_prices(self._database, market, differing)
        async with self._database.for_user(user_id) as session:
            # Locked, so that no intent or booking of this account moves while the two are compared.
            locked = (
                await session.exec(
                    select(Account).where(Account.id == account_id).with_for_update()
                )
            ).one()
            if await _mark(session, account_id) != mark:
                # Something moved between reading the venue and now; the sums would not be of one
                # moment.
                return
            markets = market.known_rules()
            busy, wall = await _busy_currencies(session, account_id, begun), self._clock.now()
            if busy or begun.unread_since is not None:
                explained: Mapping[str, Decimal] = {}
                if begun.unread_since is not None:
                    explained = await unread_commissions_max(
                        session, account_id, since=begun.unread_since
                    )
                await close_what_is_short(
                    session, locked, observed, markets, busy, explained, now=now, wall=wall
                )
            else:
                await compare_balances(session, locked, observed, markets, now=now, wall=wall)

    async def _look_up(
        self, ref: AccountRef, account: VenueAccount, order: ToLookUp, begun: _Begun
    ) -> None:
        """Settle one order; one of which nothing can be found out now is left to the next time.

        Raises:
            VenueUnavailable, VenueRefusedKeys: nothing of the account can be found out now.
        """
        try:
            await self._settling.settle(ref.user_id, order.order_id, doubt_the_end=order.is_final)
        except asyncio.CancelledError:
            if order.order_id in begun.cut_off:  # it alone takes longer than a turn
                begun.leave_out(order)
            begun.cut_off.add(order.order_id)
            raise
        except VenueRefusedKeys:
            raise
        except Exception as failure:  # noqa: BLE001 - a boundary: the other orders are looked up
            is_passing = isinstance(failure, VenueUnavailable | SQLAlchemyError | OSError)
            log = _log.warning if is_passing else _log.exception
            log(
                "reconcile.order_unknown",
                order_id=str(order.order_id),
                error=type(failure).__name__,
            )
            begun.leave_out(order)
            if isinstance(failure, VenueUnavailable):
                # Is it this order, or is the venue away? Then each of the others would cost the
                # time that an answer may take.
                await account.balances()
        begun.looked_up.add(order.order_id)

    async def _differing(self, ref: AccountRef, observed: Balances) -> Sequence[Holding]:
        """The currencies whose balances are not the venue's, however little the difference is.

        One that is too small for money from outside may be a commission all the same.
        """
        markets = self._venues.market_data(VenueKey(ref.venue, ref.realm)).known_rules()
        async with self._database.for_user(ref.user_id) as session:
            row = (await session.exec(select(Account).where(Account.id == ref.account_id))).one()
            compared = await compared_balances(session, row, observed, markets)
        return [
            (one.currency, row.currency)
            for one in compared
            if one.difference or one.finding is not BalanceFinding.MATCHES
        ]

    async def _book_late_reports(
        self,
        ref: AccountRef,
        account: VenueAccount,
        now: datetime,
        begun: _Begun,
        *,
        differs: bool,
    ) -> bool:
        """Book what the venue has settled or listed since its report; whether any was.

        Commissions and fills that come late are no money from outside. Balances that agree say
        little: they may have had a commission before the venue listed it.
        """
        wall = self._clock.now()
        async with self._database.for_user(ref.user_id) as session:
            unsettled = await oldest_unsettled(session, ref.account_id, wall)
        read_at = self._read_at.get(ref.account_id)
        is_due = unsettled is not None and (read_at is None or wall - read_at >= READ_AGAIN)
        if unsettled is None:
            self._read_at.pop(ref.account_id, None)
        begun.unread_since = None
        if not (differs or is_due):
            return False
        since = now - SETTLES_WITHIN
        if unsettled is not None:
            since = min(since, unsettled.filled_at)
        try:
            listed = await account.fills(since=since)
        except VenueUnavailable as failure:
            _log.warning(
                "reconcile.executions_unread",
                account_id=str(ref.account_id),
                error=type(failure).__name__,
            )
            begun.leave_unread(unsettled, since)
            return False
        if unsettled is not None:
            self._read_at[ref.account_id] = wall
        async with self._database.for_user(ref.user_id) as session:
            late = await find_late_reports(session, ref.account_id, listed)
        for fill_id, report in late.fees.items():
            with isolated("reconcile.fee_not_corrected", fill_id=fill_id):
                async with self._database.for_user(ref.user_id) as session:
                    await correct_fee(session, fill_id, report, at=now, wall=self._clock.now())
                continue
            begun.unknown.add(report.symbol)
        for order_id, symbol in late.orders.items():
            await self._look_up(ref, account, ToLookUp(order_id, symbol, is_final=True), begun)
        return late.is_any


def _settles(now: datetime) -> ColumnElement[bool]:
    """Which accounts have fills whose commission may still change, and keys to ask with."""
    keys = select(Connection.id).where(Connection.status != ConnectionStatus.REMOVED.value)
    traded = select(Order.id).where(Order.account_id == Account.id, may_be_settled(now))
    return col(Account.connection_id).in_(keys) & traded.correlate(Account).exists()


async def _trades(session: AsyncSession, account_id: UUID, now: datetime) -> bool:
    live = select(BotRun.id).where(
        BotRun.account_id == account_id, BotRun.state != RunState.ENDED.value
    )
    if (await session.exec(live)).first() is not None:
        return True
    return bool(await orders_to_look_up(session, account_id, now))


async def _is_removed(session: AsyncSession, account: Account) -> bool:
    status = await session.exec(
        select(col(Connection.status)).where(Connection.id == account.connection_id)
    )
    return status.first() == ConnectionStatus.REMOVED


async def _busy_currencies(
    session: AsyncSession, account_id: UUID, begun: _Begun
) -> frozenset[str]:
    """What orders that have not ended, or are not known well enough, may move or have moved."""
    symbols = await session.exec(
        select(col(Order.symbol)).where(Order.account_id == account_id, is_under_way()).distinct()
    )
    unsure = {*symbols.all(), *begun.unknown}
    return frozenset(currency for symbol in unsure for currency in symbol.split("-"))


async def _mark(session: AsyncSession, account_id: UUID) -> tuple[int, int]:
    """Changes whenever a fill or flow of the account comes in.

    Orders alone move no balance; those that may be about to are asked for by themselves.
    """
    fills = select(func.count()).select_from(Fill).where(Fill.account_id == account_id)
    flows = select(func.count()).select_from(Flow).where(Flow.account_id == account_id)
    return (
        (await session.exec(fills)).one(),
        (await session.exec(flows)).one(),
    )
