"""Slots for making exit orders, booking their answers and look-ups: how many of each at once.

In a burst an exits worker makes orders before it books. Nothing that hangs (a locked row, a venue
that does not answer) may keep more than its own slot, and that only for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

EXIT_SLOTS = 6
"""Bots whose exit orders are being made and marked; more would only share the same core."""

SLOT_WAIT_SECONDS = 3.0
"""How long a bot waits while no slot becomes free before its workflow is woken instead: rows that
are locked may keep every slot."""

STUCK_SECONDS = 0.5
"""How long no slot is taken or given back until bookings do not wait for those that make orders."""

BOOKING_SLOTS = 2
"""Answers that are being booked: fewer, so that what was sent does not delay what was not."""

BOOKING_SECONDS = 0.1
"""How long a booking keeps its slot: one that takes longer waits for a venue or a lock, and works
on beside the next."""

LOOK_UPS_AT_ONCE = 50
LOOK_UP_SECONDS = 2.0
"""The same for look-ups: those of accounts that give no answer keep no other's waiting."""


class ExitSlots:
    """Slots for making orders, and how many bots wait for one or have one."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(EXIT_SLOTS)
        self._waiting = 0
        self._none = asyncio.Event()
        self._moved_at = 0.0

    async def __aenter__(self) -> None:
        """Wait for a slot, for as long as slots become free.

        Raises:
            TimeoutError: none became free for `SLOT_WAIT_SECONDS`.
        """
        loop = asyncio.get_running_loop()
        if self._free.locked():
            began = loop.time()
            while True:
                try:
                    async with asyncio.timeout(SLOT_WAIT_SECONDS):
                        await self._free.acquire()
                    break
                except TimeoutError:
                    if loop.time() - max(began, self._moved_at) >= SLOT_WAIT_SECONDS:
                        raise
        else:
            await self._free.acquire()
        self._moved_at = loop.time()

    async def __aexit__(self, *_: object) -> None:
        """Give the slot back."""
        self._moved_at = asyncio.get_running_loop().time()
        self._free.release()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count a bot until its orders were made."""
        self._waiting += 1
        self._none.clear()
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._none.set()

    async def none_waits(self, seconds: float) -> None:
        """Wait until nobody is about to make orders, for some seconds at most.

        Where slots are stuck nobody is waited for: what keeps one bot's rows must not keep the
        repetition of another's exit.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._waiting and loop.time() < (end := min(until, self._moved_at + STUCK_SECONDS)):
            with suppress(TimeoutError):
                async with asyncio.timeout_at(end):
                    await self._none.wait()


class BriefSlots:
    """Slots that are each kept for a moment only.

    Args:
        slots: how many there are.
        seconds: how long one is kept at most; whoever had it works on beside the next.
    """

    def __init__(self, slots: int, seconds: float) -> None:
        self._free = asyncio.Semaphore(slots)
        self._seconds = seconds

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot, for a moment at most."""
        await self._free.acquire()
        is_kept = True

        def give_back() -> None:
            nonlocal is_kept
            if is_kept:
                is_kept = False
                self._free.release()

        timer = asyncio.get_running_loop().call_later(self._seconds, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()
