"""Sending: once, whatever is repeated; and the gates once more right before the network."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from psycopg import OperationalError

from domain.orders import OrderState
from domain.ports import VenueUnavailable
from tests.support.books import assert_in_order
from tests.support.crashes import Crashed
from tests.support.engine import GRACE, Engine, RunningBot
from tests.support.fake_venue import KEY, Answer

pytestmark = pytest.mark.integration


async def test_a_filled_entry_is_booked_with_its_fills(engine: Engine, bot: RunningBot) -> None:
    order_id = await engine.intend_entry(bot)

    result = await engine.place(bot, order_id)

    assert result.state is OrderState.FILLED
    order = await engine.order(order_id)
    assert order.filled_quantity == order.quantity
    assert order.refusal_code is None
    assert len(await engine.fills(bot)) == 2
    assert (await engine.position(bot)).state == "open"
    await assert_in_order(engine, bot)


async def test_a_send_whose_clean_up_fails_at_its_deadline_is_of_unknown_fate(
    engine: Engine, bot: RunningBot
) -> None:
    """The driver of a paper ledger raises an error of its own where a statement is cut off."""
    order_id = await engine.intend_entry(bot)

    async def break_off() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise OperationalError("cannot exit pipeline mode while busy") from None

    engine.account(bot).meanwhile = break_off

    assert (await engine.place(bot, order_id)).state is OrderState.UNKNOWN

    assert (await engine.settle(bot, order_id)).state is OrderState.FILLED
    await assert_in_order(engine, bot)


async def test_repeating_and_racing_sends_send_once(engine: Engine, bot: RunningBot) -> None:
    order_id = await engine.intend_entry(bot)

    await asyncio.gather(*(engine.place(bot, order_id) for _ in range(8)))
    await engine.place(bot, order_id)

    assert len(engine.account(bot).sends) == 1
    await assert_in_order(engine, bot)


async def test_a_refused_entry_cancels_its_position(engine: Engine, bot: RunningBot) -> None:
    order_id = await engine.intend_entry(bot)
    engine.account(bot).answers.append(Answer.REFUSE)

    result = await engine.place(bot, order_id)

    assert result.state is OrderState.REFUSED
    assert (await engine.order(order_id)).refusal_code == "refused"
    assert (await engine.position(bot)).state == "cancelled"
    assert await engine.fills(bot) == []


async def test_a_partly_filled_entry_is_protected_for_what_it_got(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)
    engine.account(bot).answers.append(Answer.FILL_PART)

    result = await engine.place(bot, order_id)

    position = await engine.position(bot)
    assert result.state is OrderState.CANCELLED
    assert position.open_quantity == Decimal("1.5")
    assert set(await engine.triggers(position)) == {"stop", "target_1", "target_2", "target_3"}
    await assert_in_order(engine, bot)


async def test_an_unknown_outcome_is_looked_up_and_never_sent_again(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)
    engine.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)

    sent = await engine.place(bot, order_id)
    again = await engine.place(bot, order_id)
    settled = await engine.settle(bot, order_id)

    assert (sent.state, again.state) == (OrderState.UNKNOWN, OrderState.UNKNOWN)
    assert settled.state is OrderState.FILLED
    order = await engine.order(order_id)
    assert (order.refusal_code, order.refusal_reason) == (None, None), "it was not refused"
    assert len(engine.account(bot).sends) == 1
    await assert_in_order(engine, bot)


async def test_an_answer_that_comes_after_the_order_was_settled_leaves_no_refusal(
    engine: Engine, bot: RunningBot
) -> None:
    """A reconciliation looks at an order whose send has not returned, too."""
    order_id = await engine.intend_entry(bot)

    async def settled() -> None:
        await engine.settle(bot, order_id)

    engine.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)
    engine.account(bot).meanwhile = settled
    result = await engine.place(bot, order_id)

    order = await engine.order(order_id)
    assert result.state is OrderState.FILLED
    assert (order.refusal_code, order.refusal_reason) == (None, None)
    await assert_in_order(engine, bot)


async def test_an_entry_that_is_booked_again_keeps_the_protection_it_has_by_now(
    engine: Engine, bot: RunningBot
) -> None:
    """A sender that froze after its order was taken finds it settled, and its stop moved."""
    order_id = await engine.intend_entry(bot)

    async def froze() -> None:
        await engine.settle(bot, order_id)
        position = await engine.position(bot)
        await engine.trading.modify_position(
            bot.trader.principal, position.id, stop_loss=Decimal(95), take_profit=Decimal(120)
        )

    engine.account(bot).meanwhile = froze
    result = await engine.place(bot, order_id)

    assert result.state is OrderState.FILLED
    position = await engine.position(bot)
    assert (position.stop_loss, position.take_profit) == (Decimal(95), Decimal(120))
    prices = {leg: trigger.price for leg, trigger in (await engine.triggers(position)).items()}
    assert prices == {"stop": Decimal(95), "target_3": Decimal(120)}
    await assert_in_order(engine, bot)


async def test_not_listed_is_unknown_until_the_grace_period_is_over_then_absent(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)
    engine.account(bot).answers.append(Answer.TIME_OUT)
    await engine.place(bot, order_id)

    engine.venue.market.now += GRACE - timedelta(seconds=1)
    engine.wall.time += GRACE
    within = await engine.settle(bot, order_id)
    engine.venue.market.now += timedelta(seconds=1)
    engine.wall.time += timedelta(seconds=1)
    after = await engine.settle(bot, order_id)

    assert within.state is OrderState.UNKNOWN
    assert after.state is OrderState.ABSENT
    assert (await engine.position(bot)).state == "cancelled"
    await assert_in_order(engine, bot)


async def test_an_order_whose_send_has_not_returned_is_not_absent_however_fast_venue_time_runs(
    engine: Engine, bot: RunningBot
) -> None:
    """A replay at twenty times the speed spends the grace period in a second and a half."""
    order_id = await engine.intend_entry(bot)
    engine.crash.die_at(6)  # marked as being sent; the send itself is still on its way
    with pytest.raises(Crashed, match="before sending"):
        await engine.place(bot, order_id)
    engine.crash.die_at(None)

    engine.venue.market.now += GRACE * 4
    engine.wall.advance(2)
    early = await engine.settle(bot, order_id)
    engine.wall.advance(30)
    late = await engine.settle(bot, order_id)

    assert early.state is OrderState.SENDING
    assert late.state is OrderState.ABSENT


async def test_a_venue_that_lists_an_absent_order_after_all_is_believed(
    engine: Engine, bot: RunningBot
) -> None:
    """`absent` is an inference; the venue's own word is a fact."""
    order_id = await engine.intend_entry(bot)
    engine.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)
    engine.account(bot).listing_delay = GRACE * 3
    await engine.place(bot, order_id)
    engine.venue.market.now += GRACE
    assert (await engine.settle(bot, order_id)).state is OrderState.ABSENT
    assert (await engine.position(bot)).state == "cancelled"

    engine.venue.market.now += GRACE * 2
    await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)

    assert (await engine.order(order_id)).state == OrderState.FILLED
    position = await engine.position(bot)
    assert (position.state, position.closed_at) == ("open", None)
    await assert_in_order(engine, bot)


