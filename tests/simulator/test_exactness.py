"""Prices of 1e-9 and volumes of 1e12: exact to the last digit, and plain decimals on the wire."""

import gzip
import json
import re
from collections.abc import Iterator
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest

from simulator.exact import EXACT
from tests.simulator.process import SimulatorProcess, ccxt_client, simulator_process

pytestmark = pytest.mark.integration

PRODUCT = "SATS-USD"
SYMBOL = "SATS/USD"
DAY_MS = 86_400_000
START_MS = 20_500 * DAY_MS
VOLUME = "1234567890123.12345678"
PRICES = ("0.000000001", "0.0000000010003", "0.0000000009997", "0.0000000010001")
EXPONENT = re.compile(r"^-?\d+(\.\d+)?[eE][-+]?\d+$")


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    folder = tmp_path_factory.mktemp("candles")
    rows = [
        f"{START_MS + minute * 60_000},{','.join(PRICES)},{VOLUME}" for minute in range(3 * 1_440)
    ]
    (folder / f"{PRODUCT}-1m-x.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    settings = {"NIJA_MARKET_DATA_DIR": str(folder), "NIJA_REPLAY_START": str(2 * 1_440)}
    settings |= {"NIJA_SIMULATOR_DEPTH_USD": "500000"}
    with simulator_process(tmp_path_factory.mktemp("exact"), settings) as process:
        yield process


def cells(value: Any) -> Iterator[Any]:
    """Every cell of a JSON value."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from cells(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from cells(inner)
    else:
        yield value


async def raw(client: Any, name: str, **params: Any) -> Any:
    """The answer to a call, after a check that none of its numbers has an exponent."""
    await getattr(client, name)(params)
    answer = json.loads(client.last_http_response, parse_float=Decimal)
    for cell in cells(answer):
        assert not (isinstance(cell, str) and EXPONENT.match(cell)), (name, cell)
    numbers = re.findall(r"[:\[,](-?[0-9][^,}\]]*)", client.last_http_response)
    assert not [number for number in numbers if "e" in number.lower() and '"' not in number]
    return answer


async def test_candles_are_shown_digit_for_digit(venue: SimulatorProcess) -> None:
    async with ccxt_client(venue.url, None) as client:
        for granularity, width in (("ONE_MINUTE", 1), ("FIVE_MINUTE", 5), ("ONE_DAY", 1_440)):
            answer = await raw(
                client,
                "v3_public_get_brokerage_market_products_product_id_candles",
                product_id=PRODUCT,
                granularity=granularity,
                start=str((START_MS + DAY_MS) // 1000),
                end=str((START_MS + DAY_MS) // 1000),
            )
            [candle] = answer["candles"]
            shown = tuple(candle[name] for name in ("open", "high", "low", "close"))
            assert shown == PRICES
            with localcontext(EXACT):
                assert Decimal(candle["volume"]) == Decimal(VOLUME) * width


async def test_products_books_and_tickers_carry_fine_steps(venue: SimulatorProcess) -> None:
    async with ccxt_client(venue.url, None) as client:
        listed = await raw(client, "v3_public_get_brokerage_market_products")
        [product] = listed["products"]
        assert product["price_increment"] == "0.0000000000001"
        assert (product["base_increment"], product["base_min_size"]) == ("1", "1")
        assert product["price"] == PRICES[-1]
        book = await raw(client, "v3_public_get_brokerage_market_product_book", product_id=PRODUCT)
        prices = [Decimal(level["price"]) for level in book["pricebook"]["asks"]]
        assert len(set(prices)) == len(prices) > 10
        assert all(price % Decimal("1e-13") == 0 for price in prices)
        trades = await raw(
            client,
            "v3_public_get_brokerage_market_products_product_id_ticker",
            product_id=PRODUCT,
        )
        with localcontext(EXACT):
            total = sum(Decimal(trade["size"]) for trade in trades["trades"][:7])
            assert total == Decimal(VOLUME)


async def test_a_trillion_coins_are_bought_and_sold_to_the_last_digit(
    venue: SimulatorProcess,
) -> None:
    account = venue.new_account(
        balances={"USD": "123456.78", "SATS": "999999999999.123456789"}, fee_tier="retail"
    )
    async with ccxt_client(venue.url, account) as client:
        await client.load_markets()
        bought = await client.create_order(
            SYMBOL, "limit", "buy", "1234567890123", "0.000000001002", {"timeInForce": "IOC"}
        )
        sold = await client.create_order(SYMBOL, "market", "sell", "1000000000001")
        resting = await client.create_order(
            SYMBOL, "limit", "sell", "123456789012", "0.0000000020001"
        )
        orders = {
            order["order_id"]: order
            for order in (await raw(client, "v3_private_get_brokerage_orders_historical_batch"))[
                "orders"
            ]
        }
        fills = (await raw(client, "v3_private_get_brokerage_orders_historical_fills"))["fills"]
        accounts = (await raw(client, "v3_private_get_brokerage_accounts"))["accounts"]
        for name in ("transaction_summary", "key_permissions"):
            await raw(client, f"v3_private_get_brokerage_{name}")
        await raw(client, "v2_private_get_accounts")
        await raw(client, "v2_public_get_exchange_rates")

    assert orders[bought["id"]]["filled_size"] == "1234567890123"
    assert orders[resting["id"]]["order_configuration"]["limit_limit_gtc"]["limit_price"] == (
        "0.0000000020001"
    )
    with localcontext(EXACT):
        usd, coins = Decimal("123456.78"), Decimal("999999999999.123456789")
        for order_id in (bought["id"], sold["id"]):
            own = [fill for fill in fills if fill["order_id"] == order_id]
            value = sum(Decimal(fill["price"]) * Decimal(fill["size"]) for fill in own)
            fee = sum(Decimal(fill["commission"]) for fill in own)
            size = sum(Decimal(fill["size"]) for fill in own)
            order = orders[order_id]
            assert Decimal(order["filled_value"]) == value
            assert Decimal(order["total_fees"]) == fee
            assert Decimal(order["filled_size"]) == size
            sign = 1 if order["side"] == "BUY" else -1
            usd -= sign * value + fee
            coins += sign * size
        shown = {
            wallet["currency"]: Decimal(wallet["available_balance"]["value"])
            + Decimal(wallet["hold"]["value"])
            for wallet in accounts
        }
        assert shown == {"USD": usd, "SATS": coins}
    dumped = venue.dump(account)
    assert dumped["balances"]["SATS"]["hold"] == "123456789012"
    assert not [cell for cell in cells(dumped) if isinstance(cell, str) and EXPONENT.match(cell)]


async def test_seeded_market_of_a_tiny_price(tmp_path: Path) -> None:
    with simulator_process(tmp_path, {"NIJA_SIMULATOR_SYMBOLS": "SATS-USD,PEPE-USD"}) as process:
        account = process.new_account()
        async with ccxt_client(process.url, account) as client:
            await client.load_markets()
            await client.create_market_buy_order_with_cost(SYMBOL, 1000)
            [fill, *_] = (await raw(client, "v3_private_get_brokerage_orders_historical_fills"))[
                "fills"
            ]
        assert Decimal("1e-10") < Decimal(fill["price"]) < Decimal("1e-8")
        process.advance(30)
        process.kill()
        process.start()
        bought = Decimal(process.dump(account)["orders"][0]["filled_size"])
        assert bought > 10**11
        assert bought == Decimal(process.dump(account)["balances"]["SATS"]["total"])
