"""Giving up what is left of a position that cannot be sold.

A market that is gone, keys that are gone, or a venue that carried out no exit for long: then its
user may close the position in the books. What was given up has no price and is no part of the P&L.
Whatever is still in the account stays there and is the user's to sell.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import MarketStatus, Realm, VenueKey
from domain.money import ZERO
from domain.ports import VenueRefusedKeys, Venues, VenueUnavailable, WallClock
from domain.positions import PositionState
from domain.principal import Principal
from models.bots import Bot
from models.connections import Account, Connection, ConnectionStatus
from models.trading import Order, Position
from services import audit
from services.audit import AuditEvent
from services.database import Database
from services.errors import PositionCanBeSold, PositionNotFound
from services.orders.conditions import is_under_way
from services.orders.due_exits import is_leaving
from services.orders.exit_requests import venue_time_of
from services.orders.gone import Gone, take_out
from services.trading.position_rows import bot_of

FAILING_FOR = timedelta(minutes=10)
"""Wall time for which the exit of a position must have been failing before it may be given up."""

RULES_SECONDS_MAX = 5.0
"""How long the venue's list of markets is waited for."""

_GONE = frozenset({MarketStatus.HALTED, MarketStatus.CANCEL_ONLY})


class WritingOff:
    """Writes positions off."""

    def __init__(self, database: Database, venues: Venues, clock: WallClock) -> None:
        self._database = database
        self._venues = venues
        self._clock = clock

    async def write_off(self, principal: Principal, position_id: UUID) -> Bot:
        """Close a position in the books. Asking twice is asking once.

        Returns:
            The bot whose position it was.

        Raises:
            PositionNotFound: no position of this user has that id, or it was closed otherwise.
            PositionCanBeSold: its market takes orders, and no exit has been failing for long.
        """
        async with self._database.for_user(principal.user_id) as session:
            position = await _find(session, position_id, locked=False)
            bot = await bot_of(session, position)
            if position.state == PositionState.CLOSED:
                return bot
            key, has_keys = await _place(session, position.account_id)
        is_gone = not has_keys or await self._is_market_gone(key, position.symbol)
        now = self._clock.now()
        async with self._database.for_user(principal.user_id) as session:
            await session.exec(
                select(Account.id)
                .where(Account.id == position.account_id)
                .with_for_update(read=True, key_share=True)
            )
            position = await _find(session, position_id, locked=True)
            if position.state == PositionState.CLOSED:
                return bot
            if not (is_gone or await _has_failed_for_long(session, position, now)):
                raise PositionCanBeSold
            if await _is_exit_under_way(session, position):
                raise PositionCanBeSold(
                    "An exit order is on its way; what became of it must be known first"
                )
            quantity = position.open_quantity
            at = max(position.opened_at, await venue_time_of(session, position))
            await take_out(session, position, quantity, Gone.WRITTEN_OFF, at=at, wall=now)
            audit.record(
                session,
                AuditEvent.POSITION_WRITTEN_OFF,
                user_id=principal.user_id,
                at=now,
                meta={
                    "position_id": str(position_id),
                    "symbol": position.symbol,
                    "quantity": str(quantity),
                    "exit_error": position.exit_error,
                },
            )
        return bot

    async def _is_market_gone(self, key: VenueKey, symbol: str) -> bool:
        """Whether the venue lists the market no more or takes no orders there; not if unknown."""
        try:
            async with asyncio.timeout(RULES_SECONDS_MAX):
                rules = await self._venues.market_data(key).fresh_rules()
        except (TimeoutError, VenueUnavailable, VenueRefusedKeys):
            return False
        return bool(rules) and (symbol not in rules or rules[symbol].status in _GONE)


async def _has_failed_for_long(session: AsyncSession, position: Position, now: datetime) -> bool:
    """Whether an exit has been failing for long that is due still."""
    due_at = position.exit_due_at
    if position.exit_attempts <= 0 or due_at is None or now - due_at < FAILING_FOR:
        return False
    return await is_leaving(session, position.id)


async def _find(session: AsyncSession, position_id: UUID, *, locked: bool) -> Position:
    statement = (
        select(Position)
        .where(
            Position.id == position_id,
            (col(Position.state) == PositionState.OPEN.value)
            | (
                (col(Position.state) == PositionState.CLOSED.value)
                & (col(Position.written_off_quantity) > ZERO)
            ),
        )
        .execution_options(populate_existing=True)
    )
    position = (
        await session.exec(statement.with_for_update() if locked else statement)
    ).one_or_none()
    if position is None:
        raise PositionNotFound
    return position


async def _place(session: AsyncSession, account_id: UUID) -> tuple[VenueKey, bool]:
    """The venue of an account, and whether there are keys to sell with (paper needs none)."""
    account, status = (
        await session.exec(
            select(Account, Connection.status)
            .join(Connection, col(Connection.id) == Account.connection_id, isouter=True)
            .where(Account.id == account_id)
        )
    ).one()
    key = VenueKey(account.venue, Realm(account.realm))
    return key, status != ConnectionStatus.REMOVED.value


async def _is_exit_under_way(session: AsyncSession, position: Position) -> bool:
    found = await session.exec(
        select(Order.id).where(
            Order.account_id == position.account_id,
            Order.position_id == position.id,
            is_under_way(),
        )
    )
    return found.first() is not None
