"""The peer: freqtrade's authenticated `GET /api/v1/show_config`, dry run, on this machine.

It lives in a virtual environment of its own (`.venv-peers`, see bench/README.md). It wants an
exchange's markets from the internet at start; it gets ours from the exchange simulator.
"""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.simulator_process import running_simulator

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / ".venv-peers" / "bin" / "freqtrade"
READY_SECONDS = 60.0
USER = "bench"

_STRATEGY = """
from freqtrade.strategy import IStrategy


class Idle(IStrategy):
    timeframe = "5m"
    minimal_roi = {"0": 1}
    stoploss = -0.5

    def populate_indicators(self, dataframe, metadata):
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        return dataframe
"""


class PeerMissing(Exception):
    """It is not installed, or does not run here; the message says why."""


@contextmanager
def served_freqtrade() -> Iterator[tuple[str, str, int]]:
    """Its address, the Authorization header that opens it, and its pid.

    Raises:
        PeerMissing: it cannot be had.
    """
    if not PROGRAM.exists():
        raise PeerMissing(f"{PROGRAM.relative_to(ROOT)} is not installed")
    folder = Path(tempfile.mkdtemp(prefix="nija-peer-"))
    password = secrets.token_urlsafe(12)
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    try:
        (folder / "strategies").mkdir()
        (folder / "strategies" / "idle.py").write_text(_STRATEGY)
        with running_simulator(NIJA_SIMULATOR_MODE="speed") as venue:
            (folder / "config.json").write_text(json.dumps(_config(port, password, venue.url)))
            with _running(folder, url) as pid:
                yield url, f"Bearer {_token(url, password)}", pid
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(folder: Path, url: str) -> Iterator[int]:
    log = folder / "freqtrade.out"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the peer's own program
            [PROGRAM, "trade", "-c", "config.json", "--userdir", folder, "-s", "Idle"],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    try:
        _wait_ready(process, url, log)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _config(port: int, password: str, venue_url: str) -> dict[str, Any]:
    ccxt = {"urls": {"api": {"rest": venue_url}}}
    return {
        "dry_run": True,
        "dry_run_wallet": 10_000,
        "max_open_trades": 3,
        "stake_currency": "USD",
        "stake_amount": 100,
        "timeframe": "5m",
        "exchange": {
            "name": "coinbase",
            "key": "",
            "secret": "",
            "ccxt_config": ccxt,
            "ccxt_async_config": ccxt,
            "enable_ws": False,
            "pair_whitelist": ["BTC/USD", "ETH/USD", "LTC/USD"],
        },
        "entry_pricing": {"price_side": "same", "use_order_book": False},
        "exit_pricing": {"price_side": "same", "use_order_book": False},
        "pairlists": [{"method": "StaticPairList"}],
        "api_server": {
            "enabled": True,
            "listen_ip_address": "127.0.0.1",
            "listen_port": port,
            "verbosity": "error",
            "jwt_secret_key": secrets.token_urlsafe(32),
            "ws_token": secrets.token_urlsafe(16),
            "username": USER,
            "password": password,
        },
        "initial_state": "running",
        "internals": {"process_throttle_secs": 5},
    }


def _wait_ready(process: subprocess.Popen[bytes], url: str, output: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            if httpx.get(f"{url}/api/v1/ping", timeout=2).is_success:
                return
        except httpx.HTTPError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise PeerMissing(f"freqtrade did not serve: {output.read_text()[-1500:]}")
        time.sleep(0.2)


def _token(url: str, password: str) -> str:
    pair = base64.b64encode(f"{USER}:{password}".encode()).decode()
    answer = httpx.post(f"{url}/api/v1/token/login", headers={"Authorization": f"Basic {pair}"})
    token: str = answer.raise_for_status().json()["access_token"]
    return token


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
