"""Bots that are woken again while their exits are under way, also without a workflow service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest

from domain.orders import Side
from domain.ports import WorkflowServiceUnavailable
from services.trading import prompt_exits
from services.trading.prompt_exits import PromptExits
from tests.support.books import assert_in_order
from tests.support.engine import Engine, FakeWorkflows, RunningBot
from tests.support.fake_venue import Answer

pytestmark = pytest.mark.integration

SECONDS = 30.0


class AwayWorkflows(FakeWorkflows):
    """A workflow service that does not answer: each call takes until its deadline."""

    asked = 0

    async def wake_exits(self, user_id: UUID, bot_id: UUID) -> None:
        self.asked += 1
        await asyncio.sleep(SECONDS)
        raise WorkflowServiceUnavailable


async def wake(prompt: PromptExits, bot: RunningBot) -> None:
    async with asyncio.timeout(1):
        await prompt.wake_exits(bot.trader.user_id, bot.bot_id)


async def test_a_send_that_hangs_keeps_no_exit_that_becomes_due_meanwhile(engine: Engine) -> None:
    bot, is_over = await leaving_bot(engine), asyncio.Event()
    engine.workflows.is_down = True
    prompt = prompt_of(engine)

    async def hang() -> None:
        await is_over.wait()

    engine.account(bot).meanwhile = hang
    await wake(prompt, bot)
    await until(lambda: sells(engine, bot, "BTC-USD") == 1)
    await engine.fire(await engine.open_position(bot, "ETH-USD"), "stop")
    for _ in range(3):
        await wake(prompt, bot)
    await until(lambda: sells(engine, bot, "ETH-USD") == 1)
    is_over.set()
    await prompt.close(SECONDS)

    assert (sells(engine, bot, "BTC-USD"), sells(engine, bot, "ETH-USD")) == (1, 1)
    await assert_in_order(engine, bot)


async def test_a_workflow_service_that_does_not_answer_keeps_no_other_exit(engine: Engine) -> None:
    bot, workflows = await leaving_bot(engine), AwayWorkflows()
    engine.account(bot).answers.append(Answer.TIME_OUT)
    prompt = PromptExits(workflows, engine.exit_service, engine.placing, engine.settling)

    await wake(prompt, bot)
    await until(lambda: workflows.asked > 0)
    await engine.fire(await engine.open_position(bot, "ETH-USD"), "stop")
    await wake(prompt, bot)
    await until(lambda: sells(engine, bot, "ETH-USD") == 1)
    await prompt.close(0)


async def test_a_bot_that_pauses_is_looked_at_when_it_is_woken(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_exits, "RETRY_SECONDS_FIRST", 10 * SECONDS)
    bot = await leaving_bot(engine)
    engine.account(bot).answers.append(Answer.TIME_OUT)
    engine.workflows.is_down = True
    prompt = prompt_of(engine)

    await wake(prompt, bot)
    await until(lambda: sells(engine, bot, "BTC-USD") == 1)
    await asyncio.sleep(0.2)  # it pauses
    await engine.fire(await engine.open_position(bot, "ETH-USD"), "stop")
    await wake(prompt, bot)
    await until(lambda: sells(engine, bot, "ETH-USD") == 1)
    await prompt.close(SECONDS)

    assert sells(engine, bot, "BTC-USD") == 1


async def test_a_bot_that_is_woken_while_its_task_ends_is_looked_at(engine: Engine) -> None:
    bot, prompt = await leaving_bot(engine), prompt_of(engine)
    await wake(prompt, bot)
    (bot_task,) = prompt._bot_tasks.values()
    await asyncio.wait({bot_task.task}, timeout=SECONDS)
    prompt._bot_tasks[bot.trader.user_id, bot.bot_id] = bot_task  # as before its end was noted
    await engine.fire(await engine.open_position(bot, "ETH-USD"), "stop")

    await wake(prompt, bot)
    prompt._note_end((bot.trader.user_id, bot.bot_id), bot_task, bot_task.task)

    await until(lambda: sells(engine, bot, "ETH-USD") == 1)
    await prompt.close(SECONDS)


async def test_what_hangs_for_long_is_the_workflows_too(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_exits, "HANGING_SECONDS", 0.0)
    bot, is_over = await leaving_bot(engine), asyncio.Event()
    prompt = prompt_of(engine)

    async def hang() -> None:
        await is_over.wait()

    engine.account(bot).meanwhile = hang
    await wake(prompt, bot)
    await until(lambda: sells(engine, bot, "BTC-USD") == 1)
    await wake(prompt, bot)
    await until(lambda: bot.bot_id in engine.workflows.woken)
    is_over.set()
    await prompt.close(SECONDS)


def prompt_of(engine: Engine) -> PromptExits:
    return PromptExits(engine.workflows, engine.exit_service, engine.placing, engine.settling)


async def leaving_bot(engine: Engine) -> RunningBot:
    bot = await engine.start_bot()
    await engine.fire(await engine.open_position(bot), "stop")
    return bot


def sells(engine: Engine, bot: RunningBot, symbol: str) -> int:
    return sum(
        request.side is Side.SELL and request.symbol == symbol
        for request in engine.account(bot).sends
    )


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS / 2):
        while not is_so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
