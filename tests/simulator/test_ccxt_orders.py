import uuid
from typing import Any

import ccxt
import httpx
import pytest

from tests.simulator.process import SimulatorProcess, ccxt_client

pytestmark = pytest.mark.integration

SYMBOL = "BTC/USD"


async def last_price(client: Any) -> float:
    price: float = (await client.fetch_ticker(SYMBOL))["last"]
    return price


async def buy_by_size(client: Any, size: str, **fields: Any) -> dict[str, Any]:
    """The venue takes a base size for a market buy as well, though ccxt never sends one."""
    await client.load_markets()
    body = {
        "client_order_id": str(uuid.uuid4()),
        "product_id": "BTC-USD",
        "side": "BUY",
        "order_configuration": {"market_market_ioc": {"base_size": size}},
    }
    answer: dict[str, Any] = await client.v3_private_post_brokerage_orders(body | fields)
    return answer


async def test_market_buy_by_amount(client: Any) -> None:
    placed = await client.create_market_buy_order_with_cost(SYMBOL, 1000)
    order = await client.fetch_order(placed["id"])
    [trade] = await client.fetch_my_trades(SYMBOL)

    assert placed["status"] is None  # the venue's answer holds no more than the ids
    assert (order["status"], order["type"], order["side"]) == ("closed", "market", "buy")
    assert order["cost"] + order["fees"][0]["cost"] == pytest.approx(1000, abs=1e-3)
    assert trade["order"] == placed["id"]
    assert trade["amount"] == order["filled"]
    assert trade["takerOrMaker"] == "taker"
    assert trade["fee"]["cost"] == pytest.approx(trade["cost"] * 0.001)
    balance = await client.fetch_balance()
    assert balance["total"]["BTC"] == order["filled"]
    assert balance["total"]["USD"] == pytest.approx(9000, abs=1e-3)


async def test_market_buy_and_sell_by_size(client: Any) -> None:
    bought = await buy_by_size(client, "0.01")
    order = await client.fetch_order(bought["order_id"])
    sold = await client.create_order(SYMBOL, "market", "sell", 0.01)

    assert (order["amount"], order["filled"], order["status"]) == (0.01, 0.01, "closed")
    assert (await client.fetch_order(sold["id"]))["filled"] == 0.01
    assert (await client.fetch_balance())["total"]["BTC"] == 0


async def test_limit_order_rests_holds_and_is_cancelled(client: Any) -> None:
    price = round(await last_price(client) * 0.9, 2)
    placed = await client.create_order(SYMBOL, "limit", "buy", 0.01, price)

    order = await client.fetch_order(placed["id"])
    assert (order["status"], order["price"], order["amount"]) == ("open", price, 0.01)
    assert (order["filled"], order["remaining"], order["timeInForce"]) == (0, 0.01, "GTC")
    assert [o["id"] for o in await client.fetch_open_orders(SYMBOL)] == [placed["id"]]
    balance = await client.fetch_balance({"v3": True})
    assert balance["used"]["USD"] == pytest.approx(price * 0.01 * 1.001)
    assert balance["free"]["USD"] + balance["used"]["USD"] == balance["total"]["USD"] == 10_000

    await client.cancel_order(placed["id"])

    assert (await client.fetch_order(placed["id"]))["status"] == "canceled"
    assert (await client.fetch_balance({"v3": True}))["used"]["USD"] == 0
    with pytest.raises(ccxt.BadRequest):
        await client.cancel_order(placed["id"])


async def test_resting_order_fills_as_maker_at_its_own_price(
    simulator: SimulatorProcess, client: Any
) -> None:
    price = round(await last_price(client) * 0.999, 2)
    placed = await client.create_order(SYMBOL, "limit", "buy", 0.001, price)
    order = await client.fetch_order(placed["id"])
    created = order["timestamp"]

    for _ in range(240):
        simulator.advance(1)
        order = await client.fetch_order(placed["id"])
        if order["status"] == "closed":
            break

    [trade] = await client.fetch_my_trades(SYMBOL)
    assert order["average"] == price
    assert trade["takerOrMaker"] == "maker"
    assert trade["fee"]["cost"] == pytest.approx(price * 0.001 * 0.0006)
    lows = await client.fetch_ohlcv(SYMBOL, "1m", since=created)
    touched = next(low for low in lows if low[3] <= price)
    assert touched[0] < trade["timestamp"] <= touched[0] + 60_000


