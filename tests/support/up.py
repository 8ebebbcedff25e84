"""The whole stack as processes: `nija up` in a folder of its own, and a user's view of it."""

from __future__ import annotations

import json
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
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 90.0
STOP_SECONDS = 60.0
PASSWORD = "correct-horse-battery-9"


@dataclass(frozen=True)
class Person:
    """A registered user with a token."""

    email: str
    user_id: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class RunningStack:
    """One `nija up`, its run.json, and HTTP to it."""

    def __init__(self, data_dir: Path, environment: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("NIJA_")},
            "NIJA_DATA_DIR": str(data_dir),
            "NIJA_RATE_LIMITS": "off",
            **dict.fromkeys(
                (
                    "NIJA_API_PORT",
                    "NIJA_METRICS_PORT",
                    "NIJA_WORKER_METRICS_PORT",
                    "NIJA_EXITS_METRICS_PORT",
                    "NIJA_TEMPORAL_PORT",
                    "NIJA_TEMPORAL_UI_PORT",
                    "NIJA_TEMPORAL_METRICS_PORT",
                    "NIJA_SIMULATOR_PORT",
                    "NIJA_POSTGRES_PORT",
                ),
                "0",
            ),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._output = data_dir.parent / f"{data_dir.name}.out"

    def start(self) -> None:
        """Start and wait until the API is ready."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli", "up"],
                cwd=ROOT,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                why = f"within {READY_SECONDS:.0f} s" if ended is None else f"(exit code {ended})"
                said = self._output.read_text()[-4000:] or "it said nothing"
                raise AssertionError(f"The stack did not get ready {why}: {said}")
            time.sleep(0.1)

    def stop(self) -> int:
        """Ctrl-C, and wait for the orderly end."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(STOP_SECONDS)

    def kill_remains(self) -> None:
        """After a failed test: leave nothing running."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()

    @property
    def run(self) -> dict[str, Any]:
        """The facts of run.json, as they are now."""
        facts: dict[str, Any] = json.loads((self.data_dir / "run.json").read_text())
        return facts

    def is_ready(self) -> bool:
        """Whether the API says that everything is there."""
        try:
            return httpx.get(f"{self.run['api_url']}/ready", timeout=2).status_code == 200
        except (OSError, KeyError, json.JSONDecodeError, httpx.HTTPError):
            return False

    # --- a user's calls ---------------------------------------------------------------------

    def call(
        self, method: str, path: str, person: Person | None = None, body: Any = None, **query: Any
    ) -> httpx.Response:
        """One NIJA call."""
        return httpx.request(
            method,
            f"{self.run['api_url']}/api/v1{path}",
            json=body,
            params=query or None,
            headers=person.headers if person else None,
            timeout=30,
        )

    def data(
        self, method: str, path: str, person: Person | None = None, body: Any = None, **query: Any
    ) -> Any:
        """The `data` of a call that must succeed."""
        answer = self.call(method, path, person, body, **query)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()["data"]

    def register(self, email: str) -> Person:
        """Register and log in."""
        user = self.data(
            "POST",
            "/auth/register",
            body={
                "email": email,
                "password": PASSWORD,
                "full_name": "Test Person",
                "accept_terms": True,
            },
        )
        login = self.data("POST", "/auth/login", body={"email": email, "password": PASSWORD})
        return Person(email, user["user_id"], login["access_token"])

    def open_venue_account(self, **options: Any) -> dict[str, Any]:
        """A simulator account: api_key, api_secret."""
        body = {"balances": {"USD": "10000"}, **options}
        answer = httpx.post(f"{self.run['simulator_url']}/control/accounts", json=body, timeout=10)
        assert answer.is_success, answer.text
        account: dict[str, Any] = answer.json()
        return account

    def connect(self, person: Person, account: Mapping[str, Any]) -> str:
        """Add the broker with a simulator account's keys."""
        added = self.data(
            "POST",
            "/config/brokers",
            person,
            {
                "broker": "coinbase",
                "api_key": account["api_key"],
                "api_secret": account["api_secret"],
            },
        )
        broker_id: str = added["broker_id"]
        return broker_id

    def dump(self, api_key: str | None = None) -> dict[str, Any]:
        """The simulator's own books."""
        answer = httpx.get(
            f"{self.run['simulator_url']}/control/dump",
            params={"api_key": api_key} if api_key else None,
            timeout=30,
        )
        assert answer.is_success, answer.text
        books: dict[str, Any] = answer.json()
        return books


@contextmanager
def running_stack(**environment: str) -> Iterator[RunningStack]:
    """A started stack in a folder of its own, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="nija-up-"))
    folder.chmod(0o711)
    stack = RunningStack(folder / "data", environment)
    try:
        stack.start()
        yield stack
    finally:
        stack.kill_remains()
        shutil.rmtree(folder, ignore_errors=True)


def eventually(
    check: Any, *, seconds: float = 60.0, pause: float = 0.1, what: str = "the condition"
) -> Any:
    """Wait until `check` returns something true, and return it."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {seconds} s; last: {found!r}")
        time.sleep(pause)
