"""The simulator in step mode, and gateways to it that every test gets fresh and closes."""

from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.venues.coinbase import CoinbaseAccount, CoinbaseMarketData
from domain.ports import VenueCredentials
from tests.support.simulator_process import Simulator, running_simulator


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with running_simulator(
        NIJA_SIMULATOR_SYMBOLS="BTC-USD,ETH-USD",
        NIJA_SIMULATOR_SEED="11",
        NIJA_SIMULATOR_DEPTH_USD="5000",
    ) as it:
        yield it


@pytest.fixture
async def market_data(simulator: Simulator) -> AsyncIterator[CoinbaseMarketData]:
    data = CoinbaseMarketData(simulator_url=simulator.url)
    yield data
    await data.close()


@pytest.fixture
def credentials(simulator: Simulator) -> VenueCredentials:
    simulator.advance()  # The book is quoted anew: earlier tests have taken from it.
    return simulator.open_account({"USD": "10000", "BTC": "1"})


@pytest.fixture
async def account(
    simulator: Simulator, market_data: CoinbaseMarketData, credentials: VenueCredentials
) -> AsyncIterator[CoinbaseAccount]:
    gateway = CoinbaseAccount(
        credentials=credentials, market_data=market_data, simulator_url=simulator.url
    )
    yield gateway
    await gateway.close()