async def test_ioc_fok_and_post_only(client: Any) -> None:
    price = round(await last_price(client) * 1.001, 2)
    ioc = await client.create_order(SYMBOL, "limit", "buy", 0.01, price, {"timeInForce": "IOC"})
    fok = await client.create_order(SYMBOL, "limit", "buy", 0.02, price, {"timeInForce": "FOK"})
    killed = await client.create_order(
        SYMBOL, "limit", "buy", 0.01, round(price * 0.99, 2), {"timeInForce": "FOK"}
    )
    with pytest.raises(ccxt.ExchangeError, match="INVALID_LIMIT_PRICE_POST_ONLY"):
        await client.create_order(SYMBOL, "limit", "buy", 0.01, price, {"postOnly": True})

    ioc_order, fok_order = await client.fetch_order(ioc["id"]), await client.fetch_order(fok["id"])
    assert (ioc_order["status"], ioc_order["filled"]) == ("closed", 0.01)
    assert ioc_order["timeInForce"] == "IOC"
    assert (fok_order["status"], fok_order["filled"]) == ("closed", 0.02)
    assert fok_order["timeInForce"] == "FOK"
    killed_order = await client.fetch_order(killed["id"])
    assert (killed_order["status"], killed_order["filled"]) == ("canceled", 0)


async def test_same_client_order_id_never_makes_a_second_order(
    simulator: SimulatorProcess, account: dict[str, Any], client: Any
) -> None:
    placed = [await buy_by_size(client, "0.01", client_order_id="the-one") for _ in range(3)]

    assert len({answer["order_id"] for answer in placed}) == 1
    assert all(answer["success"] for answer in placed)
    dumped = simulator.dump(account)
    assert len(dumped["orders"]) == len(dumped["fills"]) == 1
    assert dumped["orders"][0]["client_order_id"] == "the-one"
    assert dumped["balances"]["BTC"]["total"] == "0.01"


@pytest.mark.parametrize(
    "refused",
    [
        (
            {"order_configuration": {"market_market_ioc": {"quote_size": "10000.01"}}},
            ccxt.InsufficientFunds,
            "INSUFFICIENT_FUND",
        ),
        (
            {"order_configuration": {"market_market_ioc": {"base_size": "0.000000001"}}},
            ccxt.ExchangeError,
            "INVALID_SIZE_PRECISION",
        ),
        (
            {
                "order_configuration": {
                    "limit_limit_gtc": {"base_size": "0.01", "limit_price": "50000.001"}
                }
            },
            ccxt.ExchangeError,
            "INVALID_PRICE_PRECISION",
        ),
        (
            {"order_configuration": {"market_market_ioc": {"quote_size": "0.99"}}},
            ccxt.ExchangeError,
            "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL",
        ),
        (
            {
                "product_id": "NO-USD",
                "order_configuration": {"market_market_ioc": {"quote_size": "10"}},
            },
            ccxt.ExchangeError,
            "INVALID_PRODUCT_ID",
        ),
        (
            {"side": "SELL", "order_configuration": {"market_market_ioc": {"quote_size": "10"}}},
            ccxt.BadRequest,
            "UNSUPPORTED_ORDER_CONFIGURATION",
        ),
        (
            {"order_configuration": {"trigger_bracket_gtc": {"base_size": "1"}}},
            ccxt.BadRequest,
            "UNSUPPORTED_ORDER_CONFIGURATION",
        ),
        ({"client_order_id": ""}, ccxt.BadRequest, "client_order_id is required"),
        ({"side": "HOLD"}, ccxt.BadRequest, "side must be"),
        (
            {"order_configuration": {"market_market_ioc": {"quote_size": "-1"}}},
            ccxt.BadRequest,
            "must be positive",
        ),
        (
            {"order_configuration": {"market_market_ioc": {}}},
            ccxt.BadRequest,
            "either base_size or quote_size",
        ),
    ],
)
async def test_refused_orders_leave_no_trace(
    simulator: SimulatorProcess,
    account: dict[str, Any],
    client: Any,
    refused: tuple[dict[str, Any], type[Exception], str],
) -> None:
    fields, error, reason = refused
    with pytest.raises(error, match=reason):
        await buy_by_size(client, "0.01", **fields)

    dumped = simulator.dump(account)
    assert dumped["orders"] == dumped["fills"] == []
    assert dumped["balances"] == {"USD": {"total": "10000", "available": "10000", "hold": "0"}}


async def test_unknown_order(client: Any) -> None:
    with pytest.raises(ccxt.ExchangeError, match="order with this orderID was not found"):
        await client.fetch_order("00000000-0000-0000-0000-000000000000")
    with pytest.raises(ccxt.BadRequest):
        await client.cancel_order("00000000-0000-0000-0000-000000000000")


