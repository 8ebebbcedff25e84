"""Exits on paper need an order book and nothing else, also in a process that has seen nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from adapters.venues.coinbase import CoinbaseMarketData
from adapters.venues.paper import PaperAccount
from domain.markets import Mode, Realm
from domain.orders import Accepted, OrderRequest, OrderType, PlaceOutcome, Refused, Side
from domain.ports import AccountRef
from domain.requests import Purpose, requests_for
from tests.adapters.test_market_data_faults import lift_all
from tests.support.paper_ledger import InMemoryPaperLedger
from tests.support.simulator_process import Simulator, running_simulator

pytestmark = pytest.mark.integration

SYMBOL = "BTC-USD"
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
SECONDS_MAX = 2.5
"""Two requests that take no time, and what fees and the clock are waited for."""

DOWN: Mapping[str, Mapping[str, object]] = {
    "down": {"kind": "server_error"},
    "hanging": {"kind": "timeout", "seconds": 30},
}


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running_simulator(NIJA_SIMULATOR_SYMBOLS=SYMBOL, NIJA_SIMULATOR_SEED="5") as simulator:
        yield simulator


@pytest.fixture
async def simulator(process: Simulator) -> AsyncIterator[Simulator]:
    yield process
    lift_all(process)


@pytest.fixture
async def holder(simulator: Simulator) -> AsyncIterator[PaperAccount]:
    """An account that has bought, at a process that has seen nothing of the venue yet."""
    ref = AccountRef(uuid.uuid4(), uuid.uuid4(), "coinbase", Realm.SIMULATED, Mode.PAPER, None)
    ledger = InMemoryPaperLedger({"USD": Decimal(10_000)})
    before = CoinbaseMarketData(simulator_url=simulator.url)
    data = CoinbaseMarketData(simulator_url=simulator.url)
    try:
        bought = await place(PaperAccount(ref=ref, market_data=before, ledger=ledger), Side.BUY)
        assert isinstance(bought, Accepted), bought
        yield PaperAccount(ref=ref, market_data=data, ledger=ledger)
    finally:
        await before.close()
        await data.close()


async def place(account: PaperAccount, side: Side, quantity: str = "0.01") -> PlaceOutcome:
    request = OrderRequest(
        str(uuid.uuid4()), SYMBOL, side, OrderType.MARKET, quantity=Decimal(quantity)
    )
    with requests_for(Purpose.EXIT if side is Side.SELL else Purpose.ENTRY):
        async with asyncio.timeout(SECONDS_MAX):
            return await account.place(request)


@pytest.mark.parametrize("how", list(DOWN))
async def test_an_exit_on_paper_needs_no_list_of_markets(
    simulator: Simulator, holder: PaperAccount, how: str
) -> None:
    simulator.post("/control/faults", {**DOWN[how], "call": "products"})

    sold = await place(holder, Side.SELL)

    assert isinstance(sold, Accepted), sold
    bought, left = await holder.fills(since=LONG_AGO)
    assert (left.symbol, left.quantity, left.fee_currency) == (SYMBOL, Decimal("0.01"), "USD")
    rate = bought.fee / (bought.price * bought.quantity)
    assert left.fee / (left.price * left.quantity) == rate
    balances = await holder.balances()
    assert balances["BTC"].total == 0
    assert balances["USD"].total == 10_000 - sum(
        (fill.price * fill.quantity * fill.side.sign + fill.fee for fill in (bought, left)),
        start=Decimal(0),
    )


async def test_an_exit_on_paper_sells_no_more_than_is_held_without_a_list(
    simulator: Simulator, holder: PaperAccount
) -> None:
    simulator.post("/control/faults", {**DOWN["down"], "call": "products"})

    refused = await place(holder, Side.SELL, "0.02")

    assert isinstance(refused, Refused)
    assert refused.code == "insufficient_funds"


async def test_a_row_that_cannot_be_read_keeps_no_exit_on_paper(
    simulator: Simulator, holder: PaperAccount
) -> None:
    simulator.post(
        "/control/faults",
        {"kind": "product_malformed", "product": SYMBOL, "form": "not_a_number"},
    )

    assert isinstance(await place(holder, Side.SELL), Accepted)


@pytest.mark.parametrize("how", list(DOWN))
async def test_an_exit_on_paper_waits_for_no_table_of_fees(
    simulator: Simulator, holder: PaperAccount, how: str
) -> None:
    """The simulator tells fees with its clock: both are away."""
    for call in ("time", "products"):
        simulator.post("/control/faults", {**DOWN[how], "call": call})

    assert isinstance(await place(holder, Side.SELL), Accepted)


async def test_an_entry_on_paper_needs_the_list(simulator: Simulator, holder: PaperAccount) -> None:
    simulator.post("/control/faults", {**DOWN["down"], "call": "products"})

    refused = await place(holder, Side.BUY)

    assert isinstance(refused, Refused)
    assert refused.code == "market_data_unavailable"
