"""A position whose keys were removed by force: shown and counted as that, and no failing exit."""

from __future__ import annotations

import pytest

from domain.markets import Mode, Realm
from models.trading import Position
from services.admin.metrics import PlatformMetrics
from services.orders.exit_progress import LATE_AFTER, note_lateness
from services.orders.keyless import NOTHING_CAN_BE_SOLD
from tests.support.engine import Engine, RunningBot
from tests.support.fake_venue import Answer

pytestmark = pytest.mark.integration


async def _counted(engine: Engine) -> tuple[int, int]:
    metrics = PlatformMetrics(engine.database, engine.wall, realm=Realm.SIMULATED)
    live = (await metrics.measure()).live
    return live.exits_failing, live.positions_without_keys


async def _failing(engine: Engine) -> tuple[RunningBot, Position]:
    bot = await engine.start_bot(mode=Mode.LIVE)
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")
    engine.account(bot).answers.append(Answer.REFUSE)
    for order in (await engine.guard(bot)).orders:
        await engine.place(bot, order.order_id)
    await engine.guard(bot)
    return bot, position


async def test_an_exit_that_failed_is_none_once_its_keys_are_gone(alone: Engine) -> None:
    bot, position = await _failing(alone)
    before = await _counted(alone)

    await alone.remove_broker(bot, force=True)
    at_once = await _counted(alone)
    await alone.reconciling.reconcile_due(everybody=True)

    assert (before, at_once, await _counted(alone)) == ((1, 0), (0, 1), (0, 1))
    position = await alone.position(bot)
    assert (position.exit_state, position.exit_error) == ("no_keys", NOTHING_CAN_BE_SOLD)
    await alone.trading.write_off_position(bot.trader.principal, position.id)
    assert await _counted(alone) == (0, 0)
    assert (await alone.position(bot)).exit_state is None


async def test_a_position_of_which_no_exit_was_due_says_so_too(alone: Engine) -> None:
    bot, other = [await alone.start_bot(mode=Mode.LIVE) for _ in range(2)]
    for one in (bot, other):
        await alone.open_position(one)
    await alone.remove_broker(bot, force=True)

    await alone.reconciling.reconcile_due(everybody=True)
    await alone.reconciling.reconcile_due(everybody=True)

    assert (await alone.position(bot)).exit_state == "no_keys"
    assert (await alone.position(other)).exit_state is None
    assert await _counted(alone) == (0, 1)


async def test_a_look_up_that_is_late_makes_no_failing_exit_of_it(alone: Engine) -> None:
    bot, _position = await _failing(alone)
    await alone.remove_broker(bot, force=True)
    await alone.reconciling.reconcile_due(everybody=True)
    exit_ = (await alone.orders(bot))[-1]
    alone.wall.advance(LATE_AFTER.total_seconds() * 2)

    async with alone.database.for_user(bot.trader.user_id) as session:
        await note_lateness(session, exit_.id, alone.wall.now(), is_unanswered=True)

    assert (await alone.position(bot)).exit_state == "no_keys"
