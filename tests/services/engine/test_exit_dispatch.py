"""The exits worker's poll: what is due is found in the rows, whatever was signalled or lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

import pytest
from sqlmodel import select

from domain.contracts.bots import BotSignal
from domain.markets import Realm, VenueKey
from domain.orders import Side
from domain.ports import WorkflowServiceRefused
from models.trading import Position
from services.trading import exit_dispatch
from services.trading.exit_dispatch import ExitDispatch
from services.trading.prompt_exits import PromptExits
from tests.support.engine import Engine, FakeWorkflows, RunningBot
from tests.support.fake_venue import KEY, Answer

pytestmark = pytest.mark.integration


def dispatch_of(engine: Engine) -> ExitDispatch:
    return ExitDispatch(engine.database, engine.workflows, engine.venue, realm=Realm.SIMULATED)


async def polled(dispatch: ExitDispatch, times: int = 2) -> None:
    """What two polls in a row find was woken by nothing else."""
    for _ in range(times):
        await dispatch.poll()


async def ask(engine: Engine, position: Position) -> None:
    await engine.execute(
        "UPDATE positions SET close_requested = 'manual', close_cause = 'c' WHERE id = :id",
        id=position.id,
    )


async def engage(engine: Engine, *, scope: str = "global", **target: object) -> None:
    values = {"id": uuid4(), "scope": scope, "user": None, "venue": None} | target
    await engine.execute(
        "INSERT INTO kill_switches (id, scope, user_id, venue, reason, engaged_at,"
        " close_positions, notify_users, revision, handled_revision)"
        " VALUES (:id, :scope, :user, :venue, 'hot', now(), true, false, 1, 0)",
        **values,
    )


async def test_a_requested_close_that_nothing_was_told_of_is_found(alone: Engine) -> None:
    bot = await alone.start_bot()
    await ask(alone, await alone.open_position(bot))

    await polled(dispatch_of(alone))

    assert alone.workflows.woken == [bot.bot_id]


async def test_a_fired_trigger_that_nothing_was_told_of_is_found(alone: Engine) -> None:
    bot = await alone.start_bot()
    await alone.fire(await alone.open_position(bot), "stop")

    await polled(dispatch_of(alone))

    assert alone.workflows.woken == [bot.bot_id]


async def test_an_exit_order_that_nothing_carries_out_is_found(alone: Engine) -> None:
    bot = await alone.start_bot()
    await alone.fire(await alone.open_position(bot), "stop")
    await alone.guard(bot)
    await alone.execute("UPDATE triggers SET state = 'armed' WHERE state = 'fired'")

    await polled(dispatch_of(alone))

    assert alone.workflows.woken == [bot.bot_id]


async def test_positions_that_are_not_to_leave_wake_nothing(alone: Engine) -> None:
    bot = await alone.start_bot()
    await alone.open_position(bot)

    await polled(dispatch_of(alone))

    assert alone.workflows.woken == []


async def test_what_was_woken_is_trusted_for_a_while_and_then_woken_again(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await alone.start_bot()
    await ask(alone, await alone.open_position(bot))
    dispatch = dispatch_of(alone)

    await polled(dispatch, 4)
    trusted = list(alone.workflows.woken)
    monkeypatch.setattr(exit_dispatch, "REMIND_SECONDS", 0.0)
    await polled(dispatch, 1)

    assert trusted == [bot.bot_id]
    assert alone.workflows.woken == [bot.bot_id] * 2


async def test_another_exit_of_a_bot_that_was_woken_wakes_it_again(alone: Engine) -> None:
    bot = await alone.start_bot()
    await ask(alone, await alone.open_position(bot))
    second = await alone.open_position(bot, "ETH-USD")
    dispatch = dispatch_of(alone)
    await polled(dispatch)

    await ask(alone, second)
    await polled(dispatch)

    assert alone.workflows.woken == [bot.bot_id] * 2


async def test_a_workflow_service_that_was_away_is_told_once_it_is_back(alone: Engine) -> None:
    bot = await alone.start_bot()
    await ask(alone, await alone.open_position(bot))
    dispatch = dispatch_of(alone)
    alone.workflows.is_down = True
    await polled(dispatch)

    alone.workflows.is_down = False
    await polled(dispatch, 1)

    assert alone.workflows.woken == [bot.bot_id]


async def test_each_venue_is_made_sure_to_be_watched(alone: Engine) -> None:
    await polled(dispatch_of(alone))

    assert alone.workflows.watched == [KEY]


# --- a workflow service that is away, or refuses a bot --------------------------------------


class SilentWorkflows(FakeWorkflows):
    """A workflow service that answers nothing."""

    async def wake_exits(self, user_id: UUID, bot_id: UUID) -> None:
        await asyncio.Event().wait()

    async def ensure_watch(self, key: VenueKey) -> None:
        await asyncio.Event().wait()


class RefusingWorkflows(FakeWorkflows):
    """A workflow service that takes no more signals to some bots, and shows no watch."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self.failure = failure
        self.refused: set[UUID] = set()

    async def wake_exits(self, user_id: UUID, bot_id: UUID) -> None:
        if bot_id in self.refused:
            raise self.failure
        await super().wake_exits(user_id, bot_id)

    async def ensure_watch(self, key: VenueKey) -> None:
        raise self.failure


