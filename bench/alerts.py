"""Alerts: how soon they are acknowledged, and how soon a storm of them has every outcome recorded.

Everything goes through HTTP as TradingView's alerts do. An outcome is recorded when the alert's row
says what the bot decided; the clock is PostgreSQL's, from the first alert's receipt to the last
decision's commit as seen by a look every 20 ms.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from bench.figures import spread
from bench.http import Connection, HttpFailed, prepared
from bench.population import Trader, populate, wait_running
from bench.processes import Processes
from tests.support.up import RunningStack, running_stack

BOTS = 100
SYMBOLS = ("BTC-USD", "ETH-USD")
RATES = (2.0, 5.0)
RATE_SECONDS = 60.0
STORM = 500
STORM_OVER = (1, 20, 100)
REPLAYS = 10_000
CONNECTIONS = 16
KEPT_ALIVE = 4
"""So few that none is idle for as long as the server keeps one open."""

OUTCOMES_SECONDS_MAX = 120.0
QUIET_SECONDS = 20.0
_PATH = "/api/v1/webhooks/tradingview"

_OPEN = """
SELECT count(*) FILTER (WHERE state = 'processing') AS undecided, count(*) AS alerts
FROM alerts WHERE strategy = %s
"""
_OUTCOMES = """
SELECT state, reason, count(*) AS alerts FROM alerts WHERE strategy = %s
GROUP BY state, reason ORDER BY alerts DESC
"""
_DELAYS = """
SELECT extract(epoch FROM decided_at - received_at)::float * 1000 AS ms
FROM alerts WHERE strategy = %s AND decided_at IS NOT NULL
"""
_ACTIONS = """
SELECT (SELECT count(*) FROM positions WHERE id = ANY(%(ids)s)) AS positions,
       (SELECT count(*) FROM orders WHERE cause = ANY(%(causes)s)) AS orders,
       (SELECT count(*) FROM alerts WHERE strategy = %(name)s) AS received
