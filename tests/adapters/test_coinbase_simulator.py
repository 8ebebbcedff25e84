"""Gateway and simulator over HTTP: what a venue does, seen through the port."""

import uuid
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from adapters.venues.coinbase import CoinbaseAccount, CoinbaseMarketData
from adapters.venues.coinbase import account as account_module
from domain.markets import FeeRates
from domain.money import floor_to_step
from domain.orders import (
    Accepted,
    CurrencyBalance,
    Leg,
    Liquidity,
    OrderRequest,
    OrderState,
    OrderType,
    Refused,
    Side,
    TimeInForce,
    derive_client_order_id,
)
from domain.ports import KeyPermissions, VenueCredentials, VenueRefusedKeys, VenueUnavailable
from tests.support.simulator_process import Simulator

pytestmark = pytest.mark.integration

SYMBOL = "BTC-USD"


def client_order_id() -> str:
    return str(derive_client_order_id(uuid.uuid4(), uuid.uuid4(), "bar", Leg.ENTRY, 1))


def limit(
    side: Side,
    quantity: str,
    price: Decimal,
    time_in_force: TimeInForce = TimeInForce.IOC,
    *,
    post_only: bool = False,
) -> OrderRequest:
    return OrderRequest(
        client_order_id=client_order_id(),
        symbol=SYMBOL,
        side=side,
        type=OrderType.LIMIT,
        quantity=Decimal(quantity),
        limit_price=price,
        time_in_force=time_in_force,
        post_only=post_only,
    )


def market(side: Side, quantity: str) -> OrderRequest:
    return OrderRequest(client_order_id(), SYMBOL, side, OrderType.MARKET, Decimal(quantity))


async def test_market_sale_fills_and_its_fills_add_up(
    account: CoinbaseAccount, market_data: CoinbaseMarketData
) -> None:
    since = (await market_data.clock()).now
    request = market(Side.SELL, "0.1")

    placed = await account.place(request)

    assert isinstance(placed, Accepted)
    report = await account.order(placed.venue_order_id, SYMBOL)
    assert report is not None
    assert report.state is OrderState.FILLED
    assert report.client_order_id == request.client_order_id
    assert report.quantity == report.filled_quantity == Decimal("0.1")
    fills = await account.fills(venue_order_id=placed.venue_order_id, since=since)
    assert sum(fill.quantity for fill in fills) == Decimal("0.1")
    assert {fill.liquidity for fill in fills} == {Liquidity.TAKER}
    assert {fill.fee_currency for fill in fills} == {"USD"}
    proceeds = sum(fill.price * fill.quantity - fill.fee for fill in fills)
    balances = await account.balances()
    assert balances["USD"] == CurrencyBalance("USD", Decimal(10_000) + proceeds)
    assert balances["BTC"] == CurrencyBalance("BTC", Decimal("0.9"))


async def test_market_purchase_is_of_a_base_quantity(account: CoinbaseAccount) -> None:
    placed = await account.place(market(Side.BUY, "0.05"))

    assert isinstance(placed, Accepted)
    report = await account.order(placed.venue_order_id, SYMBOL)
    assert report is not None
    assert report.filled_quantity == Decimal("0.05")


async def test_immediate_order_beyond_the_first_level_fills_in_part(
    account: CoinbaseAccount, market_data: CoinbaseMarketData
) -> None:
    book = await market_data.order_book(SYMBOL)
    best = book.bids[0]
    request = limit(Side.SELL, "1", best.price)

    placed = await account.place(request)

    assert isinstance(placed, Accepted)
    report = await account.order(placed.venue_order_id, SYMBOL)
    assert report is not None
    assert report.state is OrderState.CANCELLED
    assert report.filled_quantity == best.quantity
    assert await account.open_orders() == []


async def test_fill_or_kill_that_cannot_fill_has_no_fills(
    account: CoinbaseAccount, market_data: CoinbaseMarketData
) -> None:
    since = (await market_data.clock()).now
    book = await market_data.order_book(SYMBOL)

    placed = await account.place(limit(Side.SELL, "1", book.bids[0].price, TimeInForce.FOK))

    assert isinstance(placed, Accepted)
    report = await account.order(placed.venue_order_id, SYMBOL)
    assert report is not None
    assert (report.state, report.filled_quantity) == (OrderState.CANCELLED, Decimal(0))
    assert await account.fills(venue_order_id=placed.venue_order_id, since=since) == []


