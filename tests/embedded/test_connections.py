"""The embedded database has room for every pool at once, the exits worker's included."""

from __future__ import annotations

import pytest

from bootstrap.api import ALERT_CONNECTIONS
from bootstrap.notifying import REPORT_CONNECTIONS
from services.alerts import intake
from services.events import reading
from settings import Settings
from supervisor.connections import API_BESIDES, WORKER_BESIDES, connections_needed

ALERTS = 2 * intake._POOL_SIZE + 2 * ALERT_CONNECTIONS
LISTENER, LOCK = 1, 1


@pytest.mark.parametrize(
    ("apis", "pool", "exits"), [(1, 10, 10), (4, 10, 10), (16, 20, 50), (64, 200, 200)]
)
def test_the_server_allows_what_all_processes_may_open(apis: int, pool: int, exits: int) -> None:
    settings = Settings(api_processes=apis, database_pool_size=pool, exits_pool_size=exits)
    a_api = 3 * pool + ALERTS + reading._CONNECTIONS + LISTENER
    worker = 2 * pool + REPORT_CONNECTIONS + LOCK
    exits_worker = 2 * exits + LOCK

    assert connections_needed(settings) > apis * a_api + worker + exits_worker


def test_what_is_counted_besides_pools_is_what_there_is() -> None:
    assert ALERTS + reading._CONNECTIONS + LISTENER <= API_BESIDES
    assert REPORT_CONNECTIONS + LOCK <= WORKER_BESIDES
