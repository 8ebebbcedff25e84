"""Outcomes of cancellations one by one, and calls that concern many products."""

from typing import Any

import pytest

from tests.simulator.process import SimulatorProcess

pytestmark = pytest.mark.integration

SYMBOL = "BTC/USD"


async def test_each_cancellation_has_its_own_outcome(client: Any) -> None:
    resting = await client.create_order(SYMBOL, "limit", "buy", 0.01, 10_000)
    cancelled = await client.create_order(SYMBOL, "limit", "buy", 0.01, 10_000)
    await client.cancel_order(cancelled["id"])
    filled = await client.create_market_buy_order_with_cost(SYMBOL, 100)
    unknown = "00000000-0000-0000-0000-000000000000"

    answer = await client.v3_private_post_brokerage_orders_batch_cancel(
        {"order_ids": [resting["id"], cancelled["id"], filled["id"], unknown]}
    )

    assert [(one["success"], one["failure_reason"]) for one in answer["results"]] == [
        (True, "UNKNOWN_CANCEL_FAILURE_REASON"),
        (False, "DUPLICATE_CANCEL_REQUEST"),
        (False, "INVALID_CANCEL_REQUEST"),
        (False, "UNKNOWN_CANCEL_ORDER"),
    ]
    assert [one["order_id"] for one in answer["results"]] == [
        resting["id"],
        cancelled["id"],
        filled["id"],
        unknown,
    ]


async def listed(client: Any, **params: Any) -> dict[str, Any]:
    answer = await client.v3_public_get_brokerage_market_products(params)
    assert answer["num_products"] == len(answer["products"])
    return {product["product_id"]: product for product in answer["products"]}


async def test_prices_of_many_products_by_one_call(
    simulator: SimulatorProcess, client: Any
) -> None:
    wanted = ["ETH-USD", "BTC-USD", "NO-USD"]

    quotes = await listed(client, product_ids=wanted)

    assert sorted(quotes) == ["BTC-USD", "ETH-USD"]
    for symbol in ("BTC/USD", "ETH/USD"):
        price = float(quotes[symbol.replace("/", "-")]["price"])
        assert price == (await client.fetch_ticker(symbol))["last"]
    before = quotes["BTC-USD"]["price"]
    simulator.advance(1)
    assert (await listed(client, product_ids=wanted))["BTC-USD"]["price"] != before


async def test_product_list_is_paged_by_limit_and_offset(client: Any) -> None:
    everything = list(await listed(client))

    pages = [list(await listed(client, limit=4, offset=offset)) for offset in (0, 4, 8)]

    assert len(everything) == 6
    assert [name for page in pages for name in page] == everything
    assert [len(page) for page in pages] == [4, 2, 0]
    with pytest.raises(Exception, match="limit must be at least 1"):
        await listed(client, limit=0)


async def test_best_bid_and_ask_of_many_products_by_one_call(client: Any) -> None:
    answer = await client.v3_private_get_brokerage_best_bid_ask(
        {"product_ids": ["BTC-USD", "ETH-USD", "NO-USD"]}
    )

    books = {book["product_id"]: book for book in answer["pricebooks"]}
    assert sorted(books) == ["BTC-USD", "ETH-USD"]
    for book in books.values():
        assert float(book["bids"][0]["price"]) < float(book["asks"][0]["price"])


async def test_sizes_beyond_the_maximum_are_refused(client: Any, account: Any) -> None:
    for configuration, reason in (
        ({"market_market_ioc": {"base_size": "3400.1"}}, "BASE_SIZE_TOO_LARGE"),
        ({"market_market_ioc": {"quote_size": "150000001"}}, "QUOTE_SIZE_TOO_LARGE"),
        (
            {"limit_limit_gtc": {"base_size": "3000", "limit_price": "60000"}},
            "QUOTE_SIZE_TOO_LARGE",
        ),
    ):
        with pytest.raises(Exception, match=f"PREVIEW_INVALID_{reason}"):
            await client.v3_private_post_brokerage_orders(
                {
                    "client_order_id": account["account_id"],
                    "product_id": "BTC-USD",
                    "side": "BUY",
                    "order_configuration": configuration,
                }
            )
