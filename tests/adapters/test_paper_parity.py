"""Paper and live against the same book: the same fills to the last digit, the same refusals."""

import uuid
from decimal import Decimal

import pytest

from adapters.venues.coinbase import CoinbaseAccount, CoinbaseMarketData
from adapters.venues.paper import PaperAccount, PaperFees
from domain.markets import Mode, OrderBook, Realm
from domain.orders import (
    Accepted,
    FillReport,
    OrderRequest,
    OrderType,
    Refused,
    Side,
    TimeInForce,
)
from domain.ports import AccountRef, VenueAccount
from tests.support.paper_ledger import InMemoryPaperLedger

pytestmark = pytest.mark.integration

SYMBOL = "BTC-USD"
HELD = {"USD": Decimal(10_000), "BTC": Decimal(1)}

Case = tuple[Side, str, int | None, TimeInForce]
Traded = tuple[Decimal, Decimal, Decimal, str, Side]


def paper_account(market_data: CoinbaseMarketData) -> PaperAccount:
    ref = AccountRef(uuid.uuid4(), uuid.uuid4(), "coinbase", Realm.SIMULATED, Mode.PAPER, None)
    return PaperAccount(
        ref=ref,
        market_data=market_data,
        ledger=InMemoryPaperLedger(HELD),
        fees=PaperFees(maker_rate=Decimal("0.004"), taker_rate=Decimal("0.006")),
    )


def as_traded(fills: list[FillReport]) -> list[Traded]:
    return [(f.price, f.quantity, f.fee, f.fee_currency, f.side) for f in fills]


def _order(
    side: Side, quantity: str, level: int | None, tif: TimeInForce, book: OrderBook
) -> OrderRequest:
    levels = book.asks if side is Side.BUY else book.bids
    return OrderRequest(
        client_order_id=str(uuid.uuid4()),
        symbol=SYMBOL,
        side=side,
        type=OrderType.MARKET if level is None else OrderType.LIMIT,
        quantity=Decimal(quantity),
        limit_price=None if level is None else levels[level].price,
        time_in_force=tif,
    )


CASES = [
    (side, quantity, level, time_in_force)
    for side in Side
    for quantity, level, time_in_force in (
        ("0.01234567", None, TimeInForce.IOC),
        ("0.12345678", None, TimeInForce.IOC),
        ("0.11111111", 0, TimeInForce.IOC),
        ("0.13333333", 1, TimeInForce.IOC),
        ("0.02000001", 3, TimeInForce.FOK),
        ("0.12345678", 0, TimeInForce.FOK),
        ("0.9", None, TimeInForce.IOC),
        ("5", None, TimeInForce.IOC),
        ("0.0000001", 0, TimeInForce.IOC),
    )
]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_paper_does_what_the_simulator_does(
    account: CoinbaseAccount, market_data: CoinbaseMarketData, case: Case
) -> None:
    since = (await market_data.clock()).now
    paper = paper_account(market_data)
    request = _order(*case, await market_data.order_book(SYMBOL))

    async def play(venue: VenueAccount) -> tuple[object, ...]:
        outcome = await venue.place(request)
        balances = await venue.balances()
        totals = {currency: balances[currency].total for currency in HELD}
        if isinstance(outcome, Refused):
            return outcome.code, totals
        assert isinstance(outcome, Accepted)
        report = await venue.find_order(request.client_order_id, SYMBOL, since=since)
        assert report is not None
        assert report.venue_order_id == outcome.venue_order_id
        fills = list(await venue.fills(venue_order_id=outcome.venue_order_id, since=since))
        return report.state, report.quantity, report.filled_quantity, as_traded(fills), totals

    # Paper first: it takes nothing from the book.
    on_paper = await play(paper)
    live = await play(account)

    assert on_paper == live


async def test_paper_order_is_executed_once(market_data: CoinbaseMarketData) -> None:
    paper = paper_account(market_data)
    book = await market_data.order_book(SYMBOL)
    request = _order(Side.SELL, "0.1", None, TimeInForce.IOC, book)
    since = (await market_data.clock()).now

    first, second = await paper.place(request), await paper.place(request)

    assert first == second
    fills = await paper.fills(since=since)
    assert sum(fill.quantity for fill in fills) == Decimal("0.1")