async def test_a_workflow_service_that_is_away_slows_no_poll(alone: Engine) -> None:
    bot = await alone.start_bot()
    position = await alone.open_position(bot)
    workflows = SilentWorkflows()
    prompt = PromptExits(workflows, alone.exit_service, alone.placing, alone.settling)
    dispatch = ExitDispatch(alone.database, prompt, alone.venue, realm=Realm.SIMULATED)

    async with polling(dispatch):
        await asyncio.sleep(0.5)
        await ask(alone, position)
        await until(lambda: sells(alone, bot) == 1, 2)
    await prompt.close(0)


async def test_bots_that_cannot_be_woken_keep_no_other(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exit_dispatch, "AGAIN_AT_ONCE", 1)
    held = [await alone.start_bot() for _ in range(3)]
    other = await alone.start_bot()
    position = await alone.open_position(other)
    for bot in held:
        await ask(alone, await alone.open_position(bot))
    workflows = SilentWorkflows()

    async def wake(_user_id: UUID, bot_id: UUID) -> None:
        if bot_id != other.bot_id:
            await asyncio.Event().wait()
        workflows.woken.append(bot_id)

    monkeypatch.setattr(workflows, "wake_exits", wake)
    dispatch = ExitDispatch(alone.database, workflows, alone.venue, realm=Realm.SIMULATED)
    async with polling(dispatch):
        await asyncio.sleep(3)  # all three wait for the one place
        await ask(alone, position)
        await until(lambda: workflows.woken == [other.bot_id], 1)


