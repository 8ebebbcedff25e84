"""The simulator as a real process, and unmodified ccxt clients of it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import ccxt.async_support as ccxt
import httpx

READY = re.compile(r"^simulator ready at (http://127\.0\.0\.1:\d+)$")


class SimulatorProcess:
    """One data folder, in which the process can be started, killed and started again."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.url = ""
        self._settings = dict(settings)
        self._process: subprocess.Popen[str] | None = None

    def start(self, **settings: str) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("NIJA_")}
        own = {
            "NIJA_DATA_DIR": str(self.folder),
            "NIJA_SIMULATOR_PORT": "0",
            "NIJA_SIMULATOR_MODE": "step",
            "NIJA_REPLAY_START": "2026-03-02T12:00:00Z",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "simulator"],
            env=inherited | own | self._settings | settings,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        ready = READY.match(line.strip())
        assert ready, f"the simulator did not start: {line!r}"
        self.url = ready[1]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.send_signal(number)
        code = self._process.wait(timeout=10)
        self._process.stdout.close()
        self._process = None
        return code

    def kill(self) -> None:
        assert self.stop(signal.SIGKILL) == -signal.SIGKILL

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def get(self, path: str, **params: str) -> dict[str, Any]:
        response = httpx.get(self.url + path, params=params)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        response = httpx.post(self.url + path, json=dict(body), timeout=30)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def new_account(self, **body: Any) -> dict[str, Any]:
        return self.post(
            "/control/accounts", {"balances": {"USD": "10000"}, "fee_tier": "0.10%"} | body
        )

    def advance(self, minutes: int = 1) -> int:
        now_ms: int = self.post("/control/advance", {"minutes": minutes})["now_ms"]
        return now_ms

    def dump(self, account: Mapping[str, Any]) -> dict[str, Any]:
        dumped: dict[str, Any] = self.get("/control/dump", account_id=account["account_id"])
        only: dict[str, Any] = dumped["accounts"][0]
        return only

    def headers(self, account: Mapping[str, Any], method: str, path: str) -> dict[str, str]:
        """Signed headers as ccxt makes them, for calls that ccxt cannot be made to send."""
        signer = ccxt.coinbase({"apiKey": account["api_key"], "secret": account["api_secret"]})
        signer.urls["api"]["rest"] = self.url
        signed: dict[str, str] = signer.sign(path, ["v3", "private"], method, {})["headers"]
        return signed


@contextmanager
def simulator_process(
    folder: Path, settings: Mapping[str, str] | None = None
) -> Iterator[SimulatorProcess]:
    process = SimulatorProcess(folder, settings or {})
    process.start()
    try:
        yield process
    finally:
        if process.is_running:
            process.stop()


@asynccontextmanager
async def ccxt_client(url: str, account: Mapping[str, Any] | None) -> AsyncIterator[Any]:
    """An unmodified ccxt client; only its address is changed."""
    keys = (
        {} if account is None else {"apiKey": account["api_key"], "secret": account["api_secret"]}
    )
    client = ccxt.coinbase({**keys, "enableRateLimit": False})
    client.urls["api"]["rest"] = url
    try:
        yield client
    finally:
        await client.close()
