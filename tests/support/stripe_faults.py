"""What goes wrong between a client and the Stripe stand-in: values for `StandIn.faults`."""

from __future__ import annotations

import asyncio

from aiohttp import web
from localstripe.errors import UserError

from tests.support.stripe_standin import Fault, Handler

UNAVAILABLE = 503


def answers(status: int, code: str = "") -> Fault:
    """The request is answered with an error, and not carried out."""

    async def fault(request: web.Request, _: Handler) -> web.StreamResponse:
        raise UserError(status, f"{request.path} went wrong", {"code": code})

    return fault


async def never_arrives(request: web.Request, _: Handler) -> web.StreamResponse:
    """The connection breaks before the request is carried out."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()  # to nobody


class HeldBack:
    """The request is carried out; its answer waits until it is released."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.released = asyncio.Event()

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        self.reached.set()
        await self.released.wait()
        return answer
