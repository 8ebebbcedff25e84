"""How the API is used: counted in each process, kept in PostgreSQL minute by minute.

A process adds up what it answered in memory and writes its totals of the present minute every few
seconds. The rows hold totals, not differences, and belong to one process: writing them again after
a failure changes nothing, and what all processes did is the sum over their rows. A row is written
for every minute, used or not, so the minutes without any row are those in which no API was there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog
from psycopg import Error as DriverError
from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from domain.ports import WallClock
from models.administration import ApiMinute
from services.database import Database

BOUNDS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of answering times; one more bucket takes all longer ones."""

WRITE_SECONDS = 5.0
KEPT = timedelta(days=31)
_SERVER_ERROR = 500
_MICROSECONDS = 1_000_000

_log = structlog.get_logger("nija.traffic")


@dataclass
class Tally:
    """What was answered in one minute."""

    requests: int = 0
    server_errors: int = 0
    microseconds: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_SECONDS) + 1))


class Traffic:
    """The counts of this process."""

    def __init__(self, database: Database, clock: WallClock) -> None:
        self._database = database
        self._clock = clock
        self._process_id: UUID = uuid4()
        self._minutes: dict[datetime, Tally] = {}

    def note(self, status: int, seconds: float) -> None:
        """Count an answer; costs no input or output."""
        tally = self._tally_of(self._clock.now())
        tally.requests += 1
        tally.server_errors += status >= _SERVER_ERROR
        tally.microseconds += int(seconds * _MICROSECONDS)
        bucket = next(
            (at for at, bound in enumerate(BOUNDS_SECONDS) if seconds <= bound),
            len(BOUNDS_SECONDS),
        )
        tally.buckets[bucket] += 1

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Write what is counted while the block runs, and once more at its end."""
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self._write_or_wait()

    async def write(self) -> None:
        """Store the totals of this minute and of those that could not be stored before."""
        now = self._clock.now()
        self._tally_of(now)
        snapshot = {minute: (tally, tally.requests) for minute, tally in self._minutes.items()}
        rows = [
            {
                "process_id": self._process_id,
                "minute": minute,
                "requests": tally.requests,
                "server_errors": tally.server_errors,
                "microseconds": tally.microseconds,
                "buckets": list(tally.buckets),
            }
            for minute, (tally, _requests) in snapshot.items()
        ]
        statement = insert(ApiMinute).values(rows)
        names = ("requests", "server_errors", "microseconds", "buckets")
        async with self._database.as_system() as session:
            await session.exec(
                statement.on_conflict_do_update(
                    index_elements=["process_id", "minute"],
                    set_={name: statement.excluded[name] for name in names},
                )
            )
            await session.exec(delete(ApiMinute).where(col(ApiMinute.minute) < now - KEPT))
        for minute, (tally, requests) in snapshot.items():
            # A minute that is over and whose last answers were stored is done with.
            if minute < _minute_of(now) and tally.requests == requests:
                del self._minutes[minute]

    async def _keep(self) -> None:
        while True:
            await self._write_or_wait()
            await asyncio.sleep(WRITE_SECONDS)

    async def _write_or_wait(self) -> None:
        try:
            await self.write()
        except (SQLAlchemyError, DriverError, OSError) as failure:
            # Kept in memory until the database is back.
            _log.warning("traffic.not_written", failure=type(failure).__name__)

    def _tally_of(self, now: datetime) -> Tally:
        return self._minutes.setdefault(_minute_of(now), Tally())


def _minute_of(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0)


def percentile_seconds(buckets: list[int], share: float) -> float:
    """The upper bound of the bucket in which a share of all answers was reached; 0 without any.

    Answers beyond the last bound count as the last bound.
    """
    wanted = sum(buckets) * share
    if not wanted:
        return 0.0
    reached = 0
    for count, bound in zip(buckets, BOUNDS_SECONDS, strict=False):
        reached += count
        if reached >= wanted:
            return bound
    return BOUNDS_SECONDS[-1]
