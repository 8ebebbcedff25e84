"""Kill -9 of every process in turn, while ten bots trade: nothing doubled, nothing lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError

from domain.contracts.bots import (
    BOT_WORKFLOW,
    BotInput,
    BotRef,
    BotSignal,
    SignalAction,
    TradeSignal,
    bot_workflow_id,
)
from tests.support.up import Person, RunningStack, eventually, running_stack

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.timeout(600)]

VICTIMS = ("worker", "api", "temporal", "postgres", "simulator")
PAIRS = ("BTC-USD", "ETH-USD")
SIGNALS_PER_SECOND = 2.0
RECOVERY_SECONDS = 30.0
BOTS_LIVE, BOTS_PAPER = 6, 4


class Feeder(threading.Thread):
    """Two trade signals a second to random bots; one that Temporal did not take is sent again."""

    def __init__(self, stack: RunningStack, bots: list[tuple[uuid.UUID, uuid.UUID]]) -> None:
        super().__init__(daemon=True)
        self._stack = stack
        self._bots = bots
        self._ended = threading.Event()
        self.sent: dict[uuid.UUID, uuid.UUID] = {}

    def run(self) -> None:
        asyncio.run(self._feed())

    def end(self) -> None:
        self._ended.set()
        self.join(60)

    async def _feed(self) -> None:
        number = 0
        while not self._ended.is_set():
            user_id, bot_id = self._bots[number % len(self._bots)]
            turn = number // len(self._bots)
            message = TradeSignal(
                signal_id=uuid.uuid4(),
                action=SignalAction.BUY if turn % 2 == 0 else SignalAction.CLOSE,
                symbol=PAIRS[(turn // 2) % len(PAIRS)],
            )
            await self._send(user_id, bot_id, message)
            self.sent[message.signal_id] = bot_id
            number += 1
            await asyncio.sleep(1 / SIGNALS_PER_SECOND)

    async def _send(self, user_id: uuid.UUID, bot_id: uuid.UUID, message: TradeSignal) -> None:
        # The same signal id again and again until it is taken: the bot acts on it once.
        while True:
            try:
                client = await Client.connect(
                    self._stack.run["temporal_address"], data_converter=pydantic_data_converter
                )
                await client.start_workflow(
                    BOT_WORKFLOW,
                    BotInput(bot=BotRef(user_id=user_id, bot_id=bot_id)),
                    id=bot_workflow_id(bot_id),
                    task_queue="nija",
                    start_signal=BotSignal.TRADE_SIGNAL.value,
                    start_signal_args=[message],
                )
            except (RPCError, RuntimeError, OSError, json.JSONDecodeError):
                await asyncio.sleep(0.2)
            else:
                return


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    with running_stack(
        NIJA_REPLAY_SPEED="10",
        NIJA_SIMULATOR_FEE_TIER="vip",
        NIJA_RECONCILE_INTERVAL_SECONDS="5",
        NIJA_SWEEP_INTERVAL_SECONDS="2",
    ) as running:
        yield running


def rows(stack: RunningStack, sql: str, *params: Any) -> list[dict[str, Any]]:
    url = stack.run["system_database_url"]
    with psycopg.connect(url, row_factory=dict_row, connect_timeout=5) as connection:
        return connection.execute(sql, params).fetchall()


def start_bots(stack: RunningStack) -> tuple[list[Person], dict[str, str]]:
    """Ten bots, paper and live; every live one on a venue account of its own."""
    people, keys = [], {}
    for number in range(BOTS_LIVE + BOTS_PAPER):
        person = stack.register(f"crash{number}@nija.example")
        is_live = number < BOTS_LIVE
        if is_live:
            account = stack.open_venue_account()
            stack.connect(person, account)
            keys[person.user_id] = account["api_key"]
        stack.data(
            "POST",
            "/trading/start",
            person,
            {"broker": "coinbase", "paper_trading": not is_live, "risk_profile": "medium"},
        )
        people.append(person)
    return people, keys


def test_every_process_may_die(stack: RunningStack) -> None:
    people, keys = start_bots(stack)
    bots = [(row["user_id"], row["id"]) for row in rows(stack, "SELECT id, user_id FROM bots")]
    assert len(bots) == len(people)
    eventually(lambda: running(stack) == len(people), what="all bots running")
    feeder = Feeder(stack, bots)
    feeder.start()
    time.sleep(5)
    recoveries: dict[str, float] = {}

    for victim in VICTIMS:
        before = stack.run["pids"][victim]
        os.kill(before, signal.SIGKILL)
        eventually(
            lambda before=before, victim=victim: pid_of(stack, victim) not in {None, before},
            what=f"a new {victim}",
        )
        eventually(stack.is_ready, what=f"ready after {victim}")
        restarted = time.monotonic()
        known = signals_decided(stack)
        eventually(
            lambda known=known: all_progressed(stack, bots, known),
            seconds=RECOVERY_SECONDS,
            what=f"every bot going on after {victim} died",
        )
        recoveries[victim] = time.monotonic() - restarted

    assert max(recoveries.values()) < RECOVERY_SECONDS, recoveries
    feeder.end()
    eventually(lambda: quiet(stack, feeder), seconds=60, what="quiet")
    assert_each_signal_decided_once(stack, feeder)
    assert_much_happened(stack)
    for user_id, key in keys.items():
        assert_same_books(stack, user_id, key)
    assert_paper_books(stack)


def running(stack: RunningStack) -> int:
    found: int = rows(stack, "SELECT count(*) AS n FROM bots WHERE state = 'running'")[0]["n"]
    return found


def pid_of(stack: RunningStack, name: str) -> int | None:
    try:
        pid: int | None = stack.run["pids"].get(name)
    except (OSError, json.JSONDecodeError):
        return None
    return pid


def signals_decided(stack: RunningStack) -> Mapping[uuid.UUID, int]:
    found = rows(
        stack,
        "SELECT bot_id, count(*) AS n FROM decisions WHERE cause LIKE 'signal:%%' GROUP BY bot_id",
    )
    return {row["bot_id"]: row["n"] for row in found}


def all_progressed(
    stack: RunningStack,
    bots: list[tuple[uuid.UUID, uuid.UUID]],
    known: Mapping[uuid.UUID, int],
) -> bool:
    try:
        now = signals_decided(stack)
    except psycopg.Error:
        return False
    return all(now.get(bot_id, 0) > known.get(bot_id, 0) for _user_id, bot_id in bots)


def quiet(stack: RunningStack, feeder: Feeder) -> bool:
    decided = rows(stack, "SELECT count(*) AS n FROM decisions WHERE cause LIKE 'signal:%%'")
    live = rows(stack, "SELECT count(*) AS n FROM orders WHERE settled_at IS NULL")
    fired = rows(stack, "SELECT count(*) AS n FROM triggers WHERE state = 'fired'")
    leaving = rows(
        stack,
        "SELECT count(*) AS n FROM positions WHERE state = 'open' AND close_requested IS NOT NULL",
    )
    return bool(
        decided[0]["n"] >= len(feeder.sent)
        and not live[0]["n"]
        and not fired[0]["n"]
        and not leaving[0]["n"]
    )


def assert_each_signal_decided_once(stack: RunningStack, feeder: Feeder) -> None:
    decided = rows(stack, "SELECT cause, bot_id FROM decisions WHERE cause LIKE 'signal:%%'")
    assert sorted((row["cause"], str(row["bot_id"])) for row in decided) == sorted(
        (f"signal:{signal_id}", str(bot_id)) for signal_id, bot_id in feeder.sent.items()
    )


def assert_much_happened(stack: RunningStack) -> None:
    """The books are worth comparing only if there is something in them, in both modes."""
    filled = rows(
        stack,
        "SELECT a.mode, count(*) AS n FROM fills f JOIN accounts a ON a.id = f.account_id"
        " GROUP BY a.mode",
    )
    assert all(row["n"] >= 15 for row in filled)
    assert {row["mode"] for row in filled} == {"live", "paper"}


def assert_same_books(stack: RunningStack, user_id: str, api_key: str) -> None:
    """Orders, fills and balances of a live account equal the simulator's own."""
    owner = uuid.UUID(user_id.removeprefix("usr_"))
    books = stack.dump(api_key)
    (account,) = books["accounts"]
    ours = rows(
        stack,
        "SELECT o.client_order_id, o.venue_order_id, o.state, o.filled_quantity FROM orders o"
        " WHERE o.user_id = %s AND o.state NOT IN ('denied', 'absent', 'refused')",
        owner,
    )
    theirs = account["orders"]
    assert {row["venue_order_id"] for row in ours} == {order["order_id"] for order in theirs}
    assert len(theirs) == len({order["client_order_id"] for order in theirs})
    filled = {order["order_id"]: Decimal(order["filled_size"]) for order in theirs}
    assert {row["venue_order_id"]: row["filled_quantity"] for row in ours} == filled

    our_fills = rows(
        stack, "SELECT venue_fill_id, price, quantity, fee FROM fills WHERE user_id = %s", owner
    )
    assert {
        row["venue_fill_id"]: (row["price"], row["quantity"], row["fee"]) for row in our_fills
    } == {
        fill["entry_id"]: (Decimal(fill["price"]), Decimal(fill["size"]), Decimal(fill["fee"]))
        for fill in account["fills"]
    }

    our_balances = rows(
        stack,
        "SELECT b.currency, b.total FROM balances b JOIN accounts a ON a.id = b.account_id"
        " WHERE b.user_id = %s AND a.mode = 'live'",
        owner,
    )
    assert {row["currency"]: row["total"] for row in our_balances if row["total"]} == {
        currency: Decimal(balance["total"])
        for currency, balance in account["balances"].items()
        if Decimal(balance["total"])
    }


def assert_paper_books(stack: RunningStack) -> None:
    """What we booked of paper accounts equals the paper venue's own books."""
    booked = "SELECT account_id, venue_fill_id, quantity FROM fills f JOIN accounts a"
    ours = rows(
        stack,
        f"{booked} ON a.id = f.account_id WHERE a.mode = 'paper'",
    )
    theirs = rows(stack, "SELECT account_id, id::text AS venue_fill_id, quantity FROM paper_fills")
    assert sorted(map(str, (tuple(row.values()) for row in ours))) == sorted(
        map(str, (tuple(row.values()) for row in theirs))
    )
    differing = rows(
        stack,
        "SELECT p.account_id FROM paper_balances p JOIN balances b"
        " USING (account_id, currency) WHERE p.total <> b.total",
    )
    assert differing == []
