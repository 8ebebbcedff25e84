"""One seed: everything put together, run for some virtual hours, and checked at quiet points."""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError, SAWarning

from domain.markets import Mode
from models.columns import ids_from
from simulation.activities import EXPECTED, Activities, is_expected
from simulation.checks import Checks
from simulation.cluster import API, EXITS_WORKERS, WORKERS, Cluster
from simulation.confirmations import Confirmations
from simulation.database import SimulationPostgres, fresh_database
from simulation.loop import VirtualLoop
from simulation.manual_actions import ManualActions
from simulation.processes import task_factory
from simulation.statements import StatementScheduler
from simulation.system import Ground, WallTime
from simulation.temporal import Temporal
from simulation.trace import Trace
from simulation.user_actions import Administrator, Callers, UserActions
from simulation.users import SimulatedUser, add_user
from simulation.venue import SYMBOLS, Venue
from simulation.venue_faults import VenueFaults
from simulation.violations import Violation

HOUR = 3600.0
BURST_PAUSE = 4_200.0
BURST_MAX = 5
BETWEEN_ACTIONS = (0.05, 1.0, 8.0, 30.0)
"""Users come for some actions at short intervals, then leave their bots alone for long."""

LARGEST_ORDERS = (40, 90, 250)
"""What the venue then takes at most at a time, in its quote currency: an exit leaves in parts."""

TROUBLES = ("outage", "keys", "temporal", "kill", "kill", "largest", "largest", "largest")

TAKE_DOWN_ROUNDS = 20

DEFECTS = frozenset({"exit.failed", "exits.broke_off"})
FAILURES = frozenset({"exit.not_prompt", "exits.not_prompt", "exits.not_woken"})
EXPECTED_NAMES = frozenset(it.__name__ for it in (*EXPECTED, OperationalError, InterfaceError))
"""Failures that the exits worker leaves to the workflow and logs, so that no caller sees them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a seed is run.

    Attributes:
        seed: what everything is drawn from.
        hours: virtual hours.
        bots: users, each with a bot.
        quiet_minutes: virtual minutes of trouble between two quiet points.
        keeps_trace: keep every line of the trace.
    """

    seed: int
    hours: float = 1.0
    bots: int = 100
    quiet_minutes: float = 60.0
    keeps_trace: bool = False


@dataclass(slots=True)
class Result:
    """What became of a seed."""

    seed: int
    violation: Violation | None = None
    trace: list[str] = field(default_factory=list)
    digest: str = ""
    figures: dict[str, float] = field(default_factory=dict)


def run_seed(plan: Plan, server: SimulationPostgres) -> Result:
    """Run one seed to its end, or to its first violation."""
    began = time.perf_counter()
    with (
        _quiet_libraries(),
        fresh_database(server, f"seed_{plan.seed}") as urls,
        tempfile.TemporaryDirectory(prefix="nija-venue-") as folder,
        seeded_ids(plan.seed),
    ):
        loop = VirtualLoop()
        loop.set_task_factory(task_factory)
        asyncio.set_event_loop(loop)
        scheduler = StatementScheduler(_random(plan.seed, "sessions"), urls.superuser)
        loop.idle_work = scheduler
        result = Result(plan.seed)
        trace = Trace(loop.time, None if plan.keeps_trace else 400)
        scenario = None
        try:
            scenario = Scenario(plan, loop, scheduler, trace, Path(folder))
            with _logged_to(trace, scenario.fail):
                loop.run_until_complete(scenario.run(urls))
        except Violation as violation:
            result.violation = violation
        finally:
            if scenario is not None:
                result.figures = scenario.figures()
                scenario.take_down()
                _end_tasks(loop)
                scenario.venue.close()
            scheduler.close()
            asyncio.set_event_loop(None)
            loop.close()
    result.trace, result.digest = list(trace), trace.digest
    result.figures["seconds"] = time.perf_counter() - began
    return result


