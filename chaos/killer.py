"""Carries strikes out."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress

import psycopg

from chaos.plan import Moment, Strike
from chaos.uptime import Uptime

CALM_SECONDS = 6.5
SENDING_SECONDS_MAX = 3.0
NOTED_EVERY = 25
RECOVERY_SECONDS_MAX = 60.0
_LOOK_SECONDS = 0.02
_SENDING_LOOK_SECONDS = 0.004
_SENDING = "SELECT EXISTS (SELECT FROM orders WHERE state = 'sending')"


class NotRecovered(Exception):
    """The stack does not serve again; the message says what is missing."""


class Killer:
    """Kills processes of a stack.

    Args:
        uptime: who runs and serves.
        system_url: the database, where orders on their way are seen.
        note: receives the count now and then.

    Attributes:
        kills: how many of each name.
        moments: how many strikes at each moment.
    """

    def __init__(self, uptime: Uptime, system_url: str, note: Callable[[str], None]) -> None:
        self._uptime = uptime
        self._system_url = system_url
        self._note = note
        self.kills: Counter[str] = Counter()
        self.moments: Counter[str] = Counter()

    async def carry_out(self, strikes: Iterable[Strike], minutes_max: float) -> None:
        """Strike after strike, for so long at most; at the end everything serves again.

        Raises:
            NotRecovered: a process does not come back.
        """
        deadline = time.monotonic() + minutes_max * 60
        for strike in strikes:
            if time.monotonic() > deadline:
                break
            await self._wait_for(strike)
            before = self.kills.total() // NOTED_EVERY
            self._strike(strike)
            if self.kills.total() // NOTED_EVERY > before:
                self._note(f"{self.kills.total()} kills")
        await self.served()

    async def _wait_for(self, strike: Strike) -> None:
        if strike.moment is not Moment.RECOVERING:
            await self._until(lambda: self._uptime.exits_are_served)
        if strike.is_calm_before:
            await self._until(lambda: self._uptime.for_exits.seconds >= CALM_SECONDS)
        if strike.moment is Moment.SENDING:
            await self._until_sending()
        await asyncio.sleep(strike.pause_seconds)
        # One that is dead already cannot be killed.
        await self._until(lambda: all(self._uptime.pid(name) for name in strike.victims))

    def _strike(self, strike: Strike) -> None:
        for name in strike.victims:
            pid = self._uptime.pid(name)
            assert pid is not None, "waited for"
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._uptime.killed(name)
            self.kills[name] += 1
        self.moments[strike.moment] += 1

    async def served(self) -> None:
        """Wait until every process serves.

        Raises:
            NotRecovered: one does not.
        """
        await self._until(lambda: self._uptime.all_serve)

    async def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + RECOVERY_SECONDS_MAX
        while not condition():
            if time.monotonic() > deadline:
                missing = [n for n in self._uptime.processes if not self._uptime.serves(n)]
                raise NotRecovered(f"{missing} after {RECOVERY_SECONDS_MAX:.0f} s")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _until_sending(self) -> None:
        """Until an order is on its way, or for a while where none is sent."""
        with suppress(psycopg.Error, TimeoutError):
            async with (
                asyncio.timeout(SENDING_SECONDS_MAX),
                await psycopg.AsyncConnection.connect(
                    self._system_url, autocommit=True
                ) as connection,
            ):
                while True:
                    row = await (await connection.execute(_SENDING)).fetchone()
                    if row is not None and row[0]:
                        return
                    await asyncio.sleep(_SENDING_LOOK_SECONDS)
