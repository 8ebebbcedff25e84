"""Committed events to 2,000 WebSocket clients, and what they miss when an API process is killed.

Two API processes, two workers. Events are committed by transactions on users' positions, 100 a
second whatever happens; each carries the moment before its statement was sent, so the time to a
client holds the commit too. Every client listens to every channel, so it gets prices besides. In
the second half one of the API processes is killed: its clients come back and resume.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import psycopg

from adapters.clock import SystemClock
from bench.figures import spread
from bench.processes import Processes
from models.tenancy import USER_SETTING
from services.identity.tokens import AccessTokens
from services.reads import Claims
from tests.support.up import RunningStack, running_stack

ROOT = Path(__file__).resolve().parents[1]
USERS, CLIENTS_A_USER = 1_000, 2
EVENTS_A_SECOND = 100
WRITERS = 8
STEADY_SECONDS, KILLED_SECONDS = 40.0, 25.0
CHANNELS = ("positions", "trades", "account", "bot")

_POPULATE = (
    """
    INSERT INTO users (id, email, full_name, password_hash, status, role, subscription_tier,
                       failed_logins, created_at)
    SELECT gen_random_uuid(), 'listener' || n || '@bench.example', 'Bench', '-', 'active', 'user',
           'pro', 0, now()
    FROM generate_series(1, %(users)s) AS n
    """,
    """
    INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at)
    SELECT gen_random_uuid(), id, now(), now(), now() + interval '1 day' FROM users
    """,
    """
    INSERT INTO accounts (id, user_id, venue, realm, mode, currency, created_at)
    SELECT gen_random_uuid(), id, 'coinbase', 'simulated', 'paper', 'USD', now() FROM users
    """,
    """
    INSERT INTO balances (account_id, currency, user_id, total, held, observed_at)
    SELECT id, held.currency, user_id, held.total, 0, now() FROM accounts,
        (VALUES ('USD', 10000), ('BTC', 0.5)) AS held (currency, total)
    """,
    """
    INSERT INTO bots (id, user_id, kind, state, revision, seen_revision, state_changed_at,
                      created_at)
    SELECT gen_random_uuid(), id, 'apex', 'stopped', 0, 0, now(), now() FROM users
    """,
    """
    INSERT INTO bot_runs (id, user_id, bot_id, account_id, number, venue, realm, mode, risk_level,
                          state, epoch, started_at, venue_started_at, ended_at, strategy,
                          config_hash, code_version, last_bars)
    SELECT gen_random_uuid(), b.user_id, b.id, a.id, 1, 'coinbase', 'simulated', 'paper', 'medium',
           'ended', 'e', now(), now(), now(), 'APEX_V72', 'h', '1', '{}'
    FROM bots b JOIN accounts a ON a.user_id = b.user_id
    """,
    """
    INSERT INTO positions (id, user_id, account_id, run_id, symbol, side, state, source,
                           planned_quantity, planned_notional, decision_price, entry_quantity,
                           entry_notional, exit_quantity, exit_notional, surplus_quantity,
                           open_quantity, fees, atr, round_trip_fee_rate, rules, opened_at,
                           came_back)
    SELECT gen_random_uuid(), user_id, account_id, id, 'BTC-USD', 'long', 'open', 'strategy', 0.5,
           3400, 6800, 0.5, 3400, 0, 0, 0, 0.5, 3, 50, 0.002, '{}', now(), false
    FROM bot_runs
    """,
)
_LISTENERS = """
SELECT u.id, s.id, p.id FROM users u
JOIN sessions s ON s.user_id = u.id JOIN positions p ON p.user_id = u.id
"""
_LAST = "SELECT user_id, last_seq FROM event_streams"


@dataclass(frozen=True)
class Listener:
    """A user with clients."""

    user_id: UUID
    session_id: UUID
    position_id: UUID


@dataclass
class Written:
    """What was committed, and how late."""

    events: int = 0
    late: int = 0
    milliseconds: list[float] | None = None


def measure() -> dict[str, Any]:
    """Start the stack with two API processes and two workers, and listen."""
    secret = secrets.token_urlsafe(32)
    with (
        running_stack(
            NIJA_RATE_LIMITS="off", NIJA_API_PROCESSES="2", NIJA_JWT_SECRET=secret
        ) as stack,
        _second_worker(stack),
    ):
        listeners = _populate(stack)
        tokens = AccessTokens(secret, timedelta(hours=24), SystemClock())
        with _clients(stack, tokens, listeners) as clients:
            return asyncio.run(_measure(stack, listeners, clients))


async def _measure(
    stack: RunningStack, listeners: Sequence[Listener], clients: subprocess.Popen[str]
) -> dict[str, Any]:
    written = Written(milliseconds=[])
    processes = Processes(stack.run["pids"])
    await _write(stack, listeners, STEADY_SECONDS, written)
    steady = processes.used()
    killed_at = time.time()
    _kill_one_api_process(stack)
    await _write(stack, listeners, KILLED_SECONDS, written)
    assert clients.stdin is not None
    assert clients.stdout is not None
    clients.stdin.write(f"{killed_at}\n")
    clients.stdin.flush()
    found = json.loads(await asyncio.to_thread(clients.stdout.readline))
    return _summary(stack, listeners, written, found, steady)


def _summary(
    stack: RunningStack,
    listeners: Sequence[Listener],
    written: Written,
    found: dict[str, Any],
    processes: dict[str, Any],
) -> dict[str, Any]:
    with psycopg.connect(stack.run["system_database_url"]) as connection:
        last: dict[UUID, int] = dict(connection.execute(_LAST).fetchall())
    wanted = [last[one.user_id] for one in listeners for _ in range(CLIENTS_A_USER)]
    behind = sum(have != want for have, want in zip(found.pop("last"), wanted, strict=True))
    return {
        "clients": USERS * CLIENTS_A_USER,
        "users": USERS,
        "events_committed": written.events,
        "commits_begun_late": written.late,
        "commit_ms": spread(written.milliseconds or []),
        "deliveries_wanted": written.events * CLIENTS_A_USER,
        "clients_that_miss_something": behind,
        **found,
        "processes_while_steady": processes,
    }


def _populate(stack: RunningStack) -> list[Listener]:
    with psycopg.connect(stack.run["system_database_url"]) as connection:
        connection.execute("DELETE FROM users")  # the installation's own ones, if any
        for statement in _POPULATE:
            connection.execute(statement.encode(), {"users": USERS})
    with psycopg.connect(stack.run["system_database_url"]) as connection:
        return [Listener(*row) for row in connection.execute(_LISTENERS).fetchall()]


@contextmanager
def _second_worker(stack: RunningStack) -> Iterator[None]:
    """A worker beside the stack's own, with its environment."""
    environment = psutil.Process(stack.run["pids"]["worker"]).environ()
    worker = subprocess.Popen(
        [sys.executable, "-m", "worker"],
        cwd=ROOT,
        env={**environment, "NIJA_WORKER_METRICS_PORT": "0"},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(30)


@contextmanager
def _clients(
    stack: RunningStack, tokens: AccessTokens, listeners: Sequence[Listener]
) -> Iterator[subprocess.Popen[str]]:
    """All clients, connected and subscribed."""
    task = {
        "url": stack.run["api_url"],
        "tokens": [
            tokens.issue(Claims(one.user_id, one.session_id))
            for one in listeners
            for _ in range(CLIENTS_A_USER)
        ],
        "channels": CHANNELS,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.stream_clients"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        if process.stdout.readline() != "connected\n":
            raise RuntimeError("the clients could not connect")
        yield process
    finally:
        process.kill()
        process.wait()


def _kill_one_api_process(stack: RunningStack) -> None:
    """One of the processes that serve; their parent starts another."""
    parent = psutil.Process(stack.run["pids"]["api"])
    serving = [
        child for child in parent.children() if "resource_tracker" not in " ".join(child.cmdline())
    ]
    os.kill(serving[0].pid, signal.SIGKILL)


async def _write(
    stack: RunningStack, listeners: Sequence[Listener], seconds: float, written: Written
) -> None:
    """Commit events at a fixed rate, users in turn."""
    count = int(seconds * EVENTS_A_SECOND)
    begins_at = time.monotonic() + 0.5
    numbers = iter(range(count))

    async def write() -> None:
        async with await psycopg.AsyncConnection.connect(
            stack.run["app_database_url"]
        ) as connection:
            for number in numbers:
                wait = begins_at + number / EVENTS_A_SECOND - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                written.late += wait < -1 / EVENTS_A_SECOND
                one = listeners[(written.events + number) % len(listeners)]
                began = time.perf_counter()
                await _commit(connection, one)
                assert written.milliseconds is not None
                written.milliseconds.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*(write() for _ in range(WRITERS)))
    written.events += count


async def _commit(connection: psycopg.AsyncConnection[Any], one: Listener) -> None:
    async with connection.transaction(), connection.pipeline():
        await connection.execute(
            "SELECT set_config(%s, %s, true)", (USER_SETTING, str(one.user_id))
        )
        await connection.execute(
            "UPDATE positions SET stop_loss = %s WHERE id = %s",
            (Decimal(f"{time.time():.6f}"), one.position_id),
        )
