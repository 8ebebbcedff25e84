"""The process itself: control calls, kills, restarts, and replay of real files."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.simulator.process import SimulatorProcess, ccxt_client, simulator_process

pytestmark = pytest.mark.integration

SYMBOL = "BTC/USD"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[SimulatorProcess]:
    with simulator_process(tmp_path) as started:
        yield started


def place(process: SimulatorProcess, account: dict[str, Any], client_order_id: str) -> str:
    body = {
        "client_order_id": client_order_id,
        "product_id": "BTC-USD",
        "side": "BUY",
        "order_configuration": {"market_market_ioc": {"base_size": "0.0001"}},
    }
    headers = process.headers(account, "POST", "brokerage/orders")
    response = httpx.post(f"{process.url}/api/v3/brokerage/orders", json=body, headers=headers)
    order_id: str = response.json()["order_id"]
    return order_id


def test_clock_tells_the_market(simulator: SimulatorProcess) -> None:
    clock = simulator.get("/control/clock")

    assert clock["mode"] == "step"
    assert clock["source"] == "seeded"
    assert clock["symbols"] == [
        "BTC-USD",
        "DOGE-USD",
        "ETH-USD",
        "LTC-USD",
        "SOL-USD",
        "XRP-USD",
    ]
    assert simulator.get("/control/healthz")["epoch"] == clock["epoch"]


def test_account_answer_and_dump(simulator: SimulatorProcess) -> None:
    account = simulator.new_account(name="alice", balances={"USD": "12.50", "BTC": "1"})

    assert account["api_key"].startswith("organizations/")
    assert len(account["api_secret"]) == 88
    assert account["permissions"] == ["view", "trade"]
    assert (account["taker_fee_rate"], account["maker_fee_rate"]) == ("0.001", "0.0006")
    dumped = simulator.dump(account)
    assert dumped["balances"]["USD"] == {"total": "12.5", "available": "12.5", "hold": "0"}
    assert "api_secret" not in dumped
    by_key = simulator.get("/control/dump", api_key=account["api_key"])["accounts"]
    assert [found["account_id"] for found in by_key] == [account["account_id"]]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("accounts", {"fee_tier": "none"}),
        ("accounts", {"key_type": "rsa"}),
        ("accounts", {"permissions": ["steal"]}),
        ("accounts", {"balances": {"USD": "-1"}}),
        ("accounts", {"balances": {"USD": "many"}}),
        ("accounts", {"balances": {"USD": "1e19"}}),
        ("accounts", {"balances": {"USD": "0.0000000000000000001"}}),
        ("accounts", {"permissions": [["view"]]}),
        ("accounts", {"balances": []}),
        ("advance", {"minutes": 0}),
        ("advance", {"minutes": "5"}),
        ("clock", {"mode": "fast"}),
        ("clock", {"speed": 0}),
    ],
)
def test_impossible_control_calls_say_why(
    simulator: SimulatorProcess, path: str, body: dict[str, Any]
) -> None:
    response = httpx.post(f"{simulator.url}/control/{path}", json=body)

    assert response.status_code == 422
    assert response.json()["error"]


def test_money_is_conserved_over_all_accounts(process: SimulatorProcess) -> None:
    accounts = [process.new_account() for _ in range(3)]
    for number, account in enumerate(accounts):
        place(process, account, f"order-{number}")

    dumped = process.get("/control/dump")

    books = [account["balances"] for account in dumped["accounts"]] + list(dumped["venue"].values())
    usd = sum(float(book["USD"]["total"]) for book in books if "USD" in book)
    btc = sum(float(book["BTC"]["total"]) for book in books if "BTC" in book)
    assert usd == pytest.approx(30_000, abs=1e-9)
    assert btc == pytest.approx(0, abs=1e-12)


def test_signal_stops_it_cleanly(tmp_path: Path) -> None:
    with simulator_process(tmp_path) as process:
        assert process.stop(signal.SIGTERM) == 0
        process.start()
        assert process.stop(signal.SIGINT) == 0


def test_second_process_on_the_same_file_is_refused(process: SimulatorProcess) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "simulator", "--port", "0"],
        env=os.environ | {"NIJA_DATA_DIR": str(process.folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert second.returncode == 2
    assert "in use by another simulator" in second.stderr


def test_killed_under_load_it_loses_and_doubles_nothing(process: SimulatorProcess) -> None:
    account = process.new_account()
    epoch = process.get("/control/clock")["epoch"]
    acknowledged: dict[str, str] = {}
    is_over = threading.Event()

    def send() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            try:
                acknowledged[f"order-{number}"] = place(process, account, f"order-{number}")
            except httpx.HTTPError:
                return

    sender = threading.Thread(target=send)
    sender.start()
    deadline = time.monotonic() + 10
    while len(acknowledged) < 20 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    is_over.set()
    sender.join()
    process.start()

    dumped = process.dump(account)
    stored = {order["client_order_id"]: order["order_id"] for order in dumped["orders"]}
    assert len(acknowledged) >= 20
    assert acknowledged.items() <= stored.items()
    assert len(stored) - len(acknowledged) <= 1  # the one whose answer the kill cut off
    assert len(dumped["fills"]) == len(dumped["orders"])
    assert process.get("/control/clock")["epoch"] == epoch
    bought = f"{0.0001 * len(dumped['orders']):.4f}".rstrip("0")
    assert dumped["balances"]["BTC"]["total"] == bought
    first = place(process, account, "order-1")
    assert first == acknowledged["order-1"]


async def test_resting_order_still_rests_after_a_kill(process: SimulatorProcess) -> None:
    account = process.new_account()
    async with ccxt_client(process.url, account) as client:
        price = round((await client.fetch_ticker(SYMBOL))["last"] * 0.9, 2)
        placed = await client.create_order(SYMBOL, "limit", "buy", 0.01, price)
        before = await client.fetch_ohlcv(SYMBOL, "5m", since=await client.fetch_time() - 3_600_000)
    dumped = process.dump(account)

    process.kill()
    process.start()

    assert process.dump(account) == dumped
    async with ccxt_client(process.url, account) as client:
        assert [order["id"] for order in await client.fetch_open_orders()] == [placed["id"]]
        after = await client.fetch_ohlcv(SYMBOL, "5m", since=await client.fetch_time() - 3_600_000)
        assert after == before
        await client.cancel_order(placed["id"])


def test_running_clock_never_goes_back_and_stands_still_while_down(tmp_path: Path) -> None:
    settings = {"NIJA_SIMULATOR_MODE": "speed", "NIJA_REPLAY_SPEED": "600"}
    with simulator_process(tmp_path, settings) as process:
        first = process.get("/control/clock")["now_ms"]
        time.sleep(0.3)
        second = process.get("/control/clock")["now_ms"]
        assert 600 * 150 < second - first < 600 * 3000
        for _ in range(2):
            before = process.get("/control/clock")["now_ms"]
            process.kill()
            time.sleep(0.2)
            process.start()
            after = process.get("/control/clock")["now_ms"]
            assert before <= after < before + 600 * 8000


@pytest.mark.skipif(
    "NIJA_MARKET_DATA_DIR" not in os.environ,
    reason="NIJA_MARKET_DATA_DIR names no folder of candle files to replay",
)
async def test_replay_of_the_real_files(tmp_path: Path) -> None:
    settings = {"NIJA_MARKET_DATA_DIR": os.environ["NIJA_MARKET_DATA_DIR"], "NIJA_REPLAY_START": ""}
    with simulator_process(tmp_path, settings) as process:
        clock = process.get("/control/clock")
        assert clock["source"] == "replay"
        assert clock["symbols"] == ["BTC-USD", "ETH-USD", "LTC-USD"]
        async with ccxt_client(process.url, process.new_account()) as client:
            now_ms = await client.fetch_time()
            hole_ms = client.parse8601("2018-04-04T17:00:00Z")
            bars = await client.fetch_ohlcv(SYMBOL, "5m", since=now_ms - 300 * 300_000)
            assert len(bars) > 200
            assert await client.fetch_ohlcv(SYMBOL, "5m", since=hole_ms, limit=12) == []
            first_ms = client.parse8601("2018-04-04T00:00:00Z")
            [first] = await client.fetch_ohlcv(SYMBOL, "1m", since=first_ms, limit=1)
            assert first == [first_ms, 7424.91, 7424.91, 7422, 7422, 7.14319709]
            assert await client.fetch_ohlcv(SYMBOL, "1m", since=now_ms, limit=5) == []
            placed = await client.create_market_buy_order_with_cost("LTC/USD", 500)
            assert (await client.fetch_order(placed["id"]))["status"] == "closed"

            process.advance(5_000)  # beyond the end of every file

            later = await client.fetch_ohlcv(
                SYMBOL, "1m", since=await client.fetch_time() - 600_000
            )
            assert len(later) == 10


def test_unknown_paths_are_answered_in_form(simulator: SimulatorProcess) -> None:
    response = httpx.get(f"{simulator.url}/api/v3/brokerage/nothing")

    assert (response.status_code, response.json()["error"]) == (404, "NOT_FOUND")
