"""From a trade signal to the order at the exchange.

Signals are due at a fixed rate whatever the platform does (open loop) and are timed from the
moment they were due until the exchange noted that it received the order.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from adapters.temporal.client import TemporalWorkflows
from bench.figures import spread
from bench.population import Bot, populate, wait_running
from bench.processes import Processes
from domain.contracts.bots import BotSignal, SignalAction, TradeSignal
from tests.support.up import RunningStack, running_stack

BOTS = 20
RATES = (5.0, 20.0)
WARMUP_SECONDS = 10.0
MEASURED_SECONDS = 60.0
SETTLING_SECONDS = 5.0
SYMBOL = "BTC-USD"

_ORDERS = """
SELECT cause, client_order_id FROM orders WHERE cause LIKE 'signal:%%' ORDER BY intended_at
"""
_REFUSALS = """
SELECT cause, reason FROM decisions WHERE cause LIKE 'signal:%%' AND action = 'none'
"""


@dataclass(frozen=True)
class Sent:
    """A signal and when it was due."""

    signal_id: uuid.UUID
    action: SignalAction
    due_at: datetime
    taken_after_ms: float


def measure() -> dict[str, Any]:
    """Start a stack, send signals, match them with the exchange's orders."""
    with running_stack(NIJA_RATE_LIMITS="off", NIJA_SIMULATOR_FEE_TIER="vip") as stack:
        return asyncio.run(_measure(stack))


async def _measure(stack: RunningStack) -> dict[str, Any]:
    await populate(stack, BOTS, live=True, pairs=[SYMBOL, "ETH-USD"])
    bots = await wait_running(stack, BOTS)
    facts = stack.run
    workflows = TemporalWorkflows(facts["temporal_address"], "default", "nija")
    await workflows.client()
    await _send(workflows, bots, RATES[0], WARMUP_SECONDS)
    return {
        "bots": BOTS,
        **{f"at_{rate:g}_a_second": await _at(stack, workflows, bots, rate) for rate in RATES},
    }


async def _at(
    stack: RunningStack, workflows: TemporalWorkflows, bots: Sequence[Bot], rate: float
) -> dict[str, Any]:
    processes = Processes(stack.run["pids"])
    sent = await _send(workflows, bots, rate, MEASURED_SECONDS)
    used = processes.used()
    await asyncio.sleep(SETTLING_SECONDS)
    return {**await _matched(stack, sent), "processes": used}


async def _send(
    workflows: TemporalWorkflows, bots: Sequence[Bot], rate: float, seconds: float
) -> list[Sent]:
    """Bot after bot; each opens, then closes, then opens again."""
    count = int(seconds * rate) // (2 * len(bots)) * 2 * len(bots)
    begins = time.monotonic()
    wall = datetime.now(UTC)
    sending: list[asyncio.Task[Sent]] = []
    for number in range(count):
        due = number / rate
        await asyncio.sleep(max(0.0, begins + due - time.monotonic()))
        is_buy = number // len(bots) % 2 == 0
        action = SignalAction.BUY if is_buy else SignalAction.CLOSE
        due_at = wall + timedelta(seconds=due)
        bot = bots[number % len(bots)]
        sending.append(asyncio.create_task(_send_one(workflows, bot, action, due_at)))
    return list(await asyncio.gather(*sending))


async def _send_one(
    workflows: TemporalWorkflows, bot: Bot, action: SignalAction, due_at: datetime
) -> Sent:
    signal = TradeSignal(signal_id=uuid.uuid4(), action=action, symbol=SYMBOL)
    await workflows.signal_bot(bot.user_id, bot.bot_id, BotSignal.TRADE_SIGNAL, signal)
    taken = (datetime.now(UTC) - due_at).total_seconds() * 1000
    return Sent(signal.signal_id, action, due_at, taken)


async def _matched(stack: RunningStack, sent: Sequence[Sent]) -> dict[str, Any]:
    causes, refusals = await _causes(stack.run["system_database_url"])
    books = await asyncio.to_thread(stack.dump)
    received = {
        order["client_order_id"]: datetime.fromisoformat(order["received_at"])
        for account in books["accounts"]
        for order in account["orders"]
    }
    latencies: dict[SignalAction, list[float]] = {action: [] for action in SignalAction}
    why_none: Counter[str] = Counter()
    for one in sent:
        cause = f"signal:{one.signal_id}"
        at = received.get(causes.get(cause, ""))
        if at is None:
            why_none[refusals.get(cause, "no decision")] += 1
        else:
            latencies[one.action].append((at - one.due_at).total_seconds() * 1000)
    everything = [value for values in latencies.values() for value in values]
    return {
        "signals": len(sent),
        "orders": len(everything),
        "without_order": dict(why_none),
        "signal_to_order_ms": spread(everything),
        "of_entries_ms": spread(latencies[SignalAction.BUY]),
        "of_exits_ms": spread(latencies[SignalAction.CLOSE]),
        "taken_by_temporal_ms": spread([one.taken_after_ms for one in sent]),
    }


async def _causes(url: str) -> tuple[dict[str, str], dict[str, str]]:
    """The first order of each signal, and why others have none."""
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
        orders = await (await connection.execute(_ORDERS)).fetchall()
        refusals = await (await connection.execute(_REFUSALS)).fetchall()
    first: dict[str, str] = {}
    for order in orders:
        first.setdefault(order["cause"], order["client_order_id"])
    return first, {row["cause"]: row["reason"] for row in refusals}
