"""Processes of one installation, each with its own pool, gateways and way to the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text
from sqlmodel import select

from adapters.clock import SystemClock
from adapters.embedded.postgres_roles import DatabaseUrls
from adapters.vault import Vault, generate_key
from adapters.venues.registry import VenueRegistry
from domain.markets import Mode, Realm, VenueKey
from domain.ports import (
    AccountRef,
    VenueAccount,
    VenueCredentials,
    VenueRefusedKeys,
    VenueUnavailable,
)
from models.bots import Bot, BotRun
from models.trading import Order, Position
from services.accounts import account_ref
from services.connections import Connections
from services.database import Database
from services.orders.placing import OrderPlacing
from services.orders.settling import OrderSettling
from services.reads import Reads
from services.stored_credentials import StoredCredentials
from services.trading.commands import TradingService
from services.trading.exiting import ExitService
from services.trading.prompt_exits import PromptExits
from tests.support.engine import GRACE, FakeWorkflows, RunningBot, entry_rows
from tests.support.lossy_proxy import LossyProxy, lossy_proxy
from tests.support.paper_ledger import InMemoryPaperLedger
from tests.support.simulator_process import Simulator
from tests.support.traders import Trader, add_trader

KEY = VenueKey("coinbase", Realm.SIMULATED)
SYMBOL = "BTC-USD"
CASH = "1000000"


@dataclass
class Process:
    """What a worker or the API has of its own."""

    database: Database
    venues: VenueRegistry
    proxy: LossyProxy

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        self.settling = OrderSettling(self.database, self.venues, self.clock, grace=GRACE)
        self.placing = OrderPlacing(self.database, self.venues, self.clock, self.settling)
        self.workflows = FakeWorkflows()
        exits = ExitService(self.database, self.clock)
        self.prompt = PromptExits(self.workflows, exits, self.placing, self.settling)
        self.trading = TradingService(
            self.database, self.venues, self.workflows, self.clock, realm=Realm.SIMULATED
        )

    @property
    def requests(self) -> int:
        """How many requests have left for the venue."""
        return self.proxy.requests_forwarded

    async def ref(self, trader: Trader) -> AccountRef:
        async with self.database.for_user(trader.user_id) as session:
            return await account_ref(session, trader.account_id)

    async def gateway(self, trader: Trader) -> VenueAccount:
        return await self.venues.account(await self.ref(trader))


@dataclass
class Installation:
    """A trader with live keys, the API's connections, and two other processes."""

    simulator: Simulator
    vault: Vault
    trader: Trader
    bot: RunningBot
    api: Process
    workers: tuple[Process, Process]
    connections: Connections
    credentials: VenueCredentials

    @property
    def connection_id(self) -> UUID:
        assert self.trader.connection_id is not None
        return self.trader.connection_id

    async def remove(self) -> str:
        removal = await self.connections.remove(
            self.trader.principal, self.connection_id, force=True
        )
        return removal.status

    async def open_position(self) -> Position:
        """A filled entry with its protection."""
        worker = self.workers[0]
        market = worker.venues.market_data(KEY)
        now = (await market.clock()).now
        price = (await market.quote(SYMBOL)).last
        position, order = entry_rows(self.bot, SYMBOL, now, worker.clock.now())
        order.quantity = position.planned_quantity = Decimal("0.01")
        order.limit_price = (price * Decimal("1.5")).quantize(Decimal("0.01"))
        order.reserved_quote = position.planned_notional = order.quantity * order.limit_price
        position.decision_price, position.atr = price, (price / 50).quantize(Decimal("0.01"))
        async with worker.database.as_system() as session:
            session.add(position)
            await session.flush()
            session.add(order)
        result = await worker.placing.place(self.trader.user_id, order.id)
        assert result.state == "filled", result
        return await self.row(Position, position.id)

    async def ask_to_leave(self, position: Position) -> None:
        await self.execute(
            "UPDATE positions SET close_requested = 'manual', close_cause = :cause WHERE id = :id",
            id=position.id,
            cause=f"command:{position.id}",
        )

    async def exits(self) -> list[Order]:
        async with self.api.database.as_system() as session:
            found = await session.exec(select(Order).where(Order.leg != "entry"))
            return list(found.all())

    async def row(self, model: type[Position], row_id: UUID) -> Position:
        async with self.api.database.as_system() as session:
            return await session.get_one(model, row_id)

    async def execute(self, statement: str, **values: object) -> None:
        async with self.api.database.as_system() as session:
            await (await session.connection()).execute(text(statement), values)

    def sold_at_the_venue(self) -> list[str]:
        """The states of the sales that the exchange has."""
        orders = self.simulator.dump(self.credentials)["orders"]
        return [order["status"] for order in orders if order["side"] == "SELL"]


async def ask_again_and_again(ask: Callable[[], Awaitable[object]]) -> None:
    """Use keys without a pause, whatever comes of it, until cancelled."""
    while True:
        with suppress(VenueRefusedKeys, VenueUnavailable):
            await ask()
        await asyncio.sleep(0)


@asynccontextmanager
async def open_installation(
    urls: DatabaseUrls, simulator: Simulator
) -> AsyncIterator[Installation]:
    vault = Vault(generate_key("k1"))
    async with AsyncExitStack() as stack:
        api, *workers = [
            await stack.enter_async_context(_process(urls, simulator, vault)) for _ in range(3)
        ]
        simulator.advance()
        credentials = simulator.open_account({"USD": CASH})
        trader = await add_trader(
            api.database,
            mode=Mode.LIVE,
            credentials=credentials,
            vault=vault,
            balances={"USD": Decimal(CASH)},
            pairs=(SYMBOL,),
        )
        connections = Connections(
            api.database,
            Reads("", api.clock),
            api.clock,
            api.venues,
            vault,
            api.trading,
            realm=Realm.SIMULATED,
        )
        yield Installation(
            simulator=simulator,
            vault=vault,
            trader=trader,
            bot=await _running(api, trader),
            api=api,
            workers=(workers[0], workers[1]),
            connections=connections,
            credentials=credentials,
        )


@asynccontextmanager
async def _process(
    urls: DatabaseUrls, simulator: Simulator, vault: Vault
) -> AsyncIterator[Process]:
    database = Database(urls.app, urls.system, pool_size=4)
    async with lossy_proxy(simulator.url) as proxy:
        venues = VenueRegistry(
            realm=Realm.SIMULATED,
            simulator_url=proxy.url,
            credentials=StoredCredentials(database, vault),
            ledger=InMemoryPaperLedger({"USD": Decimal(1)}),
        )
        yield Process(database, venues, proxy)
        await venues.close()
        await database.close()


async def _running(process: Process, trader: Trader) -> RunningBot:
    await process.trading.start(
        trader.principal, broker="coinbase", paper_trading=False, risk_profile="high"
    )
    async with process.database.for_user(trader.user_id) as session:
        bot = (await session.exec(select(Bot))).one()
        bot.state = "running"
        session.add(bot)
        run = (await session.exec(select(BotRun))).one()
    return RunningBot(trader, bot.id, run.id)
