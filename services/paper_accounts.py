"""Paper accounts: opened with their starting cash, reset to it again.

Balances and flows carry venue time. Nobody has looked at a venue's clock before its watcher first
ran; until then the wall clock stands in.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete, exists, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Mode, Realm
from domain.money import ZERO
from domain.ports import WallClock
from domain.positions import PositionState
from domain.principal import Principal
from models.bots import BotRun, RunState
from models.columns import new_id
from models.connections import Account
from models.ledgers import Balance, Flow, FlowKind, PaperBalance, PaperOrder
from models.markets import VenueState
from models.trading import Order, Position
from services.analytics.recounting import forget
from services.audit import AuditEvent, record
from services.database import Database
from services.errors import ObjectNotFound, PaperAccountInUse

CURRENCY = "USD"
PAPER_VENUE = "coinbase"
"""Where everybody has a paper account from registration on."""

END_SECONDS_MAX = 5.0
"""How long a reset waits for the end of a run that holds nothing any more."""

END_LOOK_SECONDS = 0.1


class _RunIsEnding(Exception):
    """Nothing needs the account but a run that has only to end."""


@dataclass(frozen=True, slots=True)
class PaperReset:
    """What a reset left: `balance` in `currency`."""

    account_id: UUID
    venue: str
    balance: Decimal
    currency: str


class Amount(NamedTuple):
    """So much of a currency."""

    currency: str
    amount: Decimal


class PaperAccounts:
    """Opens and resets paper accounts.

    Args:
        database: where they live.
        clock: wall time.
        realm: the kind of venue this installation trades at.
        opening_balance: starting cash in USD.
    """

    def __init__(
        self, database: Database, clock: WallClock, *, realm: Realm, opening_balance: Decimal
    ) -> None:
        self._database = database
        self._clock = clock
        self._realm = realm
        self._opening_balance = opening_balance

    async def open(self, session: AsyncSession, user_id: UUID, venue: str) -> Account:
        """Open a user's paper account at a venue, in the caller's transaction."""
        at = await self._venue_time(session, venue)
        account = Account(
            user_id=user_id,
            venue=venue,
            realm=self._realm,
            mode=Mode.PAPER,
            currency=CURRENCY,
            created_at=self._clock.now(),
            opening_equity=self._opening_balance,
        )
        session.add(account)
        await session.flush()
        self._add_cash(session, account, at)
        opening = Amount(CURRENCY, self._opening_balance)
        session.add(_flow(account, opening, FlowKind.OPENING, at))
        await session.flush()
        return account

    async def ensure(self, session: AsyncSession, user_id: UUID, venue: str) -> None:
        """Open the account unless there is one; the user's row is locked by the caller.

        People who registered while this installation traded at the other kind of venue have none.
        """
        found = await session.exec(
            select(Account.id).where(
                Account.user_id == user_id,
                Account.venue == venue,
                Account.realm == self._realm,
                Account.mode == Mode.PAPER,
            )
        )
        if found.first() is None:
            await self.open(session, user_id, venue)

    async def reset(
        self, principal: Principal, venue: str, *, command_id: UUID | None = None
    ) -> PaperReset:
        """Put a paper account back to its starting cash. Its trades stay in the history.

        A stop answers as soon as all is flat, and the run ends a moment later: that is waited for.

        Args:
            principal: whose account.
            venue: at which venue.
            command_id: what asks; asking again with the same one changes nothing.

        Raises:
            ObjectNotFound: there is no paper account at that venue.
            PaperAccountInUse: a run, a position or an order still needs the account.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + END_SECONDS_MAX
        while True:
            try:
                return await self._reset(principal, venue, command_id)
            except _RunIsEnding as ending:
                if loop.time() >= deadline:
                    raise PaperAccountInUse(
                        "The bot has stopped and its run is still ending; try again in a moment"
                    ) from ending
            await asyncio.sleep(END_LOOK_SECONDS)

    async def _reset(self, principal: Principal, venue: str, command_id: UUID | None) -> PaperReset:
        async with self._database.for_user(principal.user_id) as session:
            # The lock keeps a start out: a new run's foreign key needs a share of this row.
            account = (
                await session.exec(
                    select(Account)
                    .where(
                        Account.user_id == principal.user_id,
                        Account.venue == venue,
                        Account.realm == self._realm,
                        Account.mode == Mode.PAPER,
                    )
                    .with_for_update()
                )
            ).first()
            if account is None:
                raise ObjectNotFound("There is no paper account at this broker")
            reset = PaperReset(account.id, venue, self._opening_balance, CURRENCY)
            if command_id is not None and await _was_reset_by(session, command_id):
                return reset
            if await _is_in_use(session, account.id):
                raise PaperAccountInUse
            if await _has_run(session, account.id):
                raise _RunIsEnding
            await self._refill(session, account, command_id or new_id())
            record(
                session,
                AuditEvent.PAPER_RESET,
                user_id=principal.user_id,
                at=self._clock.now(),
                meta={"account_id": str(account.id), "balance": str(self._opening_balance)},
            )
            return reset

    async def _refill(self, session: AsyncSession, account: Account, command_id: UUID) -> None:
        at = await self._venue_time(session, account.venue)
        held = (
            await session.exec(select(PaperBalance).where(PaperBalance.account_id == account.id))
        ).all()
        changes = {balance.currency: -balance.total for balance in held}
        changes[CURRENCY] = changes.get(CURRENCY, ZERO) + self._opening_balance
        for currency, amount in sorted(changes.items()):
            # Of the account's own currency also nothing: the flow is what says when it was reset.
            if amount or currency == CURRENCY:
                flow = _flow(account, Amount(currency, amount), FlowKind.RESET, at)
                if currency == CURRENCY:
                    flow.id = command_id
                session.add(flow)
        await session.exec(delete(PaperBalance).where(col(PaperBalance.account_id) == account.id))
        await session.exec(delete(Balance).where(col(Balance.account_id) == account.id))
        session.expunge_all()
        await forget(session, account.id)
        await session.exec(
            update(Account)
            .where(col(Account.id) == account.id)
            .values(opening_equity=self._opening_balance)
        )
        self._add_cash(session, account, at)
        await session.flush()

    def _add_cash(self, session: AsyncSession, account: Account, at: datetime) -> None:
        cash = self._opening_balance
        session.add(
            PaperBalance(
                account_id=account.id, user_id=account.user_id, currency=CURRENCY, total=cash
            )
        )
        session.add(
            Balance(
                account_id=account.id,
                user_id=account.user_id,
                currency=CURRENCY,
                total=cash,
                observed_at=at,
            )
        )

    async def _venue_time(self, session: AsyncSession, venue: str) -> datetime:
        seen = await session.get(VenueState, (venue, str(self._realm)))
        return self._clock.now() if seen is None else seen.clock_at


