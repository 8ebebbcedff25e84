"""Exits while no workflow can be told of what is left: the exits worker goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from domain.markets import Realm
from domain.orders import OrderReport, Side
from services.trading import prompt_exits
from services.trading.exit_dispatch import ExitDispatch
from services.trading.prompt_exits import PromptExits
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import Answer, FakeAccount

pytestmark = pytest.mark.integration

SECONDS = 30.0


async def test_the_rest_of_an_exit_waits_for_no_other_send(alone: Engine) -> None:
    bot = await alone.start_bot()
    await alone.fire(await alone.open_position(bot, "BTC-USD"), "stop")
    await alone.fire(await alone.open_position(bot, "ETH-USD"), "stop")
    account, is_over = alone.account(bot), asyncio.Event()
    alone.workflows.is_down = True
    prompt = prompt_of(alone)

    async def hang() -> None:
        await is_over.wait()

    account.meanwhile = hang  # the first send gets no answer
    account.answers.extend([Answer.FILL, Answer.FILL_PART])
    async with polling(alone, prompt):
        await until(lambda: len(sells(alone, bot)) == 2)
        while not await alone.rows(  # noqa: ASYNC110 - nothing tells: the part is booked
            "SELECT 1 FROM orders WHERE bot_id = :id AND leg = 'stop' AND state = 'cancelled'",
            id=bot.bot_id,
        ):
            await asyncio.sleep(0.05)
        alone.wall.advance(5)  # and the rest is due
        try:
            await until(lambda: len(sells(alone, bot)) == 3, seconds=5)
        finally:
            is_over.set()
            await prompt.close(SECONDS)


async def test_an_exit_without_an_answer_is_looked_up_and_sent_again(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_exits, "RETRY_SECONDS_MAX", 0.5)
    bot = await alone.start_bot()
    await alone.fire(await alone.open_position(bot, "BTC-USD"), "stop")
    account = alone.account(bot)
    account.repeats_known_orders = True
    account.answers.append(Answer.TIME_OUT)  # it never arrived
    alone.workflows.is_down = True
    prompt = prompt_of(alone)

    await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
    await until(lambda: len(sells(alone, bot)) == 1)
    await asyncio.sleep(0.5)
    pass_time(alone, 20)  # one that is not listed is sent again after 5 s
    try:
        async with polling(alone, prompt):
            await until(lambda: len(sells(alone, bot)) == 2)
    finally:
        await prompt.close(SECONDS)

    assert (await alone.position(bot)).state == "closed"


async def test_an_order_without_an_end_is_looked_up_at_growing_pauses(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_exits, "RETRY_SECONDS_FIRST", 0.2)
    bot = await alone.start_bot()
    await alone.fire(await alone.open_position(bot, "BTC-USD"), "stop")
    alone.account(bot).answers.append(Answer.TIME_OUT)
    alone.workflows.is_down = True
    looks, find = 0, FakeAccount.find_order

    async def count(self: FakeAccount, *args: object, **options: object) -> OrderReport | None:
        nonlocal looks
        looks += 1
        return await find(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeAccount, "find_order", count)
    prompt = prompt_of(alone)
    await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
    await until(lambda: looks >= 2)
    await asyncio.sleep(3.0)
    await prompt.close(0)

    assert looks <= 8


async def test_refused_keys_are_not_asked_with_at_every_look(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_exits, "RETRY_SECONDS_FIRST", 0.05)
    monkeypatch.setattr(prompt_exits, "RETRY_SECONDS_MAX", 0.05)
    bot = await alone.start_bot()
    await alone.fire(await alone.open_position(bot, "BTC-USD"), "stop")
    alone.account(bot).answers.append(Answer.TIME_OUT)
    alone.workflows.is_down = True
    prompt = prompt_of(alone)
    await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
    await until(lambda: len(sells(alone, bot)) == 1)
    asked, account_of = 0, alone.venue.account

    async def refuse(*args: object) -> object:
        nonlocal asked
        asked += 1
        alone.venue.refuses_keys = True
        return await account_of(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(alone.venue, "account", refuse)
    await until(lambda: asked >= 1)
    await asyncio.sleep(1.0)
    await prompt.close(0)

    assert asked <= 3


async def test_accounts_that_answer_no_look_up_keep_no_others_exit(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_exits, "LOOK_UPS_AT_ONCE", 1)
    monkeypatch.setattr(prompt_exits, "LOOK_UP_SECONDS_MAX", SECONDS)
    silent, other = [await alone.start_bot() for _ in range(2)], await alone.start_bot()
    alone.workflows.is_down = True
    prompt = prompt_of(alone)
    for bot in (*silent, other):
        await alone.fire(await alone.open_position(bot), "stop")
    for bot in silent:
        alone.account(bot).answers.append(Answer.REST)
        alone.account(bot).hangs_at_look_ups = True
        await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
    await until(lambda: all(alone.account(bot).look_ups for bot in silent))
    await asyncio.sleep(3.0)  # they were accepted, and are looked up

    alone.account(other).answers.append(Answer.FILL_BUT_TIME_OUT)
    await prompt.wake_exits(other.trader.user_id, other.bot_id)
    try:
        async with asyncio.timeout(10), polling(alone, prompt):
            while (await alone.position(other)).state != "closed":  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.1)
    finally:
        await prompt.close(0)


async def test_the_workflow_goes_on_once_it_can_be_told(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_exits, "RETRY_SECONDS_FIRST", 0.05)
    bot = await alone.start_bot()
    await alone.fire(await alone.open_position(bot, "BTC-USD"), "stop")
    alone.account(bot).answers.append(Answer.TIME_OUT)
    alone.workflows.is_down = True
    prompt = prompt_of(alone)
    await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
    await until(lambda: len(sells(alone, bot)) == 1)

    alone.workflows.is_down = False
    await until(lambda: bot.bot_id in alone.workflows.woken)
    await until(lambda: not prompt._bot_tasks)
    await prompt.close(SECONDS)

    assert len(sells(alone, bot)) == 1


def prompt_of(engine: Engine) -> PromptExits:
    return PromptExits(engine.workflows, engine.exit_service, engine.placing, engine.settling)


def pass_time(engine: Engine, seconds: float) -> None:
    engine.wall.advance(seconds)
    engine.venue.market.now += timedelta(seconds=seconds)


@asynccontextmanager
async def polling(engine: Engine, prompt: PromptExits) -> AsyncIterator[None]:
    """The exits worker's poll, as it runs beside."""
    dispatch = ExitDispatch(engine.database, prompt, engine.venue, realm=Realm.SIMULATED)
    task = asyncio.create_task(dispatch.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def sells(engine: Engine, bot: RunningBot) -> list[str]:
    sends = engine.account(bot).sends
    return [request.symbol for request in sends if request.side is Side.SELL]


async def until(is_so: Callable[[], bool], seconds: float = SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
