"""For all tests: files that are thrown away are kept in memory, programs end at SIGINT.

There is one PostgreSQL for all tests of a process; each folder, module or test makes databases of
its own on it (`tests.support.databases`).

What a module of tests leaves behind is set aside from the collector of garbage: a process that ran
hundreds of them would stand still for seconds at each full collection, longer than a send may take.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator

import pytest
from xdist.remote import Producer

from adapters.embedded.postgres import EmbeddedPostgres
from bootstrap.memory import settle_memory
from tests.support.logs import log_plainly
from tests.support.memory_disk import memory_disk
from tests.support.scheduling import Scheduling, is_single
from tests.support.stack import migrated_postgres


def pytest_configure() -> None:
    """Also for the programs that tests start.

    Tests that run in the background have SIGINT ignored, and their programs would inherit that.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    log_plainly()
    if "TMPDIR" not in os.environ and (folder := memory_disk()) is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Single tests last, where tests are shared out to several processes."""
    items.sort(key=lambda item: is_single(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Share tests out."""
    return Scheduling(config, log)


def pytest_collection_finish() -> None:
    """Set the modules and the collected tests aside."""
    settle_memory()


@pytest.fixture(scope="module", autouse=True)
def _module_set_aside() -> Iterator[None]:
    yield
    settle_memory()


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    with migrated_postgres() as server:
        yield server