async def test_executions_that_are_listed_late_keep_the_order_open_until_they_are(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)
    engine.account(bot).fills_delay = timedelta(seconds=5)

    at_once = await engine.place(bot, order_id)
    engine.venue.market.now += timedelta(seconds=5)
    later = await engine.settle(bot, order_id)

    assert at_once.state is OrderState.OPEN
    assert later.state is OrderState.FILLED
    await assert_in_order(engine, bot)


async def test_settling_twice_books_once(engine: Engine, bot: RunningBot) -> None:
    order_id = await engine.intend_entry(bot)
    engine.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)
    await engine.place(bot, order_id)

    await asyncio.gather(*(engine.settle(bot, order_id) for _ in range(5)))

    assert len(await engine.fills(bot)) == 2
    await assert_in_order(engine, bot)


# --- the gates at sending time ----------------------------------------------------------------


async def _denied(engine: Engine, bot: RunningBot, code: str) -> None:
    order_id = await engine.intend_entry(bot)

    result = await engine.place(bot, order_id)

    assert result.state is OrderState.DENIED
    assert (await engine.order(order_id)).refusal_code == code
    assert engine.account(bot).sends == []
    assert (await engine.position(bot)).state == "cancelled"


async def test_a_paused_bot_sends_no_entry(engine: Engine, bot: RunningBot) -> None:
    await engine.trading.pause(bot.trader.principal)

    await _denied(engine, bot, "bot_not_running")


async def test_a_stopped_bot_sends_no_entry(engine: Engine, bot: RunningBot) -> None:
    await engine.trading.stop(bot.trader.principal, close_positions=False, emergency=False)

    await _denied(engine, bot, "run_over")


