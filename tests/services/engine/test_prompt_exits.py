"""Exits that the exits worker carries out itself: sent once, and what is left is the workflow's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlmodel import select
from structlog.testing import capture_logs

from domain.markets import Mode
from domain.orders import Side
from domain.ports import AccountRef, VenueAccount
from models.connections import Account
from models.trading import Position
from services.database import LOCK_TIMEOUT_MS
from services.orders import settling
from services.trading import exit_slots, prompt_exits
from services.trading.prompt_exits import PromptExits
from tests.support.books import assert_in_order
from tests.support.engine import GRACE, Engine, RunningBot
from tests.support.fake_venue import Answer

pytestmark = pytest.mark.integration

STEPS_MAX = 60
SECONDS = 30.0
ANSWERS = [answer for answer in Answer if answer is not Answer.REST]  # market orders


def prompt_of(engine: Engine) -> PromptExits:
    return PromptExits(engine.workflows, engine.exit_service, engine.placing, engine.settling)


async def carried_out(prompt: PromptExits, *bots: RunningBot) -> None:
    """Wake bots' exits, and wait until nothing is under way any more."""
    for bot in bots:
        await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
    await prompt.close(SECONDS)


async def leaving_bot(engine: Engine) -> RunningBot:
    """A bot with a position whose stop fired."""
    bot = await engine.start_bot()
    await engine.fire(await engine.open_position(bot), "stop")
    return bot


def sells(engine: Engine, bot: RunningBot) -> int:
    return sum(request.side is Side.SELL for request in engine.account(bot).sends)


async def test_an_exit_is_sent_and_booked_without_a_workflow(engine: Engine) -> None:
    bot = await leaving_bot(engine)

    await carried_out(prompt_of(engine), bot)

    assert sells(engine, bot) == 1
    assert (await engine.position(bot)).state == "closed"
    assert engine.workflows.woken == []
    await assert_in_order(engine, bot)


async def test_an_exit_that_a_guard_made_is_sent_too(engine: Engine) -> None:
    bot = await leaving_bot(engine)
    view = await engine.guard(bot)

    await asyncio.gather(
        carried_out(prompt_of(engine), bot),
        carried_out(prompt_of(engine), bot),
        engine.place(bot, view.orders[0].order_id),
    )

    assert sells(engine, bot) == 1
    await assert_in_order(engine, bot)


async def test_an_exit_that_was_made_is_sent_without_a_workflow(engine: Engine) -> None:
    bot = await leaving_bot(engine)
    await engine.guard(bot)

    await carried_out(prompt_of(engine), bot)

    assert (await engine.position(bot)).state == "closed"
    assert engine.workflows.woken == []


async def test_all_positions_of_a_bot_are_left(engine: Engine) -> None:
    bot = await leaving_bot(engine)
    await engine.fire(await engine.open_position(bot, "ETH-USD"), "stop")

    await carried_out(prompt_of(engine), bot)

    assert {(await engine.position(bot, it)).state for it in ("BTC-USD", "ETH-USD")} == {"closed"}
    assert engine.workflows.woken == []


async def test_an_exit_that_fills_in_part_is_repeated_for_the_rest(engine: Engine) -> None:
    bot = await leaving_bot(engine)
    engine.account(bot).answers.append(Answer.FILL_PART)

    await carried_out(prompt_of(engine), bot)
    await engine.carry_out(bot)

    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


@pytest.mark.parametrize("answer", [Answer.TIME_OUT, Answer.FILL_BUT_TIME_OUT, Answer.REFUSE])
async def test_what_did_not_end_is_left_to_the_workflow(engine: Engine, answer: Answer) -> None:
    bot = await leaving_bot(engine)
    engine.account(bot).answers.append(answer)

    await carried_out(prompt_of(engine), bot)

    assert sells(engine, bot) == 1
    assert engine.workflows.woken == [bot.bot_id]


async def test_a_venue_that_refuses_the_keys_leaves_it_to_the_workflow(engine: Engine) -> None:
    bot = await leaving_bot(engine)
    engine.account(bot).refuses_keys = True

    await carried_out(prompt_of(engine), bot)

    assert engine.workflows.woken == [bot.bot_id]


