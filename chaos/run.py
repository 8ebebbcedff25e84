"""One run: a stack, its users, the kills, and the judgement."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import httpx
import psycopg
from temporalio.client import Client

from bench.population import Trader, populate, wait_running
from chaos.alerts import Alerts
from chaos.commands import Commands
from chaos.crossings import Crossings
from chaos.delays import (
    ALERT_STOPS,
    STOP_SECONDS_MAX,
    StopDelay,
    late_alerts,
    late_stops,
    stop_delays,
)
from chaos.faults import Faults
from chaos.invariants import (
    Violation,
    equities,
    lost_alerts,
    not_flat,
    unclosed,
    violations,
)
from chaos.killer import Killer, NotRecovered
from chaos.plan import strikes
from chaos.records import Records, read_records
from chaos.report import figures
from chaos.uptime import Uptime
from services.analytics.recounting import count_differences
from services.database import Database
from tests.support.up import Person, RunningStack

PAIRS = ("BTC-USD", "ETH-USD", "SOL-USD")
SPEED = 20
"""Venue seconds a second: a stop is crossed every few seconds."""

GRACE_SECONDS = 5 * SPEED
QUIET_SECONDS_MAX = 180.0
QUOTED_SECONDS = 4.0
HISTORIES_MAX = 5
_LOOK_SECONDS = 0.25
_UNQUIET = """
SELECT (SELECT count(*) FROM orders WHERE settled_at IS NULL) AS orders,
       (SELECT count(*) FROM triggers WHERE state = 'fired') AS triggers,
       (SELECT count(*) FROM alerts
        WHERE state IN ('processing', 'accepted') AND duplicate_of IS NULL) AS alerts,
       (SELECT count(*) FROM positions
        WHERE state = 'open' AND close_requested IS NOT NULL) AS leaving