async def test_an_emergency_stopped_bot_sends_no_entry(engine: Engine, bot: RunningBot) -> None:
    await engine.trading.emergency_stop(bot.trader.principal, reason="test", close_positions=False)

    await _denied(engine, bot, "run_over")


@pytest.mark.parametrize("scope", ["global", "user", "broker"])
async def test_a_kill_switch_of_any_scope_stops_entries_and_no_exit(
    alone: Engine, scope: str
) -> None:
    bot = await alone.start_bot()
    position = await alone.open_position(bot, "ETH-USD")
    order_id = await alone.intend_entry(bot, "BTC-USD")
    await alone.execute(
        "INSERT INTO kill_switches (id, scope, user_id, venue, reason, engaged_at)"
        " VALUES (gen_random_uuid(), :scope, :user, :venue, 'test', now())",
        scope=scope,
        user=bot.trader.user_id if scope == "user" else None,
        venue="coinbase" if scope == "broker" else None,
    )
    await alone.fire(position, "stop")

    entry = await alone.place(bot, order_id)
    await alone.carry_out(bot)

    assert entry.state is OrderState.DENIED
    assert (await alone.order(order_id)).refusal_code == "kill_switch"
    assert (await alone.position(bot, "ETH-USD")).state == "closed"
    await assert_in_order(alone, bot)


async def test_an_entry_older_than_a_bar_is_not_sent(engine: Engine, bot: RunningBot) -> None:
    order_id = await engine.intend_entry(bot)
    engine.venue.market.now += timedelta(minutes=5, seconds=1)

    result = await engine.place(bot, order_id)

    assert result.state is OrderState.DENIED
    assert (await engine.order(order_id)).refusal_code == "stale"
    assert engine.account(bot).sends == []


async def test_an_exit_is_sent_however_old_it_is(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")
    view = await engine.guard(bot)
    engine.venue.market.now += timedelta(hours=1)

    result = await engine.place(bot, view.orders[0].order_id)

    assert result.state is OrderState.FILLED


@pytest.mark.parametrize("missing", ["clock", "rules", "quote", "candles"])
async def test_an_exit_is_sent_while_market_data_is_down(alone: Engine, missing: str) -> None:
    bot = await alone.start_bot()
    position = await alone.open_position(bot)
    await alone.watching.look(KEY)
    await alone.fire(position, "stop")
    alone.venue.market.down.add(missing)
    alone.wall.advance(60)
    view = await alone.guard(bot)

    try:
        await alone.place(bot, view.orders[0].order_id)
    except VenueUnavailable:
        assert missing == "clock", "only settling may need the clock"

    sent = await alone.order(view.orders[0].order_id)
    assert len(alone.account(bot).sends) == 2
    assert sent.venue_sent_at is not None
    assert sent.venue_sent_at >= alone.venue.market.now, "or it would count as absent too early"
    alone.venue.market.down.clear()
    await alone.carry_out(bot)
    assert (await alone.position(bot)).state == "closed"
    await assert_in_order(alone, bot)


async def test_an_entry_waits_for_the_venue_and_keeps_its_row(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)
    engine.venue.market.down.add("clock")

    with pytest.raises(VenueUnavailable):
        await engine.place(bot, order_id)

    assert (await engine.order(order_id)).state == OrderState.INTENDED
    assert engine.account(bot).sends == []


async def test_an_entry_with_refused_keys_is_denied_and_an_exit_made_again_with_delays(
    engine: Engine, bot: RunningBot
) -> None:
    position = await engine.open_position(bot, "ETH-USD")
    await engine.fire(position, "stop")
    entry_id = await engine.intend_entry(bot)
    engine.venue.refuses_keys = True

    entry = await engine.place(bot, entry_id)
    delays = []
    for _ in range(4):
        (task,) = (await engine.guard(bot)).orders
        result = await engine.place(bot, task.order_id)
        assert (result.state, result.guard_due) == (OrderState.REFUSED, True)
        assert (await engine.order(task.order_id)).refusal_code == "keys_refused"
        delays.append((await engine.guard(bot)).recheck_seconds)
        engine.wall.advance(delays[-1] or 0)

    assert entry.state is OrderState.DENIED
    assert (await engine.order(entry_id)).refusal_code == "keys_refused"
    assert delays == [1, 2, 4, 8]
    engine.venue.refuses_keys = False
    await engine.carry_out(bot)
    assert (await engine.position(bot, "ETH-USD")).state == "closed"
    await assert_in_order(engine, bot)