async def test_a_position_that_another_transaction_holds_is_left_to_the_workflow(
    engine: Engine,
) -> None:
    bot = await leaving_bot(engine)
    position = await engine.position(bot)
    async with engine.database.as_system() as session:
        await session.exec(select(Position.id).where(Position.id == position.id).with_for_update())
        await carried_out(prompt_of(engine), bot)

    assert sells(engine, bot) == 0
    assert engine.workflows.woken == [bot.bot_id]


async def test_a_bot_that_is_woken_again_meanwhile_is_looked_at_again(engine: Engine) -> None:
    bot = await leaving_bot(engine)
    prompt = prompt_of(engine)

    async with hanging(engine, bot):
        await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
        await until(lambda: sells(engine, bot) == 1)
        await engine.fire(await engine.open_position(bot, "ETH-USD"), "stop")
        await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
        await until(lambda: sells(engine, bot) == 2)
    await prompt.close(SECONDS)

    assert engine.workflows.woken == []
    assert {(await engine.position(bot, it)).state for it in ("BTC-USD", "ETH-USD")} == {"closed"}
    await assert_in_order(engine, bot)


async def test_a_worker_that_ends_begins_nothing(engine: Engine) -> None:
    bot = await leaving_bot(engine)
    prompt = prompt_of(engine)
    await prompt.close(SECONDS)

    await carried_out(prompt, bot)

    assert sells(engine, bot) == 0
    assert engine.workflows.woken == [bot.bot_id]


async def test_a_workflow_service_that_is_away_keeps_no_exit(engine: Engine) -> None:
    bot = await leaving_bot(engine)
    engine.workflows.is_down = True

    await carried_out(prompt_of(engine), bot)

    assert (await engine.position(bot)).state == "closed"


async def test_it_and_the_workflow_send_an_exit_once(engine: Engine) -> None:
    bots = [await leaving_bot(engine) for _ in range(10)]

    await asyncio.gather(
        carried_out(prompt_of(engine), *bots),
        carried_out(prompt_of(engine), *bots),
        *(engine.carry_out(bot) for bot in bots),
    )

    assert [sells(engine, bot) for bot in bots] == [1] * len(bots)
    for bot in bots:
        await assert_in_order(engine, bot)


async def test_a_venue_that_hangs_at_one_account_keeps_no_other_exit(engine: Engine) -> None:
    held, *others = [await leaving_bot(engine) for _ in range(10)]
    is_over = asyncio.Event()

    async def hang() -> None:
        await is_over.wait()

    engine.account(held).meanwhile = hang
    prompt = prompt_of(engine)
    for bot in (held, *others):
        await prompt.wake_exits(bot.trader.user_id, bot.bot_id)

    others_are_over = asyncio.create_task(closed(engine, others))
    await asyncio.wait({others_are_over}, timeout=SECONDS)
    is_over.set()
    await prompt.close(SECONDS)

    assert others_are_over.done()
    assert (await engine.position(held)).state == "closed"


async def closed(engine: Engine, bots: list[RunningBot]) -> None:
    for bot in bots:
        while (await engine.position(bot)).state != "closed":  # noqa: ASYNC110 - rows tell nobody
            await asyncio.sleep(0.01)


async def test_what_is_left_does_not_wait_for_the_bots_other_exits(engine: Engine) -> None:
    bot = await leaving_bot(engine)
    await engine.fire(await engine.open_position(bot, "ETH-USD"), "stop")
    position = await engine.position(bot)

    async with hanging(engine, bot), engine.database.as_system() as session:
        await session.exec(select(Position.id).where(Position.id == position.id).with_for_update())
        prompt = prompt_of(engine)
        await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
        await until(lambda: engine.workflows.woken == [bot.bot_id])
        await until(lambda: sells(engine, bot) == 1)
    await prompt.close(SECONDS)


@pytest.mark.parametrize("answer", [Answer.TIME_OUT, Answer.REFUSE, Answer.FILL_PART])
async def test_what_did_not_end_does_not_wait_for_the_bots_other_exits(
    engine: Engine, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_exits, "OTHERS_SECONDS", 0.01)
    bot = await leaving_bot(engine)
    await engine.fire(await engine.open_position(bot, "ETH-USD"), "stop")

    async with hanging(engine, bot):
        engine.account(bot).answers.extend([Answer.FILL, answer])
        prompt = prompt_of(engine)
        await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
        await until(lambda: bot.bot_id in engine.workflows.woken)
        assert sells(engine, bot) == 2
    await prompt.close(SECONDS)


