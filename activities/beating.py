"""Heartbeats for the whole life of an activity, so that a dead worker is noticed in seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from temporalio import activity

INTERVAL_SECONDS = 1.0


@asynccontextmanager
async def heartbeating() -> AsyncIterator[None]:
    """Heartbeat once a second until the block ends."""
    task = asyncio.create_task(_beat())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _beat() -> None:
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        activity.heartbeat()
