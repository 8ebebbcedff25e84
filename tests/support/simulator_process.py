"""The exchange simulator as a process of its own, for tests that speak its protocol."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.ports import VenueCredentials

ROOT = Path(__file__).parents[2]
READY_SECONDS = 30.0


@dataclass(frozen=True)
class Simulator:
    """A running simulator and its control calls."""

    url: str

    def open_account(
        self, balances: dict[str, str], *, key_type: str = "ed25519", **options: object
    ) -> VenueCredentials:
        body = {"balances": balances, "key_type": key_type, **options}
        account = self.post("/control/accounts", body)
        return VenueCredentials(
            api_key=account["api_key"], api_secret=account["api_secret"], params={}
        )

    def advance(self, minutes: int = 1) -> dict[str, Any]:
        return self.post("/control/advance", {"minutes": minutes})

    def dump(self, credentials: VenueCredentials) -> dict[str, Any]:
        dump = self.get("/control/dump")
        (account,) = [a for a in dump["accounts"] if a["api_key"] == credentials.api_key]
        return dict(account)

    def lift_faults(self) -> None:
        _fetch(self.url + "/control/faults", method="DELETE")

    def get(self, path: str) -> dict[str, Any]:
        return _fetch(self.url + path)

    def post(self, path: str, body: object) -> dict[str, Any]:
        return _fetch(self.url + path, json.dumps(body).encode())


@contextmanager
def running_simulator(**environment: str) -> Iterator[Simulator]:
    """Start a simulator on a free port, and stop it."""
    with tempfile.TemporaryDirectory(prefix="nija-simulator-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "simulator"],
                cwd=ROOT,
                env={k: v for k, v in os.environ.items() if not k.startswith("NIJA_")}
                | {
                    "NIJA_SIMULATOR_PORT": "0",
                    "NIJA_DATA_DIR": folder,
                    "NIJA_SIMULATOR_MODE": "step",
                }
                | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield Simulator(_ready_url(process, log))
        finally:
            process.terminate()
            process.wait(timeout=10)


def _ready_url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        lines = log.read_text().splitlines()
        for line in lines:
            if line.startswith("simulator ready at "):
                return line.removeprefix("simulator ready at ").strip()
        if process.poll() is not None:
            raise RuntimeError("the simulator did not start:\n" + "\n".join(lines))
        time.sleep(0.02)
    raise RuntimeError("the simulator was not ready in time:\n" + log.read_text())


def _fetch(url: str, body: bytes | None = None, method: str | None = None) -> dict[str, Any]:
    request = urllib.request.Request(url, data=body, method=method)  # noqa: S310  # loopback, ours
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            raise RuntimeError(f"{url}: {error.code} {error.read()!r}") from None