async def test_a_workflow_that_cannot_be_woken_is_woken_later(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_exits, "RETRY_SECONDS_FIRST", 0.01)
    bot = await leaving_bot(engine)
    engine.account(bot).answers.append(Answer.TIME_OUT)
    engine.workflows.is_down = True
    prompt = prompt_of(engine)

    with capture_logs() as logs:
        await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
        await until(lambda: any(log["event"] == "exits.not_woken" for log in logs))
        engine.workflows.is_down = False
        await until(lambda: bot.bot_id in engine.workflows.woken)
    await prompt.close(SECONDS)

    assert sells(engine, bot) == 1


async def test_without_a_workflow_service_a_locked_position_leaves_once_it_is_free(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_exits, "RETRY_SECONDS_FIRST", 0.01)
    bot = await leaving_bot(engine)
    position = await engine.position(bot)
    engine.workflows.is_down = True
    prompt = prompt_of(engine)

    with capture_logs() as logs:
        async with engine.database.as_system() as session:
            await session.exec(
                select(Position.id).where(Position.id == position.id).with_for_update()
            )
            await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
            await until(lambda: any(log["event"] == "exits.not_woken" for log in logs))
    await asyncio.wait_for(closed(engine, [bot]), SECONDS)
    await prompt.close(SECONDS)

    assert sells(engine, bot) == 1


async def test_a_worker_that_ends_waits_for_no_workflow_service(engine: Engine) -> None:
    bot = await leaving_bot(engine)
    engine.account(bot).answers.append(Answer.TIME_OUT)
    engine.workflows.is_down = True
    prompt = prompt_of(engine)

    await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
    await asyncio.wait_for(prompt.close(10 * SECONDS), SECONDS)

    assert sells(engine, bot) == 1


async def test_bookings_that_hang_keep_no_other_exit_from_being_repeated(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "ACCEPTED_SECONDS_MAX", 10 * SECONDS)
    monkeypatch.setattr(prompt_exits, "BOOKING_SECONDS", 0.01)
    *held, bot = [await leaving_bot(engine) for _ in range(exit_slots.BOOKING_SLOTS + 2)]
    for other in held:
        engine.account(other).hangs_at_look_ups = True
    engine.account(bot).answers.append(Answer.FILL_PART)
    prompt = prompt_of(engine)
    for one in held:
        await prompt.wake_exits(one.trader.user_id, one.bot_id)
    await until(lambda: all(sells(engine, one) for one in held))

    await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
    await until(lambda: bot.bot_id in engine.workflows.woken or sells(engine, bot) > 1)

    await prompt.close(0)


async def test_a_bot_whose_orders_cannot_be_made_keeps_no_booking(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_exits, "DEFER_SECONDS_MAX", 10 * SECONDS)
    monkeypatch.setattr(exit_slots, "STUCK_SECONDS", 0.01)
    held, bot = [await leaving_bot(engine) for _ in range(2)]
    account, is_over = engine.venue.account, asyncio.Event()

    async def hang(ref: AccountRef) -> VenueAccount:
        if ref.account_id == held.trader.account_id:
            await is_over.wait()
        return await account(ref)

    monkeypatch.setattr(engine.venue, "account", hang)
    prompt = prompt_of(engine)
    await prompt.wake_exits(held.trader.user_id, held.bot_id)
    await prompt.wake_exits(bot.trader.user_id, bot.bot_id)

    await asyncio.wait_for(closed(engine, [bot]), SECONDS)

    is_over.set()
    await prompt.close(SECONDS)


