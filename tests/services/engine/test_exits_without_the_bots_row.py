"""Exits that are asked for while another transaction has the bot's row locked, and who locks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from sqlmodel import select

from models.bots import Bot
from models.connections import Account
from models.trading import Position
from services.trading.signal_exits import decide_exits
from tests.support.books import assert_in_order
from tests.support.engine import Engine, RunningBot, close
from tests.support.locks import locked_position

pytestmark = pytest.mark.integration


@asynccontextmanager
async def locked_bot(engine: Engine, bot: RunningBot) -> AsyncIterator[None]:
    """As by a decision, a command or a guard whose process froze."""
    async with engine.database.as_system() as session:
        row = select(Bot.id).where(Bot.id == bot.bot_id)
        await session.exec(row.with_for_update(key_share=True))
        yield


async def by_user(engine: Engine, bot: RunningBot, position: Position) -> None:
    await engine.trading.close_position(bot.trader.principal, position.id)


async def by_user_in_part(engine: Engine, bot: RunningBot, position: Position) -> None:
    await engine.trading.close_position(bot.trader.principal, position.id, percent=Decimal(50))
    await engine.trading.close_position(bot.trader.principal, position.id, quantity=Decimal("1.5"))


async def by_signal(engine: Engine, bot: RunningBot, _position: Position) -> None:
    async with engine.database.for_user(bot.trader.user_id) as session:
        exits = await decide_exits(session, bot.trader.user_id, engine.wall.now(), [close()])
    assert exits.bot_id == bot.bot_id


WAYS: Mapping[str, Callable[[Engine, RunningBot, Position], Awaitable[None]]] = {
    way.__name__: way for way in (by_user, by_user_in_part, by_signal)
}


@pytest.mark.parametrize("way", list(WAYS))
async def test_a_position_is_closed_though_the_bots_row_is_locked(
    engine: Engine, bot: RunningBot, way: str
) -> None:
    position = await engine.open_position(bot)

    async with locked_bot(engine, bot):
        await WAYS[way](engine, bot, position)
        due = await engine.exit_service.make_due(bot.ref)
        for task in due.orders:
            await engine.place(bot, task.order_id)

    assert (await engine.carry_out(bot)).recheck_seconds is None
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


async def test_a_stop_is_moved_though_the_bots_row_is_locked(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot)

    async with locked_bot(engine, bot):
        await engine.trading.modify_position(
            bot.trader.principal, position.id, stop_loss=Decimal(98), take_profit=None
        )

    assert (await engine.triggers(position))["stop"].price == 98


async def test_a_signal_that_closes_has_the_bot_woken(engine: Engine, bot: RunningBot) -> None:
    """Its workflow may not hear of the alert; the sweeper sees that it has news."""
    position = await engine.open_position(bot)
    before = (await engine.bot(bot)).revision

    await by_signal(engine, bot, position)

    assert (await engine.bot(bot)).revision == before + 1


async def test_a_guard_keeps_no_command_waiting_for_a_position_that_is_locked(
    engine: Engine, bot: RunningBot
) -> None:
    """It has the bot's row meanwhile: it leaves that position to its next look."""
    locked = await engine.open_position(bot, "ETH-USD")
    position = await engine.open_position(bot)
    await engine.fire(locked, "stop")
    await engine.fire(position, "stop")

    async with locked_position(engine.database, locked):
        view = await engine.guard(bot)
        assert [(task.symbol, task.leg) for task in view.orders] == [("BTC-USD", "stop")]
        assert (view.finished, view.recheck_seconds) == (False, 1.0)

    assert (await engine.carry_out(bot)).recheck_seconds is None
    assert (await engine.position(bot, "ETH-USD")).exit_reason == "stop_loss"
    await assert_in_order(engine, bot)


async def test_a_guard_waits_for_no_account_that_is_locked(engine: Engine, bot: RunningBot) -> None:
    """A comparison of balances has it, and then locks positions: no deadlock of the two."""
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")

    async with engine.database.as_system() as session:
        account = select(Account.id).where(Account.id == bot.trader.account_id)
        await session.exec(account.with_for_update())
        view = await engine.guard(bot)
        await session.exec(select(Position.id).where(Position.id == position.id).with_for_update())
    assert (view.orders, view.recheck_seconds) == ((), 1.0)

    assert [task.leg for task in (await engine.guard(bot)).orders] == ["stop"]
