"""The demonstration's own stack: `nija up` in a folder that goes away afterwards.

It runs in a session of its own, so that a Ctrl-C reaches us alone and we stop it in order.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.os_account import TRAVERSABLE_MODE
from demo.failures import DemoFailed
from supervisor.data_folder import DataFolder
from supervisor.run_file import read_run_file
from supervisor.web import answers

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = 90.0
STOP_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_TAIL_BYTES = 3_000
_ENDING = (signal.SIGINT, signal.SIGTERM)
_PORTS = (
    "API_PORT",
    "METRICS_PORT",
    "WORKER_METRICS_PORT",
    "EXITS_METRICS_PORT",
    "TEMPORAL_PORT",
    "TEMPORAL_UI_PORT",
    "TEMPORAL_METRICS_PORT",
    "SIMULATOR_PORT",
    "POSTGRES_PORT",
)


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A stack that serves."""

    folder: DataFolder

    @property
    def facts(self) -> dict[str, Any]:
        """How to reach everything, as of now: pids change when a child is started again."""
        return read_run_file(self.folder.run_file)

    def kill(self, child: str) -> int:
        """Kill a child without warning; returns its pid."""
        pid: int = self.facts["pids"][child]
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_restarted(self, child: str, killed_pid: int) -> None:
        """Wait until the supervisor has started a killed child again.

        Raises:
            DemoFailed: it does not.
        """
        deadline = time.monotonic() + READY_SECONDS
        while self.facts["pids"][child] in {killed_pid, None}:
            if time.monotonic() > deadline:
                raise DemoFailed(f"The {child} was not started again")
            time.sleep(_LOOK_SECONDS)


@contextmanager
def running(environment: Mapping[str, str], data_dir: Path | None) -> Iterator[RunningStack]:
    """A stack, stopped at the end whatever happens.

    Args:
        environment: its settings.
        data_dir: where it keeps its data; None means a temporary folder, removed at the end.

    Raises:
        DemoFailed: it did not start; the message holds what it said.
    """
    if data_dir is not None:
        with _started(DataFolder.at(data_dir), environment) as stack:
            yield stack
        return
    parent = Path(tempfile.mkdtemp(prefix="nija-demo-"))
    if os.geteuid() == 0:  # PostgreSQL runs as another account and must be let through
        parent.chmod(TRAVERSABLE_MODE)
    try:
        with _started(DataFolder.at(parent / "data"), environment) as stack:
            yield stack
    finally:
        shutil.rmtree(parent, ignore_errors=True)


@contextmanager
def _started(folder: DataFolder, environment: Mapping[str, str]) -> Iterator[RunningStack]:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up"],
            cwd=ROOT,
            env=_environment(folder, environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_ready(process, folder, output)
            yield RunningStack(folder)
        except Exception as failed:
            if process.poll() is None:
                raise
            raise DemoFailed(f"The stack ended by itself:\n{_tail(output)}") from failed
        finally:
            _stop(process)


def _environment(folder: DataFolder, settings: Mapping[str, str]) -> dict[str, str]:
    """Of the caller's own NIJA settings none: what is shown must not depend on them."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NIJA_")}
    return {
        **inherited,
        **{f"NIJA_{name}": "0" for name in _PORTS},
        "NIJA_DATA_DIR": str(folder.root),
        # A market of its own each time: one that is remembered would go on where it stopped.
        "NIJA_SIMULATOR_DATABASE": str(folder.root / f"demo-{time.time_ns()}.sqlite3"),
        "NIJA_RATE_LIMITS": "off",
        **settings,
    }


def _wait_ready(process: subprocess.Popen[bytes], folder: DataFolder, output: IO[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _is_ready(folder):
        if process.poll() is not None or time.monotonic() > deadline:
            raise DemoFailed(f"The stack did not start:\n{_tail(output)}")
        time.sleep(_LOOK_SECONDS)


def _tail(output: IO[bytes]) -> str:
    output.seek(max(0, output.seek(0, os.SEEK_END) - _TAIL_BYTES))
    return output.read().decode(errors="replace")


def _is_ready(folder: DataFolder) -> bool:
    try:
        return answers(f"{read_run_file(folder.run_file)['api_url']}/ready")
    except EmbeddedError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop in order; another signal does not interrupt that."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDING}
    try:
        process.send_signal(signal.SIGINT)
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait(STOP_SECONDS)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
