"""Trades made up at random, closed, opened again and changed: and what they must add up to."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlmodel import select

from domain.performance import ClosedTrade
from domain.positions import PositionState
from models.bots import Bot, BotRun
from models.ledgers import Flow, FlowKind
from models.markets import VenueState
from models.trading import Position
from services.analytics.counting import count_trade, counted
from services.analytics.recounting import rebuild
from services.database import Database
from tests.support.traders import Trader, add_trader

NOW = datetime(2026, 3, 15, 18, 30, tzinfo=UTC)
SYMBOLS = ("BTC-USD", "ETH-USD", "LTC-USD")


@dataclass
class Book:
    """A trader's closed trades as the test knows them, and ways to change them in the database."""

    database: Database
    trader: Trader
    run_id: UUID
    closed: dict[UUID, Position] = field(default_factory=dict)

    async def close(self, at: datetime, **changes: Any) -> UUID:
        """A trade from its entry to its end in one transaction, as the last fill books it."""
        position = self._position(at, **changes)
        async with self.database.for_user(self.trader.user_id) as session:
            session.add(position)
            await session.flush()
            await count_trade(session, position, None, counted(position))
        self.closed[position.id] = position
        return position.id

    async def keep(self, at: datetime, **changes: Any) -> None:
        """A trade that is not closed: it waits, is held, or never came about."""
        async with self.database.for_user(self.trader.user_id) as session:
            closed_at = at if changes["state"] is PositionState.CANCELLED else None
            session.add(self._position(at, **{"closed_at": closed_at, **changes}))

    async def reset(self, at: datetime) -> None:
        """The paper account begins anew."""
        async with self.database.for_user(self.trader.user_id) as session:
            session.add(
                Flow(
                    user_id=self.trader.user_id,
                    account_id=self.trader.account_id,
                    currency="USD",
                    amount=Decimal(0),
                    kind=FlowKind.RESET,
                    at=at,
                )
            )
        async with self.database.for_user(self.trader.user_id) as session:
            await rebuild(session, self.trader.account_id)

    async def reopen(self, position_id: UUID) -> None:
        """An order that came back opens it again."""
        del self.closed[position_id]
        opened: dict[str, Any] = {"state": PositionState.OPEN, "came_back": True}
        await self._change(position_id, closed_at=None, realized_pnl=None, **opened)

    async def change(self, position_id: UUID, **changes: Any) -> None:
        """A late fill changes it."""
        self.closed[position_id] = await self._change(position_id, **changes)

    async def database_execute(self, statement: str, id_: UUID) -> None:
        """Run a statement about `:id` as the system role."""
        async with self.database.as_system() as session:
            await (await session.connection()).execute(text(statement), {"id": id_})

    async def _change(self, position_id: UUID, **changes: Any) -> Position:
        async with self.database.for_user(self.trader.user_id) as session:
            found = await session.exec(
                select(Position).where(Position.id == position_id).with_for_update()
            )
            position = found.one()
            before = counted(position)
            for name, value in changes.items():
                setattr(position, name, value)
            await count_trade(session, position, before, counted(position))
        return position

    def _position(self, at: datetime, **changes: Any) -> Position:
        values: dict[str, Any] = {
            "id": uuid4(),
            "user_id": self.trader.user_id,
            "account_id": self.trader.account_id,
            "run_id": self.run_id,
            "symbol": "BTC-USD",
            "side": "long",
            "state": PositionState.CLOSED,
            "planned_quantity": Decimal(1),
            "planned_notional": Decimal(100),
            "decision_price": Decimal(100),
            "entry_quantity": Decimal(1),
            "entry_notional": Decimal(100),
            "exit_quantity": Decimal(1),
            "exit_notional": Decimal(100),
            "fees": Decimal("0.25"),
            "realized_pnl": Decimal(0),
            "atr": Decimal(1),
            "round_trip_fee_rate": Decimal("0.002"),
            "exit_reason": "take_profit",
            "opened_at": at - timedelta(minutes=45),
            "closed_at": at,
            **changes,
        }
        return Position(**values)

    def trades(self, since: datetime | None = None, symbol: str | None = None) -> list[ClosedTrade]:
        """The same trades, for the domain's own arithmetic."""
        return [
            ClosedTrade(it.realized_pnl or Decimal(0), it.fees, it.opened_at, it.closed_at)
            for it in self.closed.values()
            if it.closed_at is not None
            and (since is None or it.closed_at >= since)
            and (symbol is None or it.symbol == symbol)
        ]


async def open_book(database: Database, *, tier: str = "enterprise") -> Book:
    """A trader with a bot's run, at a venue whose clock says NOW."""
    trader = await add_trader(database, tier=tier, now=NOW)
    bot_id, run_id = uuid4(), uuid4()
    async with database.as_system() as session:
        await session.merge(
            VenueState(venue="coinbase", realm="simulated", epoch="e", clock_at=NOW, seen_at=NOW)
        )
        session.add(Bot(id=bot_id, user_id=trader.user_id, state_changed_at=NOW, created_at=NOW))
        await session.flush()
        session.add(
            BotRun(
                id=run_id,
                user_id=trader.user_id,
                bot_id=bot_id,
                account_id=trader.account_id,
                number=1,
                venue="coinbase",
                realm="simulated",
                mode="paper",
                risk_level="medium",
                epoch="e",
                started_at=NOW,
                venue_started_at=NOW,
                config_hash="h",
                code_version="1",
            )
        )
    return Book(database, trader, run_id)


def some_time(chance: random.Random) -> datetime:
    """Some time of the last 400 days, sometimes in one hour with others."""
    if chance.random() < 0.3:
        return NOW - timedelta(minutes=chance.randrange(60), microseconds=chance.randrange(1000))
    return NOW - timedelta(minutes=chance.randrange(400 * 24 * 60))


def some_result(chance: random.Random) -> dict[str, Any]:
    """What a trade may come to; sometimes just its fees, sometimes the same as another."""
    pnl = Decimal(chance.choice([0, 25, 25, -30, chance.randrange(-9000, 9000)])) / 100
    notional = Decimal(chance.randrange(1000, 90000)) / 100
    return {
        "symbol": chance.choice(SYMBOLS),
        "realized_pnl": pnl,
        "fees": Decimal(chance.choice([25, 25, 10, 0])) / 100,
        "entry_notional": notional,
        "exit_notional": notional + pnl,
    }
