"""Accounts, clock and a full dump."""

import asyncio
import uuid
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator.coinbase.keys import DEFAULT_KEY_TYPE, UnknownKeyTypeError, new_key
from simulator.coinbase.transport import answer
from simulator.coinbase.wire import iso
from simulator.control.calls import (
    BadControlCallError,
    body_of,
    exchange_of,
    loopback_only,
)
from simulator.control.show import balances_json, fill_json, manual_action_json, order_json
from simulator.engine.accounts import FEES_ACCOUNT, LIQUIDITY_ACCOUNT
from simulator.engine.fees import UnknownFeeTierError, fee_tier
from simulator.exact import plain
from simulator.exchange import Exchange, NotInStepModeError
from simulator.faults.kinds import CallName, Kind
from simulator.faults.plan import Situation
from simulator.manual_actions import ManualActionKind
from simulator.store import Account, Filter

_PERMISSIONS: Final = ("view", "trade", "transfer")
_DEFAULT_PERMISSIONS: Final = ("view", "trade")
_MOST_DEPOSIT: Final = 10**18  # sums of balances stay exact
_DUST: Final = Decimal("1e-18")
_MOST_MINUTES: Final = 100_000
_EVERYTHING: Final = -1  # SQLite's "no limit"


async def create_account(request: Request) -> dict[str, Any]:
    """Take on a client: its deposits, fee tier, permissions and a fresh key."""
    body = await body_of(request)
    exchange = exchange_of(request)
    try:
        tier = fee_tier(str(body.get("fee_tier") or exchange.default_tier))
        key = new_key(str(body.get("key_type") or DEFAULT_KEY_TYPE))
    except (UnknownFeeTierError, UnknownKeyTypeError) as error:
        raise BadControlCallError(str(error)) from error
    permissions = _permissions(body.get("permissions", _DEFAULT_PERMISSIONS))
    account = Account(
        account_id=str(uuid.uuid4()),
        name=str(body.get("name") or ""),
        api_key=key.api_key,
        key_type=key.key_type,
        verifier=key.verifier,
        fee_tier=tier.name,
        permissions=permissions,
        created_ms=exchange.now_ms,
    )
    exchange.open_account(account, _deposits(body.get("balances", {})))
    return {
        **_account_json(exchange, account),
        "api_secret": key.api_secret,
        "taker_fee_rate": plain(tier.taker),
        "maker_fee_rate": plain(tier.maker),
    }


async def advance(request: Request) -> dict[str, Any]:
    """Play whole minutes of a standing clock; answers when all of them are over."""
    minutes = (await body_of(request)).get("minutes", 1)
    if type(minutes) is not int or not 0 < minutes <= _MOST_MINUTES:
        raise BadControlCallError(f"minutes must be a whole number from 1 to {_MOST_MINUTES}")
    exchange = exchange_of(request)
    lock: asyncio.Lock = request.app.state.advancing
    async with lock:
        for _ in range(minutes):
            try:
                exchange.advance_minute()
            except NotInStepModeError as error:
                raise BadControlCallError(str(error), 409) from error
            await asyncio.sleep(0)  # lets other requests in between two minutes
    return _clock_json(exchange, exchange.now_ms)


async def get_clock(request: Request) -> Response:
    """Answer with time and market: the venue's clock as clients read it, with its faults.

    With `exact=true` it is the exchange's own, and always answered.
    """
    exchange = exchange_of(request)
    if request.query_params.get("exact") == "true":
        return JSONResponse(_clock_json(exchange, exchange.now_ms))
    hit = exchange.faults.transport(Situation(CallName.TIME, exchange.now_ms), (Kind.KEYS_REFUSED,))
    exchange.save_faults()

    def perform() -> Response:
        return JSONResponse(_clock_json(exchange, exchange.conditions.shown_ms(CallName.TIME)))

    return perform() if hit is None else await answer(hit, perform)


async def set_clock(request: Request) -> dict[str, Any]:
    """Switch mode or speed."""
    body = await body_of(request)
    mode, speed = body.get("mode"), body.get("speed")
    if mode not in (None, "speed", "step"):
        raise BadControlCallError("mode must be speed or step")
    is_number = isinstance(speed, int | float) and not isinstance(speed, bool)
    if speed is not None and not (is_number and 0 < speed <= _MOST_MINUTES):
        raise BadControlCallError("speed must be a positive number")
    exchange_of(request).set_clock(mode, None if speed is None else float(speed))
    exchange = exchange_of(request)
    return _clock_json(exchange, exchange.now_ms)


