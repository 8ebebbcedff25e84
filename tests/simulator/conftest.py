from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.simulator.process import SimulatorProcess, ccxt_client, simulator_process


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    """A running simulator in step mode, shared: every test has an account of its own."""
    with simulator_process(tmp_path_factory.mktemp("simulator")) as process:
        yield process


@pytest.fixture
def account(simulator: SimulatorProcess) -> dict[str, Any]:
    return simulator.new_account()


@pytest.fixture
async def client(simulator: SimulatorProcess, account: dict[str, Any]) -> AsyncIterator[Any]:
    async with ccxt_client(simulator.url, account) as client:
        yield client
