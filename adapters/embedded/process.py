"""Child processes: started in sessions of their own, stopped for certain, recognised after a crash.

A session of its own keeps the terminal's Ctrl-C away from a child, so the supervisor alone decides
the order of the shutdown. A process is recognised by pid *and* start time, because pids are
reused.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from adapters.embedded.os_account import Account

# The kernel counts a start time in ticks since boot; a stepped wall clock shifts what psutil makes
# of it.
START_TIME_TOLERANCE_SECONDS = 2.0
PRIVATE_UMASK = 0o077  # whatever a child writes is its owner's business only
KILL_WAIT_SECONDS = 5.0
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Command:
    """How to start one child."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    account: Account | None = None  # None: the account we run as


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, never confused with a later one of the same pid."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """Identify a process that is alive now."""
        return cls(pid, psutil.Process(pid).create_time())

    def is_running(self) -> bool:
        """Whether it still does anything; a zombie (process 1 need not reap) does not."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < START_TIME_TOLERANCE_SECONDS
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


def clean_environment() -> dict[str, str]:
    """What a server needs from our environment; our secrets stay with us."""
    kept = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"TZ": "UTC"}


def spawn(command: Command) -> subprocess.Popen[bytes]:
    """Start a child whose output goes to its log file."""
    command.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603 - the argv is ours, no shell is involved
            command.argv,
            env=dict(command.env),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=PRIVATE_UMASK,
            user=command.account.uid if command.account else None,
            group=command.account.gid if command.account else None,
            extra_groups=[] if command.account else None,
        )
    finally:
        os.close(descriptor)


def stop(process: subprocess.Popen[bytes], number: signal.Signals, seconds: float) -> bool:
    """Ask a child of ours to end, wait, then force it and whatever is left of its group.

    Returns:
        Whether it ended by itself within the time given.
    """
    graceful = True
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            graceful = False
            process.kill()
            process.wait(timeout=KILL_WAIT_SECONDS)
    kill_group(process.pid)
    return graceful


def stop_leftover(identity: ProcessIdentity, number: signal.Signals, seconds: float) -> None:
    """End a process that an earlier supervisor left: not our child, so nobody waits for it."""
    if identity.is_running():
        os.kill(identity.pid, number)
        if not wait_until_gone(identity, seconds):
            os.kill(identity.pid, signal.SIGKILL)
            wait_until_gone(identity, KILL_WAIT_SECONDS)
        kill_group(identity.pid)


def wait_until_gone(identity: ProcessIdentity, seconds: float) -> bool:
    """Whether the process ended within the time given."""
    deadline = time.monotonic() + seconds
    while identity.is_running():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def kill_group(leader_pid: int) -> None:
    """End what a dead child left running in the session it led."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader_pid, signal.SIGKILL)


def log_tail(path: Path, lines: int = 8) -> str:
    """The last lines of a log, for an error message."""
    if not path.exists():
        return ""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 4096))
        text = stream.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
