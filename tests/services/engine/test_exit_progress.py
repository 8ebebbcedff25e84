"""A failing exit looks like one, until it is through."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from sqlmodel import select

from domain.markets import Realm
from domain.orders import OrderState
from models.trading import Position
from services.admin.metrics import PlatformMetrics
from services.notices import NoticeKind, tell
from services.orders.exit_progress import LATE_AFTER, tell_of_late_exits
from services.orders.gone import Gone, take_out
from tests.services.engine.test_partial_exits import ask
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import Answer, Cancel

pytestmark = pytest.mark.integration


@pytest.fixture
async def bot(alone: Engine) -> RunningBot:
    return await alone.start_bot()


async def failing(engine: Engine, bot: RunningBot) -> list[str]:
    rows = await engine.rows(
        "SELECT facts ->> 'reason' AS reason FROM notices"
        " WHERE user_id = :user AND kind = 'exit_failing'",
        user=bot.trader.user_id,
    )
    return [row["reason"] for row in rows]


async def test_a_refused_exit_shows_on_its_position_until_it_is_through(
    alone: Engine, bot: RunningBot
) -> None:
    position = await alone.open_position(bot)
    assert position.exit_state is None
    alone.account(bot).answers.append(Answer.REFUSE)
    await alone.fire(position, "stop")
    (task,) = (await alone.guard(bot)).orders
    position = await alone.position(bot)
    assert (position.exit_state, position.exit_due_at) == ("working", alone.wall.now())
    await alone.place(bot, task.order_id)
    await alone.guard(bot)

    position = await alone.position(bot)
    assert (position.exit_state, position.exit_attempts) == ("failing", 1)
    assert position.exit_error == "The venue says no"
    await alone.carry_out(bot)
    position = await alone.position(bot)
    assert (position.exit_state, position.exit_attempts) == (None, 0)
    assert (position.exit_error, position.exit_due_at) == (None, None)


async def test_a_failing_exit_is_counted_by_the_platform(alone: Engine, bot: RunningBot) -> None:
    metrics = PlatformMetrics(alone.database, alone.wall, realm=Realm.SIMULATED)
    position = await alone.open_position(bot)
    alone.account(bot).answers.append(Answer.REFUSE)
    await alone.fire(position, "stop")
    (task,) = (await alone.guard(bot)).orders
    await alone.place(bot, task.order_id)
    await alone.guard(bot)

    assert (await metrics.measure()).paper.exits_failing == 1
    await alone.carry_out(bot)
    assert (await metrics.measure()).paper.exits_failing == 0


async def test_an_exit_that_is_not_through_after_30_seconds_is_told_once(
    alone: Engine, bot: RunningBot
) -> None:
    """No order of it failed: the venue keeps the first one open and cancels nothing."""
    position = await alone.open_position(bot)
    account = alone.account(bot)
    account.answers.append(Answer.REST)
    account.cancel_answers.extend([Cancel.REFUSE] * 10)
    await alone.fire(position, "stop")
    (task,) = (await alone.guard(bot)).orders
    await alone.place(bot, task.order_id)
    alone.wall.advance(LATE_AFTER.total_seconds() - 1)
    await alone.settle(bot, task.order_id)
    assert await failing(alone, bot) == []

    alone.wall.advance(1)
    await alone.settle(bot, task.order_id)
    alone.wall.advance(10)
    await alone.settle(bot, task.order_id)

    assert await failing(alone, bot) == [
        "The venue listed the order as open and was asked to cancel it"
    ]
    assert (await alone.position(bot)).exit_state == "failing"


async def test_an_exit_that_no_worker_comes_to_is_told_by_the_sweep(
    alone: Engine, bot: RunningBot
) -> None:
    position = await alone.open_position(bot)
    await alone.fire(position, "stop")
    await alone.reconciling.reconcile_due(everybody=False)

    alone.wall.advance(LATE_AFTER.total_seconds())
    await alone.reconciling.reconcile_due(everybody=False)
    await alone.reconciling.reconcile_due(everybody=False)

    assert len(await failing(alone, bot)) == 1
    assert (await alone.position(bot)).exit_state == "failing"


async def test_an_exit_that_cannot_be_told_of_keeps_no_other_from_it(
    alone: Engine, bot: RunningBot
) -> None:
    """A transaction that does not end has left the same notice."""
    position = await alone.open_position(bot)
    await alone.fire(position, "stop")
    (task,) = (await alone.guard(bot)).orders
    others = [await alone.start_bot() for _ in range(2)]
    for other in others:
        await alone.fire(await alone.open_position(other), "stop")
        await alone.guard(other)
    alone.wall.advance(LATE_AFTER.total_seconds())
    now = alone.wall.now()

    async with alone.database.as_system() as session:
        about = f"{position.id.hex}:{(await alone.order(task.order_id)).cause}"
        await tell(session, bot.trader.user_id, NoticeKind.EXIT_FAILING, about, now=now)
        await tell_of_late_exits(alone.database, alone.wall)

        assert [len(await failing(alone, other)) for other in others] == [1, 1]
        assert await failing(alone, bot) == []


async def test_a_venue_that_does_not_answer_look_ups_is_told_of_too(
    alone: Engine, bot: RunningBot
) -> None:
    position = await alone.open_position(bot)
    account = alone.account(bot)
    account.answers.append(Answer.FILL_BUT_TIME_OUT)
    await alone.fire(position, "stop")
    (task,) = (await alone.guard(bot)).orders
    await alone.place(bot, task.order_id)
    account.is_down = True
    alone.wall.advance(LATE_AFTER.total_seconds())

    with pytest.raises(Exception, match="no answer"):
        await alone.settle(bot, task.order_id)

    assert await failing(alone, bot) == ["no answer"]


async def test_the_reason_of_a_late_exit_follows_what_look_ups_find(
    alone: Engine, bot: RunningBot
) -> None:
    """The venue accepted the order; then it cannot be asked, then it does not list the order."""
    position = await alone.open_position(bot)
    account = alone.account(bot)
    account.answers.append(Answer.REST)
    await alone.fire(position, "stop")
    (task,) = (await alone.guard(bot)).orders
    await alone.place(bot, task.order_id)
    account.is_down = True
    alone.wall.advance(LATE_AFTER.total_seconds())
    with pytest.raises(Exception, match="no answer"):
        await alone.settle(bot, task.order_id)
    assert (await alone.position(bot)).exit_error == "Look-ups of the order fail"

    account.is_down, account.knows_nothing = False, True
    await alone.settle(bot, task.order_id)

    reason = "The venue accepted the order and does not list it any more"
    assert (await alone.position(bot)).exit_error == reason
    assert len(await failing(alone, bot)) == 1


async def noted(engine: Engine, bot: RunningBot) -> tuple[str | None, int, bool]:
    """What a position says of its exit: state, attempts in vain, whether it is due."""
    position = await engine.position(bot)
    return position.exit_state, position.exit_attempts, position.exit_due_at is not None


async def fail_target(engine: Engine, bot: RunningBot, position: Position) -> None:
    """The first target fires, and its exit is refused."""
    engine.account(bot).answers.append(Answer.RATE_LIMITED)
    await engine.fire(position, "target_1")
    (task,) = (await engine.guard(bot)).orders
    await engine.place(bot, task.order_id)
    assert (await engine.guard(bot)).recheck_seconds is not None
    assert await noted(engine, bot) == ("failing", 1, True)


async def test_an_exit_whose_target_was_moved_fails_no_more(alone: Engine, bot: RunningBot) -> None:
    position = await alone.open_position(bot)
    await fail_target(alone, bot, position)

    await alone.trading.modify_position(
        bot.trader.principal, position.id, stop_loss=None, take_profit=Decimal(200)
    )

    assert await noted(alone, bot) == (None, 0, False)
    assert (await alone.position(bot)).exit_error is None
    view = await alone.guard(bot)
    assert (view.orders, view.recheck_seconds) == ((), None)


async def test_an_exit_whose_target_went_with_a_part_that_is_gone_fails_no_more(
    alone: Engine, bot: RunningBot
) -> None:
    """What is left is too little for more than one target."""
    position = await alone.open_position(bot)
    await fail_target(alone, bot, position)

    async with alone.database.for_user(position.user_id) as session:
        row = (
            await session.exec(select(Position).where(Position.id == position.id).with_for_update())
        ).one()
        now, wall = alone.venue.market.now, alone.wall.now()
        await take_out(session, row, Decimal("2.985"), Gone.ELSEWHERE, at=now, wall=wall)

    assert sorted(await alone.triggers(position)) == ["stop", "target_3"]
    assert await noted(alone, bot) == (None, 0, False)


async def test_a_part_that_can_be_sold_no_more_fails_no_more(
    alone: Engine, bot: RunningBot
) -> None:
    """The market's step has grown beyond it."""
    position = await alone.open_position(bot)
    alone.account(bot).answers.append(Answer.RATE_LIMITED)
    await ask(alone, position, "0.5")
    (task,) = (await alone.guard(bot)).orders
    await alone.place(bot, task.order_id)
    await alone.guard(bot)
    assert await noted(alone, bot) == ("failing", 1, True)
    await alone.execute(
        'UPDATE positions SET rules = rules || \'{"quantity_step": "1"}\' WHERE id = :id',
        id=position.id,
    )

    await alone.guard(bot)

    assert await noted(alone, bot) == (None, 0, False)


