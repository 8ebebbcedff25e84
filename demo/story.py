"""The story, told by doing it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import settings as settings_module
from demo import books, report, stack
from demo.chronicle import Chronicle, Event, decided
from demo.exchange import Exchange, VenueAccount
from demo.failures import DemoFailed
from demo.person import Look, Person
from demo.report import Report
from demo.scenario import DEPOSIT, FEE_TIER_TITLE, Scenario, chosen
from demo.screen import Screen
from demo.stack import RunningStack
from domain.markets import Realm, VenueKey
from domain.strategies.apex import BAR
from services.progress import Progress, StillBusy
from settings import Settings

REPORT_VARIABLE = "NIJA_DEMO_REPORT"
"""Names a file that the report is also written to, for machines."""

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
SMALLER_POSITION = 200
RECOVERY_SECONDS_MAX = 60.0
_VENUE = VenueKey("coinbase", Realm.SIMULATED)


def run() -> None:
    """Show the platform at work, and check that its figures are true.

    Raises:
        SystemExit: something failed or does not add up, or it was interrupted.
    """
    began = time.monotonic()
    screen = Screen()
    settings = settings_module.load()
    try:
        with _ended_by_sigterm():
            told = _tell(screen, settings, chosen(settings.market_data_dir), began)
    except KeyboardInterrupt:
        screen.complain("Interrupted; everything was stopped.")
        sys.exit(EXIT_INTERRUPTED)
    except (DemoFailed, StillBusy) as failed:
        screen.complain(str(failed))
        sys.exit(EXIT_FAILED)
    if path := os.environ.get(REPORT_VARIABLE):
        told.write(Path(path))
    _conclude(screen, told, time.monotonic() - began)


def _tell(screen: Screen, settings: Settings, scenario: Scenario, began: float) -> Report:
    data_dir = settings.data_dir if "data_dir" in settings.model_fields_set else None
    with ExitStack() as opened:
        screen.section("A stack of its own")
        with screen.waiting("Starting PostgreSQL, Temporal, the exchange, the worker and the API"):
            running = opened.enter_context(stack.running(scenario.environment, data_dir))
        facts = running.facts
        exchange = opened.enter_context(closing(Exchange(facts["simulator_url"])))
        ada = opened.enter_context(closing(Person(facts["api_url"], "Ada")))
        twin = opened.enter_context(closing(Person(facts["api_url"], "Grace")))
        progress = opened.enter_context(Progress(facts["system_database_url"], _VENUE))
        _introduce(screen, scenario, facts, time.monotonic() - began)
        story = Story(screen, scenario, running, exchange, ada, twin, progress)
        story.prepare()
        story.trade()
        return story.finish(began)


def _introduce(screen: Screen, scenario: Scenario, facts: dict[str, Any], seconds: float) -> None:
    screen.fact("Started in", f"{seconds:.1f} s")
    screen.fact("API", f"{facts['api_url']}/api/v1")
    screen.fact("Temporal UI", facts["temporal_ui_url"])
    screen.fact("Exchange", f"{facts['simulator_url']} (simulator of Coinbase)")
    screen.fact("Market", f"{scenario.title} ({scenario.source})")
    screen.fact("Pairs", ", ".join(scenario.pairs))
    screen.fact("Fee tier", FEE_TIER_TITLE)


@dataclass
class Story:
    """One person, one bot, one slice of a market; and a twin who does the same on paper.

    Attributes:
        curve: equity by venue minute, as the API told it.
    """

    screen: Screen
    scenario: Scenario
    stack: RunningStack
    exchange: Exchange
    person: Person
    twin: Person
    progress: Progress
    curve: dict[datetime, Decimal] = field(default_factory=dict)
    _chronicle: Chronicle = field(default_factory=Chronicle)
    _account: VenueAccount | None = None
    _has_smaller_positions: bool = False
    _was_killed: bool = False

    @property
    def account(self) -> VenueAccount:
        """The person's account at the exchange."""
        assert self._account is not None, "opened in the first chapter"
        return self._account

    # --- before the first trade ---------------------------------------------------------------

    def prepare(self) -> None:
        """Register, connect, choose pairs, start."""
        self._register()
        self._connect()
        self.screen.section("Start the bot")
        for person in (self.person, self.twin):
            person.set(allowed_pairs=list(self.scenario.pairs))
        started = self.person.start(on_paper=False)
        self.twin.start(on_paper=True)
        self._settle(self.exchange.now())
        status = self.person.status()
        self.screen.fact("Bot", f"{started['status']}, then {status['status']}")
        self.screen.fact("Strategy", f"{status['strategy']}, configuration {status['config_hash']}")
        self.screen.fact("Settings", "medium risk, at most 500 USD a position; the defaults")
        self.screen.fact(self.twin.name, "does the same on paper, with the same 10,000 USD")

    def _register(self) -> None:
        self.screen.section("Register")
        user = self.person.register()
        self.twin.register()
        self.screen.fact("Users", f"{self.person.email}, {self.twin.email}")
        self.screen.fact(
            "Plan", f"{user['subscription_tier']}, trial until {user['trial_ends_at']}"
        )
        query = quote(f'NijaUser="{Person.uuid_of(user)}"')
        ui = self.stack.facts["temporal_ui_url"]
        self.screen.fact(
            f"{self.person.name}'s bot", f"{ui}/namespaces/default/workflows?query={query}"
        )

    def _connect(self) -> None:
        self.screen.section("Connect a broker")
        self._account = self.exchange.open_account()
        broker = self.person.connect(self.account)
        self.screen.fact("Broker", f"{broker['display_name']} ({broker['realm']})")
        self.screen.fact("Key", f"{broker['api_key_masked']}, may {_and(broker['permissions'])}")
        self.screen.fact("Balance there", f"{broker['account_balance']:,.2f} USD")

    # --- trading ------------------------------------------------------------------------------

    def trade(self) -> None:
        """Play the slice minute by minute."""
        self.screen.section("Trade")
        self._look(self.exchange.now())
        ends_at = self.scenario.start + timedelta(minutes=self.scenario.minutes)
        with self.screen.waiting("") as status:
            while (now := self.exchange.now()) < ends_at:
                status.update(f"{now:%H:%M} of {ends_at:%H:%M}, equity {self.curve[now]:,.2f} USD")
                self._interlude(self._minute())

    def _minute(self) -> Look:
        now = self.exchange.advance()
        self._settle(now)
        return self._look(now)

    def _settle(self, now: datetime, *, seconds_max: float = RECOVERY_SECONDS_MAX) -> None:
        newest = self.exchange.newest_bars(self.scenario.pairs, now)
        self.progress.wait(now, newest, seconds_max=seconds_max)

    def _look(self, now: datetime) -> Look:
        look = self.person.look()
        for event in self._events(now, look):
            self.screen.event(event)
        if look.balance["equity"] is not None:
            self.curve[now] = Decimal(str(look.balance["equity"]))
        return look

    def _events(self, now: datetime, look: Look) -> Iterator[Event]:
        if BAR.floor(now) == now and now not in self.curve:
            yield from decided(now, self.person.decisions())
        fills = self._chronicle.new_fills(self.exchange.books(self.account).fills)
        sold = any(not fill.is_buy for fill in fills)
        trades = self.person.trades() if sold else []
        yield from self._chronicle.tell(now, fills, look.positions, trades)

    def _interlude(self, look: Look) -> None:
        """After the first trade the user grows careful; during the next one both workers die."""
        if self._has_smaller_positions:
            if look.positions and not self._was_killed:
                self._kill_workers(look)
        elif not look.positions and self._chronicle.has_told_a_trade:
            self._change_settings()

    def _change_settings(self) -> None:
        self._has_smaller_positions = True
        changed = self.person.set(max_position_size_usd=SMALLER_POSITION)
        self.twin.set(max_position_size_usd=SMALLER_POSITION)
        self.screen.section("Change settings while it runs")
        self.screen.fact("Largest position", f"{SMALLER_POSITION} USD from now on")
        self.screen.fact("Changed", _and(changed))
        self._settle(self.exchange.now())
        self.screen.section("Trade on")

    def _kill_workers(self, look: Look) -> None:
        """The exits worker judges the prices; the other one decides, and would be no loss yet."""
        self._was_killed = True
        self.screen.section("Kill both workers while a position is open")
        stops = ", ".join(f"{one['symbol']} at {one['stop_loss']}" for one in look.positions)
        self.screen.say(f"Stops: {stops}.")
        began = time.monotonic()
        pids = {name: self.stack.kill(name) for name in ("exits-worker", "worker")}
        for name, pid in pids.items():
            self.stack.wait_restarted(name, pid)
        after = self._minute()
        self.screen.say(
            f"SIGKILL to the processes {' and '.join(map(str, pids.values()))}. "
            f"{time.monotonic() - began:.1f} s later their successors had judged the next minute; "
            f"positions guarded: {len(after.positions)}."
        )
        self.screen.section("Trade on")

    # --- the end ------------------------------------------------------------------------------

    def finish(self, began: float) -> Report:
        """Stop the bot, and hold the books against each other."""
        self.screen.section("Stop")
        stopped = self.person.stop()
        self.twin.stop()
        now = self.exchange.now()
        self._settle(now)
        self.screen.fact("Bot", f"{stopped['status']}, {stopped['open_positions']} positions open")
        self._look(now)
        ours = self.exchange.books(self.account)
        trips = books.round_trips(ours.fills)
        trades, paper_trades = self.person.trades(), self.twin.trades()
        rows = report.compare(
            self.person.performance()["metrics"],
            self.person.look().balance,
            books.totals(trips, Decimal(DEPOSIT)),
            ours,
        )
        told = Report(
            scenario=self.scenario,
            rows=rows,
            trades=trades,
            paper_trades=paper_trades,
            curve=list(self.curve.values()),
            differences=[
                *report.differences(rows, trades, trips, ours),
                *report.twin_differences(trades, paper_trades),
            ],
            seconds=time.monotonic() - began,
        )
        self.screen.section("Report")
        self.screen.report(told, ours.fills, self.scenario.start)
        return told


def _conclude(screen: Screen, told: Report, seconds: float) -> None:
    screen.section("Is it true?")
    if not told.trades:
        _give_up(screen, "There was no trade: nothing was shown.")
    for difference in told.differences:
        screen.complain(difference)
    if told.differences:
        _give_up(screen, "The platform's figures are not those of the exchange.")
    screen.say("Every figure of the API equals what the exchange's own fills add up to.")
    screen.say("The twin on paper made the same trades at the same prices, to the last digit.")
    screen.say(f"{seconds:.0f} seconds, start and stop included.")
    screen.section("Go on")
    screen.say(
        "make run     starts a stack that stays: API, Temporal UI and a demo login are shown."
    )
    screen.say("docs/        says what it can do; the API explains itself at /api/v1/docs.")


def _give_up(screen: Screen, sentence: str) -> NoReturn:
    screen.complain(sentence)
    sys.exit(EXIT_FAILED)


def _and(names: list[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the story as Ctrl-C does: in order."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
