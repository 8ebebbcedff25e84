"""A PostgreSQL server of the simulation's own, and the services' connections to it."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import (
    APP,
    DATABASE,
    OWNER,
    SYSTEM,
    DatabasePasswords,
    DatabaseUrls,
)
from adapters.embedded.process import Command
from migrations.run import upgrade
from services.database import Database, driver_url
from simulation.processes import Process
from simulation.statements import StatementScheduler, SteppedConnection

# Nothing here outlives a run, so nothing is synced; nothing may depend on real time or on chance.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "deadlock_timeout": "1h",
    "log_lock_waits": "off",
    "synchronize_seqscans": "off",
    "max_parallel_workers_per_gather": "0",
    "shared_buffers": "64MB",
    "checkpoint_timeout": "1h",
    "bgwriter_delay": "10s",
}
SESSION_OPTIONS = "-c timezone=UTC -c plan_cache_mode=force_generic_plan"
POOL_SIZE = 8


class SimulationPostgres(EmbeddedPostgres):
    """A server whose files are thrown away."""

    def command(self) -> Command:
        """How to start it: as always, with the settings of a run that is not kept."""
        command = super().command()
        options = tuple(
            part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")
        )
        return replace(command, argv=command.argv + options)


@contextmanager
def open_server(folder: Path | None = None) -> Iterator[SimulationPostgres]:
    """A migrated server in a folder of its own; its database `nija` is the template of the runs."""
    home = Path(tempfile.mkdtemp(prefix="nija-simulation-", dir=folder))
    home.chmod(0o755)
    passwords = DatabasePasswords(*(secrets.token_hex(8) for _ in range(4)))
    server = SimulationPostgres(home, 0, passwords)
    try:
        server.start()
        upgrade(server.urls.owner)
        yield server
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def fresh_database(server: SimulationPostgres, name: str) -> Iterator[DatabaseUrls]:
    """A database of a run's own, dropped afterwards."""
    urls = server.local_urls
    copy, template = sql.Identifier(name), sql.Identifier(DATABASE)
    with psycopg.connect(urls.superuser, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(copy))
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy").format(
                copy, sql.Identifier(OWNER), template
            )
        )
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}, {}").format(
                copy, sql.Identifier(APP), sql.Identifier(SYSTEM)
            )
        )
        try:
            yield replace(
                urls,
                **{role: _at(getattr(urls, role), name) for role in ("owner", "app", "system")},
            )
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(copy))


def _at(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


class SteppedDatabase(Database):
    """The services' database, with connections whose statements are scheduled."""

    def __init__(self, urls: DatabaseUrls, scheduler: StatementScheduler, process: Process) -> None:
        self._scheduler = scheduler
        self._process = process
        super().__init__(urls.app, urls.system, pool_size=POOL_SIZE, ping_first=False)

    @asynccontextmanager
    async def as_system_briefly(self) -> AsyncIterator[AsyncSession]:
        """As `as_system`: the server's limits would count real time."""
        async with self.as_system() as session:
            yield session

    def _engine(  # type: ignore[override] # the product's needs no object
        self, url: str, pool_size: int, ping_first: bool
    ) -> AsyncEngine:
        async def connect(*_: object, **options: Any) -> SteppedConnection:
            return await SteppedConnection.open(
                self._scheduler, self._process, **options, options=SESSION_OPTIONS
            )

        return create_async_engine(
            driver_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            pool_use_lifo=True,
            hide_parameters=True,
            connect_args={"async_creator_fn": connect},
        )