async def test_orders_of_others_are_unknown(simulator: SimulatorProcess, client: Any) -> None:
    placed = await client.create_order(
        SYMBOL, "limit", "buy", 0.01, round(await last_price(client) * 0.9, 2)
    )

    async with ccxt_client(simulator.url, simulator.new_account()) as other:
        with pytest.raises(ccxt.ExchangeError, match="was not found"):
            await other.fetch_order(placed["id"])
        with pytest.raises(ccxt.BadRequest):
            await other.cancel_order(placed["id"])
        assert await other.fetch_orders() == []


async def test_listing_orders_by_product_status_time_and_page(
    simulator: SimulatorProcess, client: Any
) -> None:
    price = round(await last_price(client) * 0.9, 2)
    early = [
        (await client.create_order(SYMBOL, "limit", "buy", 0.001, price))["id"] for _ in range(3)
    ]
    simulator.advance(1)
    later_ms = await client.fetch_time()
    bought = (await buy_by_size(client, "0.01"))["order_id"]
    litecoin = (await client.create_market_buy_order_with_cost("LTC/USD", 50))["id"]

    def ids(orders: list[dict[str, Any]]) -> set[str]:
        return {order["id"] for order in orders}

    assert ids(await client.fetch_orders()) == {*early, bought, litecoin}
    assert ids(await client.fetch_orders(SYMBOL)) == {*early, bought}
    assert ids(await client.fetch_orders(since=later_ms)) == {bought, litecoin}
    assert ids(await client.fetch_orders(params={"until": later_ms - 1})) == set(early)
    assert ids(await client.fetch_open_orders()) == set(early)
    assert ids(await client.fetch_closed_orders()) == {bought, litecoin}
    pages, cursor = [], None
    while cursor != "":
        page = await client.v3_private_get_brokerage_orders_historical_batch(
            {"limit": 2, "product_ids": ["BTC-USD", "LTC-USD"]}
            | ({"cursor": cursor} if cursor else {})
        )
        pages.append([order["order_id"] for order in page["orders"]])
        cursor = page["cursor"]
        assert page["has_next"] == bool(cursor)
    assert pages == [[litecoin, bought], [early[2], early[1]], [early[0]]]


async def test_listing_fills_by_order_product_time_and_page(
    simulator: SimulatorProcess, client: Any
) -> None:
    first = (await buy_by_size(client, "0.01"))["order_id"]
    simulator.advance(1)
    later_ms = await client.fetch_time()
    second = (await buy_by_size(client, "0.02"))["order_id"]
    litecoin = (await client.create_market_buy_order_with_cost("LTC/USD", 50))["id"]

    def orders(trades: list[dict[str, Any]]) -> list[str]:
        return [trade["order"] for trade in trades]

    assert sorted(orders(await client.fetch_my_trades())) == sorted([first, second, litecoin])
    assert sorted(orders(await client.fetch_my_trades(SYMBOL))) == sorted([first, second])
    assert orders(await client.fetch_my_trades(SYMBOL, since=later_ms)) == [second]
    assert orders(await client.fetch_my_trades(params={"until": later_ms - 1})) == [first]
    assert orders(await client.fetch_my_trades(params={"order_ids": [second]})) == [second]
    page = await client.v3_private_get_brokerage_orders_historical_fills({"limit": 2})
    rest = await client.v3_private_get_brokerage_orders_historical_fills(
        {"limit": 2, "cursor": page["cursor"]}
    )
    assert [fill["order_id"] for fill in page["fills"] + rest["fills"]] == [litecoin, second, first]
    assert rest["cursor"] == ""


async def test_fee_tier_decides_what_is_paid(simulator: SimulatorProcess) -> None:
    account = simulator.new_account(fee_tier="retail")

    async with ccxt_client(simulator.url, account) as client:
        placed = await client.create_market_buy_order_with_cost(SYMBOL, 1000)
        order = await client.fetch_order(placed["id"])
        fees = await client.fetch_trading_fees()

    assert order["fees"][0]["cost"] == pytest.approx(order["cost"] * 0.006)
    assert (fees[SYMBOL]["taker"], fees[SYMBOL]["maker"]) == (0.006, 0.004)


def test_malformed_bodies_and_parameters_are_answered_in_form(
    simulator: SimulatorProcess, account: dict[str, Any]
) -> None:
    headers = simulator.headers(account, "POST", "brokerage/orders")
    url = f"{simulator.url}/api/v3/brokerage/orders"
    for body in (b"{", b"[]"):
        response = httpx.post(url, content=body, headers=headers)
        assert (response.status_code, response.json()["error"]) == (400, "INVALID_ARGUMENT")

    headers = simulator.headers(account, "GET", "brokerage/orders/historical/batch")
    for query in ("limit=x", "limit=0", "start_date=yesterday", "cursor=abc"):
        response = httpx.get(f"{url}/historical/batch?{query}", headers=headers)
        assert (response.status_code, response.json()["error"]) == (400, "INVALID_ARGUMENT")