class Scenario:
    """Everything of one run."""

    def __init__(
        self,
        plan: Plan,
        loop: VirtualLoop,
        scheduler: StatementScheduler,
        trace: Trace,
        folder: Path,
    ) -> None:
        self._plan = plan
        self._loop = loop
        self._scheduler = scheduler
        self._trace = trace
        self._failed: asyncio.Future[None] = loop.create_future()
        self._random = _random(plan.seed, "scenario")
        self.faults = VenueFaults(
            _random(plan.seed, "faults"), self._random.choice((0.05, 0.1, 0.2, 0.35))
        )
        self.venue = Venue(plan.seed, folder, self.faults, trace, _random(plan.seed, "venue"))
        self.confirmations = Confirmations(loop.time)
        self.users: list[SimulatedUser] = []
        self.bot_hours = 0.0
        self.cluster: Cluster | None = None
        loop.set_exception_handler(self._on_loop_error)

    # --- a run ------------------------------------------------------------------------------

    async def run(self, urls: Any) -> None:
        """Live through the hours.

        Raises:
            Violation: an invariant did not hold.
        """
        main = asyncio.create_task(self._live(urls))
        await asyncio.wait({main, self._failed}, return_when=asyncio.FIRST_COMPLETED)
        if self._failed.done():
            main.cancel()
            self._failed.result()
        main.result()

    def fail(self, violation: Violation) -> None:
        """End the run with a violation; the first one counts."""
        if not self._failed.done():
            self._failed.set_exception(violation)

    async def _live(self, urls: Any) -> None:
        self._build(urls)
        await self._settle_in()
        end = self._plan.hours * HOUR
        while self._loop.time() < end:
            await self._trouble(min(self._plan.quiet_minutes * 60, end - self._loop.time()))
            await self.checks.quiet_point()
        self.bot_hours = self._plan.bots * self._loop.time() / HOUR

    def _build(self, urls: Any) -> None:
        seed = self._plan.seed
        self.temporal = Temporal(_random(seed, "temporal"), self._trace)
        self.ground = ground = Ground(
            urls, self._scheduler, self.venue, self.temporal, WallTime(self._loop)
        )
        self.cluster = Cluster(ground, _random(seed, "cluster"), self._trace)
        self.cluster.on_error = self._on_end
        self.temporal.on_end = self._on_end
        self.temporal.activities = Activities(
            self.cluster, _random(seed, "activities"), self._trace, self.fail
        )
        self.cluster.start_all()

    async def _settle_in(self) -> None:
        assert self.cluster is not None
        callers = Callers(self.cluster, self._trace, self.fail)
        self.callers = callers
        api = await self.cluster.api()
        for number in range(self._plan.bots):
            random_ = _random(self._plan.seed, f"user {number}")
            self.users.append(await add_user(api.services, self.ground, number, random_))
        self.actions = [
            UserActions(
                user,
                callers,
                self.confirmations,
                self._price_of,
                _random(self._plan.seed, f"actions {user.name}"),
            )
            for user in self.users
        ]
        self.administrator = Administrator(
            self.users, callers, self.confirmations, _random(self._plan.seed, "admin")
        )
        self.manual_actions = ManualActions(
            self.users, self.venue, _random(self._plan.seed, "hands")
        )
        self.checks = Checks(self)
        self.venue.on_leaving = self._check_leaving
        for number, action in enumerate(self.actions):
            await action.start(Mode.PAPER if number % 4 == 3 else Mode.LIVE)

    def _check_leaving(self, sent: Any) -> None:
        try:
            self.confirmations.check(sent)
        except Violation as violation:
            self.fail(violation)

    # --- trouble ----------------------------------------------------------------------------

    async def _trouble(self, seconds: float) -> None:
        """Let everybody do what they do, and everything go wrong, for a while."""
        assert self.cluster is not None
        random_ = self._random
        self.venue.misbehave()
        self._scheduler.slowness = random_.choice((0.0, 0.002, 0.01))
        self.cluster.crash_rate = random_.choice((0.0, 3e-5, 1e-4))
        self.temporal.activities.given_up_rate = random_.choice((0.0, 0.01))
        self.temporal.loss_rate = random_.choice((0.0, 0.02, 0.1))
        until = self._loop.time() + seconds
        doings = [asyncio.create_task(self._do(action, until)) for action in self.actions]
        doings += [
            asyncio.create_task(self._break(until)),
            asyncio.create_task(self._administer(until)),
            asyncio.create_task(self.manual_actions.be_busy(until)),
        ]
        await asyncio.gather(*doings)
        self.venue.behave()
        self._scheduler.slowness = self.cluster.crash_rate = 0.0
        self.temporal.activities.given_up_rate = self.temporal.loss_rate = 0.0
        self.temporal.down_until = 0.0

    async def _do(self, action: UserActions, until: float) -> None:
        while True:
            await self._pause(BURST_PAUSE, until)
            for _ in range(self._random.randint(1, BURST_MAX)):
                if self._loop.time() >= until:
                    return
                await action.act()
                await self._pause(self._random.choice(BETWEEN_ACTIONS), until)

    async def _break(self, until: float) -> None:
        """Outages, refused keys, smaller orders only, Temporal away, processes killed."""
        assert self.cluster is not None
        while True:
            await self._pause(300.0, until)
            now = self._loop.time()
            if now >= until:
                return
            match self._random.choice(TROUBLES):
                case "outage":
                    self._trace.add("venue", self.faults.begin_outage(now))
                case "keys":
                    account = str(self._random.choice(self.users).account_ids[Mode.LIVE])
                    self._trace.add("venue", self.faults.refuse_keys(account, now))
                case "temporal":
                    self.temporal.down_until = now + self._random.choice((2.0, 8.0))
                case "kill":
                    self.cluster.kill(self._random.choice((*WORKERS, *EXITS_WORKERS, API)))
                case "largest":
                    self.faults.others += 1
                    self.venue.shrink_largest_order(
                        self._random.choice(SYMBOLS),
                        Decimal(self._random.choice(LARGEST_ORDERS)),
                        self._random.choice((120.0, 600.0)),
                    )

    async def _administer(self, until: float) -> None:
        while True:
            await self._pause(1500.0, until)
            if self._loop.time() >= until:
                return
            await self.administrator.engage_and_release()

    async def _pause(self, mean: float, until: float) -> None:
        """Wait a while of some mean length, but not beyond the end of the trouble."""
        left = max(0.0, until - self._loop.time())
        await asyncio.sleep(min(self._random.expovariate(1 / mean), left))

    # --- parts ------------------------------------------------------------------------------

    def _price_of(self, symbol: str) -> Decimal:
        self.venue.catch_up()
        return self.venue.exchange.engine.books[symbol].price

    def _on_end(self, task: asyncio.Task[Any]) -> None:
        """A workflow or a loop of a process has ended: by its own will, or by a defect."""
        if task.cancelled() or (failure := task.exception()) is None:
            return
        if isinstance(failure, Violation):
            self.fail(failure)
        else:
            where = f"{type(failure).__name__}: {failure}"
            self.fail(Violation("unexpected_error", f"{task.get_coro()}: {where}"))

    def _on_loop_error(self, _loop: Any, context: dict[str, Any]) -> None:
        failure = context.get("exception")
        if isinstance(failure, Violation):
            self.fail(failure)
        elif isinstance(failure, Exception) and not is_expected(failure):
            self.fail(Violation("unexpected_error", f"{context.get('message')}: {failure!r}"))

    @property
    def workers(self) -> Cluster:
        """The processes, once there are some."""
        assert self.cluster is not None
        return self.cluster

    def take_down(self) -> None:
        """Kill what runs; the run is over."""
        if self.cluster is not None:
            self.cluster.stop()

    def figures(self) -> dict[str, float]:
        """What the run was made of; orders on paper as they were at the last quiet point."""
        paper = self.checks.paper_orders if hasattr(self, "checks") else 0
        return {
            "bot_hours": self.bot_hours or self._plan.bots * self._loop.time() / HOUR,
            "orders": len(self.venue.sent) + paper,
            "of_these_on_paper": paper,
            "faults_in_flight": self.faults.in_flight,
            "other_faults": self.faults.others,
            "crashes": self.cluster.crashes if self.cluster else 0,
            "statements": self._scheduler.statements,
            "lock_waits": self._scheduler.lock_waits,
            "calls": self.callers.calls if hasattr(self, "callers") else 0,
            "confirmations": self.confirmations.made,
            "quiet_points": self.checks.points if hasattr(self, "checks") else 0,
        }