async def test_an_exit_whose_target_was_moved_stays_due_until_its_order_has_ended(
    alone: Engine, bot: RunningBot
) -> None:
    position = await alone.open_position(bot)
    account = alone.account(bot)
    account.answers.append(Answer.REST)
    await alone.fire(position, "target_1")
    (task,) = (await alone.guard(bot)).orders
    await alone.place(bot, task.order_id)

    await alone.trading.modify_position(
        bot.trader.principal, position.id, stop_loss=None, take_profit=Decimal(200)
    )
    assert await noted(alone, bot) == ("working", 0, True)

    (order,) = (it for it in account.orders.values() if it.request.side == "sell")
    order.report = replace(order.report, state=OrderState.CANCELLED)
    await alone.settle(bot, task.order_id)
    assert await noted(alone, bot) == (None, 0, False)


async def test_an_exit_that_is_due_otherwise_stays_due_when_a_target_is_moved(
    alone: Engine, bot: RunningBot
) -> None:
    position = await alone.open_position(bot)
    await fail_target(alone, bot, position)
    await alone.fire(position, "stop")

    await alone.trading.modify_position(
        bot.trader.principal, position.id, stop_loss=None, take_profit=Decimal(200)
    )

    assert (await noted(alone, bot))[2]
    (task,) = (await alone.guard(bot)).orders
    assert task.leg == "stop"
