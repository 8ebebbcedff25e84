"""The real supervisor with real servers; the worker, the API and the simulator are stand-ins."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from settings import Settings
from tests.support.stack import data_folder

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
UP = [sys.executable, "-m", "tests.embedded.fakes.up"]
PIDS = ("api", "worker", "exits-worker", "temporal", "postgres", "simulator", "supervisor")


class Up:
    """A running `nija up`."""

    def __init__(self, folder: Path, **given: str) -> None:
        self.run_file = folder / "run.json"
        ports = {f"NIJA_{n.upper()}": "0" for n in Settings.model_fields if n.endswith("_port")}
        env = {name: value for name, value in os.environ.items() if not name.startswith("NIJA_")}
        env |= ports | {"NIJA_DATA_DIR": str(folder), "NIJA_DEMO_USER": "true"} | given
        self.output = Path(tempfile.mkdtemp(prefix="nija-test-up-")) / "output"
        with self.output.open("xb") as output:
            self.process = subprocess.Popen(  # noqa: S603 - ours
                UP, env=env, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )

    def said(self) -> str:
        return self.output.read_text()

    def run(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run_file.read_text())
        return found

    def ready(self) -> dict[str, Any]:
        eventually(lambda: "is running" in self.said() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()
        return self.run()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


def eventually(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


@contextmanager
def up(folder: Path, **given: str) -> Iterator[Up]:
    running = Up(folder, **given)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()
        shutil.rmtree(running.output.parent)


def starts(run: dict[str, Any]) -> int:
    with psycopg.connect(run["system_database_url"]) as connection:
        row = connection.execute("SELECT count(*) FROM starts").fetchone()
    assert row is not None
    return int(row[0])


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def processes_of(folder: Path) -> list[str]:
    lines = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(folder) in line]


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as made:
        yield made


def test_the_life_of_a_stack(folder: Path) -> None:
    with up(folder) as first:
        run = first.ready()
        assert set(run["pids"]) == set(PIDS)
        assert run["simulator_secret"] == "secret-1"
        assert run["demo_password"] in first.said()
        assert run["admin_password"] not in first.said()
        for name in ("run.json", "secrets.json", "children.json"):
            assert (folder / name).stat().st_mode & 0o077 == 0

        with up(folder) as second:
            assert second.process.wait(10) != 0
            assert "NIJA_DATA_DIR" in second.said()

        for name in ("worker", "exits-worker", "postgres", "temporal"):
            os.kill(run["pids"][name], signal.SIGKILL)
        changed = ("worker", "exits-worker", "postgres", "temporal")
        eventually(
            lambda: all(first.run()["pids"][n] not in (None, run["pids"][n]) for n in changed)
        )
        now = first.run()
        assert now["pids"]["api"] == run["pids"]["api"]
        assert {**now, "pids": 0} == {**run, "pids": 0}  # ports and passwords are the same
        eventually(partial(_answers, now))
        assert starts(now) == 1

        # A killed supervisor leaves its children running; the next one takes their place.
        first.process.kill()
        first.process.wait()
        assert all(alive(now["pids"][name]) for name in PIDS if name != "supervisor")

    with up(folder) as third:
        run = third.ready()
        assert "Stopped the postgres of a supervisor that was killed." in third.said()
        assert starts(run) == 2
        assert not any(alive(now["pids"][name]) for name in PIDS)
        assert third.stop() == 0
        assert not any(alive(run["pids"][name]) for name in PIDS)
        assert not (folder / "run.json").exists()


def _answers(run: dict[str, Any]) -> bool:
    try:
        psycopg.connect(run["app_database_url"]).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_stop_while_starting_leaves_nothing(folder: Path) -> None:
    with up(folder) as starting:
        eventually((folder / "children.json").exists)
        assert starting.stop() == 0
    assert processes_of(folder) == []


def test_a_child_that_cannot_start_is_told_and_the_rest_is_stopped(folder: Path) -> None:
    with up(folder, NIJA_API_PROCESSES="1", NIJA_FAKE_API_FAILS="1") as failing:
        assert failing.process.wait(20) == 1
        assert "The api ended while starting" in failing.said()
    assert processes_of(folder) == []
