"""The sweep finds alerts that nobody is at: each user's, however many another one has."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import col, select

from models.trading import Position
from services.alerts.sweeping import AT_ONCE
from tests.alerts.harness import Desk
from tests.support.engine import RunningBot

pytestmark = pytest.mark.integration

FLOOD = AT_ONCE + 100
ROUND_SECONDS = 0.5


async def flood(desk: Desk, number: int, action: str = "close", state: str = "accepted") -> UUID:
    """A user with alerts that are open, newer than anybody else's."""
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)
    first = await desk.send(key, action="close")
    await desk.engine.execute(
        "INSERT INTO alerts (id, user_id, key_id, bot_id, state, action, symbol, trade_id,"
        " received_at, expires_at)"
        " SELECT gen_random_uuid(), user_id, key_id, bot_id, :state, :action, symbol,"
        " trade_id, received_at + interval '1 second', expires_at + interval '1 day'"
        " FROM alerts, generate_series(1, :more) WHERE id = :id",
        state=state,
        action=action,
        more=number - 1,
        id=first.alert_id,
    )
    return bot.trader.user_id


async def waiting_close(desk: Desk) -> tuple[RunningBot, UUID]:
    """A close that was stored, and whose process died before it was decided."""
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)
    receipt = await desk.send(key, action="close")
    await desk.engine.execute(
        "UPDATE alerts SET state = 'processing', decided_at = NULL WHERE id = :id",
        id=receipt.alert_id,
    )
    await desk.engine.execute(
        "DELETE FROM decisions WHERE cause = :cause", cause=f"signal:{receipt.alert_id}"
    )
    return bot, receipt.alert_id


async def test_a_flood_of_one_users_alerts_keeps_no_other_from_being_followed(
    alone: Desk,
) -> None:
    _bot, key = await alone.bot_with_key()
    others = await alone.send(key)
    await alone.engine.execute("UPDATE alerts SET state = 'accepted'")
    alone.engine.wall.advance(1)
    await flood(alone, FLOOD)
    alone.engine.wall.advance(70)

    await alone.sweep.sweep()

    assert others.alert_id in alone.workflows.followed
    assert len(alone.workflows.followed) == AT_ONCE


async def test_rounds_together_follow_every_alert(alone: Desk) -> None:
    for number in (FLOOD, 3):
        await flood(alone, number)
    alone.engine.wall.advance(70)

    for _ in range(2):
        await alone.sweep.sweep()

    assert len(set(alone.workflows.followed)) == FLOOD + 3


async def test_a_round_that_is_cut_off_goes_on_with_the_others(
    alone: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workflow service is slow: a round takes a few alerts only."""
    users = [await flood(alone, 20) for _ in range(6)]
    alone.engine.wall.advance(70)
    followed: Counter[UUID] = Counter()

    async def slow(user_id: UUID, _alert_id: UUID, **_: Any) -> None:
        followed[user_id] += 1
        await asyncio.sleep(ROUND_SECONDS / 2)

    monkeypatch.setattr(alone.workflows, "follow_alert", slow)
    for _ in range(6):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(ROUND_SECONDS):
                await alone.sweep.sweep()

    assert set(followed) == set(users)
    assert max(followed.values()) - min(followed.values()) <= 1


async def test_rows_that_one_user_keeps_locked_delay_no_other_users_exit(alone: Desk) -> None:
    locked = [await waiting_close(alone) for _ in range(4)]
    _bot, alert_id = await waiting_close(alone)
    alone.engine.wall.advance(6)
    async with alone.engine.database.as_system() as session:
        runs = [it.run_id for it, _ in locked]
        rows = select(Position.id).where(col(Position.run_id).in_(runs))
        await session.exec(rows.with_for_update())
        began = time.monotonic()
        await alone.sweep.sweep()
        seconds = time.monotonic() - began

    assert (await alone.alert(alert_id))["state"] == "accepted"
    assert seconds < 5
