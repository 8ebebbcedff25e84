"""The product, wired for one process as `bootstrap` does it; the only file that knows how."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import dict_row

from adapters.embedded.postgres_roles import DatabaseUrls
from domain.alerts import AlertWorkflows
from domain.markets import Realm
from domain.ports import KillSwitchWorkflows, WallClock, WorkflowService
from services.alerts.dispatching import AlertDispatch
from services.alerts.following import AlertFollowing
from services.alerts.intake import AlertIntake
from services.alerts.sweeping import AlertSweep
from services.markets.evaluating import EvaluationService
from services.markets.watching import VenueWatching
from services.orders.placing import OrderPlacing
from services.orders.reconciling import Reconciling
from services.orders.settling import OrderSettling
from services.paper_ledger import PostgresPaperLedger
from services.reads import Caller, Reads
from services.trading.bar_announcing import BarAnnouncing
from services.trading.commands import TradingService
from services.trading.exit_dispatch import ExitDispatch
from services.trading.exiting import ExitService
from services.trading.guarding import GuardService
from services.trading.hunting import HuntService
from services.trading.kill_switch_rounds import KillSwitchRounds, KillSwitchSweep
from services.trading.kill_switches import KillSwitches
from services.trading.prompt_exits import PromptExits
from services.trading.signals import SignalHandling
from services.trading.sweeping import Sweeper
from services.user_settings import UserSettingsService
from simulation.database import SESSION_OPTIONS, SteppedDatabase
from simulation.gateways import KEY, Gateways
from simulation.loop import VirtualLoop
from simulation.processes import Process
from simulation.statements import StatementScheduler, SteppedConnection
from simulation.venue import START, Venue

GRACE = timedelta(seconds=30)
SCAN_LENGTH = timedelta(seconds=150)
RECONCILE_SECONDS = 1_200.0
SWEEP_SECONDS = 60.0
WATCH_SECONDS = 20.0
POLL_SECONDS = 10.0
NO_PROGRESS = timedelta(seconds=1_800)
"""Longer than the product's own, which would spend most of a run on rounds that find nothing."""

ALERT_AGE = timedelta(seconds=120)


class Workflows(WorkflowService, AlertWorkflows, KillSwitchWorkflows):
    """What the services ask of Temporal."""


class WallTime(WallClock):
    """Virtual wall time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        """Aware UTC."""
        return START + timedelta(seconds=self._loop.time())


class Pool:
    """What the intake of alerts asks of psycopg's pool: one connection for each call."""

    def __init__(self, url: str, scheduler: StatementScheduler, process: Process) -> None:
        self._url = url
        self._scheduler = scheduler
        self._process = process
        self._free: list[SteppedConnection] = []

    async def open(self, *, wait: bool) -> None:
        """Nothing to open before it is needed."""

    async def check(self) -> None:
        """Drop connections that died."""
        self._free = [it for it in self._free if not it.closed]

    async def close(self) -> None:
        """Nothing that the process does not close."""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[SteppedConnection]:
        """A connection of one's own for a while."""
        if self._free:
            connection = self._free.pop()
        else:
            connection = await SteppedConnection.open(
                self._scheduler,
                self._process,
                self._url,
                autocommit=True,
                row_factory=dict_row,
                options=SESSION_OPTIONS,
            )
        yield connection
        self._free.append(connection)


class SettingsReads(Reads):
    """The read side as the settings need it."""

    def __init__(self, database: SteppedDatabase) -> None:
        self._database = database

    async def rows(self, caller: Caller, sql: str, **params: Any) -> Any:
        """Rows of one query as the caller's."""
        async with self._database.for_user(caller.user_id) as session:
            connection = await session.connection()
            found = await connection.exec_driver_sql(sql, {"user_id": caller.user_id, **params})
            return [dict(row) for row in found.mappings()]


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a worker and an API process run."""

    database: SteppedDatabase
    guard: GuardService
    hunt: HuntService
    placing: OrderPlacing
    settling: OrderSettling
    watching: VenueWatching
    bars: BarAnnouncing
    reconciling: Reconciling
    sweeper: Sweeper
    exits: ExitService
    dispatch: ExitDispatch
    following: AlertFollowing
    rounds: KillSwitchRounds
    trading: TradingService
    switches: KillSwitches
    settings: UserSettingsService
    intake: AlertIntake
    workflows: Workflows


@dataclass(frozen=True, slots=True)
class Ground:
    """What every process of a run stands on."""

    urls: DatabaseUrls
    scheduler: StatementScheduler
    venue: Venue
    workflows: Workflows
    clock: WallTime


def wire(ground: Ground, process: Process) -> Services:
    """Make all services anew, as a process that starts does."""
    clock, workflows = ground.clock, ground.workflows
    database = SteppedDatabase(ground.urls, ground.scheduler, process)
    venues = Gateways(ground.venue, process, PostgresPaperLedger(database))
    settling = OrderSettling(database, venues, clock, grace=GRACE)
    evaluations = EvaluationService(database, venues, clock)
    signals = SignalHandling(database, venues, evaluations, clock)
    reconciling = Reconciling(database, venues, settling, clock, interval_seconds=RECONCILE_SECONDS)
    following = AlertFollowing(database, workflows, clock)
    trading = TradingService(database, venues, workflows, clock, realm=Realm.SIMULATED)
    exits, placing = ExitService(database, clock), OrderPlacing(database, venues, clock, settling)
    prompt = PromptExits(workflows, exits, placing, settling)  # for what only an exits worker runs
    return Services(
        database=database,
        guard=GuardService(database, clock),
        hunt=HuntService(database, venues, evaluations, signals, clock, scan_length=SCAN_LENGTH),
        placing=placing,
        settling=settling,
        watching=VenueWatching(
            database,
            venues,
            prompt,
            clock,
            interval_seconds=WATCH_SECONDS,
        ),
        bars=BarAnnouncing(
            database,
            venues,
            workflows,
            realm=Realm.SIMULATED,
            scan_length=SCAN_LENGTH,
            interval_seconds=WATCH_SECONDS,
        ),
        reconciling=reconciling,
        sweeper=Sweeper(
            database,
            workflows,
            venues,
            reconciling,
            clock,
            realm=Realm.SIMULATED,
            interval_seconds=SWEEP_SECONDS,
            chores=(
                AlertSweep(database, workflows, workflows, following, clock),
                KillSwitchSweep(database, workflows),
            ),
            no_progress=NO_PROGRESS,
        ),
        exits=exits,
        dispatch=ExitDispatch(
            database,
            prompt,
            venues,
            realm=Realm.SIMULATED,
            interval_seconds=POLL_SECONDS,
        ),
        following=following,
        rounds=KillSwitchRounds(database, workflows, clock),
        trading=trading,
        switches=KillSwitches(database, workflows, clock),
        settings=UserSettingsService(
            database, SettingsReads(database), clock, venues, trading, venue=KEY
        ),
        intake=_intake(ground, process, database),
        workflows=workflows,
    )


def _intake(ground: Ground, process: Process, database: SteppedDatabase) -> AlertIntake:
    def pool(url: str, _name: str) -> Any:
        return Pool(url, ground.scheduler, process)

    return AlertIntake(
        ground.urls.app,
        ground.urls.system,
        database,
        ground.clock,
        AlertDispatch(ground.workflows, ground.workflows),
        age_max=ALERT_AGE,
        a_minute=None,
        open_pool=pool,
    )
