"""From a bar's close to the last decision of 500 bots about it.

The market runs twenty times as fast as a real one, so a five-minute bar closes every 15 seconds.
The close is the venue's; its clock is mapped to the wall's by asking the simulator.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg

from bench.figures import spread
from bench.population import populate, wait_running
from bench.processes import Processes
from domain.strategies.apex import BAR
from tests.support.up import RunningStack, running_stack

BOTS = 500
PAIRS = ("BTC-USD", "ETH-USD")
SPEED = 20
BARS = 5
POLL_SECONDS = 0.1
CLOCK_SAMPLES = 15
DECISIONS = BOTS * len(PAIRS)
BAR_SECONDS = BAR.length.total_seconds() / SPEED

_COUNT = "SELECT bar_at, count(*) FROM decisions WHERE bar_at >= %s GROUP BY bar_at"


@dataclass
class Bar:
    """One closed bar and when its decisions were first seen to be so many."""

    closed_at: float
    firsts: dict[int, float] = field(default_factory=dict)

    def note(self, count: int, at: float) -> None:
        """Remember when that many decisions were first seen."""
        self.firsts.setdefault(count, at)

    def seconds_until(self, count: int) -> float | None:
        """From the close until that many decisions had been committed; None if they never were."""
        at = min((at for seen, at in self.firsts.items() if seen >= count), default=None)
        return None if at is None else at - self.closed_at


def measure() -> dict[str, Any]:
    """Start a stack with 500 paper bots on a standing clock, let it run, watch some bars close."""
    with running_stack(NIJA_RATE_LIMITS="off", NIJA_SIMULATOR_MODE="step") as stack:
        return asyncio.run(_measure(stack))


async def _measure(stack: RunningStack) -> dict[str, Any]:
    began = time.monotonic()
    await populate(stack, BOTS, live=False, pairs=PAIRS)
    await wait_running(stack, BOTS)
    populated_after = time.monotonic() - began
    clock = await asyncio.to_thread(_run_clock, stack.run["simulator_url"])
    # The first bar wakes bots that have slept since their start; it is not counted.
    begins_at = BAR.floor(clock.venue_now()) + BAR.length
    await asyncio.sleep(max(0.0, clock.wall_of(begins_at) - time.time()))
    processes = Processes(stack.run["pids"])
    bars = await _watch(stack, clock, begins_at)
    return _summary(bars, processes.used(), populated_after)


def _run_clock(url: str) -> _Clock:
    """Let the standing clock run."""
    httpx.post(f"{url}/control/clock", json={"mode": "speed", "speed": SPEED}).raise_for_status()
    return _Clock(url)


async def _watch(stack: RunningStack, clock: _Clock, begins_at: datetime) -> list[Bar]:
    """Count the decisions on each bar again and again until the last one is over."""
    bars = {
        begins_at + BAR.length * (number - 1): Bar(clock.wall_of(begins_at + BAR.length * number))
        for number in range(BARS)
    }
    ends_at = clock.wall_of(begins_at + BAR.length * BARS)
    async with await psycopg.AsyncConnection.connect(
        stack.run["system_database_url"], autocommit=True
    ) as connection:
        while time.time() < ends_at:
            rows = await (await connection.execute(_COUNT, [min(bars)])).fetchall()
            now = time.time()
            for opened_at, count in rows:
                if opened_at in bars:
                    bars[opened_at].note(count, now)
            await asyncio.sleep(POLL_SECONDS)
    return list(bars.values())


def _summary(bars: list[Bar], processes: Mapping[str, Any], populated: float) -> dict[str, Any]:
    lasts = [bar.seconds_until(DECISIONS) for bar in bars]
    complete = [last for last in lasts if last is not None]
    halves = [half for bar in bars if (half := bar.seconds_until(DECISIONS // 2)) is not None]
    firsts = [first for bar in bars if (first := bar.seconds_until(1)) is not None]
    return {
        "bots": BOTS,
        "decisions_a_bar": DECISIONS,
        "bar_every_seconds": BAR_SECONDS,
        "bars": len(bars),
        "bars_decided_before_the_next": sum(last < BAR_SECONDS for last in complete),
        "decisions_of_incomplete_bars": [
            max(bar.firsts, default=0) for bar in bars if bar.seconds_until(DECISIONS) is None
        ],
        "close_to_first_decision_s": spread(firsts, digits=2),
        "close_to_half_s": spread(halves, digits=2),
        "close_to_last_decision_s": spread(complete, digits=2),
        "processes": processes,
        "seconds_to_populate": round(populated, 1),
    }


class _Clock:
    """The simulator's clock as a line through wall time."""

    def __init__(self, simulator_url: str) -> None:
        self._offsets: list[float] = []
        with httpx.Client(base_url=simulator_url) as client:
            for _ in range(CLOCK_SAMPLES):
                asked = time.time()
                venue = datetime.fromisoformat(client.get("/control/clock").json()["now"])
                wall = (asked + time.time()) / 2
                self._offsets.append(wall - venue.timestamp() / SPEED)
                time.sleep(POLL_SECONDS)
        self._offset = sorted(self._offsets)[len(self._offsets) // 2]

    def venue_now(self) -> datetime:
        """What the venue's clock shows now."""
        seconds = (time.time() - self._offset) * SPEED
        return datetime.fromtimestamp(seconds, UTC)

    def wall_of(self, venue: datetime) -> float:
        """When the wall clock shows what the venue's does then."""
        return venue.timestamp() / SPEED + self._offset
