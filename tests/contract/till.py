"""The Stripe stand-in for a stack of processes: served from a thread, since the tests block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from adapters.stripe.calls import make_client, make_transport
from adapters.stripe.prices import make_prices
from tests.support.stripe_standin import StandIn, stripe_standin

KEY = "sk_test_of_the_stand_in"


@contextmanager
def served_standin() -> Iterator[StandIn]:
    """A stand-in whose prices are set up, reachable at `url` until the end."""
    ready: threading.Event = threading.Event()
    found: list[StandIn] = []
    loop = asyncio.new_event_loop()
    done = asyncio.Event()

    async def serve() -> None:
        async with stripe_standin(lambda: datetime.now(UTC)) as standin:
            transport = make_transport()
            await make_prices(make_client(KEY, transport, api_base=standin.url))
            await transport.close_async()  # type: ignore[no-untyped-call]  # untyped there
            found.append(standin)
            ready.set()
            await done.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            loop.close()
            ready.set()

    thread = threading.Thread(target=run, name="stripe stand-in")
    thread.start()
    try:
        ready.wait()
        yield found[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
