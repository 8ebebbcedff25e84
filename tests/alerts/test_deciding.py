"""From a stored alert to its recorded outcome: the bot decides, the follower writes the end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from domain.contracts.bots import BotSignal, SignalAction, TradeSignal
from domain.markets import Mode
from domain.ports import WorkflowServiceRefused, WorkflowServiceUnavailable
from services.alerts.inbox import TAKEN_AT_ONCE, lock_alerts
from tests.alerts.harness import Desk
from tests.api.harness import ALERT_AGE as AGE
from tests.support.crashes import Crashed
from tests.support.engine import close

pytestmark = pytest.mark.integration

STEPS_MAX = 60


async def test_an_alert_becomes_the_position_it_promised(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    receipt = await desk.send(key, size_usd=200)

    result = await desk.engine.hunt(bot)

    alert = await desk.alert(receipt.alert_id)
    assert (alert["state"], alert["reason"]) == ("accepted", "outside_signal")
    assert (await desk.decisions(bot))[f"signal:{receipt.alert_id}"][0] == "enter_long"
    waiting = await desk.follow(bot, receipt.alert_id)
    assert (waiting.state, waiting.wait_seconds) == ("accepted", 1.0)

    await desk.engine.place(bot, result.orders[0].order_id)

    followed = await desk.follow(bot, receipt.alert_id)
    position = await desk.engine.position(bot)
    assert (position.id, position.state) == (receipt.trade_id, "open")
    assert position.planned_notional <= 200
    assert (followed.state, followed.wait_seconds) == ("executed", None)
    assert (await desk.alert(receipt.alert_id))["finished_at"] is not None


async def test_a_close_alert_names_and_closes_the_open_trade(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    position = await desk.engine.open_position(bot)
    receipt = await desk.send(key, action="exit")

    before = await desk.follow(bot, receipt.alert_id)
    await desk.engine.carry_out(bot)

    assert receipt.trade_id == position.id
    assert before.state == "accepted"
    assert (await desk.follow(bot, receipt.alert_id)).state == "executed"
    closed = await desk.engine.position(bot)
    assert (closed.state, closed.exit_reason) == ("closed", "signal_close")


async def test_an_entry_that_did_not_fill_is_told(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    receipt = await desk.send(key)
    result = await desk.engine.hunt(bot)
    await desk.engine.execute(
        "UPDATE orders SET state = 'cancelled' WHERE id = :id", id=result.orders[0].order_id
    )
    await desk.engine.execute(
        "UPDATE positions SET state = 'cancelled' WHERE id = :id", id=receipt.trade_id
    )

    assert (await desk.follow(bot, receipt.alert_id)).state == "unfilled"


async def test_a_storm_for_one_bot_is_one_look(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    receipts = []
    for number in range(10):
        receipts.append(await desk.send(key, id=str(number)))
        desk.engine.wall.advance(0.001)
    receipts.append(await desk.send(key, action="close", symbol="ETH-USD", id="close"))
    desk.engine.wall.advance(0.001)
    receipts.append(await desk.send(key, symbol="XYZ-USD", id="unknown"))

    result = await desk.engine.hunt(bot)

    outcomes = [await desk.alert(receipt.alert_id) for receipt in receipts]
    assert [row["state"] for row in outcomes] == ["accepted", *["refused"] * 11]
    assert {row["reason"] for row in outcomes[1:10]} == {"position_exists"}
    assert [row["reason"] for row in outcomes[10:]] == ["no_position", "unknown_symbol"]
    assert len(result.orders) == 1
    assert not result.more
    assert result.decisions >= len(receipts)


async def test_gates_count_what_the_same_look_has_taken(desk: Desk) -> None:
    bot, key = await desk.bot_with_key(settings={"max_concurrent_positions": 1})
    first = await desk.send(key, symbol="BTC-USD")
    desk.engine.wall.advance(0.001)
    receipts = [first, await desk.send(key, symbol="ETH-USD")]

    result = await desk.engine.hunt(bot)

    reasons = [(await desk.alert(receipt.alert_id))["reason"] for receipt in receipts]
    assert reasons == ["outside_signal", "max_positions_reached"]
    assert len(result.orders) == 1


async def test_more_than_one_look_takes_goes_on_in_the_next(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    first = await desk.send(key, action="buy")
    await desk.engine.execute(
        "INSERT INTO alerts (id, user_id, key_id, bot_id, state, action, symbol, received_at,"
        " expires_at, trade_id) SELECT gen_random_uuid(), user_id, key_id, bot_id, state, action,"
        " symbol, received_at, expires_at, id FROM alerts, generate_series(1, :more)"
        " WHERE id = :id",
        id=first.alert_id,
        more=TAKEN_AT_ONCE,
    )

    looks = [await desk.engine.hunt(bot) for _ in range(2)]

    assert [look.more for look in looks] == [True, False]
    states = sorted(row["state"] for row in await desk.alerts(bot.trader))
    assert states == ["accepted", *["refused"] * TAKEN_AT_ONCE]


async def test_an_alert_that_waited_too_long_is_not_acted_on(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    receipt = await desk.send(key)
    desk.engine.wall.advance(AGE.total_seconds())

    result = await desk.engine.hunt(bot)

    assert result.orders == ()
    assert (await desk.alert(receipt.alert_id))["state"] == "expired"
    assert (await desk.decisions(bot))[f"signal:{receipt.alert_id}"] == ("none", "expired")


async def test_a_signal_may_carry_its_own_end(desk: Desk) -> None:
    bot = await desk.engine.start_bot()
    late = TradeSignal(
        signal_id=uuid4(),
        action=SignalAction.BUY,
        symbol="BTC-USD",
        expires_at=desk.engine.wall.now(),
    )

    assert (await desk.engine.hunt(bot, late)).orders == ()
    assert (await desk.decisions(bot))[f"signal:{late.signal_id}"] == ("none", "expired")


async def test_alerts_wait_for_a_venue_that_does_not_answer(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    receipt = await desk.send(key)
    desk.engine.venue.market.down.add("clock")

    assert (await desk.engine.hunt(bot)).orders == ()

    assert (await desk.alert(receipt.alert_id))["state"] == "processing"
    desk.engine.venue.market.down.clear()
    assert len((await desk.engine.hunt(bot)).orders) == 1


async def test_a_signal_twice_in_one_look_is_decided_once(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    receipt = await desk.send(key)
    same = TradeSignal(signal_id=receipt.alert_id, action=SignalAction.BUY, symbol="BTC-USD")

    result = await desk.engine.hunt(bot, same, close("ETH-USD"))

    assert len(result.orders) == 1
    assert (await desk.alert(receipt.alert_id))["state"] == "accepted"


async def test_a_repeat_does_not_wait_for_the_decision(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    receipt = await desk.send(key, id="a1")
    same = TradeSignal(signal_id=receipt.alert_id, action=SignalAction.BUY, symbol="BTC-USD")

    async with desk.engine.database.for_user(bot.trader.user_id) as session:
        await lock_alerts(session, [same])
        again = await asyncio.wait_for(desk.send(key, id="a1"), 5)

    assert again.is_duplicate


async def test_a_crash_at_any_step_decides_once(desk: Desk) -> None:
    for number in range(STEPS_MAX):
        bot, key = await desk.bot_with_key()
        receipt = await desk.send(key)

        desk.engine.crash.die_at(number)
        try:
            await desk.engine.hunt(bot)
            ended = True
        except Crashed:
            ended = False
        desk.engine.crash.die_at(None)
        await desk.engine.hunt(bot)
        await desk.engine.carry_out(bot)
        await desk.follow(bot, receipt.alert_id)

        assert len(await desk.engine.orders(bot)) == 1
        assert (await desk.engine.position(bot)).id == receipt.trade_id
        assert (await desk.alert(receipt.alert_id))["state"] == "executed"
        if ended:
            return
    raise AssertionError("hunting never ends")


# --- nobody to decide ---------------------------------------------------------------------------


async def test_without_a_running_bot_an_alert_is_refused(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    await desk.engine.trading.stop(bot.trader.principal, close_positions=False, emergency=False)
    receipt = await desk.send(key)

    followed = await desk.follow(bot, receipt.alert_id)

    assert (followed.state, followed.reason) == ("refused", "not_running")
    assert desk.dispatch.taken[-1].bot_id is None


async def test_a_hunt_without_an_entering_run_refuses_what_waits(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    receipt = await desk.send(key)
    await desk.engine.trading.stop(bot.trader.principal, close_positions=False, emergency=False)

    await desk.engine.hunt(bot)

    alert = await desk.alert(receipt.alert_id)
    assert (alert["state"], alert["reason"]) == ("refused", "not_running")


async def test_an_undecided_alert_is_handed_over_again(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    receipt = await desk.send(key)

    followed = await desk.follow(bot, receipt.alert_id)

    assert (followed.state, followed.wait_seconds) == ("processing", 1.0)
    assert desk.engine.workflows.told[-1] == (bot.bot_id, BotSignal.ALERT_RECEIVED)


async def test_a_bot_that_cannot_be_told_is_told_later(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    receipt = await desk.send(key)
    desk.engine.workflows.is_down = True

    with pytest.raises(WorkflowServiceUnavailable):
        await desk.follow(bot, receipt.alert_id)

    assert (await desk.alert(receipt.alert_id))["state"] == "processing"


async def test_an_alert_ends_when_nobody_decided_in_time(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    receipt = await desk.send(key)
    desk.engine.wall.advance(AGE.total_seconds())

    assert (await desk.follow(bot, receipt.alert_id)).state == "expired"
    assert (await desk.engine.hunt(bot)).orders == ()


async def test_a_live_bot_trades_by_alerts_too(desk: Desk) -> None:
    bot, key = await desk.bot_with_key(mode=Mode.LIVE)
    receipt = await desk.send(key)

    await desk.engine.hunt(bot)

    assert (await desk.alert(receipt.alert_id))["state"] == "accepted"


# --- the sweep ----------------------------------------------------------------------------------


async def test_the_sweep_tells_a_bot_that_nobody_told(alone: Desk) -> None:
    bot, key = await alone.bot_with_key()
    for number in range(3):
        await alone.send(key, id=number)
    assert await alone.sweep.sweep() == 0, "somebody may be about to"
    alone.engine.wall.advance(6)

    assert await alone.sweep.sweep() == 1

    assert alone.engine.workflows.told[-1] == (bot.bot_id, BotSignal.ALERT_RECEIVED)


async def test_the_sweep_follows_what_nobody_is_at(alone: Desk) -> None:
    _bot, key = await alone.bot_with_key()
    receipt = await alone.send(key)
    alone.engine.wall.advance(61)

    assert await alone.sweep.sweep() == 2

    assert alone.workflows.followed == [receipt.alert_id]


async def test_the_sweep_ends_late_alerts_also_without_workflows(alone: Desk) -> None:
    _bot, key = await alone.bot_with_key()
    late = await alone.send(key)
    alone.engine.wall.advance(AGE.total_seconds() - 10)
    fresh = await alone.send(key, id="fresh")
    alone.engine.wall.time += timedelta(seconds=10)
    alone.engine.workflows.is_down = alone.workflows.is_away = True

    with pytest.raises(WorkflowServiceUnavailable):
        await alone.sweep.sweep()

    assert (await alone.alert(late.alert_id))["state"] == "expired"
    assert (await alone.alert(fresh.alert_id))["state"] == "processing"


async def test_the_sweep_tells_bots_after_one_that_is_refused(
    alone: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desks = [await alone.bot_with_key() for _ in range(2)]
    receipts = [await alone.send(key) for _bot, key in desks]
    alone.engine.wall.advance(61)
    asked: set[UUID] = set()

    async def refuse_bot(_user_id: UUID, bot_id: UUID, *_: object) -> None:
        asked.add(bot_id)
        raise WorkflowServiceRefused("too many signals")

    async def refuse_alert(_user_id: UUID, alert_id: UUID, **_: object) -> None:
        asked.add(alert_id)
        raise WorkflowServiceRefused("no")

    monkeypatch.setattr(alone.engine.workflows, "signal_bot", refuse_bot)
    monkeypatch.setattr(alone.workflows, "follow_alert", refuse_alert)

    await alone.sweep.sweep()

    assert asked == {bot.bot_id for bot, _ in desks} | {it.alert_id for it in receipts}


async def test_the_sweep_leaves_finished_alerts_alone(alone: Desk) -> None:
    bot, key = await alone.bot_with_key()
    receipt = await alone.send(key)
    result = await alone.engine.hunt(bot)
    await alone.engine.place(bot, result.orders[0].order_id)
    await alone.follow(bot, receipt.alert_id)
    alone.engine.wall.advance(3600)

    assert await alone.sweep.sweep() == 0
