"""Stops and targets that users set themselves."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from sqlmodel import select

from domain.markets import Realm, VenueKey
from domain.ports import Venues, VenueUnavailable, WallClock
from domain.principal import Principal
from domain.strategies.apex import ExitPlan, change_protection
from models.connections import Account
from services import audit
from services.audit import AuditEvent
from services.database import Database
from services.errors import PositionNotFound, VenueFailed
from services.markets.last_clock import clock_by_any_means
from services.orders.booking import store_plan
from services.orders.market_rules import rules_from_record
from services.orders.protection import sync_triggers
from services.trading.position_rows import bot_of, lock_open_position


class UserProtection:
    """Moves the stops and targets of open positions."""

    def __init__(self, database: Database, venues: Venues, clock: WallClock) -> None:
        self._database = database
        self._venues = venues
        self._clock = clock

    async def modify(
        self,
        principal: Principal,
        position_id: UUID,
        *,
        stop_loss: Decimal | None,
        take_profit: Decimal | None,
    ) -> None:
        """Replace the stop, the remaining targets, or both.

        Raises:
            PositionNotFound: no open position of this user has that id.
            InvalidProtection: the price would fire at once, or is no price.
            VenueFailed: the market price, which the new one is checked against, could not be had.
        """
        async with self._database.for_user(principal.user_id) as session:
            position = await lock_open_position(session, position_id)
            account = (
                await session.exec(select(Account).where(Account.id == position.account_id))
            ).one()
        key, wall = VenueKey(account.venue, Realm(account.realm)), self._clock.now()
        try:
            quote = await self._venues.market_data(key).quote(position.symbol)
            clock = await clock_by_any_means(self._database, self._venues, key, wall)
        except VenueUnavailable as failure:
            raise VenueFailed from failure
        async with self._database.for_user(principal.user_id) as session:
            position = await lock_open_position(session, position_id)
            if position.exit_plan is None:
                raise PositionNotFound
            plan = change_protection(
                ExitPlan.from_record(position.exit_plan),
                market_price=quote.last,
                rules=rules_from_record(position.rules),
                remaining=position.open_quantity,
                stop_loss=stop_loss,
                take_profit=take_profit,
            )
            store_plan(position, plan)
            session.add(position)
            bot = await bot_of(session, position)
            await sync_triggers(session, position, bot.id, plan, clock.now)
            audit.record(
                session,
                AuditEvent.POSITION_MODIFIED,
                user_id=principal.user_id,
                at=self._clock.now(),
                meta={
                    "position_id": str(position_id),
                    "stop_loss": str(stop_loss) if stop_loss else None,
                    "take_profit": str(take_profit) if take_profit else None,
                },
            )
