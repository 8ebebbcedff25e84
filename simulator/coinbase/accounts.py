"""What a key may see of its account: balances, fees, permissions; and the public currency lists."""

import uuid
from decimal import Decimal
from typing import Any, Final

from starlette.routing import Route

from simulator.coinbase.calls import Call, SignedCall, public, signed
from simulator.coinbase.errors import not_found
from simulator.coinbase.wire import iso
from simulator.engine.accounts import Balance
from simulator.exact import plain
from simulator.exchange import Exchange
from simulator.faults.kinds import CallName
from simulator.market.candles import DAY_MS

_FIAT: Final = {"USD": "United States Dollar", "EUR": "Euro", "GBP": "British Pound"}
_MOST_ACCOUNTS: Final = 250
_VOLUME_DAYS: Final = 30


def server_time(call: Call) -> dict[str, Any]:
    """Answer with the venue clock, in whole seconds."""
    now_ms = call.view.now_ms()
    return {"data": {"iso": iso(now_ms)[:19] + "Z", "epoch": now_ms // 1000}}


def list_fiat(_: Call) -> dict[str, Any]:
    """Answer with the government-issued currencies."""
    return {
        "data": [{"id": code, "name": name, "min_size": "0.01"} for code, name in _FIAT.items()]
    }


def list_crypto(call: Call) -> dict[str, Any]:
    """Answer with the other currencies."""
    codes = [code for code in _currencies(call.exchange) if code not in _FIAT]
    names = {book.rules.base: book.rules.base_name for book in call.books([])}
    return {
        "data": [
            {
                "asset_id": str(uuid.uuid5(uuid.NAMESPACE_DNS, code)),
                "code": code,
                "name": names.get(code, code),
                "color": "#0433FF",
                "sort_index": 100 + index,
                "exponent": 8,
                "type": "crypto",
                "address_regex": "",
            }
            for index, code in enumerate(codes)
        ]
    }


def exchange_rates(call: Call) -> dict[str, Any]:
    """Answer with what one dollar buys."""
    rates = {"USD": "1"} | {
        book.rules.base: plain((1 / book.price).quantize(Decimal("1e-12")))
        for book in call.books([])
        if book.rules.quote == "USD"
    }
    return {"data": {"currency": "USD", "rates": rates}}


def list_v2_accounts(call: SignedCall) -> dict[str, Any]:
    """Answer with balances in the old form, which knows no holds."""
    wallets = [_v2_account(code, wallet) for code, wallet in _wallets(call).items()]
    return {
        "pagination": {
            "ending_before": None,
            "starting_after": None,
            "limit": _MOST_ACCOUNTS,
            "order": "desc",
            "previous_uri": None,
            "next_uri": None,
        },
        "data": wallets,
    }


def list_accounts(call: SignedCall) -> dict[str, Any]:
    """Answer with balances and holds."""
    offset = call.integer("cursor", 0, least=0, most=2**31)
    limit = call.integer("limit", 49, least=1, most=_MOST_ACCOUNTS)
    everything = [_account(call, code, wallet) for code, wallet in _wallets(call).items()]
    page = everything[offset : offset + limit]
    has_next = offset + limit < len(everything)
    return {
        "accounts": page,
        "has_next": has_next,
        "cursor": str(offset + limit) if has_next else "",
        "size": len(page),
    }


def get_account(call: SignedCall) -> dict[str, Any]:
    """Answer with one balance."""
    wanted = call.request.path_params["account_uuid"]
    for code, wallet in _wallets(call).items():
        account = _account(call, code, wallet)
        if account["uuid"] == wanted:
            return {"account": account}
    raise not_found("account not found")


def transaction_summary(call: SignedCall) -> dict[str, Any]:
    """Answer with the account's fee tier and its volume of thirty days."""
    tier = call.exchange.tier_of(call.account)
    since_ms = call.exchange.now_ms - _VOLUME_DAYS * DAY_MS
    sums = call.exchange.store.fees_and_volume(call.account.account_id, since_ms)
    # JSON numbers, as at the venue, in cents: rounded figures that no exponent can get into.
    fees, volume = (round(amount, 2) for amount in sums)
    return {
        "total_volume": volume,
        "total_fees": fees,
        "fee_tier": {
            "pricing_tier": tier.title,
            "usd_from": plain(tier.volume_from),
            "usd_to": "" if tier.volume_to is None else plain(tier.volume_to),
            "taker_fee_rate": plain(tier.taker),
            "maker_fee_rate": plain(tier.maker),
            "aop_from": "",
            "aop_to": "",
        },
        "margin_rate": None,
        "goods_and_services_tax": None,
        "advanced_trade_only_volume": volume,
        "advanced_trade_only_fees": fees,
        "coinbase_pro_volume": 0,
        "coinbase_pro_fees": 0,
        "total_balance": "",
        "has_promo_fee": False,
    }


def key_permissions(call: SignedCall) -> dict[str, Any]:
    """Answer with what the key may do."""
    permissions = call.account.permissions
    return {
        "can_view": "view" in permissions,
        "can_trade": "trade" in permissions,
        "can_transfer": "transfer" in permissions,
        "portfolio_uuid": call.account.account_id,
        "portfolio_type": "DEFAULT",
    }


def list_portfolios(call: SignedCall) -> dict[str, Any]:
    """Answer with the account's only portfolio."""
    name = call.account.name or "Default"
    portfolio = {
        "name": name,
        "uuid": call.account.account_id,
        "type": "DEFAULT",
        "deleted": False,
    }
    return {"portfolios": [portfolio]}


def _currencies(exchange: Exchange) -> list[str]:
    rules = exchange.market.rules.values()
    return sorted({rule.base for rule in rules} | {rule.quote for rule in rules})


def _wallets(call: SignedCall) -> dict[str, Balance]:
    """Return a balance for each currency of the venue and each the account ever had."""
    owned = call.view.balances()
    codes = sorted({*_currencies(call.exchange), *owned})
    return {code: owned.get(code, Balance()) for code in codes}


def _wallet_id(call: SignedCall, code: str) -> str:
    return str(uuid.uuid5(uuid.UUID(call.account.account_id), code))


def _account(call: SignedCall, code: str, balance: Balance) -> dict[str, Any]:
    created = iso(call.account.created_ms)
    kind = "FIAT" if code in _FIAT else "CRYPTO"
    return {
        "uuid": _wallet_id(call, code),
        "name": f"{code} Wallet",
        "currency": code,
        "available_balance": {"value": plain(balance.available), "currency": code},
        "default": True,
        "active": True,
        "created_at": created,
        "updated_at": created,
        "deleted_at": None,
        "type": f"ACCOUNT_TYPE_{kind}",
        "ready": True,
        "hold": {"value": plain(balance.held), "currency": code},
        "retail_portfolio_id": call.account.account_id,
        "platform": "ACCOUNT_PLATFORM_CONSUMER",
    }


def _v2_account(code: str, balance: Balance) -> dict[str, Any]:
    is_fiat = code in _FIAT
    return {
        "id": code,
        "name": f"{code} Wallet",
        "primary": False,
        "type": "fiat" if is_fiat else "wallet",
        "currency": {
            "code": code,
            "name": _FIAT.get(code, code),
            "color": "#0433FF",
            "sort_index": 0,
            "exponent": 2 if is_fiat else 8,
            "type": "fiat" if is_fiat else "crypto",
        },
        "balance": {"amount": plain(balance.total), "currency": code},
        "created_at": None,
        "updated_at": None,
        "resource": "account",
        "resource_path": f"/v2/accounts/{code}",
        "allow_deposits": True,
        "allow_withdrawals": True,
    }


_V3: Final = "/api/v3/brokerage"
ROUTES: Final = [
    Route("/v2/time", public(CallName.TIME, server_time)),
    Route("/v2/currencies", public(CallName.CURRENCIES, list_fiat)),
    Route("/v2/currencies/crypto", public(CallName.CURRENCIES, list_crypto)),
    Route("/v2/exchange-rates", public(CallName.CURRENCIES, exchange_rates)),
    Route("/v2/accounts", signed("view", CallName.BALANCES, list_v2_accounts)),
    Route(f"{_V3}/accounts", signed("view", CallName.BALANCES, list_accounts)),
    Route(f"{_V3}/accounts/{{account_uuid}}", signed("view", CallName.BALANCES, get_account)),
    Route(f"{_V3}/transaction_summary", signed("view", CallName.FEES, transaction_summary)),
    Route(f"{_V3}/key_permissions", signed("view", CallName.PERMISSIONS, key_permissions)),
    Route(f"{_V3}/portfolios", signed("view", CallName.PORTFOLIOS, list_portfolios)),
]
