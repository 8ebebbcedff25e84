"""The order arrives and its answer does not: unknown, and found by looking it up."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal

import pytest

from adapters.venues.coinbase import CoinbaseAccount, CoinbaseMarketData
from adapters.venues.coinbase import account as account_module
from domain.orders import OrderRequest, OrderState, OrderType, Side, Unknown
from domain.ports import VenueCredentials, VenueUnavailable
from tests.support.lossy_proxy import LossyProxy, lossy_proxy
from tests.support.simulator_process import Simulator

pytestmark = pytest.mark.integration

SYMBOL = "BTC-USD"


@pytest.fixture
async def proxy(simulator: Simulator) -> AsyncIterator[LossyProxy]:
    async with lossy_proxy(simulator.url) as it:
        yield it


@pytest.fixture
async def far_account(
    proxy: LossyProxy, market_data: CoinbaseMarketData, credentials: VenueCredentials
) -> AsyncIterator[CoinbaseAccount]:
    await market_data.rules()
    gateway = CoinbaseAccount(
        credentials=credentials, market_data=market_data, simulator_url=proxy.url
    )
    yield gateway
    await gateway.close()


def sale() -> OrderRequest:
    return OrderRequest(str(uuid.uuid4()), SYMBOL, Side.SELL, OrderType.MARKET, Decimal("0.01"))


@pytest.fixture(params=["silence", "break"])
def losing(request: pytest.FixtureRequest, proxy: LossyProxy) -> LossyProxy:
    """A proxy that loses answers in one way or the other."""
    proxy.loses_answers, proxy.breaks_connections = True, request.param == "break"
    return proxy


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_module, "DEADLINE_SECONDS", 0.5)


@pytest.mark.usefixtures("impatience")
async def test_lost_answer_is_unknown_then_found_and_sent_once(
    far_account: CoinbaseAccount,
    losing: LossyProxy,
    credentials: VenueCredentials,
    simulator: Simulator,
) -> None:
    since = datetime.fromisoformat(simulator.get("/control/clock")["now"])
    request = sale()

    outcome = await far_account.place(request)

    assert isinstance(outcome, Unknown)
    assert losing.requests_forwarded == 1
    losing.loses_answers = False
    found = await far_account.find_order(request.client_order_id, SYMBOL, since=since)
    assert found is not None
    assert found.state is OrderState.FILLED
    assert len(simulator.dump(credentials)["orders"]) == 1


async def test_send_whose_task_is_cancelled_is_found_by_look_up(
    far_account: CoinbaseAccount, proxy: LossyProxy, market_data: CoinbaseMarketData
) -> None:
    since = (await market_data.clock()).now
    request = sale()
    proxy.loses_answers = True

    sending = asyncio.create_task(far_account.place(request))
    await proxy.answer_lost.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending

    proxy.loses_answers = False
    assert await far_account.find_order(request.client_order_id, SYMBOL, since=since) is not None


@pytest.mark.usefixtures("impatience", "losing")
async def test_lost_answer_to_a_cancellation_is_unknown(
    far_account: CoinbaseAccount,
) -> None:
    assert isinstance(await far_account.cancel(str(uuid.uuid4()), SYMBOL), Unknown)


async def test_unreachable_venue_is_unknown_for_commands_and_unavailable_for_questions(
    market_data: CoinbaseMarketData, credentials: VenueCredentials
) -> None:
    await market_data.rules()
    gateway = CoinbaseAccount(
        credentials=credentials, market_data=market_data, simulator_url="http://127.0.0.1:9"
    )
    try:
        assert isinstance(await gateway.place(sale()), Unknown)
        with pytest.raises(VenueUnavailable):
            await gateway.balances()
        with pytest.raises(VenueUnavailable):
            await gateway.order(str(uuid.uuid4()), SYMBOL)
    finally:
        await gateway.close()


async def test_protective_order_goes_out_without_the_list_of_markets(
    simulator: Simulator, credentials: VenueCredentials
) -> None:
    blind = CoinbaseMarketData(simulator_url="http://127.0.0.1:9")
    gateway = CoinbaseAccount(
        credentials=credentials, market_data=blind, simulator_url=simulator.url
    )
    try:
        await gateway.place(sale())
        assert len(simulator.dump(credentials)["orders"]) == 1
    finally:
        await gateway.close()
        await blind.close()