"""
_STILL_OPEN = "SELECT count(*) AS positions FROM positions WHERE state IN ('pending', 'open')"


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for.

    Attributes:
        kills: how many processes die.
        bots: how many bots trade, every second one at the exchange.
        seed: decides who is killed when, what users do, and the market.
        alerts_per_second, commands_per_second: of all users together.
        warm_up_seconds: how long bots trade before the first process dies.
        minutes_max: killing ends then, however many died.
        stop_seconds_max: how long a crossed stop may take while everything serves.
    """

    kills: int
    bots: int = 50
    seed: int = 1
    alerts_per_second: float = 3.0
    commands_per_second: float = 2.0
    warm_up_seconds: float = 5.0
    minutes_max: float = inf
    stop_seconds_max: float = STOP_SECONDS_MAX


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        figures: counts and latencies, for people.
        evidence: the folder with logs and books; None where nothing was wrong.
    """

    violations: list[Violation] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    evidence: Path | None = None


def run(options: Options, evidence: Path, note: Callable[[str], None]) -> Outcome:
    """Run, judge, and keep what explains a violation.

    Args:
        options: what is asked for.
        evidence: where to put it.
        note: receives one line for each stage, for people.
    """
    folder = Path(tempfile.mkdtemp(prefix="nija-chaos-"))
    folder.chmod(0o711)
    stack = RunningStack(folder / "data", _environment(options.seed))
    try:
        stack.start()
        session = _Session(options, stack, note)
        outcome = asyncio.run(session.play())
        if outcome.violations:
            outcome.evidence = _keep(evidence, folder, outcome, session)
    except BaseException:
        _keep(evidence, folder, Outcome(), None)
        raise
    finally:
        stack.kill_remains()
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _environment(seed: int) -> dict[str, str]:
    return {
        "NIJA_REPLAY_SPEED": str(SPEED),
        "NIJA_SIMULATOR_SEED": str(seed),
        "NIJA_SIMULATOR_SYMBOLS": ",".join(PAIRS),
        "NIJA_SIMULATOR_FEE_TIER": "vip",
        "NIJA_ABSENCE_GRACE_SECONDS": str(GRACE_SECONDS),
        "NIJA_RECONCILE_INTERVAL_SECONDS": "5",
        "NIJA_SWEEP_INTERVAL_SECONDS": "2",
        "NIJA_ALERTS_PER_MINUTE": "0",
    }


def _keep(evidence: Path, folder: Path, outcome: Outcome, session: _Session | None) -> Path:
    evidence.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder / "data" / "logs", evidence / "logs", dirs_exist_ok=True)
    shutil.copy(folder / "data.out", evidence / "supervisor.log")
    (evidence / "violations.txt").write_text("\n".join(map(str, outcome.violations)) + "\n")
    if session is not None:
        (evidence / "session.json").write_text(
            json.dumps(session.explanation(), indent=1, default=str)
        )
    return evidence


class _Session:
    """The parts of a run."""

    def __init__(self, options: Options, stack: RunningStack, note: Callable[[str], None]) -> None:
        facts = stack.run
        self._options = options
        self._stack = stack
        self._note = note
        self._api_url: str = facts["api_url"]
        self._system_url: str = facts["system_database_url"]
        self._app_url: str = facts["app_database_url"]
        self._simulator_url: str = facts["simulator_url"]
        self._dump: dict[str, Any] = {}
        self._records: Records | None = None
        self._histories: dict[str, Any] = {}
        self._traders: tuple[Trader, ...] = ()
        self.faults = Faults(
            self._simulator_url, Random(f"faults {options.seed}"), PAIRS, float(SPEED)
        )
        self.uptime = Uptime(stack, lambda: self.faults.is_blind)
        self.killer = Killer(self.uptime, self._system_url, note)
        self.crossings = Crossings(self._simulator_url, self._system_url)
        self.alerts: Alerts | None = None
        self.commands: Commands | None = None

    def explanation(self) -> dict[str, Any]:
        """What explains a violation besides logs."""
        return {
            "tables": self._records.tables if self._records else {},
            "histories": self._histories,
            "bans": self.commands.bans if self.commands else [],
            "crossings": list(self.crossings.seen.values()),
            "for_exits": self.uptime.for_exits.spans,
            "for_all": self.uptime.for_all.spans,
            "dump": self._dump,
        }

    async def play(self) -> Outcome:
        """From the first user to the verdict."""
        began = time.monotonic()
        rng = Random(self._options.seed)
        await self._populate(rng)
        assert self.alerts is not None
        assert self.commands is not None
        self._note(f"{self._options.bots} bots run after {time.monotonic() - began:.0f} s")
        watching = [
            asyncio.create_task(self.uptime.watch()),
            asyncio.create_task(self.crossings.watch()),
        ]
        failure = await self._kill(watching)
        self._note("settling")
        found = await self._settle() if failure is None else [Violation("process", failure)]
        for task in watching:
            task.cancel()
        self.uptime.close()
        ended_at = time.time()
        records = await self._read()
        delays = stop_delays(
            records, self.crossings.seen.values(), self.uptime.for_exits.spans, ended_at
        )
        await self._read_histories(delays, records)
        found += violations(records, self.commands.bans)
        found += lost_alerts(records, self.alerts.acknowledged)
        found += unclosed(records, self.commands.closes)
        found += late_stops(delays, self._options.stop_seconds_max)
        found += late_alerts(
            records, self.uptime.for_all.spans, ALERT_STOPS * self._options.stop_seconds_max
        )
        found += [
            Violation("refused", json.dumps(one))
            for one in (*self.alerts.refused, *self.commands.refused)
        ]
        if failure is None:
            found += await self._equities() + await self._roll_ups(records) + await self._flatten()
        await self.commands.close()
        return Outcome(
            found,
            figures(
                self._options,
                records,
                self.uptime,
                self.killer,
                self.alerts,
                self.commands,
                self.faults,
                delays,
                time.monotonic() - began,
            ),
        )

    async def _populate(self, rng: Random) -> None:
        count = self._options.bots
        live = await populate(self._stack, (count + 1) // 2, live=True, pairs=PAIRS)
        paper = await populate(self._stack, count // 2, live=False, pairs=PAIRS, first=len(live))
        self._traders = (*live, *paper)
        await self._execute("UPDATE users SET subscription_tier = 'enterprise'")
        await wait_running(self._stack, count)
        self.alerts = Alerts(self._api_url, self._traders, PAIRS, Random(rng.random()))
        self.commands = Commands(
            self._api_url,
            self._traders,
            await asyncio.to_thread(self._admin),
            PAIRS,
            Random(rng.random()),
        )
        await self.alerts.open()

    def _admin(self) -> Person:
        facts = self._stack.run
        login = {"email": facts["admin_email"], "password": facts["admin_password"]}
        answer = self._stack.data("POST", "/auth/login", body=login)
        return Person(facts["admin_email"], "", answer["access_token"])

    async def _kill(self, watching: list[asyncio.Task[None]]) -> str | None:
        """Kill while traffic flows; what did not come back, if anything did not."""
        traffic = [
            asyncio.create_task(self._send_alerts()),
            asyncio.create_task(self._give_commands()),
            asyncio.create_task(self.faults.inject()),
        ]
        await asyncio.sleep(self._options.warm_up_seconds)
        await self.killer.served()
        plan = strikes(self._options.seed, self._options.kills, self.uptime.processes)
        killing = asyncio.create_task(self.killer.carry_out(plan, self._options.minutes_max))
        await asyncio.wait((killing, *traffic, *watching), return_when=asyncio.FIRST_COMPLETED)
        for task in (*traffic, *watching):
            if task.done():
                killing.cancel()
                task.result()
        for task in traffic:
            task.cancel()
        await asyncio.wait(traffic)
        try:
            await killing
        except NotRecovered as failed:
            return str(failed)
        await self.faults.end()
        return None

    async def _send_alerts(self) -> None:
        assert self.alerts is not None
        while True:
            self.alerts.send_one()
            await asyncio.sleep(1 / self._options.alerts_per_second)

    async def _give_commands(self) -> None:
        assert self.commands is not None
        giving: set[asyncio.Task[None]] = set()
        try:
            while True:
                giving.add(asyncio.create_task(self.commands.give_one()))
                for task in [one for one in giving if one.done()]:
                    giving.discard(task)
                    task.result()
                await asyncio.sleep(1 / self._options.commands_per_second)
        finally:
            await asyncio.gather(*giving)

    async def _settle(self) -> list[Violation]:
        """Wait until every order, trigger and alert has ended; what has not by then is wrong."""
        assert self.alerts is not None
        assert self.commands is not None
        await self.alerts.close()
        await self.commands.release_all()
        return await self._until_none(_UNQUIET)

    async def _flatten(self) -> list[Violation]:
        """Stop every bot and close all positions."""
        assert self.commands is not None
        await self._set_clock(mode="speed")
        await self.commands.stop_all()
        found = await self._until_none(_STILL_OPEN)
        found += await self._until_none(_UNQUIET)
        await self._set_clock(mode="step")
        await asyncio.sleep(QUOTED_SECONDS)
        records = await self._read()
        return found + violations(records, self.commands.bans) + not_flat(records)

    async def _until_none(self, statement: str) -> list[Violation]:
        deadline = time.monotonic() + QUIET_SECONDS_MAX
        counts = await self._row(statement)
        while any(counts.values()):
            if time.monotonic() > deadline:
                return [Violation("unsettled", f"after {QUIET_SECONDS_MAX:.0f} s: {counts}")]
            await asyncio.sleep(_LOOK_SECONDS)
            counts = await self._row(statement)
        return []

    async def _read(self) -> Records:
        """Read all books while the market stands still."""
        await self._set_clock(mode="step")
        await asyncio.sleep(QUOTED_SECONDS)
        await self._until_none(_UNQUIET)
        self._dump = await asyncio.to_thread(self._stack.dump)
        self._records = await read_records(self._system_url, self._traders, self._dump)
        return self._records

    async def _read_histories(self, delays: Sequence[StopDelay], records: Records) -> None:
        """Keep what the workflows of late stops went through."""
        late = {
            d.crossing.position_id for d in delays if d.seconds > self._options.stop_seconds_max
        }
        bots = {row["bot_id"] for row in records.all("orders") if row["position_id"] in late}
        client = await Client.connect(self._stack.run["temporal_address"])
        for bot_id in sorted(bots)[:HISTORIES_MAX]:
            found = client.list_workflows(
                f"WorkflowId = 'bot:{bot_id}' OR WorkflowId = 'exits:{bot_id}'"
            )
            self._histories[str(bot_id)] = [
                (
                    await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
                ).to_json_dict()
                async for run in found
            ]

    async def _equities(self) -> list[Violation]:
        records = await read_records(self._system_url, self._traders, self._dump)
        prices, shown = {}, {}
        async with httpx.AsyncClient(timeout=30) as client:
            for pair in PAIRS:
                url = f"{self._simulator_url}/api/v3/brokerage/market/products/{pair}/ticker"
                answer = (await client.get(url)).raise_for_status().json()
                prices[pair] = Decimal(answer["trades"][0]["price"])
            for trader in self._traders:
                mode = "live" if trader.is_live else "paper"
                answer = await client.get(
                    f"{self._api_url}/api/v1/account/balance",
                    params={"mode": mode},
                    headers={"Authorization": trader.authorization},
                )
                data = answer.raise_for_status().json()["data"]
                shown[_account_of(records, trader)] = data["equity"]
        return equities(records, shown, prices)

    async def _roll_ups(self, records: Records) -> list[Violation]:
        database = Database(self._app_url, self._system_url, pool_size=2)
        found = []
        try:
            for account in records.accounts:
                async with database.for_user(account.user_id) as session:
                    differing = await count_differences(session, account.id)
                if differing:
                    found.append(Violation("books", f"{account.id}: {differing} roll-ups differ"))
        finally:
            await database.close()
        return found

    async def _set_clock(self, **change: Any) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(f"{self._simulator_url}/control/clock", json=change)
            answer.raise_for_status()

    async def _row(self, statement: str) -> dict[str, Any]:
        with suppress(psycopg.OperationalError):
            async with await psycopg.AsyncConnection.connect(
                self._system_url, autocommit=True, row_factory=psycopg.rows.dict_row
            ) as connection:
                return await (await connection.execute(statement.encode())).fetchone() or {}
        return {"database": "does not answer"}

    async def _execute(self, statement: str) -> None:
        async with await psycopg.AsyncConnection.connect(
            self._system_url, autocommit=True
        ) as connection:
            await connection.execute(statement.encode())


def _account_of(records: Records, trader: Trader) -> UUID:
    return next(
        account.id
        for account in records.accounts
        if account.user_id == trader.user_id and account.is_live == trader.is_live
    )