async def dump(request: Request) -> dict[str, Any]:
    """Show accounts with all their orders, fills and balances, and the venue's own books."""
    exchange = exchange_of(request)
    params = request.query_params
    chosen = exchange.find_accounts(params.get("account_id"), params.get("api_key"))
    return {
        "epoch": exchange.epoch,
        "now": iso(exchange.now_ms),
        "accounts": [_dump_account(exchange, account) for account in chosen],
        "venue": {
            "liquidity": balances_json(exchange.balances(LIQUIDITY_ACCOUNT)),
            "fees": balances_json(exchange.balances(FEES_ACCOUNT)),
        },
    }


async def healthz(request: Request) -> dict[str, Any]:
    """Say that the process answers."""
    return {"status": "ok", "epoch": exchange_of(request).epoch}


def _permissions(asked: Any) -> tuple[str, ...]:
    if not isinstance(asked, list | tuple) or any(name not in _PERMISSIONS for name in asked):
        raise BadControlCallError(f"permissions must be some of {', '.join(_PERMISSIONS)}")
    return tuple(name for name in _PERMISSIONS if name in asked)


def _deposits(asked: Any) -> dict[str, Decimal]:
    if not isinstance(asked, dict):
        raise BadControlCallError("balances must be an object of currency: amount")
    try:
        deposits = {str(code).upper(): Decimal(str(amount)) for code, amount in asked.items()}
    except InvalidOperation as error:
        raise BadControlCallError("balances must be decimal numbers") from error
    if not all(_is_bookable(amount) for amount in deposits.values()):
        raise BadControlCallError(
            f"balances must be from 0 to {_MOST_DEPOSIT} with at most eighteen decimals"
        )
    return deposits


def _is_bookable(amount: Decimal) -> bool:
    return amount.is_finite() and 0 <= amount <= _MOST_DEPOSIT and amount % _DUST == 0


def _account_json(exchange: Exchange, account: Account) -> dict[str, Any]:
    return {
        "account_id": account.account_id,
        "name": account.name,
        "api_key": account.api_key,
        "key_type": account.key_type,
        "fee_tier": account.fee_tier,
        "permissions": list(account.permissions),
        "balances": balances_json(exchange.balances(account.account_id)),
    }


def _clock_json(exchange: Exchange, shown_ms: int) -> dict[str, Any]:
    tier = fee_tier(exchange.default_tier)
    return {
        "now": iso(shown_ms),
        "now_ms": shown_ms,
        "epoch": exchange.epoch,
        "mode": exchange.clock.mode,
        "speed": exchange.clock.speed,
        "symbols": list(exchange.feed.symbols),
        "source": exchange.market.source,
        "seed": exchange.market.seed,
        "start": iso(exchange.market.start_ms),
        "fee_tier": tier.name,
        "maker_fee_rate": plain(tier.maker),
        "taker_fee_rate": plain(tier.taker),
    }


def _dump_account(exchange: Exchange, account: Account) -> dict[str, Any]:
    everything = Filter(account.account_id, limit=_EVERYTHING)
    orders = exchange.store.orders(everything)[::-1]
    fills = exchange.store.fills(everything)[::-1]
    actions = exchange.store.manual_actions(account.account_id)
    manual = {it.order_id for it in actions if it.kind == ManualActionKind.ORDER}
    return {
        **_account_json(exchange, account),
        "orders": [order_json(order, is_manual=order.order_id in manual) for order in orders],
        "fills": [fill_json(fill) for fill in fills],
        "manual_actions": [manual_action_json(action) for action in actions],
    }


ROUTES: Final = [
    Route("/control/accounts", loopback_only(create_account, 201), methods=["POST"]),
    Route("/control/advance", loopback_only(advance), methods=["POST"]),
    Route("/control/clock", loopback_only(get_clock)),
    Route("/control/clock", loopback_only(set_clock), methods=["POST"]),
    Route("/control/dump", loopback_only(dump)),
    Route("/control/healthz", loopback_only(healthz)),
]
