import asyncio
import os
import signal
import stat
from collections.abc import Iterator

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from adapters.embedded.search_attributes import SEARCH_ATTRIBUTES, ensure_search_attributes
from adapters.embedded.temporal import EmbeddedTemporal, temporal_program
from tests.support.stack import temporal_server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedTemporal]:
    with temporal_server() as running:
        yield running


async def test_a_workflow_survives_a_kill(server: EmbeddedTemporal) -> None:
    keys = [SearchAttributeKey.for_keyword(name) for name in SEARCH_ATTRIBUTES]
    attributes = TypedSearchAttributes([SearchAttributePair(key, "word") for key in keys])
    client = await Client.connect(server.address)
    await client.start_workflow(
        "Survivor", id="survivor", task_queue="none", search_attributes=attributes
    )
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await _restart(server)
    client = await Client.connect(server.address)
    found = await client.get_workflow_handle("survivor").describe()
    assert found.status is WorkflowExecutionStatus.RUNNING
    assert found.typed_search_attributes[keys[0]] == "word"


async def _restart(server: EmbeddedTemporal) -> None:
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)


async def test_search_attributes_can_be_registered_again(server: EmbeddedTemporal) -> None:
    await ensure_search_attributes(server.address, "default")
    await ensure_search_attributes(server.address, "default")


def test_the_store_is_private(server: EmbeddedTemporal) -> None:
    for file in server.database_file.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_the_wheels_program_wins_over_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert temporal_program().endswith("/bin/temporal")
