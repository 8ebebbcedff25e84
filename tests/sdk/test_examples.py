"""The two examples of the published document, as they stand there but for the token.

Where the server is comes from the environment, as the SDKs read it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.conftest import Login
from tests.sdk.javascript import NODE, PACKAGE, build
from tests.support.up import ROOT, Person, RunningStack, eventually

pytestmark = [
    pytest.mark.integration,
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        "NIJA_CONTRACTS_DIR" not in os.environ, reason="NIJA_CONTRACTS_DIR is not set"
    ),
]
TOKEN = "your_jwt_token"
ALERTS_MAX = 12


def examples() -> tuple[str, str]:
    """The Python and the JavaScript example."""
    document = Path(os.environ["NIJA_CONTRACTS_DIR"], "seeds", "nija.txt").read_text()
    _, _, rest = document.partition("\nSDK Examples\n")
    python, _, javascript = rest.partition("\nJavaScript SDK\n")
    # The document's last line says its version again.
    return python.partition("Python SDK\n")[2], javascript.partition("\nVersion: ")[0]


@contextmanager
def running(*command: str, cwd: Path, **environment: str) -> Iterator[Path]:
    """A program, stopped at the end; the file its words go to."""
    output = cwd / "output"
    with output.open("wb") as words:
        process = subprocess.Popen(  # noqa: S603 - the example
            command,
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdout=words,
            stderr=subprocess.STDOUT,
        )
        try:
            yield output
            assert process.poll() is None, output.read_text()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


@pytest.fixture
def trader(stack: RunningStack, login: Login) -> Person:
    """Somebody who may trade live, at an account of the simulator."""
    person = Person(login.email, "", login.access_token)
    stack.connect(person, stack.open_venue_account())
    return person


def enter(stack: RunningStack, trader: Person) -> str:
    """The id of a position that an alert opened.

    A machine that is too busy has an alert refused, for data that is too old for instance: then it
    is sent again, as a chart would at its next bar.
    """
    key = stack.data("POST", "/config/webhooks", trader, {})["webhook_key"]
    alert = {"symbol": "BTC-USD", "action": "buy", "api_key": key}
    outcomes: list[dict[str, Any]] = []
    for _ in range(ALERTS_MAX):
        sent = stack.data("POST", "/webhooks/tradingview", body={**alert, "id": str(len(outcomes))})
        outcome = eventually(lambda: decided(stack, trader), what="an outcome of the alert")
        if outcome["status"] == "executed":
            return str(sent["trade_id"]).replace("trd_", "pos_")
        outcomes.append(outcome)
        time.sleep(5)
    raise AssertionError(f"No alert opened a position: {outcomes}")


def decided(stack: RunningStack, trader: Person) -> dict[str, Any] | None:
    """What became of the newest alert, once it is known."""
    newest: dict[str, Any] = stack.data("GET", "/account/signals", trader)["signals"][0]
    return None if newest["status"] in {"processing", "accepted"} else newest


def check(stack: RunningStack, trader: Person, output: Path) -> None:
    """The example started live trading, and prints what becomes of a position."""
    eventually(
        lambda: stack.data("GET", "/trading/status", trader)["status"] == "running", what="running"
    )
    status = stack.data("GET", "/trading/status", trader)
    assert (status["broker"], status["paper_trading"]) == ("coinbase", False)
    position_id = enter(stack, trader)

    def told() -> bool:
        return bool(re.search(f"Position update:.*{position_id}", output.read_text(), re.DOTALL))

    try:
        eventually(told, what=f"an update of {position_id}")
    except AssertionError as failure:
        raise AssertionError(f"{failure}; the example printed: {output.read_text()}") from failure
    stack.data("POST", "/trading/stop", trader, {"close_positions": True})


def test_the_python_example_runs(stack: RunningStack, trader: Person, tmp_path: Path) -> None:
    python, _ = examples()
    assert python.count(TOKEN) == 1
    (tmp_path / "example.py").write_text(python.replace(TOKEN, trader.token))

    with running(
        sys.executable,
        "example.py",
        cwd=tmp_path,
        NIJA_BASE_URL=stack.run["api_url"],
        PYTHONPATH=str(ROOT / "sdk" / "python"),
    ) as output:
        check(stack, trader, output)


def test_the_javascript_example_runs(stack: RunningStack, trader: Person, tmp_path: Path) -> None:
    build()
    _, javascript = examples()
    assert javascript.count(TOKEN) == 1
    (tmp_path / "node_modules" / "@nija").mkdir(parents=True)
    (tmp_path / "node_modules" / "@nija" / "sdk").symlink_to(PACKAGE)
    (tmp_path / "example.mjs").write_text(javascript.replace(TOKEN, trader.token))

    with running(*NODE, "example.mjs", cwd=tmp_path, NIJA_BASE_URL=stack.run["api_url"]) as output:
        check(stack, trader, output)
