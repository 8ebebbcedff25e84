"""The trading engine around a fake venue and a real database, and ways to look at its books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlmodel import select

from adapters.embedded.postgres_roles import DatabaseUrls
from adapters.vault import Vault, generate_key
from domain.contracts.bots import (
    BotRef,
    BotSignal,
    GuardResult,
    HuntInput,
    HuntResult,
    Nudge,
    OrderResult,
    SignalAction,
    TradeSignal,
)
from domain.markets import Mode, Realm, VenueKey
from domain.orders import Leg, OrderState, OrderType, Side, derive_client_order_id
from domain.ports import WorkflowServiceUnavailable
from domain.positions import Direction
from models.bots import Bot, BotRun
from models.trading import Fill, Order, Position, Trigger
from services.connections import Connections, Removal
from services.database import Database
from services.markets.evaluating import EvaluationService
from services.markets.watching import VenueWatching
from services.orders.market_rules import rules_record
from services.orders.placing import OrderPlacing
from services.orders.reconciling import Reconciling
from services.orders.settling import OrderSettling
from services.reads import Reads
from services.trading.bar_announcing import BarAnnouncing
from services.trading.commands import TradingService
from services.trading.exiting import ExitService
from services.trading.guarding import GuardService
from services.trading.hunting import HuntService
from services.trading.signals import SignalHandling
from services.trading.sweeping import Sweeper
from tests.support.crashes import CrashingDatabase, CrashPlan
from tests.support.fake_venue import NOON, TAKER, FakeAccount, FakeVenue, market_rules
from tests.support.traders import Trader, add_account, add_trader

PRICE = Decimal(100)
QUANTITY = Decimal(3)
GRACE = timedelta(seconds=30)
SCAN = timedelta(seconds=150)
ROUNDS_MAX = 40


class FakeWall:
    """A wall clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class FakeWorkflows:
    """Remembers what bots were told, and whose exits were woken."""

    told: list[tuple[UUID, BotSignal]] = field(default_factory=list)
    woken: list[UUID] = field(default_factory=list)
    watched: list[VenueKey] = field(default_factory=list)
    is_down: bool = False

    async def is_available(self) -> bool:
        return not self.is_down

    async def signal_bot(
        self, user_id: UUID, bot_id: UUID, signal: BotSignal, message: Nudge | TradeSignal
    ) -> None:
        if self.is_down:
            raise WorkflowServiceUnavailable
        self.told.append((bot_id, signal))

    async def wake_exits(self, user_id: UUID, bot_id: UUID) -> None:
        if self.is_down:
            raise WorkflowServiceUnavailable
        self.woken.append(bot_id)

    async def ensure_watch(self, key: VenueKey) -> None:
        self.watched.append(key)


@dataclass(frozen=True, slots=True)
class RunningBot:
    """A trader's bot with a run that may enter."""

    trader: Trader
    bot_id: UUID
    run_id: UUID

    @property
    def ref(self) -> BotRef:
        return BotRef(user_id=self.trader.user_id, bot_id=self.bot_id)


