"""How many authenticated reads of open positions a second, with one and two API processes.

Beside it, where it is installed, freqtrade's own REST API on the same machine in the same run.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from adapters.temporal.client import TemporalWorkflows
from bench import load
from bench.apart import run_apart
from bench.freqtrade import PeerMissing, served_freqtrade
from bench.load import Task
from bench.population import Bot, Trader, populate, wait_running
from bench.processes import Processes
from domain.contracts.bots import BotSignal, SignalAction, TradeSignal
from tests.support.up import Person, RunningStack, eventually, running_stack

PAIRS = ("BTC-USD", "ETH-USD", "LTC-USD")
PATH = "/api/v1/account/positions"
PEER = "freqtrade_show_config"
CONNECTIONS = 16
PROCESS_COUNTS = (1, 2)
ROUNDS = 3
WARMUP_SECONDS, MEASURED_SECONDS = 5.0, 15.0


@dataclass(frozen=True)
class Target:
    """A server under load."""

    name: str
    task: Task
    pids: Mapping[str, int | None]


def measure() -> dict[str, Any]:
    """Keep all servers up and load one after the other, in rounds: what disturbs, disturbs all."""
    with ExitStack() as running:
        targets = [_ours(running, count) for count in PROCESS_COUNTS]
        peer, reason = _peer(running)
        rounds = [
            {target.name: _load(target) for target in [*targets, *peer]} for _ in range(ROUNDS)
        ]
    found = {name: _median([one[name] for one in rounds]) for name in rounds[0]}
    if reason:
        return {**found, PEER: {"skipped": reason}}
    theirs = found[PEER]["requests_per_second"]
    ratios = {
        f"{target.name}_to_peer": round(found[target.name]["requests_per_second"] / theirs, 2)
        for target in targets
    }
    return {"rounds": ROUNDS, **found, **ratios}


def _load(target: Target) -> dict[str, Any]:
    processes = Processes(target.pids)
    loaded = run_apart(load.__name__, target.task)
    return {**loaded, "processes": processes.used()}


def _median(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The round whose rate is the median, with the rates of all."""
    ordered = sorted(results, key=lambda one: one["requests_per_second"])
    return {
        **ordered[len(ordered) // 2],
        "rates_of_all_rounds": [one["requests_per_second"] for one in results],
    }


def _ours(running: ExitStack, count: int) -> Target:
    stack = running.enter_context(
        running_stack(NIJA_RATE_LIMITS="off", NIJA_API_PROCESSES=str(count))
    )
    trader = asyncio.run(_with_positions(stack))
    task = Task(
        stack.run["api_url"],
        PATH,
        trader.authorization,
        CONNECTIONS,
        WARMUP_SECONDS,
        MEASURED_SECONDS,
    )
    return Target(f"nija_{count}_processes", task, stack.run["pids"])


def _peer(running: ExitStack) -> tuple[list[Target], str | None]:
    """Freqtrade, or why there is none."""
    try:
        url, authorization, pid = running.enter_context(served_freqtrade())
    except PeerMissing as missing:
        return [], str(missing)
    path = "/api/v1/show_config"
    task = Task(url, path, authorization, CONNECTIONS, WARMUP_SECONDS, MEASURED_SECONDS)
    return [Target(PEER, task, {"api": pid})], None


async def _with_positions(stack: RunningStack) -> Trader:
    """A user who holds a position of each pair."""
    (trader,) = await populate(stack, 1, live=False, pairs=PAIRS)
    (bot,) = await wait_running(stack, 1)
    workflows = TemporalWorkflows(stack.run["temporal_address"], "default", "nija")
    for pair in PAIRS:
        await _buy(workflows, bot, pair)
    await asyncio.to_thread(_wait_positions, stack, trader)
    return trader


async def _buy(workflows: TemporalWorkflows, bot: Bot, pair: str) -> None:
    signal = TradeSignal(signal_id=uuid.uuid4(), action=SignalAction.BUY, symbol=pair)
    await workflows.signal_bot(bot.user_id, bot.bot_id, BotSignal.TRADE_SIGNAL, signal)


def _wait_positions(stack: RunningStack, trader: Trader) -> None:
    person = Person("", str(trader.user_id), trader.token)
    eventually(
        lambda: len(stack.data("GET", "/account/positions", person)["positions"]) == len(PAIRS),
        what="three open positions",
    )
