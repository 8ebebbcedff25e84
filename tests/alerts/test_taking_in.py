"""How long taking an alert in lasts, and in which order alerts of one key are taken in."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from services.alerts import exit_decisions
from services.alerts.exit_decisions import SECONDS_MAX, ExitDecisions
from services.alerts.intake import Receipt
from services.trading import signal_exits
from tests.alerts.harness import Desk
from tests.support.engine import RunningBot
from tests.support.locks import locked_position

pytestmark = pytest.mark.integration

SENDERS_SECONDS = 3.0
"""TradingView waits so long for an answer, and sends nothing twice."""

MANY = 12


async def timed(desk: Desk, key: str, **fields: Any) -> float:
    """The seconds that an answer took."""
    began = time.monotonic()
    await desk.send(key, **fields)
    return time.monotonic() - began


async def states(desk: Desk, receipts: list[Receipt]) -> list[tuple[str, str | None]]:
    rows = [await desk.alert(receipt.alert_id) for receipt in receipts]
    return [(row["state"], row["reason"]) for row in rows]


async def test_closes_that_wait_for_a_row_delay_no_answer_of_their_key(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    position = await desk.engine.open_position(bot)
    desk.intake._exits = ExitDecisions(
        desk.engine.database, desk.engine.wall, seconds_max=SECONDS_MAX
    )

    async with locked_position(desk.engine.database, position):
        closes = [timed(desk, key, action="close", id=str(number)) for number in range(MANY)]
        entry = timed(desk, key, action="buy", symbol="ETH-USD")
        took = await asyncio.gather(*closes, entry)

    assert max(took) < SENDERS_SECONDS
    assert took[-1] < 1.5, "an entry waits for no row of an exit"
    for _ in range(50):
        await desk.following.decide_exits(bot.trader.user_id)  # or what tries again is about to
        found = Counter(row["state"] for row in await desk.alerts(bot.trader))
        if found["accepted"] == MANY:
            break
        await asyncio.sleep(0.1)
    assert found == {"accepted": MANY, "processing": 1}


async def test_a_burst_of_closes_is_decided_in_few_transactions(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)
    decided = []
    decide = signal_exits.decide_exits

    async def counting(*arguments: Any) -> Any:
        exits = await decide(*arguments)
        decided.append(exits.decided)
        return exits

    monkeypatch.setattr(exit_decisions, "decide_exits", counting)
    receipts = await asyncio.gather(
        *(desk.send(key, action="close", id=str(number)) for number in range(MANY))
    )

    assert await states(desk, receipts) == [("accepted", "signal_close")] * MANY
    assert sum(decided) == MANY
    assert len(decided) < MANY / 2


async def test_alerts_of_a_key_are_stored_in_the_order_of_their_arrival(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A buy whose key takes long to be found, then the close of what it would buy."""
    bot, key = await desk.bot_with_key()
    look_up, is_first = desk.intake._look_up, True

    async def slow(values: Mapping[str, Any]) -> Any:
        nonlocal is_first
        if is_first:
            is_first = False
            await asyncio.sleep(0.3)
        return await look_up(values)

    monkeypatch.setattr(desk.intake, "_look_up", slow)
    buying = asyncio.create_task(desk.send(key, action="buy"))
    await asyncio.sleep(0.05)
    desk.engine.wall.advance(0.01)
    closing = asyncio.create_task(desk.send(key, action="close"))
    receipts = [await buying, await closing]

    assert await states(desk, receipts) == [("refused", "overtaken"), ("refused", "no_position")]
    assert (await desk.engine.hunt(bot)).orders == ()


@pytest.fixture
async def undecided(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> tuple[RunningBot, str, Receipt]:
    """A bot with a position, its key, and a close that could not be decided."""
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)
    with monkeypatch.context() as patch:
        patch.setattr(exit_decisions, "decide_exits", _fail)
        receipt = await desk.send(key, action="close")
    assert await states(desk, [receipt]) == [("processing", None)]
    return bot, key, receipt


async def _fail(*_: Any) -> None:
    raise ConnectionError


async def test_a_repeat_of_a_close_that_nobody_decided_has_it_decided(
    desk: Desk, undecided: tuple[RunningBot, str, Receipt]
) -> None:
    """The process that stored it died before it came to that."""
    _bot, key, first = undecided

    again = await desk.send(key, action="close")

    assert again.is_duplicate
    assert await states(desk, [first]) == [("accepted", "signal_close")]


async def test_an_exit_that_cannot_be_decided_is_stored_and_answered(
    desk: Desk, undecided: tuple[RunningBot, str, Receipt]
) -> None:
    bot, _key, receipt = undecided

    assert desk.dispatch.taken[-1].bot_id == bot.bot_id
    await desk.following.decide_exits(bot.trader.user_id)
    assert await states(desk, [receipt]) == [("accepted", "signal_close")]