class Engine:
    """Every service of the engine, wired as `bootstrap` does it."""

    def __init__(self, urls: DatabaseUrls, venue: FakeVenue | None = None) -> None:
        self.venue = venue or FakeVenue()
        self.wall = FakeWall()
        self.workflows = FakeWorkflows()
        self.database: Database = CrashingDatabase(urls.app, urls.system, self.venue.crash)
        self.wire()

    @property
    def crash(self) -> CrashPlan:
        return self.venue.crash

    def wire(self) -> None:
        """Make all services anew, as a restarted process does: nothing in memory survives."""
        database, venue, wall = self.database, self.venue, self.wall
        self.settling = OrderSettling(database, venue, wall, grace=GRACE)
        self.placing = OrderPlacing(database, venue, wall, self.settling)
        self.guard_service = GuardService(database, wall)
        self.exit_service = ExitService(database, wall)
        self.evaluations = EvaluationService(database, venue, wall)
        self.signals = SignalHandling(database, venue, self.evaluations, wall)
        self.hunt_service = HuntService(
            database, venue, self.evaluations, self.signals, wall, scan_length=SCAN
        )
        self.reconciling = Reconciling(database, venue, self.settling, wall, interval_seconds=30)
        self.watching = VenueWatching(database, venue, self.workflows, wall, interval_seconds=1)
        self.bars = BarAnnouncing(
            database, venue, self.workflows, realm=Realm.SIMULATED, scan_length=SCAN
        )
        self.trading = TradingService(database, venue, self.workflows, wall, realm=Realm.SIMULATED)
        self.sweeper = Sweeper(
            database,
            self.workflows,
            venue,
            self.reconciling,
            wall,
            realm=Realm.SIMULATED,
            interval_seconds=10,
        )

    # --- scenes -----------------------------------------------------------------------------

    async def start_bot(self, **options: Any) -> RunningBot:
        """A new trader whose bot runs; the bot's venue account holds what the trader's does."""
        mode = options.setdefault("mode", Mode.PAPER)
        options.setdefault("pairs", tuple(self.venue.market.rules_by_symbol))
        trader = await add_trader(self.database, now=self.wall.now(), **options)
        held: Mapping[str, Decimal] = options.get("balances") or {"USD": Decimal(10_000)}
        self.venue.open(trader.account_id, **{name: str(total) for name, total in held.items()})
        await self.trading.start(
            trader.principal,
            broker="coinbase",
            paper_trading=mode is Mode.PAPER,
            risk_profile="medium",
        )
        async with self.database.for_user(trader.user_id) as session:
            bot = (await session.exec(select(Bot))).one()
            run = (await session.exec(select(BotRun))).one()
        running = RunningBot(trader, bot.id, run.id)
        await self.guard(running)
        return running

    async def start_on_paper(self, bot: RunningBot) -> RunningBot:
        """Start a stopped bot again, on a paper account that its trader gets for it."""
        account_id = await add_account(
            self.database, bot.trader.user_id, mode=Mode.PAPER, now=self.wall.now()
        )
        self.venue.open(account_id)
        await self.trading.start(
            bot.trader.principal, broker="coinbase", paper_trading=True, risk_profile="medium"
        )
        run_id = (await self.bot(bot)).current_run_id
        assert run_id is not None
        again = RunningBot(replace(bot.trader, account_id=account_id), bot.bot_id, run_id)
        await self.guard(again)
        return again

    def account(self, bot: RunningBot) -> FakeAccount:
        return self.venue.accounts[bot.trader.account_id]

    async def remove_broker(self, bot: RunningBot, *, force: bool = False) -> Removal:
        """Remove the connection of a bot, as its user does."""
        assert bot.trader.connection_id is not None
        connections = Connections(
            self.database,
            Reads("", self.wall),
            self.wall,
            self.venue,
            Vault(generate_key("k1")),
            self.trading,
            realm=Realm.SIMULATED,
        )
        return await connections.remove(bot.trader.principal, bot.trader.connection_id, force=force)

    async def intend_entry(self, bot: RunningBot, symbol: str = "BTC-USD") -> UUID:
        """A pending position with its intended entry order, as a signal makes them."""
        position, order = entry_rows(bot, symbol, self.venue.market.now, self.wall.now())
        async with self.database.as_system() as session:
            session.add(position)
            await session.flush()
            session.add(order)
        return order.id

    async def open_position(self, bot: RunningBot, symbol: str = "BTC-USD") -> Position:
        """A filled entry with its protection."""
        order_id = await self.intend_entry(bot, symbol)
        await self.place(bot, order_id)
        return await self.position(bot, symbol)

    async def fire(self, position: Position, leg: str) -> None:
        """Mark one trigger of a position as fired."""
        async with self.database.as_system() as session:
            trigger = (
                await session.exec(
                    select(Trigger).where(
                        Trigger.position_id == position.id,
                        Trigger.leg == leg,
                        Trigger.state == "armed",
                    )
                )
            ).one()
            trigger.state = "fired"
            session.add(trigger)

    # --- what a workflow would call ---------------------------------------------------------

    async def guard(self, bot: RunningBot) -> GuardResult:
        return await self.guard_service.guard(bot.ref)

    async def hunt(self, bot: RunningBot, *signals: TradeSignal) -> HuntResult:
        return await self.hunt_service.hunt(HuntInput(bot=bot.ref, signals=signals))

    async def place(self, bot: RunningBot, order_id: UUID) -> OrderResult:
        return await self.placing.place(bot.trader.user_id, order_id)

    async def settle(self, bot: RunningBot, order_id: UUID) -> OrderResult:
        return await self.settling.settle(bot.trader.user_id, order_id)

    async def carry_out(self, bot: RunningBot) -> GuardResult:
        """Guard, send and settle until nothing is live: the workflow without Temporal."""
        for _ in range(ROUNDS_MAX):
            view = await self.guard(bot)
            if not view.orders and view.recheck_seconds is None:
                return view
            if not view.orders and view.recheck_seconds is not None:
                self.wall.advance(view.recheck_seconds)
            for task in view.orders:
                if task.state is OrderState.INTENDED:
                    await self.place(bot, task.order_id)
                else:
                    await self.settle(bot, task.order_id)
                self.wall.advance(20)
                self.venue.market.now += timedelta(seconds=20)
        raise AssertionError(f"still to do after {ROUNDS_MAX} rounds: {view}")

    # --- looking ----------------------------------------------------------------------------

    async def order(self, order_id: UUID) -> Order:
        async with self.database.as_system() as session:
            return (await session.exec(select(Order).where(Order.id == order_id))).one()

    async def orders(self, bot: RunningBot) -> Sequence[Order]:
        """The bot's orders as they were made; those of one moment as they came to the venue."""
        async with self.database.as_system() as session:
            found = (await session.exec(select(Order).where(Order.bot_id == bot.bot_id))).all()
        accounts = self.venue.accounts.values()
        sent = (request.client_order_id for account in accounts for request in account.sends)
        places: dict[str, int] = {}
        for place, client_order_id in enumerate(sent):
            places.setdefault(client_order_id, place)
        return sorted(
            found,
            key=lambda it: (it.intended_at, places.get(it.client_order_id, len(places))),
        )

    async def fills(self, bot: RunningBot) -> Sequence[Fill]:
        async with self.database.as_system() as session:
            return (
                await session.exec(select(Fill).where(Fill.account_id == bot.trader.account_id))
            ).all()

    async def position(self, bot: RunningBot, symbol: str = "BTC-USD") -> Position:
        """The trader's latest position in a symbol."""
        async with self.database.as_system() as session:
            return (
                await session.exec(
                    select(Position)
                    .where(Position.account_id == bot.trader.account_id, Position.symbol == symbol)
                    .order_by(text("opened_at DESC"))
                )
            ).all()[0]

    async def triggers(self, position: Position) -> dict[str, Trigger]:
        """The live triggers of a position by leg."""
        async with self.database.as_system() as session:
            rows = await session.exec(
                select(Trigger).where(
                    Trigger.position_id == position.id,
                    text("state IN ('armed', 'fired')"),
                )
            )
            return {row.leg: row for row in rows.all()}

    async def bot(self, bot: RunningBot) -> Bot:
        async with self.database.as_system() as session:
            return (await session.exec(select(Bot).where(Bot.id == bot.bot_id))).one()

    async def run(self, bot: RunningBot) -> BotRun:
        async with self.database.as_system() as session:
            return (await session.exec(select(BotRun).where(BotRun.id == bot.run_id))).one()

    async def balances(self, bot: RunningBot) -> dict[str, Decimal]:
        rows = await self.rows(
            "SELECT currency, total FROM balances WHERE account_id = :id AND total <> 0",
            id=bot.trader.account_id,
        )
        return {row["currency"]: row["total"] for row in rows}

    async def rows(self, query: str, **values: object) -> Sequence[Mapping[str, Any]]:
        async with self.database.as_system() as session:
            connection = await session.connection()
            return [dict(row) for row in (await connection.execute(text(query), values)).mappings()]

    async def execute(self, statement: str, **values: object) -> None:
        async with self.database.as_system() as session:
            connection = await session.connection()
            await connection.execute(text(statement), values)

    async def close(self) -> None:
        await self.database.close()


