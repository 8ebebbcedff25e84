"""Commands that stop a bot and close its positions, while another transaction has one locked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import pytest

from domain.markets import Realm
from models.trading import Position
from services.trading import commands
from services.trading.exit_dispatch import ExitDispatch
from services.trading.winding_down import lock_bots, wind_down
from tests.support.books import assert_in_order
from tests.support.engine import GRACE, Engine, RunningBot
from tests.support.fake_venue import Answer
from tests.support.locks import locked_position

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "FLAT_SECONDS_MAX", 0.0)  # nobody carries exits out meanwhile


async def by_emergency_stop(engine: Engine, bot: RunningBot) -> None:
    await engine.trading.emergency_stop(bot.trader.principal, reason="a test", close_positions=True)


async def by_stop(engine: Engine, bot: RunningBot) -> None:
    await engine.trading.stop(bot.trader.principal, close_positions=True, emergency=False)


async def by_deletion(engine: Engine, bot: RunningBot) -> None:
    async with engine.database.for_user(bot.trader.user_id) as session:
        for row in await lock_bots(session, bot.trader.user_id):
            await wind_down(session, row, engine.wall.now())


WAYS: Mapping[str, tuple[Callable[[Engine, RunningBot], Awaitable[None]], str, str]] = {
    "emergency_stop": (by_emergency_stop, "emergency_stopped", "emergency_stop"),
    "stop": (by_stop, "stopped", "bot_stopped"),
    "deletion": (by_deletion, "stopped", "bot_stopped"),
}


async def poll(engine: Engine) -> None:
    """One poll of an exits worker that has just started."""
    dispatch = ExitDispatch(engine.database, engine.workflows, engine.venue, realm=Realm.SIMULATED)
    await dispatch.poll()


async def causes(engine: Engine, *positions: Position) -> list[str | None]:
    async with engine.database.as_system() as session:
        return [(await session.get_one(Position, it.id)).close_cause for it in positions]


@pytest.mark.parametrize("way", list(WAYS))
async def test_a_stop_waits_for_no_position_that_is_locked(
    engine: Engine, bot: RunningBot, way: str
) -> None:
    """Entries end and everything else leaves at once; what was locked leaves once it is free."""
    command, state, reason = WAYS[way]
    locked = await engine.open_position(bot, "ETH-USD")
    await engine.open_position(bot)

    async with locked_position(engine.database, locked):
        await command(engine, bot)
        assert (await engine.bot(bot)).state == state
        assert (await engine.run(bot)).state == "exit_only"
        assert (await engine.position(bot)).close_requested == reason
        await poll(engine)
        assert (await engine.position(bot, "ETH-USD")).close_requested is None
    engine.wire()  # the process that took the command is gone
    await poll(engine)

    assert (await engine.carry_out(bot)).finished
    for symbol in ("BTC-USD", "ETH-USD"):
        position = await engine.position(bot, symbol)
        assert (position.state, position.exit_reason) == ("closed", reason)
    await assert_in_order(engine, bot)


async def test_what_a_stop_could_not_ask_yet_is_told_as_leaving(
    engine: Engine, bot: RunningBot
) -> None:
    locked = await engine.open_position(bot, "ETH-USD")

    async with locked_position(engine.database, locked):
        stopped = await engine.trading.emergency_stop(
            bot.trader.principal, reason="a test", close_positions=True
        )

    assert (stopped.positions_closed, stopped.positions_closing) == (0, 1)


async def test_a_second_stop_changes_nothing_of_the_first(engine: Engine, bot: RunningBot) -> None:
    locked = await engine.open_position(bot, "ETH-USD")
    other = await engine.open_position(bot)
    async with locked_position(engine.database, locked):
        await by_stop(engine, bot)
        before = await causes(engine, other)
        await by_emergency_stop(engine, bot)
    await poll(engine)

    assert await causes(engine, other) == before
    assert (await engine.position(bot, "ETH-USD")).close_requested == "bot_stopped"
    found = [*before, *await causes(engine, locked)]
    assert len(set(found)) == 2, "each position has a cause of its own"


async def test_a_stop_that_closes_nothing_asks_nothing_later(
    engine: Engine, bot: RunningBot
) -> None:
    await engine.open_position(bot)
    await engine.trading.stop(bot.trader.principal, close_positions=False, emergency=False)

    await poll(engine)

    assert (await engine.position(bot)).close_requested is None


async def test_what_comes_back_after_a_stop_that_closes_positions_leaves_too(
    engine: Engine, bot: RunningBot
) -> None:
    """The entry was taken for lost before the stop; its run is over when it turns up."""
    await engine.open_position(bot, "ETH-USD")
    lost = await engine.intend_entry(bot)
    engine.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)
    engine.account(bot).listing_delay = GRACE * 4
    await engine.place(bot, lost)
    engine.wall.advance(GRACE.total_seconds())
    engine.venue.market.now += GRACE
    assert (await engine.settle(bot, lost)).state == "absent"
    await by_stop(engine, bot)
    assert (await engine.carry_out(bot)).finished
    assert (await engine.run(bot)).state == "ended"

    engine.wall.advance(GRACE.total_seconds() * 4)
    engine.venue.market.now += GRACE * 4
    await engine.settling.settle(bot.trader.user_id, lost, doubt_the_end=True)
    assert (await engine.position(bot)).state == "open"
    await poll(engine)

    assert (await engine.carry_out(bot)).finished
    position = await engine.position(bot)
    assert (position.state, position.exit_reason) == ("closed", "bot_stopped")
    await assert_in_order(engine, bot)


async def test_a_start_takes_over_nothing_that_is_to_leave(engine: Engine, bot: RunningBot) -> None:
    locked = await engine.open_position(bot)
    await engine.execute("UPDATE positions SET came_back = true WHERE id = :id", id=locked.id)
    async with locked_position(engine.database, locked):
        await by_stop(engine, bot)
    await engine.trading.start(
        bot.trader.principal, broker="coinbase", paper_trading=True, risk_profile="medium"
    )

    await poll(engine)

    assert (await engine.position(bot)).close_requested == "bot_stopped"
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    assert (await engine.bot(bot)).state == "running"
