"""Virtual time: timers in their order, no real waiting, a stall is a violation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from simulation.loop import VirtualLoop
from simulation.processes import Process, task_factory
from simulation.violations import Violation


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop()
    made.set_task_factory(task_factory)
    yield made
    made.close()


def test_an_hour_passes_at_once_and_in_order(loop: VirtualLoop) -> None:
    woken: list[tuple[int, float]] = []

    async def wait(seconds: int) -> None:
        await asyncio.sleep(seconds)
        woken.append((seconds, loop.time()))

    async def all_of_them() -> None:
        await asyncio.gather(wait(3600), wait(2), wait(60))

    began = time.monotonic()
    loop.run_until_complete(all_of_them())

    assert woken == [(2, 2.0), (60, 60.0), (3600, 3600.0)]
    assert time.monotonic() - began < 5


def test_waiting_for_what_never_comes_is_a_violation(loop: VirtualLoop) -> None:
    never = loop.create_future()

    with pytest.raises(Violation, match="stalled"):
        loop.run_until_complete(never)


def test_a_loop_that_waits_for_no_time_at_all_does_not_hold_the_clock(loop: VirtualLoop) -> None:
    async def spin() -> float:
        started = loop.time()
        while loop.time() < started + 0.001:  # noqa: ASYNC110 - the spinning is the point
            await asyncio.sleep(1e-15)
        return loop.time()

    assert loop.run_until_complete(spin()) >= 0.001


def test_a_process_takes_every_task_down_with_it(loop: VirtualLoop) -> None:
    async def die() -> tuple[bool, bool]:
        process = Process("w1", 1)
        inner: list[asyncio.Task[None]] = []

        async def outer() -> None:
            inner.append(asyncio.create_task(asyncio.sleep(1000)))
            await inner[0]

        task = process.spawn(outer())
        await asyncio.sleep(1)
        process.die()
        await asyncio.wait({task, *inner})
        return task.cancelled(), inner[0].cancelled()

    assert loop.run_until_complete(die()) == (True, True)
