"""What an account's holder does at the venue, beside the bots that trade for the account."""

from typing import Any

import httpx
import pytest

from tests.simulator.process import SimulatorProcess, ccxt_client, simulator_process

pytestmark = pytest.mark.integration

SYMBOL = "BTC/USD"


def act(
    simulator: SimulatorProcess, account: dict[str, Any], what: str, **body: Any
) -> dict[str, Any]:
    return simulator.post(f"/control/manual/{what}", {"account_id": account["account_id"]} | body)


@pytest.fixture
def account(simulator: SimulatorProcess) -> dict[str, Any]:
    return simulator.new_account(balances={"USD": "10000", "BTC": "1"})


async def test_manual_orders_are_ordinary_orders_that_the_dump_marks(
    simulator: SimulatorProcess, account: dict[str, Any], client: Any
) -> None:
    sold = act(simulator, account, "orders", product_id="BTC-USD", side="sell", size="0.5")
    bought = act(simulator, account, "orders", product_id="BTC-USD", side="buy", amount="100")
    resting = act(
        simulator,
        account,
        "orders",
        product_id="BTC-USD",
        side="sell",
        size="0.4",
        price="500000",
    )
    ours = await client.create_order(SYMBOL, "market", "sell", 0.01)

    assert (sold["status"], bought["status"], resting["status"]) == ("FILLED", "FILLED", "OPEN")
    listed = {order["id"] for order in await client.fetch_orders()}
    assert listed == {order["order_id"] for order in (sold, bought, resting)} | {ours["id"]}
    assert (await client.fetch_balance({"v3": True}))["used"]["BTC"] == 0.4
    dumped = simulator.dump(account)
    marks = {order["order_id"]: order["is_manual"] for order in dumped["orders"]}
    assert marks == {
        sold["order_id"]: True,
        bought["order_id"]: True,
        resting["order_id"]: True,
        ours["id"]: False,
    }

    cancelled = act(simulator, account, "cancel", order_id=resting["order_id"])

    assert cancelled["status"] == "CANCELLED"
    assert (await client.fetch_balance({"v3": True}))["used"]["BTC"] == 0
    moves = simulator.dump(account)["manual_actions"]
    assert [move["kind"] for move in moves] == ["order", "order", "order", "cancel"]


async def test_our_order_cancelled_manually(
    simulator: SimulatorProcess, account: dict[str, Any], client: Any
) -> None:
    placed = await client.create_order(SYMBOL, "limit", "sell", 0.01, 500_000)

    act(simulator, account, "cancel", order_id=placed["id"])

    assert (await client.fetch_order(placed["id"]))["status"] == "canceled"
    [order] = simulator.dump(account)["orders"]
    assert order["is_manual"] is False


async def test_deposits_withdrawals_and_transfers(
    simulator: SimulatorProcess, account: dict[str, Any], client: Any
) -> None:
    other = simulator.new_account(balances={})
    act(simulator, account, "deposit", currency="usd", amount="500.25")
    act(simulator, account, "withdraw", currency="USD", amount="0.25")
    act(simulator, account, "withdraw", currency="BTC", amount="0.6", to=other["account_id"])

    total = (await client.fetch_balance({"v3": True}))["total"]
    assert (total["USD"], total["BTC"]) == (10_500, 0.4)
    moves = simulator.dump(account)["manual_actions"]
    assert [(move["kind"], move["amount"], move["currency"]) for move in moves] == [
        ("deposit", "500.25", "USD"),
        ("withdrawal", "0.25", "USD"),
        ("withdrawal", "0.6", "BTC"),
    ]
    received = simulator.dump(other)
    assert received["balances"]["BTC"]["total"] == "0.6"
    assert [move["kind"] for move in received["manual_actions"]] == ["deposit"]


async def test_what_an_order_holds_cannot_be_withdrawn(
    simulator: SimulatorProcess, account: dict[str, Any], client: Any
) -> None:
    await client.create_order(SYMBOL, "limit", "sell", 0.7, 500_000)

    response = httpx.post(  # noqa: ASYNC210 (one call to a loopback server)
        f"{simulator.url}/control/manual/withdraw",
        json={"account_id": account["account_id"], "currency": "BTC", "amount": "0.5"},
    )

    assert response.status_code == 409
    assert simulator.dump(account)["manual_actions"] == []


@pytest.mark.parametrize(
    ("what", "body", "status", "message"),
    [
        ("orders", {"side": "sell", "size": "1"}, 422, "refused: unknown_product"),
        ("orders", {"product_id": "BTC-USD", "side": "hold", "size": "1"}, 400, "side must"),
        ("orders", {"product_id": "BTC-USD", "side": "sell"}, 400, "either size"),
        ("orders", {"product_id": "BTC-USD", "side": "sell", "size": "x"}, 400, "not a number"),
        ("orders", {"product_id": "BTC-USD", "side": "sell", "size": "9"}, 422, "insufficient"),
        ("orders", {"product_id": "BTC-USD", "side": "buy", "amount": "9", "price": "9"}, 400, "s"),
        ("orders", {"sise": "1"}, 400, "no field sise"),
        ("cancel", {"order_id": "unknown"}, 409, "not open: unknown order"),
        ("deposit", {"currency": "USD", "amount": "-1"}, 400, "amount must be"),
        ("deposit", {"currency": "USD", "amount": "NaN"}, 400, "amount must be"),
        ("deposit", {"currency": "", "amount": "1"}, 400, "currency must be"),
        ("withdraw", {"currency": "USD", "amount": "1", "to": "unknown"}, 404, "no such account"),
        ("deposit", {"account_id": "unknown"}, 404, "no such account"),
    ],
)
def test_refused_moves_leave_no_trace(
    simulator: SimulatorProcess,
    account: dict[str, Any],
    what: str,
    body: dict[str, Any],
    status: int,
    message: str,
) -> None:
    response = httpx.post(
        f"{simulator.url}/control/manual/{what}",
        json={"account_id": account["account_id"]} | body,
    )

    assert response.status_code == status
    assert message in response.json()["error"]
    dumped = simulator.dump(account)
    assert dumped["orders"] == dumped["manual_actions"] == []


async def test_manual_actions_are_not_met_by_faults_and_survive_a_kill(tmp_path: Any) -> None:
    with simulator_process(tmp_path) as process:
        account = process.new_account(balances={"BTC": "1"})
        process.post("/control/faults", {"kind": "order_stuck", "seconds": None})
        process.post("/control/faults", {"kind": "maintenance"})
        sold = act(process, account, "orders", product_id="BTC-USD", side="sell", size="0.5")
        before = process.dump(account)

        process.kill()
        process.start()

        assert sold["status"] == "FILLED"
        assert process.dump(account) == before
        assert before["orders"][0]["is_manual"] is True
        httpx.delete(f"{process.url}/control/faults").raise_for_status()  # noqa: ASYNC210
        async with ccxt_client(process.url, account) as client:
            assert (await client.fetch_balance({"v3": True}))["total"]["BTC"] == 0.5
