"""The global kill switch with 500 running bots, judged by the exchange's own notes.

Three acts. Every bot gets a buy at once and, while their orders leave, the switch is engaged. Every
bot gets another buy, and now the supervisor stands still and the worker is killed before the switch
is engaged; only when that has answered does a new worker start. Last, the switch is told to close
what is open.

An order is late when the exchange received it after the answer to the call had arrived here. Both
clocks are this machine's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import psutil
import psycopg
from psycopg.rows import dict_row

from adapters.temporal.client import TemporalWorkflows
from bench.population import Bot, populate, wait_running
from domain.contracts.bots import BotSignal, SignalAction, TradeSignal
from domain.ports import WorkflowServiceUnavailable
from tests.support.up import Person, RunningStack, running_stack

BOTS = 500
PAIRS = ("BTC-USD", "ETH-USD")
SENT_BEFORE = 40
"""Entries that have left when the switch is engaged."""

SIGNALS_AT_ONCE = 32
QUIET_SECONDS_MAX = 240.0
FLAT_SECONDS_MAX = 300.0
LOOK_SECONDS = 0.05

_LEFT = """
SELECT count(*) AS sent FROM orders
WHERE leg = 'entry' AND symbol = %s AND sent_at IS NOT NULL
"""
_UNDECIDED = """
SELECT (SELECT count(*) FROM unnest(%(causes)s::text[]) AS c (cause)
        WHERE NOT EXISTS (SELECT FROM decisions d WHERE d.cause = c.cause)) +
       (SELECT count(*) FROM orders WHERE leg = 'entry' AND state IN ('intended', 'sending'))
       AS waiting
