"""One API call: its parameters, its account, and how handlers become endpoints."""

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from simulator.coinbase.auth import authenticate
from simulator.coinbase.errors import invalid_argument, missing_scope
from simulator.engine.book import Book
from simulator.exchange import Exchange
from simulator.store import Account

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """What a handler is given."""

    exchange: Exchange
    request: Request
    body: bytes = b""

    def one(self, name: str) -> str | None:
        """Return a query parameter, None when absent or empty."""
        return self.request.query_params.get(name) or None

    def all(self, *names: str) -> list[str]:
        """Return all values of a repeatable query parameter, under any of its names."""
        params = self.request.query_params
        return [value for name in names for value in params.getlist(name) if value]

    def integer(self, name: str, default: int, *, least: int, most: int) -> int:
        """Return a whole-numbered query parameter, cut to the largest allowed.

        Raises:
            ApiError: It is no number, or too small.
        """
        text = self.one(name)
        if text is None:
            return default
        try:
            number = int(text)
        except ValueError as error:
            raise invalid_argument(f"{name} is not a number") from error
        if number < least:
            raise invalid_argument(f"{name} must be at least {least}")
        return min(number, most)

    def json_object(self) -> dict[str, Any]:
        """Return the body as an object.

        Raises:
            ApiError: It is none.
        """
        try:
            value = json.loads(self.body)
        except ValueError as error:
            raise invalid_argument("the body is not JSON") from error
        if not isinstance(value, dict):
            raise invalid_argument("the body is not an object")
        return value

    def books(self, product_ids: Sequence[str]) -> list[Book]:
        """Return the books of the known ones among these products, all when none is named."""
        books = self.exchange.engine.books
        return [books[name] for name in product_ids or sorted(books) if name in books]


@dataclass(frozen=True, kw_only=True)
class SignedCall(Call):
    """A call whose signature was checked."""

    account: Account


Endpoint = Callable[[Request], Awaitable[Response]]


def public(handler: Callable[[Call], Any]) -> Endpoint:
    """Make an endpoint of a handler that anyone may call."""

    async def endpoint(request: Request) -> Response:
        exchange: Exchange = request.app.state.exchange
        return _answer(request, handler(Call(exchange, request)))

    return endpoint


def signed(permission: str, handler: Callable[[SignedCall], Any]) -> Endpoint:
    """Make an endpoint of a handler that needs a signature of a key with this permission."""

    async def endpoint(request: Request) -> Response:
        exchange: Exchange = request.app.state.exchange
        body = await request.body()
        account = authenticate(request, body, exchange.account_by_key)
        if permission not in account.permissions:
            raise missing_scope()
        return _answer(request, handler(SignedCall(exchange, request, body, account=account)))

    return endpoint


def _answer(request: Request, body: Any) -> Response:
    logger.debug("%s %s", request.method, request.url.path)
    content = json.dumps(body, separators=(",", ":"))
    return Response(content, media_type="application/json")
