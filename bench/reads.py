"""Every account and analytics read of a user with 10,000 trades, at 300 requests a second.

Open loop: each request has a time at which it is due, whatever became of those before it, and its
latency counts from that time. The trades are made by SQL; their roll-ups are computed by the same
recomputation that the tests compare the kept ones with. Rate limits are off, two API processes
serve, and the load generator runs on the same machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from bench.apart import run_apart
from bench.figures import percentile, spread
from bench.http import Connection, HttpFailed, prepared
from bench.population import populate, wait_running
from bench.processes import Processes
from services.analytics.recounting import count_differences, rebuild
from services.database import Database
from tests.support.up import Person, RunningStack, running_stack

TRADES = 10_000
DAYS = 365
PAIRS = ("BTC-USD", "ETH-USD", "LTC-USD")
RATE = 300
CONNECTIONS = 48
WARMUP_SECONDS, MEASURED_SECONDS = 5.0, 20.0
OK = 200
PATHS = (
    "/account/balance",
    "/account/positions",
    "/account/history",
    "/account/history?page=200&per_page=50",
    "/account/history?symbol=ETH-USD&status=closed&page=3",
    "/account/performance",
    "/account/performance?period=1y",
    "/account/performance?period=all",
    "/account/stats",
    "/analytics/dashboard",
    "/analytics/trades",
    "/analytics/trades?period=1y&group_by=day",
    "/analytics/trades?period=all&group_by=month",
    "/analytics/trades?period=90d&symbol=BTC-USD&group_by=week",
    "/analytics/exports",
)

_SEED = """
INSERT INTO positions (
    id, user_id, account_id, run_id, symbol, side, state, source, planned_quantity,
    planned_notional, decision_price, entry_quantity, entry_notional, exit_quantity,
    exit_notional, surplus_quantity, open_quantity, fees, atr, round_trip_fee_rate, rules,
    realized_pnl, exit_reason, opened_at, closed_at, came_back
)
SELECT gen_random_uuid(), r.user_id, r.account_id, r.id,
       (%(pairs)s::text[])[1 + n %% cardinality(%(pairs)s::text[])],
       'long', 'closed', 'strategy', 1, 100, 100, 1, 100, 1, 100 + t.pnl, 0, 0, 0.25, 1, 0.002,
       '{}'::jsonb, t.pnl, 'take_profit', t.closed_at - interval '50 minutes', t.closed_at, false
FROM bot_runs r, generate_series(1, %(trades)s) n, LATERAL (
    SELECT round((random() * 20 - 9)::numeric, 2) AS pnl,
           %(now)s::timestamptz - n * (%(days)s * interval '1 day' / %(trades)s) AS closed_at
) t
WHERE r.user_id = %(user_id)s
"""


@dataclass(frozen=True)
class Task:
    """What the load generator is to do."""

    url: str
    authorization: str
    paths: Sequence[str] = PATHS
    rate: int = RATE
    connections: int = CONNECTIONS
    warmup_seconds: float = WARMUP_SECONDS
    measured_seconds: float = MEASURED_SECONDS


def measure() -> dict[str, Any]:
    """Seed, load, and tell p50, p99 and maximum of each path."""
    with running_stack(NIJA_RATE_LIMITS="off", NIJA_API_PROCESSES="2") as stack:
        (trader,) = asyncio.run(populate(stack, 1, live=False, pairs=PAIRS))
        asyncio.run(wait_running(stack, 1))
        person = Person("", str(trader.user_id), trader.token)
        stack.data("POST", "/trading/stop", person, {"close_positions": True, "emergency": False})
        differences = asyncio.run(_seed(stack, trader.user_id))
        processes = Processes(stack.run["pids"])
        loaded = run_apart(__name__, Task(stack.run["api_url"], trader.authorization))
        return {
            "trades": TRADES,
            "rollup_rows_that_differ": differences,
            **loaded,
            "processes": processes.used(),
        }


async def _seed(stack: RunningStack, user_id: UUID) -> int:
    run = stack.run
    async with await psycopg.AsyncConnection.connect(
        run["system_database_url"], autocommit=True
    ) as connection:
        await connection.execute(
            "UPDATE users SET subscription_tier = 'enterprise' WHERE id = %s", (user_id,)
        )
        found = await connection.execute("SELECT max(clock_at) FROM venue_states")
        ((now,),) = await found.fetchall()
        values = {"user_id": user_id, "now": now, "trades": TRADES, "days": DAYS}
        await connection.execute(_SEED, {**values, "pairs": list(PAIRS)})
        found = await connection.execute(
            "SELECT account_id FROM bot_runs WHERE user_id = %s", (user_id,)
        )
        ((account_id,),) = await found.fetchall()
    database = Database(run["app_database_url"], run["system_database_url"], pool_size=1)
    try:
        async with database.for_user(user_id) as session:
            await rebuild(session, account_id)
        async with database.for_user(user_id) as session:
            differences = await count_differences(session, account_id)
    finally:
        await database.close()
    async with await psycopg.AsyncConnection.connect(
        run["database_url"], autocommit=True
    ) as connection:
        # What autovacuum does some minutes after so many rows were written at once.
        await connection.execute("VACUUM ANALYZE positions, trade_rollups")
    return differences


async def generate(task: Task) -> dict[str, Any]:
    """Send each request when it is due, on any connection that is free."""
    headers = {"Authorization": task.authorization}
    requests = [prepared("GET", f"/api/v1{path}", headers=headers) for path in task.paths]
    # The longest idle goes first: none is idle for as long as a server keeps one open.
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(task.connections):
        idle.put_nowait(await Connection.open(task.url))
    begin = time.perf_counter()
    measured_from = begin + task.warmup_seconds
    total = int(task.rate * (task.warmup_seconds + task.measured_seconds))
    latencies: dict[str, list[float]] = {path: [] for path in task.paths}

    async def ask(number: int) -> None:
        due = begin + number / task.rate
        await asyncio.sleep(due - time.perf_counter())
        connection = await idle.get()
        path = number % len(requests)
        status, body = await connection.exchange(requests[path])
        idle.put_nowait(connection)
        if status != OK:
            raise HttpFailed(f"{task.paths[path]}: {status} {body[:300]!r}")
        if due >= measured_from:
            latencies[task.paths[path]].append((time.perf_counter() - due) * 1000)

    await asyncio.gather(*(ask(number) for number in range(total)))
    seconds = time.perf_counter() - measured_from
    return _summary(latencies, seconds)


def _summary(latencies: Mapping[str, Sequence[float]], seconds: float) -> dict[str, Any]:
    every = [latency for path in latencies.values() for latency in path]
    return {
        "requests_per_second": round(len(every) / seconds, 1),
        "ms": spread(every),
        "worst_p99_ms": round(max(percentile(one, 99) for one in latencies.values()), 1),
        "ms_by_path": {path: spread(one) for path, one in latencies.items()},
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(generate(Task(**json.load(sys.stdin))))))
