"""How many database connections the processes of one machine may open together."""

from __future__ import annotations

from settings import Settings

API_BESIDES = 24
"""Of an API process besides its pools: alerts, alerts that leave, live updates, the listener."""

WORKER_BESIDES = 6
"""Of a worker besides its pools: reports, the locks of its loops."""

SPARE = 40
"""For commands, backups, people, the supervisor's screen, and children that are being replaced."""

CONNECTIONS_MIN = 200


def connections_needed(settings: Settings) -> int:
    """What the embedded server must allow, so that no pool takes the exits worker's connections."""
    pool = settings.database_pool_size
    apis = settings.api_processes * (3 * pool + API_BESIDES)  # two roles, and the pool of reads
    workers = 2 * pool + 2 * settings.exits_pool_size + 2 * WORKER_BESIDES
    return max(CONNECTIONS_MIN, apis + workers + SPARE)
