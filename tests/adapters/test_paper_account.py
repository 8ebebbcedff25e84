"""The paper venue when things go wrong around it."""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from adapters.venues.paper import PaperAccount, PaperFees
from domain.markets import (
    BookLevel,
    FeeRates,
    MarketRules,
    Mode,
    OrderBook,
    Realm,
    VenueClock,
)
from domain.orders import Accepted, OrderRequest, OrderState, OrderType, Refused, Side, TimeInForce
from domain.ports import AccountRef, KeyPermissions, VenueUnavailable
from domain.requests import Purpose, purpose_of_requests, requests_for
from tests.support.paper_ledger import InMemoryPaperLedger

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULES = MarketRules(
    "BTC-USD", "BTC", "USD", Decimal("0.001"), Decimal("0.01"), Decimal("0.001"), Decimal(1)
)
BOOK = OrderBook(
    "BTC-USD",
    (BookLevel(Decimal(99), Decimal(1)),),
    (BookLevel(Decimal(101), Decimal(1)), BookLevel(Decimal(102), Decimal(9))),
)
REF = AccountRef(uuid.uuid4(), uuid.uuid4(), "coinbase", Realm.SIMULATED, Mode.PAPER, None)


class StillMarket:
    """Market data that never changes, or cannot be had."""

    def __init__(self) -> None:
        self.is_available = True
        self.has_clock = True
        self.asked_for: list[Purpose] = []

    def known_clock(self) -> VenueClock | None:
        return VenueClock(NOW, "still")

    async def clock(self) -> VenueClock:
        if not self.has_clock:
            raise VenueUnavailable("no clock")
        return VenueClock(NOW, "still")

    async def rules(self) -> Mapping[str, MarketRules]:
        return {"BTC-USD": RULES}

    def known_rules(self) -> Mapping[str, MarketRules]:
        return {"BTC-USD": RULES}

    async def public_fees(self) -> FeeRates:
        return FeeRates(Decimal("0.004"), Decimal("0.006"))

    async def order_book(self, symbol: str) -> OrderBook:
        self.asked_for.append(purpose_of_requests())
        if not self.is_available:
            raise VenueUnavailable("no book")
        return BOOK


@pytest.fixture
def market() -> StillMarket:
    return StillMarket()


@pytest.fixture
def ledger() -> InMemoryPaperLedger:
    return InMemoryPaperLedger({"USD": Decimal(1000)})


@pytest.fixture
def paper(market: StillMarket, ledger: InMemoryPaperLedger) -> PaperAccount:
    return PaperAccount(ref=REF, market_data=market, ledger=ledger)  # type: ignore[arg-type]  # the part of the port that it uses


def buy(quantity: str = "2") -> OrderRequest:
    return OrderRequest(str(uuid.uuid4()), "BTC-USD", Side.BUY, OrderType.MARKET, Decimal(quantity))


async def test_slippage_and_fees_come_from_the_book(paper: PaperAccount) -> None:
    placed = await paper.place(buy())

    assert isinstance(placed, Accepted)
    fills = await paper.fills(since=NOW)
    assert [(f.price, f.quantity, f.fee) for f in fills] == [
        (Decimal(101), Decimal(1), Decimal("0.606")),
        (Decimal(102), Decimal(1), Decimal("0.612")),
    ]
    assert (await paper.balances())["USD"].total == 1000 - 203 - Decimal("1.218")
    report = await paper.order(placed.venue_order_id, "BTC-USD")
    assert report is not None
    assert report.state is OrderState.FILLED
    assert await paper.open_orders() == []


async def test_market_that_cannot_be_seen_refuses_and_records_nothing(
    paper: PaperAccount, market: StillMarket
) -> None:
    market.is_available = False
    request = buy()

    refused = await paper.place(request)

    assert isinstance(refused, Refused)
    assert refused.code == "market_data_unavailable"
    assert await paper.find_order(request.client_order_id, "BTC-USD", since=NOW) is None


async def test_an_order_waits_for_no_clock(paper: PaperAccount, market: StillMarket) -> None:
    market.has_clock = False

    assert isinstance(await paper.place(buy()), Accepted)

    assert {fill.filled_at for fill in await paper.fills(since=NOW)} == {NOW}


async def test_known_order_is_accepted_whatever_the_market_does(
    paper: PaperAccount, market: StillMarket
) -> None:
    request = buy("1")
    first = await paper.place(request)
    market.is_available = False

    assert await paper.place(request) == first


async def test_ledger_has_the_last_word_on_funds(paper: PaperAccount) -> None:
    # Each of two orders passes the check of the same funds; only one of them can be recorded.
    requests = [buy("5"), buy("5")]
    prepared = [await paper._prepare(request) for request in requests]

    outcomes = [
        await paper._record(request, *ready)  # type: ignore[misc]  # neither is a refusal
        for request, ready in zip(requests, prepared, strict=True)
    ]

    assert [type(outcome) for outcome in outcomes] == [Accepted, Refused]
    assert len(await paper.fills(since=NOW)) == 2


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (replace(buy(), symbol="NO-USD"), "unknown_symbol"),
        (replace(buy(), quantity=Decimal("0.0001")), "quantity_precision"),
        (
            replace(
                buy(),
                type=OrderType.LIMIT,
                limit_price=Decimal(1),
                time_in_force=TimeInForce.GTC,
            ),
            "unsupported_time_in_force",
        ),
        (replace(buy(), side=Side.SELL), "insufficient_funds"),
    ],
)
async def test_refusals(paper: PaperAccount, request_: OrderRequest, code: str) -> None:
    refused = await paper.place(request_)

    assert isinstance(refused, Refused)
    assert refused.code == code
    assert await paper.fills(since=NOW) == []


async def test_cancelling_is_refused(paper: PaperAccount) -> None:
    placed = await paper.place(buy())
    assert isinstance(placed, Accepted)

    for venue_order_id, code in ((placed.venue_order_id, "order_not_open"), ("x", "unknown_order")):
        refused = await paper.cancel(venue_order_id, "BTC-USD")
        assert isinstance(refused, Refused)
        assert refused.code == code


@pytest.mark.parametrize(
    ("fees", "expected"),
    [
        (PaperFees(), FeeRates(Decimal("0.004"), Decimal("0.006"))),
        (PaperFees(taker_rate=Decimal(0)), FeeRates(Decimal("0.004"), Decimal(0))),
        (PaperFees(Decimal(0), Decimal(0)), FeeRates(Decimal(0), Decimal(0))),
    ],
)
async def test_fees_may_be_set(
    market: StillMarket, ledger: InMemoryPaperLedger, fees: PaperFees, expected: FeeRates
) -> None:
    paper = PaperAccount(ref=REF, market_data=market, ledger=ledger, fees=fees)  # type: ignore[arg-type]  # the part of the port that it uses

    assert await paper.fees() == expected


async def test_no_keys_no_withdrawals(paper: PaperAccount) -> None:
    assert await paper.permissions() == KeyPermissions(
        can_read=True, can_trade=True, can_withdraw=False
    )
    await paper.close()


async def test_a_paper_exit_asks_the_market_after_the_prices_of_stops(
    paper: PaperAccount, market: StillMarket
) -> None:
    """Its look at the market is one of the public requests that all users share."""
    for purpose in (Purpose.EXIT, Purpose.ENTRY):
        with requests_for(purpose):
            await paper.place(buy("0.1"))

    assert market.asked_for == [Purpose.LOOK_UP, Purpose.ENTRY]