async def test_resting_order_holds_funds_until_it_is_cancelled(
    account: CoinbaseAccount, market_data: CoinbaseMarketData
) -> None:
    quote = await market_data.quote(SYMBOL)
    price = floor_to_step(quote.bid / 2, Decimal("0.01"))
    request = limit(Side.BUY, "0.01", price, TimeInForce.GTC, post_only=True)

    placed = await account.place(request)

    assert isinstance(placed, Accepted)
    assert [order.client_order_id for order in await account.open_orders()] == [
        request.client_order_id
    ]
    assert (await account.balances())["USD"].held > price * request.quantity
    assert await account.cancel(placed.venue_order_id, SYMBOL) == placed
    report = await account.order(placed.venue_order_id, SYMBOL)
    assert report is not None
    assert report.state is OrderState.CANCELLED
    assert (await account.balances())["USD"] == CurrencyBalance("USD", Decimal(10_000))


async def test_repeated_client_order_id_makes_no_second_order(
    account: CoinbaseAccount, credentials: VenueCredentials, simulator: Simulator
) -> None:
    request = market(Side.SELL, "0.1")

    first, second = await account.place(request), await account.place(request)

    assert first == second
    assert len(simulator.dump(credentials)["orders"]) == 1


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (market(Side.SELL, "2"), "insufficient_funds"),
        (limit(Side.SELL, "0.000000001", Decimal(50_000)), "quantity_precision"),
        (limit(Side.SELL, "0.1", Decimal("50000.001")), "price_precision"),
        (limit(Side.SELL, "0.00001", Decimal(50_000)), "notional_minimum"),
        (
            limit(Side.SELL, "0.1", Decimal(100), TimeInForce.GTC, post_only=True),
            "post_only_would_cross",
        ),
        (
            OrderRequest(client_order_id(), "NO-USD", Side.BUY, OrderType.MARKET, Decimal(1)),
            "unknown_symbol",
        ),
    ],
)
async def test_refusals_leave_no_order(
    account: CoinbaseAccount,
    credentials: VenueCredentials,
    simulator: Simulator,
    request_: OrderRequest,
    code: str,
) -> None:
    outcome = await account.place(request_)

    assert isinstance(outcome, Refused)
    assert outcome.code == code
    assert simulator.dump(credentials)["orders"] == []


