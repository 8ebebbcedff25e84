"""The ASGI application: all routes over one exchange, and the loop that runs its clock."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from simulator import control
from simulator.coinbase import accounts, orders, products
from simulator.coinbase.errors import ApiError, render, render_missing
from simulator.coinbase.transport import ConnectionAccess
from simulator.exchange import Exchange

_CLOCK_SECONDS: Final = 0.05


def build_app(exchange: Exchange) -> ConnectionAccess:
    """Return the application; its lifespan runs the clock and closes the exchange."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        clock = asyncio.create_task(_run_clock(exchange))
        try:
            yield
        finally:
            clock.cancel()
            with suppress(asyncio.CancelledError):
                await clock
            exchange.close()

    app = Starlette(
        routes=[*products.ROUTES, *orders.ROUTES, *accounts.ROUTES, *control.ROUTES],
        exception_handlers={ApiError: render, HTTPException: render_missing},
        lifespan=lifespan,
    )
    app.state.exchange = exchange
    app.state.advancing = asyncio.Lock()
    return ConnectionAccess(app)


async def _run_clock(exchange: Exchange) -> None:
    before = time.monotonic()
    while True:
        await asyncio.sleep(_CLOCK_SECONDS)
        now = time.monotonic()
        exchange.run_for(now - before)
        before = now