def entry_rows(
    bot: RunningBot, symbol: str, now: datetime, wall: datetime
) -> tuple[Position, Order]:
    """A long of 3 units decided at 100: stop 97, targets 103, 106 and 109."""
    cause = f"signal:{uuid4()}"
    position = Position(
        id=uuid4(),
        user_id=bot.trader.user_id,
        account_id=bot.trader.account_id,
        run_id=bot.run_id,
        symbol=symbol,
        side=Direction.LONG,
        planned_quantity=QUANTITY,
        planned_notional=QUANTITY * PRICE,
        decision_price=PRICE,
        atr=Decimal(2),
        round_trip_fee_rate=TAKER * 2,
        rules=rules_record(market_rules(symbol)),
        opened_at=now,
    )
    order = Order(
        user_id=bot.trader.user_id,
        account_id=bot.trader.account_id,
        bot_id=bot.bot_id,
        run_id=bot.run_id,
        position_id=position.id,
        cause=cause,
        leg=Leg.ENTRY,
        client_order_id=str(
            derive_client_order_id(bot.trader.account_id, bot.run_id, cause, Leg.ENTRY, 1)
        ),
        symbol=symbol,
        side=Side.BUY,
        type=OrderType.LIMIT,
        quantity=QUANTITY,
        limit_price=PRICE * Decimal("1.5"),
        reserved_quote=QUANTITY * PRICE,
        created_at=now,
        intended_at=wall,
    )
    return position, order


def buy(symbol: str = "BTC-USD", **options: Any) -> TradeSignal:
    return TradeSignal(signal_id=uuid4(), action=SignalAction.BUY, symbol=symbol, **options)


def close(symbol: str = "BTC-USD") -> TradeSignal:
    return TradeSignal(signal_id=uuid4(), action=SignalAction.CLOSE, symbol=symbol)