async def test_making_that_never_ends_gives_its_slot_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exit_slots, "EXIT_SLOTS", 1)
    monkeypatch.setattr(exit_slots, "SLOT_WAIT_SECONDS", 10 * SECONDS)
    monkeypatch.setattr(prompt_exits, "MAKING_SECONDS_MAX", 1.0)
    held, bot = [await leaving_bot(engine) for _ in range(2)]
    account = engine.venue.account

    async def hang(ref: AccountRef) -> VenueAccount:
        if ref.account_id == held.trader.account_id:
            await asyncio.Event().wait()
        return await account(ref)

    monkeypatch.setattr(engine.venue, "account", hang)

    await carried_out(prompt_of(engine), held, bot)

    assert (sells(engine, held), sells(engine, bot)) == (0, 1)
    assert engine.workflows.woken == [held.bot_id]


async def test_an_account_that_is_locked_is_not_waited_for(engine: Engine) -> None:
    bot = await leaving_bot(engine)

    async with engine.database.as_system() as session:
        await session.exec(
            select(Account.id).where(Account.id == bot.trader.account_id).with_for_update()
        )
        await asyncio.wait_for(carried_out(prompt_of(engine), bot), LOCK_TIMEOUT_MS / 1000 - 1)
        # As a comparison of balances goes on; a transaction that had the position would deadlock.
        await session.exec(
            select(Position.id)
            .where(Position.account_id == bot.trader.account_id)
            .with_for_update()
        )

    assert engine.workflows.woken == [bot.bot_id]
    await carried_out(prompt_of(engine), bot)
    assert sells(engine, bot) == 1


@pytest.mark.parametrize("mode", list(Mode))
async def test_markets_that_are_silent_keep_no_exit_of_another(engine: Engine, mode: Mode) -> None:
    """A paper order waits for its market's order book, and holds no connection meanwhile."""
    bot = await engine.start_bot(mode=mode)
    for symbol in ("BTC-USD", "ETH-USD"):
        await engine.fire(await engine.open_position(bot, symbol), "stop")
        engine.venue.market.now += timedelta(seconds=1)  # the oldest leave first

    async with hanging(engine, bot):
        prompt = prompt_of(engine)
        await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
        await until(lambda: sells(engine, bot) == 2)
    await prompt.close(SECONDS)


@asynccontextmanager
async def hanging(engine: Engine, bot: RunningBot) -> AsyncIterator[None]:
    """Have the next order of an account answered only at the end."""
    is_over = asyncio.Event()

    async def hang() -> None:
        await is_over.wait()

    engine.account(bot).meanwhile = hang
    yield
    is_over.set()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not is_so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_bookings_wait_until_every_order_was_made(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exit_slots, "EXIT_SLOTS", 1)
    bots = [await leaving_bot(engine) for _ in range(5)]

    with capture_logs() as logs:
        await carried_out(prompt_of(engine), *bots)

    events = [log["event"] for log in logs if log["event"] in {"exit.intended", "order.settled"}]
    assert events == ["exit.intended"] * 5 + ["order.settled"] * 5


async def test_slots_that_never_become_free_are_not_waited_for_for_ever(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exit_slots, "EXIT_SLOTS", 0)
    monkeypatch.setattr(exit_slots, "SLOT_WAIT_SECONDS", 0.01)
    bot = await leaving_bot(engine)

    await carried_out(prompt_of(engine), bot)

    assert sells(engine, bot) == 0
    assert engine.workflows.woken == [bot.bot_id]


@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_process_that_dies_at_any_step_doubles_and_loses_nothing(
    engine: Engine, answer: Answer
) -> None:
    for number in range(STEPS_MAX):
        bot = await leaving_bot(engine)
        engine.account(bot).answers.append(answer)

        engine.crash.die_at(number)
        await carried_out(prompt_of(engine), bot)
        is_over = len(engine.crash.steps) <= number
        await recover(engine, bot)

        await assert_in_order(engine, bot)
        closed = await engine.position(bot)
        assert (closed.state, closed.exit_reason) == ("closed", "stop_loss")
        if is_over:
            return
    raise AssertionError("leaving never ends")


async def recover(engine: Engine, bot: RunningBot) -> None:
    """A new process takes over once everything can be known."""
    engine.crash.die_at(None)
    engine.account(bot).answers.clear()
    engine.wire()
    passed = GRACE + timedelta(seconds=1)
    engine.venue.market.now += passed
    engine.wall.time += passed
    await engine.carry_out(bot)