def _flow(account: Account, money: Amount, kind: FlowKind, at: datetime) -> Flow:
    return Flow(
        user_id=account.user_id,
        account_id=account.id,
        currency=money.currency,
        amount=money.amount,
        kind=kind,
        at=at,
    )


async def _was_reset_by(session: AsyncSession, command_id: UUID) -> bool:
    return (await session.exec(select(Flow.id).where(Flow.id == command_id))).first() is not None


async def _has_run(session: AsyncSession, account_id: UUID) -> bool:
    found = await session.exec(
        select(
            exists().where(
                col(BotRun.account_id) == account_id, col(BotRun.state) != RunState.ENDED
            )
        )
    )
    return bool(found.one())


async def _is_in_use(session: AsyncSession, account_id: UUID) -> bool:
    """Whether more needs the account than a run that has nothing left to do but to end."""
    live_positions = (PositionState.PENDING, PositionState.OPEN)
    found = await session.exec(
        select(
            exists().where(
                col(BotRun.account_id) == account_id, col(BotRun.state) == RunState.ENTERING
            )
            | exists().where(
                col(Position.account_id) == account_id, col(Position.state).in_(live_positions)
            )
            | exists().where(col(Order.account_id) == account_id, col(Order.settled_at).is_(None))
            | exists().where(
                col(PaperOrder.account_id) == account_id, col(PaperOrder.state) == "open"
            )
        )
    )
    return bool(found.one())
