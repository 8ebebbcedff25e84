"""Many bots on real workflows at a venue that notes arrivals: what tests of kill switches need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.bots import BotActivities
from activities.exits import ExitActivities
from activities.kill_switch import KillSwitchActivities
from activities.orders import OrderActivities
from adapters.embedded.postgres_roles import DatabaseUrls
from adapters.temporal.kill_switches import TemporalKillSwitches
from domain.contracts.bots import BotSignal, Nudge
from domain.contracts.exits import exits_task_queue
from domain.markets import Realm
from domain.orders import OrderRequest, PlaceOutcome, Side
from domain.ports import WorkflowServiceUnavailable
from domain.principal import Principal, Role
from services.database import Database
from services.orders.placing import OrderPlacing
from services.orders.settling import OrderSettling
from services.trading.exit_dispatch import ExitDispatch
from services.trading.exiting import ExitService
from services.trading.kill_switch_rounds import KillSwitchRounds, KillSwitchSweep
from services.trading.kill_switches import KillSwitches
from services.trading.prompt_exits import PromptExits
from tests.support.engine import GRACE, Engine, RunningBot
from tests.support.fake_venue import FakeAccount, FakeVenue
from tests.support.sandbox import sandboxed
from tests.support.temporal_client import connected
from workflows.bot import BotWorkflow
from workflows.exits import ExitWorkflow
from workflows.kill_switch import KillSwitchWorkflow

WAIT_SECONDS = 90.0
ADMIN = Principal(uuid4(), uuid4(), Role.ADMIN)


@dataclass
class FakeSwitchWorkflows:
    """Remembers which switches were to be told of; may be away."""

    told: list[UUID] = field(default_factory=list)
    is_away: bool = False

    async def tell_of_switch(self, switch_id: UUID) -> None:
        if self.is_away:
            raise WorkflowServiceUnavailable("away")
        self.told.append(switch_id)


@dataclass
class NotingAccount(FakeAccount):
    """An account on the way to which a send takes its time; arrivals are noted by the venue."""

    arrivals: list[OrderRequest] = field(default_factory=list)
    way: list[float] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def place(self, request: OrderRequest) -> PlaceOutcome:
        await asyncio.sleep(self.way[0])
        self.arrivals.append(request)
        self.arrived.set()
        return await super().place(request)


class NotingVenue(FakeVenue):
    """A venue that knows in which order anything arrived, of whatever account."""

    def __init__(self, *symbols: str, way_seconds: float = 0.05) -> None:
        super().__init__(*symbols)
        self.arrivals: list[OrderRequest] = []
        self.arrived = asyncio.Event()
        self.way = [way_seconds]

    def open(self, account_id: UUID, **totals: str) -> FakeAccount:
        plain = super().open(account_id, **totals)
        noting = NotingAccount(
            plain.market,
            plain.crash,
            plain.totals,
            arrivals=self.arrivals,
            way=self.way,
            arrived=self.arrived,
        )
        self.accounts[account_id] = noting
        return noting

    @property
    def entries(self) -> int:
        """Entries that arrived; everything here is long."""
        return sum(request.side is Side.BUY for request in self.arrivals)


class Unwatched(FakeVenue):
    """Venues whose prices nothing here watches."""

    def supported(self) -> Mapping[str, str]:
        return {}


class SwitchedEngine(Engine):
    """An engine whose bots are real workflows, and the kill switches over them."""

    venue: NotingVenue

    def __init__(self, urls: DatabaseUrls, client: Client) -> None:
        super().__init__(urls, NotingVenue())
        self.task_queue = f"test-{uuid4()}"
        self._client = client
        temporal = connected(client, self.task_queue)
        self.temporal = temporal
        self.workflows: Any = temporal
        self.wire()
        starter = TemporalKillSwitches(temporal, self.task_queue)
        self.switches = KillSwitches(self.database, starter, self.wall)
        self.rounds = KillSwitchRounds(self.database, temporal, self.wall)
        self.sweep = KillSwitchSweep(self.database, starter)
        # As a process of its own has them: connections that it shares with nothing.
        self.exits_database = Database(urls.app, urls.system, pool_size=10)
        settling = OrderSettling(self.exits_database, self.venue, self.wall, grace=GRACE)
        placing = OrderPlacing(self.exits_database, self.venue, self.wall, settling)
        self.exit_orders = OrderActivities(placing, settling)
        self.exit_service = ExitService(self.exits_database, self.wall)
        self.prompt = PromptExits(temporal, self.exit_service, placing, settling)
        self.dispatch = ExitDispatch(
            self.exits_database, self.prompt, Unwatched(), realm=Realm.SIMULATED
        )

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """Both worker processes, in this one."""
        async with self.main_worker(), self.exits_worker():
            polling = asyncio.create_task(self.dispatch.run())
            try:
                yield
            finally:
                polling.cancel()
                await asyncio.gather(polling, return_exceptions=True)
                await self.prompt.close(WAIT_SECONDS)

    def exits_worker(self) -> Worker:
        """The one that carries out exits."""
        exits, orders = ExitActivities(self.exit_service), self.exit_orders
        return Worker(
            self._client,
            task_queue=exits_task_queue(self.task_queue),
            workflows=[ExitWorkflow],
            activities=[exits.make_due, orders.place, orders.settle],
            workflow_runner=sandboxed(),
            max_heartbeat_throttle_interval=timedelta(seconds=1),
        )

    def main_worker(self, *, activities_at_once: int = 100) -> Worker:
        """The one that does the rest."""
        bots = BotActivities(self.guard_service, self.hunt_service, self.temporal)
        orders = OrderActivities(self.placing, self.settling)
        switch = KillSwitchActivities(self.rounds)
        return Worker(
            self._client,
            task_queue=self.task_queue,
            workflows=[BotWorkflow, KillSwitchWorkflow],
            activities=[
                bots.guard,
                bots.hunt,
                orders.place,
                orders.settle,
                switch.begin,
                switch.tell,
                switch.look,
                switch.finish,
            ],
            workflow_runner=sandboxed(),
            max_heartbeat_throttle_interval=timedelta(seconds=1),
            max_cached_workflows=500,
            max_concurrent_activities=activities_at_once,
        )

    async def start_bots(self, count: int) -> list[RunningBot]:
        """Bots that run, each on an account of its own."""
        return [await self.start_bot() for _ in range(count)]

    async def nudge(self, bots: list[RunningBot]) -> None:
        """Let every bot look at its rows."""
        await asyncio.gather(
            *(
                self.temporal.signal_bot(
                    bot.trader.user_id, bot.bot_id, BotSignal.ORDER_UPDATE, Nudge()
                )
                for bot in bots
            )
        )

    async def until(self, query: str, expected: object = 0, **values: object) -> None:
        """Wait until a query of one value says what is expected."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            (row,) = await self.rows(query, **values)
            (found,) = row.values()
            if found == expected:
                return
            assert asyncio.get_running_loop().time() < deadline, f"{query}: {found}"
            await asyncio.sleep(0.05)

    async def until_entered(self, count: int) -> None:
        """Wait until so many entries have arrived at the venue."""
        while self.venue.entries < count:
            await self.venue.arrived.wait()
            self.venue.arrived.clear()

    async def until_left(self, *, seconds: float) -> None:
        """Wait until an exit has arrived at the venue."""
        async with asyncio.timeout(seconds):
            while not any(request.side is Side.SELL for request in self.venue.arrivals):
                await self.venue.arrived.wait()
                self.venue.arrived.clear()

    async def until_quiet(self) -> None:
        """Wait until no order is live any more."""
        await self.until(
            "SELECT count(*) FROM orders WHERE state NOT IN"
            " ('filled', 'cancelled', 'refused', 'denied', 'absent')"
        )

    async def until_told(self, switch_id: UUID) -> dict[str, Any]:
        """Wait until a switch's newest revision was told; the report."""
        await self.until(
            "SELECT count(*) FROM kill_switches WHERE handled_revision < revision AND id = :id",
            id=switch_id,
        )
        (row,) = await self.rows("SELECT report FROM kill_switches WHERE id = :id", id=switch_id)
        report: dict[str, Any] = row["report"]
        return report

    async def terminate_bots(self) -> None:
        """Leave no workflow behind."""
        async for execution in self._client.list_workflows(
            f"TaskQueue IN ('{self.task_queue}', '{exits_task_queue(self.task_queue)}')"
            " AND ExecutionStatus = 'Running'"
        ):
            with suppress(RPCError):  # it may have ended by itself
                await self._client.get_workflow_handle(execution.id).terminate("the test is over")


@asynccontextmanager
async def switched_engine(urls: DatabaseUrls, client: Client) -> AsyncIterator[SwitchedEngine]:
    """An engine on a fresh database, and nothing of it left afterwards."""
    engine = SwitchedEngine(urls, client)
    try:
        yield engine
    finally:
        await engine.exits_database.close()
        await engine.close()
