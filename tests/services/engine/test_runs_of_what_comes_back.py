"""Which run an entry belongs to that was taken for lost and came back, and so whether it leaves."""

from __future__ import annotations

from uuid import UUID

import pytest

from domain.markets import Realm
from services.trading import commands
from services.trading.exit_dispatch import ExitDispatch
from tests.support.engine import GRACE, Engine, RunningBot
from tests.support.lost_entries import lose_entry

pytestmark = pytest.mark.integration


@pytest.fixture
async def bot(engine: Engine) -> RunningBot:
    return await engine.start_bot()


@pytest.fixture(autouse=True)
def answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "FLAT_SECONDS_MAX", 0.0)


async def poll(engine: Engine) -> None:
    await ExitDispatch(
        engine.database, engine.workflows, engine.venue, realm=Realm.SIMULATED
    ).poll()


async def start_again(engine: Engine, bot: RunningBot) -> RunningBot:
    await engine.trading.start(
        bot.trader.principal, broker="coinbase", paper_trading=True, risk_profile="medium"
    )
    run_id = (await engine.bot(bot)).current_run_id
    assert run_id is not None
    again = RunningBot(bot.trader, bot.bot_id, run_id)
    await engine.guard(again)
    return again


async def come_back(engine: Engine, bot: RunningBot, order_id: UUID) -> None:
    engine.wall.advance(GRACE.total_seconds() * 4)
    engine.venue.market.now += GRACE * 4
    await engine.settling.settle(bot.trader.user_id, order_id, doubt_the_end=True)


async def test_a_stop_of_an_earlier_run_closes_no_position_of_a_later_start(
    engine: Engine, bot: RunningBot
) -> None:
    """Run 1 is stopped with its positions closed, one of which is still leaving. Run 2 is started
    and buys; its entry is taken for absent and comes back. Nobody ever asked that to be closed."""
    await engine.open_position(bot, "ETH-USD")
    await engine.trading.stop(bot.trader.principal, close_positions=True, emergency=False)
    assert (await engine.position(bot, "ETH-USD")).state == "open"  # its exit takes its time
    again = await start_again(engine, bot)
    lost = await lose_entry(engine, again)

    await come_back(engine, again, lost)
    await poll(engine)

    position = await engine.position(again)
    assert position.state == "open"
    assert (position.run_id, position.close_requested) == (again.run_id, None)


async def test_a_stop_that_keeps_positions_keeps_what_comes_back_beside_one_that_lingers(
    engine: Engine, bot: RunningBot
) -> None:
    """Run 1 was stopped with its positions closed; one cannot be sold (delisted, say) and lingers.
    Run 2 is stopped without closing. What comes back of it is run 1's, and is sold."""
    await engine.open_position(bot, "ETH-USD")
    await engine.trading.stop(bot.trader.principal, close_positions=True, emergency=False)
    again = await start_again(engine, bot)
    lost = await lose_entry(engine, again)
    await engine.trading.stop(bot.trader.principal, close_positions=False, emergency=False)
    await engine.guard(again)

    await come_back(engine, again, lost)
    await poll(engine)
    await engine.carry_out(again)

    position = await engine.position(again)
    assert (position.state, position.exit_reason) == ("open", None)


async def test_what_a_stop_was_to_close_is_closed_though_the_bot_was_started_again(
    engine: Engine, bot: RunningBot
) -> None:
    """The entry was taken for lost before the stop and turns up after the next start: before that
    start it leaves (test_what_comes_back_after_a_stop_that_closes_positions_leaves_too)."""
    await engine.open_position(bot, "ETH-USD")
    lost = await lose_entry(engine, bot)
    await engine.trading.stop(bot.trader.principal, close_positions=True, emergency=False)
    assert (await engine.carry_out(bot)).finished
    assert (await engine.run(bot)).state == "ended"
    again = await start_again(engine, bot)

    await come_back(engine, again, lost)
    await poll(engine)

    assert (await engine.position(bot)).close_requested == "bot_stopped"
