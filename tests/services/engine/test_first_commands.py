"""The first commands of a user who has no bot yet, several at once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from services.errors import AlreadyRunning, KillSwitchActive
from services.trading.commands import EmergencyResult, StartResult
from tests.support.engine import Engine
from tests.support.traders import Trader, add_trader

pytestmark = pytest.mark.integration

AT_ONCE = 5


async def start(engine: Engine, trader: Trader) -> StartResult:
    return await engine.trading.start(
        trader.principal, broker="coinbase", paper_trading=True, risk_profile="medium"
    )


async def test_of_many_first_starts_one_runs(engine: Engine) -> None:
    trader = await add_trader(engine.database, now=engine.wall.now())

    answers = await asyncio.gather(
        *(start(engine, trader) for _ in range(AT_ONCE)), return_exceptions=True
    )

    assert Counter(map(type, answers)) == {StartResult: 1, AlreadyRunning: AT_ONCE - 1}
    (runs,) = await engine.rows(
        "SELECT count(*) FROM bot_runs WHERE user_id = :user", user=trader.user_id
    )
    assert runs["count"] == 1


async def test_an_emergency_stop_beside_first_starts_holds(engine: Engine) -> None:
    trader = await add_trader(engine.database, now=engine.wall.now())

    stopped, *started = await asyncio.gather(
        engine.trading.emergency_stop(trader.principal, reason="test", close_positions=False),
        *(start(engine, trader) for _ in range(AT_ONCE)),
        return_exceptions=True,
    )

    assert isinstance(stopped, EmergencyResult)
    assert {type(answer) for answer in started} <= {StartResult, AlreadyRunning, KillSwitchActive}
    (bot,) = await engine.rows("SELECT state FROM bots WHERE user_id = :user", user=trader.user_id)
    assert bot["state"] == "emergency_stopped"
    assert not await engine.rows(
        "SELECT 1 FROM bot_runs WHERE user_id = :user AND state = 'entering'", user=trader.user_id
    )