def _end_tasks(loop: VirtualLoop) -> None:
    """Let nothing of a run be left to the garbage collector, which would meet a closed loop."""
    for _ in range(TAKE_DOWN_ROUNDS):
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        with suppress(Violation):
            loop.run_until_complete(asyncio.wait(tasks, timeout=0.001))


def _random(seed: int, purpose: str) -> random.Random:
    """A source of its own for a purpose, whose name is part of what a seed draws."""
    return random.Random(f"{seed}:{purpose}")


@contextmanager
def seeded_ids(seed: int) -> Iterator[None]:
    """Make every new id of a run from its seed."""
    source = _random(seed, "ids")
    with ids_from(lambda: UUID(int=source.getrandbits(128), version=4)):
        yield


@contextmanager
def _logged_to(trace: Trace, fail: Callable[[Violation], None]) -> Iterator[None]:
    """Have what the product logs in the trace; what it may not fail with and only logs is found."""

    def add(_logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        name = event.pop("event", "")
        error = event.get("error")
        if name in DEFECTS or (name in FAILURES and error not in EXPECTED_NAMES):
            fail(Violation("unexpected_error", f"{name}: {error}"))
        exception = event.pop("exc_info", None)
        told = " ".join(f"{key}={value}" for key, value in sorted(event.items()))
        trace.add("log", f"{method} {name} {told}{' !' if exception else ''}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[add],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        cache_logger_on_first_use=False,
        context_class=dict,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Killed processes leave connections behind, which libraries complain of."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            yield
        finally:
            logging.disable(level)