async def test_a_position_that_came_due_while_its_bot_was_being_woken_is_not_taken_for_woken(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await alone.start_bot()
    await ask(alone, await alone.open_position(bot))
    second = await alone.open_position(bot, "ETH-USD")
    is_over = asyncio.Event()
    asked: list[UUID] = []

    async def wake(_user_id: UUID, bot_id: UUID) -> None:
        asked.append(bot_id)
        await is_over.wait()

    monkeypatch.setattr(alone.workflows, "wake_exits", wake)
    dispatch = dispatch_of(alone)
    await polled(dispatch)
    await ask(alone, second)
    await polled(dispatch)
    meanwhile = len(asked)

    is_over.set()
    await polled(dispatch)

    assert (meanwhile, len(asked)) == (1, 2)


@pytest.mark.parametrize("failure", [WorkflowServiceRefused("too many signals"), ValueError("?")])
async def test_a_bot_that_the_workflow_service_refuses_costs_no_other(
    alone: Engine, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(exit_dispatch, "WATCH_SECONDS", 0.0)
    refused, other = await alone.start_bot(), await alone.start_bot()
    for bot in (refused, other):
        await ask(alone, await alone.open_position(bot))
    workflows = RefusingWorkflows(failure)
    workflows.refused.add(refused.bot_id)
    dispatch = ExitDispatch(alone.database, workflows, alone.venue, realm=Realm.SIMULATED)

    async with polling(dispatch) as loop:
        await until(lambda: workflows.woken == [other.bot_id], 5)
        await asyncio.sleep(1)
        assert not loop.done()


async def test_exits_of_a_bot_that_is_refused_leave_all_the_same(alone: Engine) -> None:
    bot = await alone.start_bot()
    await ask(alone, await alone.open_position(bot))
    alone.account(bot).answers.append(Answer.TIME_OUT)  # so that something is left
    workflows = RefusingWorkflows(WorkflowServiceRefused("too many signals"))
    workflows.refused.add(bot.bot_id)
    prompt = PromptExits(workflows, alone.exit_service, alone.placing, alone.settling)
    dispatch = ExitDispatch(alone.database, prompt, alone.venue, realm=Realm.SIMULATED)

    async with polling(dispatch) as loop:
        await until(lambda: sells(alone, bot) == 1, 5)
        await asyncio.sleep(1)
        assert not loop.done()
    await prompt.close(0)


@asynccontextmanager
async def polling(dispatch: ExitDispatch) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(dispatch.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(is_so: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


def sells(engine: Engine, bot: RunningBot) -> int:
    return sum(request.side is Side.SELL for request in engine.account(bot).sends)


# --- kill switches that are to close positions ------------------------------------------------


async def test_a_switch_that_is_to_close_positions_needs_no_workflow(alone: Engine) -> None:
    bots = [await alone.start_bot() for _ in range(3)]
    positions = [await alone.open_position(bot) for bot in bots]
    await engage(alone)

    await polled(dispatch_of(alone))

    assert sorted(alone.workflows.woken) == sorted(bot.bot_id for bot in bots)
    assert {await requested(alone, position) for position in positions} == {"kill_switch"}


async def test_a_switch_closes_only_what_it_covers(alone: Engine) -> None:
    covered, other = await alone.start_bot(), await alone.start_bot()
    theirs, others = await alone.open_position(covered), await alone.open_position(other)
    await engage(alone, scope="user", user=covered.trader.user_id)

    await polled(dispatch_of(alone))

    assert await requested(alone, theirs) == "kill_switch"
    assert await requested(alone, others) is None


async def test_a_position_that_is_leaving_already_keeps_its_reason(alone: Engine) -> None:
    position = await alone.open_position(await alone.start_bot())
    await ask(alone, position)
    await engage(alone)

    await polled(dispatch_of(alone))

    assert await requested(alone, position) == "manual"


async def test_a_locked_position_keeps_no_other_from_being_asked_and_is_asked_later(
    alone: Engine,
) -> None:
    held, free = await opened(alone), await opened(alone)
    await engage(alone)
    dispatch = dispatch_of(alone)
    async with alone.database.as_system() as session:
        await session.exec(select(Position).where(Position.id == held.id).with_for_update())
        await polled(dispatch)
        meanwhile = await requested(alone, held), await requested(alone, free)

    await polled(dispatch, 1)

    assert meanwhile == (None, "kill_switch")
    assert await requested(alone, held) == "kill_switch"


async def test_an_entry_that_fills_after_the_switch_was_engaged_is_asked_to_leave(
    alone: Engine,
) -> None:
    bot = await alone.start_bot()
    order_id = await alone.intend_entry(bot)
    await engage(alone)
    dispatch = dispatch_of(alone)
    await polled(dispatch)

    position = await alone.position(bot)

    assert order_id
    assert position.close_requested == "kill_switch"
    assert alone.workflows.woken == [], "nothing is open yet"


async def opened(engine: Engine) -> Position:
    bot: RunningBot = await engine.start_bot()
    return await engine.open_position(bot)


async def requested(engine: Engine, position: Position) -> str | None:
    (row,) = await engine.rows(
        "SELECT close_requested FROM positions WHERE id = :id", id=position.id
    )
    reason: str | None = row["close_requested"]
    return reason


# --- commands -----------------------------------------------------------------------------------


async def test_a_bot_whose_exits_workflow_is_refused_is_told_of_the_command(alone: Engine) -> None:
    bot = await alone.start_bot()
    workflows = RefusingWorkflows(WorkflowServiceRefused("too many signals"))
    workflows.refused.add(bot.bot_id)
    alone.workflows = workflows
    alone.wire()

    await alone.trading.stop(bot.trader.principal, close_positions=True, emergency=False)

    assert workflows.told == [(bot.bot_id, BotSignal.STOP)]


async def test_switches_that_cannot_be_read_hide_no_other_exit(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await alone.start_bot()
    await ask(alone, await alone.open_position(bot))

    async def fail(_database: object) -> set[tuple[UUID, UUID]]:
        raise ZeroDivisionError

    monkeypatch.setattr(exit_dispatch, "ask_covered_positions", fail)
    await polled(dispatch_of(alone))

    assert alone.workflows.woken == [bot.bot_id]


async def test_a_poll_that_fails_ends_no_process(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await alone.start_bot()
    await ask(alone, await alone.open_position(bot))
    dispatch, failures, poll = dispatch_of(alone), 0, ExitDispatch.poll

    async def fail_first(self: ExitDispatch) -> int:
        nonlocal failures
        failures += 1
        if failures <= 2:
            raise ZeroDivisionError
        return await poll(self)

    monkeypatch.setattr(ExitDispatch, "poll", fail_first)
    running = asyncio.create_task(dispatch.run())
    async with asyncio.timeout(30):
        while not alone.workflows.woken:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert alone.workflows.woken == [bot.bot_id]
