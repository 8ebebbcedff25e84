"""`nija demo` shows round trips, and its figures are the exchange's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MARKET_DATA = "NIJA_MARKET_DATA_DIR"
SECONDS_MAX = 240

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.timeout(SECONDS_MAX + 60)]


@pytest.fixture
def report_file(tmp_path: Path) -> Path:
    return tmp_path / "report.json"


def environment(report: Path, *, market_data: str | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NIJA_")}
    recorded = {} if market_data is None else {MARKET_DATA: market_data}
    return {**kept, **recorded, "NIJA_DEMO_REPORT": str(report)}


def show(report: Path, *, market_data: str | None) -> tuple[str, dict[str, Any]]:
    told = subprocess.run(
        [sys.executable, "-m", "cli", "demo"],
        cwd=ROOT,
        env=environment(report, market_data=market_data),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-2000:]
    facts: dict[str, Any] = json.loads(report.read_text())
    return told.stdout, facts


def assert_sound(facts: dict[str, Any]) -> None:
    assert facts["sound"] is True
    assert facts["differences"] == []
    for name, figure in facts["figures"].items():
        assert figure["api"] == figure["fills"], name
        assert figure["balance"] in {None, figure["api"]}, name
    closed = [trade for trade in facts["trades"] if trade["status"] == "closed"]
    assert closed == facts["trades"]
    net = sum(Decimal(trade["net_pnl"]) for trade in closed)
    assert net == Decimal(facts["figures"]["net"]["api"])
    assert Decimal(facts["equity_curve"][-1]) == Decimal(facts["figures"]["equity"]["api"])


def test_recorded_market_shows_the_known_trips(report_file: Path) -> None:
    folder = os.environ.get(MARKET_DATA)
    if folder is None:
        pytest.skip(f"{MARKET_DATA} names no folder of recorded candles")

    screen, facts = show(report_file, market_data=folder)

    assert_sound(facts)
    assert facts["scenario"] == "coinbase-2018-04-05-0840"
    assert [(trade["symbol"], trade["exit_reason"]) for trade in facts["trades"]] == [
        ("ETH-USD", "stop_loss"),
        ("ETH-USD", "trailing_stop"),
        ("LTC-USD", "stop_loss"),
    ]
    assert [Decimal(trade["size_usd"]).quantize(Decimal(1)) for trade in facts["trades"]] == [
        Decimal(399),  # 4 % of equity for a score of 4
        Decimal(200),  # the smaller position that the user set meanwhile
        Decimal(200),
    ]
    for chapter in ("Register", "Connect a broker", "Trade", "Change settings", "Stop", "Report"):
        assert chapter in screen


def test_seeded_market_shows_a_round_trip(report_file: Path) -> None:
    _screen, facts = show(report_file, market_data=None)

    assert_sound(facts)
    assert facts["scenario"] == "seed-7-2026-03-25-0200"
    assert [(trade["symbol"], trade["exit_reason"]) for trade in facts["trades"]] == [
        ("LTC-USD", "stop_loss"),
        ("LTC-USD", "trailing_stop"),
    ]


BACKGROUND = ("sh", "-c", 'trap "" INT; exec "$@"', "background")
"""A shell that starts what follows as it starts a command with `&`: SIGINT is ignored."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_nothing_running(report_file: Path, number: signal.Signals) -> None:
    with tempfile.TemporaryDirectory(prefix="nija-demo-test-") as scratch:
        Path(scratch).chmod(0o711)
        told = subprocess.Popen(  # noqa: S603 - ours
            [*BACKGROUND, sys.executable, "-m", "cli", "demo"],
            cwd=ROOT,
            env={**environment(report_file, market_data=None), "TMPDIR": scratch},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            pids = wait_running(Path(scratch))
            told.send_signal(number)
            assert told.wait(SECONDS_MAX) == 130
        finally:
            told.kill()
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        assert not list(Path(scratch).glob("nija-demo-*"))
        assert not report_file.exists()


def wait_running(scratch: Path) -> list[int]:
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        found = next(scratch.glob("nija-demo-*/data/run.json"), None)
        if found is not None:
            return [pid for pid in json.loads(found.read_text())["pids"].values() if pid]
        time.sleep(0.1)
    raise AssertionError("the stack did not start")