"""
_BECAME = """
SELECT state, coalesce(refusal_code, '') AS why, count(*) AS orders
FROM orders WHERE leg = 'entry' AND symbol = %s GROUP BY state, why
"""
_REASONS = """
SELECT reason, count(*) AS signals FROM decisions WHERE cause = ANY(%s) GROUP BY reason
"""


def measure() -> dict[str, Any]:
    """Start a stack with 500 live bots and play the three acts."""
    with running_stack(NIJA_RATE_LIMITS="off", NIJA_SIMULATOR_FEE_TIER="vip") as stack:
        return asyncio.run(_measure(stack))


async def _measure(stack: RunningStack) -> dict[str, Any]:
    began = time.monotonic()
    admin = stack.register("admin@bench.example")
    await execute(stack, "UPDATE users SET role = 'admin' WHERE email = %s", admin.email)
    await populate(stack, BOTS, live=True, pairs=PAIRS)
    await execute(stack, "UPDATE users SET subscription_tier = %s", "enterprise")
    bots = await wait_running(stack, BOTS)
    populated_after = time.monotonic() - began
    show = Show(stack, admin, bots)
    busy = await show.play(PAIRS[0], _undisturbed)
    await asyncio.to_thread(
        stack.data, "DELETE", "/admin/kill-switch", admin, reason="the first act is over"
    )
    dead = await show.play(PAIRS[1], show.without_workers)
    return {
        "bots": BOTS,
        "seconds_to_populate": round(populated_after, 1),
        "engaged_under_load": busy,
        "engaged_without_workers": dead,
        "closing_positions": await show.close_positions(),
    }


@asynccontextmanager
async def _undisturbed() -> AsyncIterator[None]:
    yield


class Show:
    """The acts, on one stack."""

    def __init__(self, stack: RunningStack, admin: Person, bots: Sequence[Bot]) -> None:
        self._stack = stack
        self._admin = admin
        self._bots = bots
        self._workflows = TemporalWorkflows(stack.run["temporal_address"], "default", "nija")

    async def play(self, symbol: str, scene: Callable[[], Any]) -> dict[str, Any]:
        """Every bot is to buy; the switch is engaged inside the scene while orders leave."""
        signals = [uuid.uuid4() for _ in self._bots]
        sending = asyncio.create_task(self.send(symbol, signals))
        await until(lambda: self._has_left(symbol), QUIET_SECONDS_MAX)
        async with scene():
            began = time.monotonic()
            answer = await self.engage(close_positions=False)
            answered_at, took = datetime.now(UTC), time.monotonic() - began
        await sending
        causes = [f"signal:{signal_id}" for signal_id in signals]
        await until(lambda: self.is_quiet(causes), QUIET_SECONDS_MAX)
        return {
            "call_took_s": round(took, 2),
            "sends_in_flight": answer["sends_in_flight"],
            **await self._entries(symbol, answered_at),
            "entry_orders": await self._counted(_BECAME, symbol),
            "decisions": await self._counted(_REASONS, causes),
        }

    @asynccontextmanager
    async def without_workers(self) -> AsyncIterator[None]:
        """No worker inside, and nobody who starts one."""
        worker = self._stack.run["pids"]["worker"]
        supervisor = psutil.Process(worker).parent()
        assert supervisor is not None
        supervisor.suspend()
        try:
            os.kill(worker, signal.SIGKILL)
            yield
        finally:
            supervisor.resume()

    async def close_positions(self) -> dict[str, Any]:
        """Tell the engaged switch to close what is open; until everything is flat."""
        began = time.monotonic()
        answer = await self.engage(close_positions=True)
        took = time.monotonic() - began
        report = await until(self._flat_report, FLAT_SECONDS_MAX)
        return {
            "positions": answer["active_positions"],
            "call_took_s": round(took, 2),
            "flat_after_s": round(time.monotonic() - began, 1),
            "report": report,
        }

    async def send(self, symbol: str, signals: Sequence[uuid.UUID]) -> None:
        """Have the first so many bots buy."""
        await send_buys(self._workflows, symbol, self._bots, signals)

    async def engage(self, *, close_positions: bool) -> dict[str, Any]:
        """Engage the global switch; what the call answered."""
        body = {"reason": "measured", "close_all_positions": close_positions}
        async with httpx.AsyncClient(
            base_url=self._stack.run["api_url"], headers=self._admin.headers, timeout=60
        ) as client:
            answer = await client.post("/api/v1/admin/kill-switch", json=body)
        data: dict[str, Any] = answer.raise_for_status().json()["data"]
        return data

    async def _entries(self, symbol: str, answered_at: datetime) -> dict[str, int]:
        """Bots only buy to enter, so every buy at the exchange is an entry."""
        books = await asyncio.to_thread(self._stack.dump)
        arrivals = [
            datetime.fromisoformat(order["received_at"])
            for account in books["accounts"]
            for order in account["orders"]
            if order["side"] == "BUY" and order["product_id"] == symbol
        ]
        late = sum(at > answered_at for at in arrivals)
        return {"entries_at_the_exchange": len(arrivals), "of_these_after_the_answer": late}

    async def _has_left(self, symbol: str) -> bool:
        (row,) = await rows(self._stack, _LEFT, (symbol,))
        return bool(row["sent"] >= SENT_BEFORE)

    async def is_quiet(self, causes: Sequence[str]) -> bool:
        """Whether all these were decided and no entry is on its way."""
        (row,) = await rows(self._stack, _UNDECIDED, {"causes": list(causes)})
        return not row["waiting"]

    async def _flat_report(self) -> dict[str, Any] | None:
        found = await asyncio.to_thread(self._stack.data, "GET", "/admin/kill-switch", self._admin)
        (switch,) = found["kill_switches"]
        report: dict[str, Any] | None = switch["report"] if switch["is_told"] else None
        return report if report is not None and report.get("is_flat") else None

    async def _counted(self, statement: str, value: Any) -> dict[str, int]:
        counts: dict[str, int] = {}
        for row in await rows(self._stack, statement, (value,)):
            *words, count = row.values()
            counts[" ".join(word for word in words if word)] = count
        return counts


async def send_buys(
    workflows: TemporalWorkflows, symbol: str, bots: Sequence[Bot], signals: Sequence[uuid.UUID]
) -> None:
    """Have as many bots buy as there are signals, the first of them."""
    gate = asyncio.Semaphore(SIGNALS_AT_ONCE)

    async def one(bot: Bot, signal_id: uuid.UUID) -> None:
        wish = TradeSignal(signal_id=signal_id, action=SignalAction.BUY, symbol=symbol)
        async with gate:
            while True:
                # A server this busy may not answer in time; a repeated signal counts once.
                with suppress(WorkflowServiceUnavailable):
                    return await workflows.signal_bot(
                        bot.user_id, bot.bot_id, BotSignal.TRADE_SIGNAL, wish
                    )

    await asyncio.gather(*(one(bot, it) for bot, it in zip(bots, signals, strict=False)))


async def until(look: Callable[[], Awaitable[Any]], seconds: float) -> Any:
    """Look again and again until there is something; returns it."""
    deadline = time.monotonic() + seconds
    while not (found := await look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{look} did not come true within {seconds} s")
        await asyncio.sleep(LOOK_SECONDS)
    return found


async def rows(stack: RunningStack, statement: str, values: Any) -> list[dict[str, Any]]:
    async with await psycopg.AsyncConnection.connect(
        stack.run["system_database_url"], autocommit=True, row_factory=dict_row
    ) as connection:
        return await (await connection.execute(statement.encode(), values)).fetchall()


async def execute(stack: RunningStack, statement: str, value: str) -> None:
    async with await psycopg.AsyncConnection.connect(
        stack.run["system_database_url"], autocommit=True
    ) as connection:
        await connection.execute(statement.encode(), (value,))
