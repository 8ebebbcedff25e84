"""Who makes exit orders next, who books what became of them, and who waits for whom.

In a burst an exits worker makes orders before it books. Nothing that hangs (a locked row, a venue
that does not answer) may keep more than its own place, and that only for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

MAKING_AT_ONCE = 6
"""Bots whose exit orders are being made and marked; more would only share the same core."""

PATIENCE_SECONDS = 3.0
"""How long a bot waits while nobody gets a turn before its workflow is woken instead: rows that are
locked hold every turn."""

STUCK_SECONDS = 0.5
"""How long no turn begins or ends until bookings do not wait for those that make orders."""

BOOKING_AT_ONCE = 2
"""Answers that are being booked: fewer, so that what was sent does not delay what was not."""

BOOKING_SECONDS = 0.1
"""How long a booking keeps its place: one that takes longer waits for a venue or a lock, and works
on beside the next."""


class MakingTurns:
    """Who makes orders next, and whether anybody waits to."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAKING_AT_ONCE)
        self._waiting = 0
        self._none = asyncio.Event()
        self._moved_at = 0.0

    async def __aenter__(self) -> None:
        """Wait for a turn, for as long as turns are given.

        Raises:
            TimeoutError: none was given for `PATIENCE_SECONDS`.
        """
        loop = asyncio.get_running_loop()
        if self._places.locked():
            began = loop.time()
            while True:
                try:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await self._places.acquire()
                    break
                except TimeoutError:
                    if loop.time() - max(began, self._moved_at) >= PATIENCE_SECONDS:
                        raise
        else:
            await self._places.acquire()
        self._moved_at = loop.time()

    async def __aexit__(self, *_: object) -> None:
        """Give it to the next."""
        self._moved_at = asyncio.get_running_loop().time()
        self._places.release()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Hold until a bot's orders were made."""
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

        Where turns are stuck nobody is waited for: what keeps one bot's rows must not keep the
        repetition of another's exit.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._waiting and loop.time() < (end := min(until, self._moved_at + STUCK_SECONDS)):
            with suppress(TimeoutError):
                async with asyncio.timeout_at(end):
                    await self._none.wait()


class BookingPlaces:
    """A few places for bookings, each kept for a moment only."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(BOOKING_AT_ONCE)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place, for `BOOKING_SECONDS` at most."""
        await self._places.acquire()
        is_kept = True

        def give_back() -> None:
            nonlocal is_kept
            if is_kept:
                is_kept = False
                self._places.release()

        timer = asyncio.get_running_loop().call_later(BOOKING_SECONDS, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()