"""


@dataclass(frozen=True)
class Sender:
    """Whose alerts, and with which key."""

    user_id: UUID
    key: str

    def alert(self, name: str, number: int, action: str, symbol: str) -> bytes:
        """The bytes of one request."""
        body = {
            "symbol": symbol,
            "action": action,
            "strategy": name,
            "id": f"{name}-{number}",
            "api_key": self.key,
        }
        return prepared("POST", _PATH, body=body)


def measure() -> dict[str, Any]:
    """Start a stack with paper bots, send alerts, read what became of them."""
    with running_stack(NIJA_RATE_LIMITS="off", NIJA_ALERTS_PER_MINUTE="0") as stack:
        return asyncio.run(_measure(stack))


async def _measure(stack: RunningStack) -> dict[str, Any]:
    traders = await populate(stack, BOTS, live=False, pairs=SYMBOLS)
    await wait_running(stack, BOTS)
    senders = await _senders(stack, traders)
    result: dict[str, Any] = {"bots": BOTS}
    for rate in RATES:
        result[f"at_{rate:g}_a_second"] = await _paced(stack, senders, rate)
    for bots in STORM_OVER:
        await asyncio.sleep(QUIET_SECONDS)
        result[f"storm_of_{STORM}_over_{bots}_bots"] = await _storm(stack, senders[:bots])
    await asyncio.sleep(QUIET_SECONDS)
    result[f"{REPLAYS}_replays"] = await _replays(stack, senders[0])
    return result


async def _senders(stack: RunningStack, traders: Sequence[Trader]) -> list[Sender]:
    connection = await Connection.open(stack.run["api_url"])
    senders = []
    for trader in traders:
        request = prepared(
            "POST",
            "/api/v1/config/webhooks",
            headers={"Authorization": trader.authorization},
            body={},
        )
        data = await _answer(connection, request)
        senders.append(Sender(trader.user_id, data["webhook_key"]))
    connection.close()
    return senders


async def _answer(connection: Connection, request: bytes) -> Any:
    status, body = await connection.exchange(request)
    if status != 200:
        raise HttpFailed(f"{status} {body[:300]!r}")
    return json.loads(body)["data"]


async def _paced(stack: RunningStack, senders: Sequence[Sender], rate: float) -> dict[str, Any]:
    """Open loop: alerts are due at a fixed rate and timed from the moment they were due."""
    name, count = f"paced-{rate:g}", int(rate * RATE_SECONDS)
    idle = [await Connection.open(stack.run["api_url"]) for _ in range(KEPT_ALIVE)]
    begins = time.monotonic()
    processes = Processes(stack.run["pids"])

    async def one(number: int, request: bytes) -> float:
        due = begins + number / rate
        connection = idle.pop(0) if idle else await Connection.open(stack.run["api_url"])
        await _answer(connection, request)
        idle.append(connection)
        return (time.monotonic() - due) * 1000

    sending = []
    for number in range(count):
        await asyncio.sleep(max(0.0, begins + number / rate - time.monotonic()))
        action = "buy" if number // len(senders) % 2 == 0 else "close"
        request = senders[number % len(senders)].alert(name, number, action, SYMBOLS[0])
        sending.append(asyncio.create_task(one(number, request)))
    acknowledged = await asyncio.gather(*sending)
    used = processes.used()
    await _decided(stack, name, count)
    return {
        "acknowledged_ms": spread(acknowledged),
        **await _told(stack, name),
        "processes": used,
    }


async def _storm(stack: RunningStack, senders: Sequence[Sender]) -> dict[str, Any]:
    """All at once: every bot gets buys and closes in turn."""
    name = f"storm-{len(senders)}"
    requests = [
        senders[number % len(senders)].alert(
            name, number, "buy" if number // len(senders) % 2 == 0 else "close", SYMBOLS[0]
        )
        for number in range(STORM)
    ]
    processes = Processes(stack.run["pids"])
    begins = time.monotonic()
    decided = asyncio.create_task(_decided(stack, name, STORM))
    acknowledged = await _as_fast_as_possible(stack, requests)
    answered_after = time.monotonic() - begins
    recorded_after = await decided - begins
    return {
        "all_acknowledged_s": round(answered_after, 2),
        "all_outcomes_s": round(recorded_after, 2),
        "acknowledged_ms": spread(acknowledged),
        **await _told(stack, name),
        "processes": processes.used(),
    }


async def _as_fast_as_possible(stack: RunningStack, requests: Sequence[bytes]) -> list[float]:
    left = iter(requests)

    async def some() -> list[float]:
        connection = await Connection.open(stack.run["api_url"])
        took = []
        for request in left:
            began = time.monotonic()
            await _answer(connection, request)
            took.append((time.monotonic() - began) * 1000)
        connection.close()
        return took

    groups = await asyncio.gather(*(some() for _ in range(CONNECTIONS)))
    return [one for group in groups for one in group]


async def _replays(stack: RunningStack, sender: Sender) -> dict[str, Any]:
    name = "replayed"
    request = sender.alert(name, 0, "buy", SYMBOLS[1])
    begins = time.monotonic()
    acknowledged = await _as_fast_as_possible(stack, [request] * REPLAYS)
    seconds = time.monotonic() - begins
    await _decided(stack, name, REPLAYS)
    async with await _database(stack) as connection:
        found = await connection.execute("SELECT id FROM alerts WHERE strategy = %s", (name,))
        ids = [row["id"] for row in await found.fetchall()]
        causes = [f"signal:{one}" for one in ids]
        values = {"ids": ids, "causes": causes, "name": name}
        row = await (await connection.execute(_ACTIONS, values)).fetchone()
    return {
        **(row or {}),
        "a_second": round(REPLAYS / seconds),
        "acknowledged_ms": spread(acknowledged),
    }


async def _decided(stack: RunningStack, name: str, count: int) -> float:
    """Wait until that many alerts are stored and none waits for its decision; when that was."""
    deadline = time.monotonic() + OUTCOMES_SECONDS_MAX
    async with await _database(stack) as connection:
        while time.monotonic() < deadline:
            row = await (await connection.execute(_OPEN, (name,))).fetchone()
            now = time.monotonic()
            if row is not None and row["alerts"] >= count and not row["undecided"]:
                return now
            await asyncio.sleep(0.02)
    raise TimeoutError(f"{name}: {row} after {OUTCOMES_SECONDS_MAX} s")


async def _told(stack: RunningStack, name: str) -> dict[str, Any]:
    async with await _database(stack) as connection:
        outcomes = await (await connection.execute(_OUTCOMES, (name,))).fetchall()
        delays = await (await connection.execute(_DELAYS, (name,))).fetchall()
    counted: Counter[str] = Counter()
    for row in outcomes:
        acted = row["state"] in {"accepted", "executed", "unfilled"}
        counted["acted on" if acted else row["reason"]] += row["alerts"]
    return {
        "outcomes": dict(counted),
        "received_to_decided_ms": spread([row["ms"] for row in delays]),
    }


async def _database(stack: RunningStack) -> psycopg.AsyncConnection[dict[str, Any]]:
    return await psycopg.AsyncConnection.connect(
        stack.run["system_database_url"], autocommit=True, row_factory=dict_row
    )
