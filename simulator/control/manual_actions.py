"""Manual actions of account holders: orders, cancellations, deposits and withdrawals."""

import json
import uuid
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from starlette.requests import Request
from starlette.routing import Route

from simulator.coinbase.errors import ApiError
from simulator.coinbase.wire import parse_order
from simulator.control.calls import BadControlCallError, body_of, exchange_of, loopback_only
from simulator.control.show import balances_json, order_json
from simulator.engine.values import OrderRefusedError, Side
from simulator.exchange import Exchange, OrderNotOpenError
from simulator.manual_actions import ManualActions, NotEnoughFundsError
from simulator.store import Account

_MOST_AMOUNT: Final = 10**18
_OWNER: Final = ("account_id", "api_key")
_ORDER: Final = ("product_id", "side", "size", "amount", "price", "post_only", "client_order_id")


async def place_order(request: Request) -> dict[str, Any]:
    """Place an order: a market order, or one that rests when a `price` is given."""
    body = await _fields(request, *_ORDER)
    actions = _actions(request, body)
    side = str(body.get("side") or "").upper()
    if side not in list(Side):
        raise _bad("side must be buy or sell")
    configuration = _configuration(body)
    order_body = {
        "client_order_id": str(body.get("client_order_id") or uuid.uuid4()),
        "product_id": str(body.get("product_id") or ""),
        "side": side,
        "order_configuration": configuration,
    }
    try:
        order = actions.place(parse_order(order_body), json.dumps(configuration))
    except ApiError as error:
        raise _bad(error.message) from error
    except OrderRefusedError as refused:
        raise BadControlCallError(f"refused: {refused}") from refused
    return order_json(order, is_manual=True)


async def cancel_order(request: Request) -> dict[str, Any]:
    """Cancel an order of the account, its bots' orders included."""
    body = await _fields(request, "order_id")
    actions = _actions(request, body)
    order_id = str(body.get("order_id") or "")
    try:
        actions.cancel(order_id)
    except OrderNotOpenError as error:
        raise BadControlCallError(f"not open: {error}", 409) from error
    order = actions.exchange.store.find_order(actions.account.account_id, order_id)
    assert order is not None, "it was cancelled just now"
    return order_json(order, is_manual=False)


async def deposit(request: Request) -> dict[str, Any]:
    """Pay money or coins in."""
    body = await _fields(request, "currency", "amount")
    actions = _actions(request, body)
    actions.deposit(_currency(body), _amount(body))
    return _balances(actions)


async def withdraw(request: Request) -> dict[str, Any]:
    """Pay money or coins out, or move them to another account of the venue (`to`)."""
    body = await _fields(request, "currency", "amount", "to")
    actions = _actions(request, body)
    receiver = body.get("to")
    to = None if receiver is None else _account(actions.exchange, str(receiver), None)
    if to == actions.account:
        raise _bad("to must be another account")
    try:
        actions.withdraw(_currency(body), _amount(body), to)
    except NotEnoughFundsError as error:
        raise BadControlCallError(str(error), 409) from error
    return _balances(actions)


async def _fields(request: Request, *names: str) -> dict[str, Any]:
    body = await body_of(request)
    known = (*_OWNER, *names)
    if unknown := sorted(set(body) - set(known)):
        raise _bad(f"no field {', '.join(unknown)}; known: {', '.join(known)}")
    return body


def _actions(request: Request, body: Mapping[str, Any]) -> ManualActions:
    exchange = exchange_of(request)
    return ManualActions(exchange, _account(exchange, body.get("account_id"), body.get("api_key")))


def _account(exchange: Exchange, account_id: Any, api_key: Any) -> Account:
    if account_id is None and api_key is None:
        raise _bad("account_id or api_key is required")
    found = exchange.find_accounts(account_id, api_key)
    if not found:
        raise BadControlCallError("no such account", 404)
    return found[0]


def _configuration(body: Mapping[str, Any]) -> dict[str, Any]:
    size, amount, price = (body.get(name) for name in ("size", "amount", "price"))
    if (size is None) == (amount is None):
        raise _bad("either size (base currency) or amount (quote currency) is required")
    if price is None:
        sized = {"quote_size": amount} if size is None else {"base_size": size}
        return {"market_market_ioc": sized}
    if size is None:
        raise _bad("an order with a price needs a size")
    limit = {"base_size": size, "limit_price": price, "post_only": body.get("post_only") is True}
    return {"limit_limit_gtc": limit}


def _currency(body: Mapping[str, Any]) -> str:
    currency = body.get("currency")
    if not isinstance(currency, str) or not currency.isalnum():
        raise _bad("currency must be a code such as USD")
    return currency.upper()


def _amount(body: Mapping[str, Any]) -> Decimal:
    try:
        amount = Decimal(str(body.get("amount")))
    except InvalidOperation as error:
        raise _bad("amount must be a number") from error
    if not amount.is_finite() or not 0 < amount <= _MOST_AMOUNT:
        raise _bad(f"amount must be more than 0 and at most {_MOST_AMOUNT}")
    return amount


def _balances(actions: ManualActions) -> dict[str, Any]:
    account_id = actions.account.account_id
    return {
        "account_id": account_id,
        "balances": balances_json(actions.exchange.balances(account_id)),
    }


def _bad(message: str) -> BadControlCallError:
    return BadControlCallError(message, 400)


ROUTES: Final = [
    Route("/control/manual/orders", loopback_only(place_order, 201), methods=["POST"]),
    Route("/control/manual/cancel", loopback_only(cancel_order), methods=["POST"]),
    Route("/control/manual/deposit", loopback_only(deposit), methods=["POST"]),
    Route("/control/manual/withdraw", loopback_only(withdraw), methods=["POST"]),
]
