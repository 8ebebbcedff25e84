"""Sending before booking: in a burst of exits, what an order's answer brings waits for other sends.

A kill switch that closes a hundred positions has one process make, send and book a hundred exits.
Booking one costs more than sending one, so without an order the last send would wait for most of
the bookings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

DEFER_SECONDS_MAX = 3.0
"""How long a booking waits at most; its order is at the venue and its row says so."""


class SendsFirst:
    """Counts what this process is about to send."""

    def __init__(self) -> None:
        self._count = 0
        self._none_left = asyncio.Event()

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Hold while an order is made or sent."""
        self._count += 1
        self._none_left.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._none_left.set()

    async def let_others_send(self) -> None:
        """Wait until nothing is about to be sent, for `DEFER_SECONDS_MAX` at most."""
        if not self._count:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(DEFER_SECONDS_MAX):
                await self._none_left.wait()