async def test_own_checks_send_nothing(
    account: CoinbaseAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sent(*_: object) -> object:
        raise AssertionError("sent")

    monkeypatch.setattr(account._client, "v3_private_post_brokerage_orders", sent)
    # Placing waits for no rules: it checks by those that are known.
    await account._market_data.rules()

    outcome = await account.place(limit(Side.SELL, "0.00001", Decimal(50_000)))

    assert isinstance(outcome, Refused)


async def test_cancelling_what_is_not_open_is_refused(account: CoinbaseAccount) -> None:
    placed = await account.place(market(Side.SELL, "0.1"))
    assert isinstance(placed, Accepted)

    filled = await account.cancel(placed.venue_order_id, SYMBOL)
    unknown = await account.cancel(str(uuid.uuid4()), SYMBOL)

    assert isinstance(filled, Refused)
    assert filled.code == "order_not_open"
    assert isinstance(unknown, Refused)
    assert unknown.code == "unknown_order"


async def test_unknown_order_is_none_by_either_id(
    account: CoinbaseAccount, market_data: CoinbaseMarketData
) -> None:
    since = (await market_data.clock()).now

    assert await account.order(str(uuid.uuid4()), SYMBOL) is None
    assert await account.find_order(str(uuid.uuid4()), SYMBOL, since=since) is None


async def test_lists_are_read_to_their_last_page(
    account: CoinbaseAccount, market_data: CoinbaseMarketData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_module, "PAGE_SIZE", 2)
    since = (await market_data.clock()).now
    requests = [market(Side.SELL, "0.01") for _ in range(7)]
    for request in requests:
        assert isinstance(await account.place(request), Accepted)

    fills = await account.fills(symbol=SYMBOL, since=since)
    found = await account.find_order(requests[0].client_order_id, SYMBOL, since=since)

    assert len({fill.venue_fill_id for fill in fills}) == len(fills) == len(requests)
    assert found is not None
    order_of_fills = [fill.venue_order_id for fill in fills]
    assert order_of_fills[0] == found.venue_order_id
    assert len(await account.balances()) >= 3


async def test_fills_of_another_market_or_order_are_left_out(
    account: CoinbaseAccount, market_data: CoinbaseMarketData
) -> None:
    since = (await market_data.clock()).now
    await account.place(market(Side.SELL, "0.01"))

    assert await account.fills(symbol="ETH-USD", since=since) == []
    assert await account.fills(venue_order_id=str(uuid.uuid4()), since=since) == []
    assert await account.fills(since=since + timedelta(minutes=1)) == []


async def test_rules_are_read_anew_once_the_venue_refuses_by_others(
    account: CoinbaseAccount, market_data: CoinbaseMarketData
) -> None:
    published = await market_data.rules()
    coarse = published["BTC-USD"]
    old = {"BTC-USD": replace(coarse, quantity_step=coarse.quantity_step / 10)}
    market_data._rules._rules = old

    refused = await account.place(market(Side.SELL, str(coarse.quantity_step * Decimal("1.1"))))

    assert isinstance(refused, Refused)
    assert refused.code == "quantity_precision"
    assert await market_data.fresh_rules() == published


async def test_a_repetition_is_kept_back_by_no_rule_that_came_meanwhile(
    account: CoinbaseAccount, market_data: CoinbaseMarketData
) -> None:
    """The first send arrived: its answer is that order, whatever the market takes by now."""
    sale = market(Side.SELL, "0.01")
    first = await account.place(sale)
    published = (await market_data.rules())["BTC-USD"]
    market_data._rules._rules = {"BTC-USD": replace(published, quantity_min=Decimal(1))}
    assert isinstance(await account.place(sale), Refused)

    assert await account.place(replace(sale, is_repetition=True)) == first


async def test_a_malformed_wallet_or_execution_costs_itself_only(
    account: CoinbaseAccount, market_data: CoinbaseMarketData, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = (await market_data.clock()).now
    await account.place(market(Side.SELL, "0.01"))
    before, fills = await account.balances(), await account.fills(since=since)

    def answered_with(endpoint: str, name: str, row: dict[str, object]) -> None:
        ask = getattr(account._client, endpoint)

        async def answer(params: dict[str, object]) -> object:
            listed = await ask(params)
            return {**listed, name: [row, *listed[name]]}

        monkeypatch.setattr(account._client, endpoint, answer)

    answered_with(
        "v3_private_get_brokerage_accounts", "accounts", {"currency": "ODD", "hold": None}
    )
    answered_with(
        "v3_private_get_brokerage_orders_historical_fills",
        "fills",
        {"product_id": "ETH-USD", "trade_type": "REVERSAL"},
    )

    balances = await account.balances()
    assert not balances.pop("ODD").is_known
    assert balances == before
    assert await account.fills(since=since) == fills != []
    with pytest.raises(VenueUnavailable):
        await account.fills(venue_order_id=fills[0].venue_order_id, since=since)


async def test_fees_and_permissions_are_the_accounts_own(
    simulator: Simulator, market_data: CoinbaseMarketData
) -> None:
    keys = simulator.open_account(
        {}, key_type="es256", fee_tier="vip", permissions=["view", "transfer"]
    )
    gateway = CoinbaseAccount(
        credentials=keys, market_data=market_data, simulator_url=simulator.url
    )
    try:
        assert await gateway.fees() == FeeRates(Decimal("0.0006"), Decimal("0.001"))
        assert await gateway.permissions() == KeyPermissions(
            can_read=True, can_trade=False, can_withdraw=True
        )
        refused = await gateway.place(market(Side.SELL, "0.1"))
        assert isinstance(refused, Refused)
        assert refused.code == "keys_refused"
    finally:
        await gateway.close()


async def test_wrong_keys_are_refused_keys(
    simulator: Simulator, market_data: CoinbaseMarketData
) -> None:
    ours = simulator.open_account({})
    others = simulator.open_account({})
    mixed = VenueCredentials(ours.api_key, others.api_secret, {})
    gateway = CoinbaseAccount(
        credentials=mixed, market_data=market_data, simulator_url=simulator.url
    )
    try:
        with pytest.raises(VenueRefusedKeys):
            await gateway.permissions()
        refused = await gateway.place(market(Side.SELL, "0.1"))
        assert isinstance(refused, Refused)
        assert refused.code == "keys_refused"
    finally:
        await gateway.close()


@pytest.mark.parametrize("secret", ["", "short=", "-----BEGIN EC PRIVATE KEY-----\\nx", "!" * 88])
def test_secrets_that_cannot_sign_are_refused_without_asking(
    market_data: CoinbaseMarketData, secret: str
) -> None:
    with pytest.raises(VenueRefusedKeys) as refusal:
        CoinbaseAccount(
            credentials=VenueCredentials("organizations/x/apiKeys/y", secret, {}),
            market_data=market_data,
            simulator_url="http://127.0.0.1:9",
        )

    assert not secret or secret not in str(refusal.value)
