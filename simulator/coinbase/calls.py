"""One API call: its parameters, account and faults, and how handlers become endpoints."""

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from simulator.coinbase.auth import authenticate
from simulator.coinbase.errors import ApiError, invalid_argument, missing_scope, render
from simulator.coinbase.transport import answer
from simulator.engine.book import Book
from simulator.exchange import Exchange
from simulator.faults.kinds import CallName, Kind
from simulator.faults.plan import Situation
from simulator.store import Account
from simulator.views import VenueView

logger = logging.getLogger(__name__)

_PRODUCT_PARAMETERS: Final = ("product_id", "product_ids")


@dataclass(frozen=True)
class Call:
    """What a handler is given."""

    name: CallName
    exchange: Exchange
    request: Request
    body: bytes = b""

    @property
    def view(self) -> VenueView:
        """The venue as the caller sees it."""
        return VenueView(self.exchange)

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

    @property
    def view(self) -> VenueView:
        """The venue as the account sees it."""
        return VenueView(self.exchange, self.account)


Endpoint = Callable[[Request], Awaitable[Response]]
Naming = CallName | Callable[[Request], CallName]


def public(naming: Naming, handler: Callable[[Call], Any]) -> Endpoint:
    """Make an endpoint of a handler that anyone may call."""

    async def endpoint(request: Request) -> Response:
        exchange: Exchange = request.app.state.exchange
        call = Call(_name(naming, request), exchange, request)
        return await _meet_faults(call, None, lambda: _answer(request, handler(call)))

    return endpoint


def signed(permission: str, naming: Naming, handler: Callable[[SignedCall], Any]) -> Endpoint:
    """Make an endpoint of a handler that needs a signature of a key with this permission."""

    async def endpoint(request: Request) -> Response:
        exchange: Exchange = request.app.state.exchange
        body = await request.body()
        name = _name(naming, request)
        skew_seconds = exchange.conditions.signature_skew_ms(name) / 1000
        account = authenticate(request, body, exchange.account_by_key, skew_seconds)
        if permission not in account.permissions:
            raise missing_scope()
        call = SignedCall(name, exchange, request, body, account=account)
        return await _meet_faults(call, account, lambda: _answer(request, handler(call)))

    return endpoint


async def _meet_faults(
    call: Call, account: Account | None, perform: Callable[[], Response]
) -> Response:
    """Make the call, or let a transport fault decide what becomes of it and what is seen."""
    exchange = call.exchange
    account_id = None if account is None else account.account_id
    situation = Situation(call.name, exchange.now_ms, account_id, _products(call, account_id))
    without = (Kind.KEYS_REFUSED,) if account is None else ()
    hit = exchange.faults.transport(situation, without)

    def perform_durably() -> Response:
        try:
            return perform()
        except ApiError as error:
            return render(call.request, error)
        finally:
            exchange.save_faults()

    exchange.save_faults()
    return perform_durably() if hit is None else await answer(hit, perform_durably)


def _name(naming: Naming, request: Request) -> CallName:
    return naming if isinstance(naming, CallName) else naming(request)


def _products(call: Call, account_id: str | None) -> tuple[str, ...]:
    """Return the products that a call is about, as far as it says."""
    names = [*call.all(*_PRODUCT_PARAMETERS), call.request.path_params.get("product_id")]
    order_ids = [call.request.path_params.get("order_id")]
    if call.body and call.name in (CallName.PLACE, CallName.CANCEL):
        try:
            body = call.json_object()
        except ApiError:
            body = {}
        names.append(body.get("product_id"))
        asked = body.get("order_ids")
        order_ids += asked if isinstance(asked, list) else []
    for order_id in order_ids:
        if account_id and isinstance(order_id, str):
            order = call.exchange.store.find_order(account_id, order_id)
            names.append(order.request.product_id if order else None)
    return tuple(name for name in names if isinstance(name, str) and name)


def _answer(request: Request, body: Any) -> Response:
    logger.debug("%s %s", request.method, request.url.path)
    content = json.dumps(body, separators=(",", ":"))
    return Response(content, media_type="application/json")
