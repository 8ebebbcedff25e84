"""One child: started, watched, and started again when it dies."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Protocol

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.process import Command, ProcessIdentity, kill_group, spawn, stop
from supervisor.backoff import Backoff
from supervisor.leftovers import Remembered

WATCH_SECONDS = 0.05

log = logging.getLogger("nija.supervisor")


class Program(Protocol):
    """What the supervisor knows of a program it runs."""

    name: str
    stop_signal: signal.Signals
    stop_seconds: float

    def prepare(self) -> None:
        """Make what the program needs, and clear away what a killed one left. May block."""

    def command(self) -> Command:
        """How to start it."""

    def wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Block until it serves; raise EmbeddedError when it ends or takes too long."""


class Child:
    """A program's process over all its restarts.

    Attributes:
        name: the program's name.
        pid: the process running now; None between a death and the next start.
    """

    def __init__(self, program: Program, on_change: Callable[[], None]) -> None:
        self.name = program.name
        self._program = program
        self._on_change = on_change
        self._process: subprocess.Popen[bytes] | None = None
        self._identity: ProcessIdentity | None = None
        self._started_at = 0.0
        self._backoff = Backoff()

    @property
    def pid(self) -> int | None:
        """The process running now."""
        return self._process.pid if self._process else None

    @property
    def remembered(self) -> Remembered | None:
        """What the next supervisor must know of it."""
        if self._identity is None:
            return None
        return Remembered(
            self.name,
            self._identity.pid,
            self._identity.started,
            int(self._program.stop_signal),
            self._program.stop_seconds,
        )

    async def start(self) -> None:
        """Start the process; it may not serve yet."""
        await asyncio.to_thread(self._program.prepare)
        self._spawn()

    async def wait_ready(self) -> None:
        """Wait until the process serves."""
        assert self._process is not None, "start comes first"
        await asyncio.to_thread(self._program.wait_ready, self._process)

    async def keep_running(self) -> None:
        """Start the process again whenever it ends; runs until cancelled."""
        while True:
            await self._until_dead()
            await asyncio.sleep(self._backoff.delay(time.monotonic() - self._started_at))
            try:
                await self.start()
            except (EmbeddedError, OSError) as failed:
                log.warning("%s could not be started: %s", self.name, failed)

    def stop(self) -> bool:
        """Stop the process for certain; whether it ended by itself in time. Blocks."""
        process, self._process, self._identity = self._process, None, None
        if process is None:
            return True
        return stop(process, self._program.stop_signal, self._program.stop_seconds)

    def _spawn(self) -> None:
        """Start and tell in one step of the event loop, so that no stop comes in between."""
        self._process = spawn(self._program.command())
        self._identity = ProcessIdentity.of(self._process.pid)
        self._started_at = time.monotonic()
        self._on_change()

    async def _until_dead(self) -> None:
        process = self._process
        if process is None:
            return  # the last start failed
        while process.poll() is None:  # noqa: ASYNC110 - a child's death sets no event
            await asyncio.sleep(WATCH_SECONDS)
        kill_group(process.pid)  # its own workers must not outlive it
        log.warning("%s ended (%s), starting it again", self.name, _reason(process.returncode))
        self._process = self._identity = None


def _reason(return_code: int) -> str:
    if return_code < 0:
        return signal.Signals(-return_code).name
    return f"exit code {return_code}"
