"""Removing a broker: its keys go when nothing needs them any more, and not before."""

from __future__ import annotations

from decimal import Decimal
from itertools import count
from uuid import UUID

import pytest
from sqlmodel import select

from domain.markets import Mode, Realm
from models.connections import Connection, ConnectionStatus
from services import connections
from services.errors import NoBrokerConfigured
from services.orders.settling import DOUBT_LENGTH, IN_FLIGHT_MAX
from services.orders.unfilled import unfilled_reason
from services.trading.exit_dispatch import ExitDispatch
from tests.support.books import assert_in_order
from tests.support.crashes import Crashed
from tests.support.engine import GRACE, Engine, RunningBot
from tests.support.fake_venue import KEY, Answer

pytestmark = pytest.mark.integration

KEPT = (ConnectionStatus.EXIT_ONLY, True)
GONE = (ConnectionStatus.REMOVED, False)


async def test_keys_stay_while_an_entry_taken_for_absent_may_have_filled(alone: Engine) -> None:
    bot = await _live_bot(alone)
    lost = await _lose(alone, bot, Answer.FILL_BUT_TIME_OUT)

    removal = await _remove(alone, bot)

    assert (removal, await _connection(alone, bot)) == (("exit_only", 0), KEPT)
    await alone.carry_out(bot)
    assert (await alone.run(bot)).state == "ended"
    assert await _connection(alone, bot) == KEPT
    alone.account(bot).listing_delay = GRACE * 0
    await _pass(alone, GRACE.total_seconds() * 4)
    assert (await alone.order(lost)).state == "filled"
    position = await alone.position(bot)
    assert (position.state, await _connection(alone, bot)) == ("open", KEPT)
    await alone.fire(position, "stop")
    assert (await alone.carry_out(bot)).finished
    assert (await alone.position(bot)).state == "closed"
    assert await _connection(alone, bot) == GONE
    await assert_in_order(alone, bot)


async def test_keys_go_when_the_doubt_has_ended(alone: Engine) -> None:
    bot = await _live_bot(alone)
    await _lose(alone, bot, Answer.TIME_OUT)
    await _remove(alone, bot)
    await alone.carry_out(bot)
    await _pass(alone, DOUBT_LENGTH.total_seconds() / 2)
    assert await _connection(alone, bot) == KEPT

    await _pass(alone, DOUBT_LENGTH.total_seconds() / 2)

    assert await _connection(alone, bot) == GONE


async def test_the_last_exit_does_not_take_the_keys_of_an_order_in_doubt(alone: Engine) -> None:
    bot = await _live_bot(alone)
    await _lose(alone, bot, Answer.TIME_OUT)
    position = await alone.open_position(bot, "ETH-USD")
    assert await _remove(alone, bot) == ("exit_only", 1)

    await alone.fire(position, "stop")
    assert (await alone.carry_out(bot)).finished

    assert await _connection(alone, bot) == KEPT
    await _pass(alone, DOUBT_LENGTH.total_seconds())
    assert await _connection(alone, bot) == GONE


async def test_force_takes_the_keys_whatever_is_in_doubt(alone: Engine) -> None:
    bot = await _live_bot(alone)
    await _lose(alone, bot, Answer.TIME_OUT)

    assert await _remove(alone, bot, force=True) == ("removed", 0)

    assert await _connection(alone, bot) == GONE


async def test_a_run_that_ends_while_its_connection_is_being_removed_leaves_none_behind(
    alone: Engine,
) -> None:
    """The removal has counted a position and not committed yet when the guard finds all flat."""
    bot = await _live_bot(alone)
    connection_id = bot.trader.connection_id
    assert connection_id is not None
    entry = await alone.intend_entry(bot)
    await alone.trading.connection_removed(bot.trader.principal, connection_id)
    await alone.place(bot, entry)
    assert (await alone.carry_out(bot)).finished
    await alone.execute(
        "UPDATE connections SET status = 'exit_only' WHERE id = :id", id=connection_id
    )

    await alone.reconciling.reconcile_due(everybody=False)

    assert await _connection(alone, bot) == GONE


async def test_a_connection_with_a_position_is_not_swept_away(alone: Engine) -> None:
    bot = await _live_bot(alone)
    await alone.open_position(bot)
    await _remove(alone, bot)

    await _pass(alone, DOUBT_LENGTH.total_seconds())

    assert await _connection(alone, bot) == KEPT


async def test_a_connection_that_cannot_be_removed_now_keeps_no_other(alone: Engine) -> None:
    locked, other = await _live_bot(alone), await _live_bot(alone)
    for bot in (locked, other):
        await _lose(alone, bot, Answer.TIME_OUT)
        await _remove(alone, bot)
        await alone.carry_out(bot)
    await _pass(alone, DOUBT_LENGTH.total_seconds() / 2)
    async with alone.database.as_system() as session:
        row = select(Connection).where(Connection.user_id == locked.trader.user_id)
        assert (await session.exec(row.with_for_update())).all()

        await _pass(alone, DOUBT_LENGTH.total_seconds() / 2)

        assert await _connection(alone, other) == GONE
        assert await _connection(alone, locked) == KEPT


async def test_a_removal_by_force_that_dies_on_its_way_takes_no_stop(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lets the venue answer for up to 5 s; then stops and keys go together."""
    bot = await _live_bot(alone)
    await alone.open_position(bot)

    async def die(*_: object, **__: object) -> bool:
        raise Crashed("while sends are waited for")

    with monkeypatch.context() as patch:
        patch.setattr(connections, "wait_for_sends", die)
        with pytest.raises(Crashed):
            await _remove(alone, bot, force=True)
    alone.wire()  # everything is started again
    await _pass(alone, 60)
    assert await _connection(alone, bot) == KEPT
    alone.venue.market.last["BTC-USD"] = Decimal(50)
    await alone.watching.look(KEY)
    await alone.carry_out(bot)

    position = await alone.position(bot)
    assert (position.state, position.exit_reason) == ("closed", "stop_loss")
    assert await _connection(alone, bot) == GONE, "nothing needs it any more"


async def test_a_crash_at_any_step_of_a_removal_by_force_leaves_stops_with_the_keys(
    alone: Engine,
) -> None:
    """Or none of both; and another call goes on with it."""
    statuses, died = set(), True
    for step in count(2, 3):  # after each commit
        bot = await _live_bot(alone)
        position = await alone.open_position(bot)
        alone.crash.die_at(step)
        try:
            await _remove(alone, bot, force=True)
        except Crashed:
            alone.wire()
        else:
            died = False
        alone.crash.die_at(None)
        status, has_keys = await _connection(alone, bot)
        statuses.add(status)
        assert has_keys == (status != "removed")
        assert ("stop" in await alone.triggers(position)) == has_keys, step
        if has_keys:
            assert await _remove(alone, bot, force=True) == ("removed", 1)
        assert await alone.triggers(position) == {}
        assert (await alone.run(bot)).state == "ended"
        if not died:
            break

    assert statuses == {"connected", "exit_only", "removed"}


async def test_nothing_starts_on_a_connection_whose_removal_by_force_has_begun(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await _live_bot(alone)

    async def start_again(*_: object, **__: object) -> bool:
        with pytest.raises(NoBrokerConfigured):
            await alone.trading.start(
                bot.trader.principal, broker="coinbase", paper_trading=False, risk_profile=None
            )
        return True

    monkeypatch.setattr(connections, "wait_for_sends", start_again)
    await _remove(alone, bot, force=True)

    assert (await alone.run(bot)).state == "ended"
    assert (await alone.guard(bot)).finished


@pytest.mark.parametrize("answer", [Answer.TIME_OUT, Answer.REST])
async def test_an_exit_without_an_end_ends_after_its_keys_were_taken_by_force(
    alone: Engine, answer: Answer
) -> None:
    bot = await _live_bot(alone)
    position = await alone.open_position(bot)
    await alone.fire(position, "stop")
    (exit_,) = (await alone.guard(bot)).orders
    alone.account(bot).answers.append(answer)
    await alone.place(bot, exit_.order_id)
    assert await _remove(alone, bot, force=True) == ("removed", 1)
    alone.account(bot).refuses_keys = True

    await alone.reconciling.reconcile_due(everybody=True)
    early = await alone.order(exit_.order_id)
    await _pass(alone, IN_FLIGHT_MAX.total_seconds() + 1)
    await _pass(alone, 1)

    assert not early.settled_at, "its send may be on its way"
    order, position = await alone.order(exit_.order_id), await alone.position(bot)
    assert (order.state, order.refusal_code) == ("absent", "outcome_unknown")
    assert (position.state, position.open_quantity) == ("open", position.entry_quantity)
    assert (position.exit_state, position.exit_error) == ("no_keys", order.refusal_reason)
    assert await alone.rows("SELECT id FROM triggers WHERE state IN ('armed', 'fired')") == []
    notices = await alone.rows("SELECT kind FROM notices ORDER BY created_at, kind")
    assert [row["kind"] for row in notices][1:] == ["order_unresolved"], "no keys to complain of"
    await _pass(alone, DOUBT_LENGTH.total_seconds() + 1)
    await _pass(alone, 31)
    assert await _doubted_orders(alone) == []
    dispatch = ExitDispatch(alone.database, alone.workflows, alone.venue, realm=Realm.SIMULATED)
    assert await dispatch.poll() == 0
    await alone.trading.write_off_position(bot.trader.principal, position.id)
    assert (await alone.position(bot)).state == "closed"


async def test_an_entry_without_an_end_ends_after_its_keys_were_taken_by_force(
    alone: Engine,
) -> None:
    bot = await _live_bot(alone)
    order_id = await alone.intend_entry(bot)
    alone.account(bot).answers.append(Answer.TIME_OUT)
    await alone.place(bot, order_id)
    await _remove(alone, bot, force=True)
    alone.account(bot).refuses_keys = True

    await _pass(alone, IN_FLIGHT_MAX.total_seconds() + 1)

    order = await alone.order(order_id)
    assert unfilled_reason(order.state, order.refusal_code) == "outcome_unknown"
    assert (await alone.position(bot)).state == "cancelled"
    assert (await alone.guard(bot)).finished
    notices = await alone.rows("SELECT facts FROM notices WHERE kind = 'order_unresolved'")
    assert [row["facts"]["leg"] for row in notices] == ["entry"]


async def test_an_order_without_keys_that_filled_after_all_is_booked(alone: Engine) -> None:
    """A process that still has the keys, or had asked before they went, may learn its end."""
    bot = await _live_bot(alone)
    await alone.fire(await alone.open_position(bot), "stop")
    (exit_,) = (await alone.guard(bot)).orders
    alone.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)
    await alone.place(bot, exit_.order_id)
    await _remove(alone, bot, force=True)
    alone.account(bot).refuses_keys = True
    await _pass(alone, IN_FLIGHT_MAX.total_seconds() + 1)
    alone.account(bot).refuses_keys = False

    await alone.settling.settle(bot.trader.user_id, exit_.order_id, doubt_the_end=True)

    position = await alone.position(bot)
    assert (position.state, position.exit_state) == ("closed", None)


async def test_an_entry_without_keys_that_filled_after_all_arms_nothing(alone: Engine) -> None:
    """As above: nothing can be sold without keys, so a position has none, or stops and keys."""
    bot = await _live_bot(alone)
    order_id = await alone.intend_entry(bot)
    alone.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)
    await alone.place(bot, order_id)
    await _remove(alone, bot, force=True)
    alone.account(bot).refuses_keys = True
    await _pass(alone, IN_FLIGHT_MAX.total_seconds() + 1)
    alone.account(bot).refuses_keys = False

    await alone.settling.settle(bot.trader.user_id, order_id, doubt_the_end=True)

    position = await alone.position(bot)
    assert (position.state, position.came_back) == ("open", True)
    assert await alone.triggers(position) == {}


async def test_what_was_armed_while_the_keys_were_taken_is_cancelled(alone: Engine) -> None:
    """A booking that began before saw the keys, and the removal did not see what it armed."""
    bot = await _live_bot(alone)
    position = await alone.open_position(bot)
    await alone.fire(position, "stop")
    await alone.execute(
        "UPDATE connections SET status = 'removed', sealed = NULL, removed_at = now()"
        " WHERE id = :id",
        id=bot.trader.connection_id,
    )

    await _pass(alone, 1)

    assert await alone.triggers(position) == {}


async def test_refused_keys_are_asked_with_longer_and_longer_delays(alone: Engine) -> None:
    bot = await _live_bot(alone)
    await alone.fire(await alone.open_position(bot), "stop")
    (exit_,) = (await alone.guard(bot)).orders
    alone.account(bot).answers.append(Answer.TIME_OUT)
    await alone.place(bot, exit_.order_id)
    alone.account(bot).refuses_keys = True
    delays = []

    for _ in range(40):
        result = await alone.settling.settle_or_delay(bot.trader.user_id, exit_.order_id)
        assert result.keys_refused_seconds is not None
        delays.append(result.keys_refused_seconds)
        alone.wall.advance(result.keys_refused_seconds)

    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (1, 300)
    alone.account(bot).refuses_keys = False
    result = await alone.settling.settle_or_delay(bot.trader.user_id, exit_.order_id)
    assert result.keys_refused_seconds is None


async def _doubted_orders(engine: Engine) -> object:
    return await engine.rows(
        "SELECT o.id FROM orders o JOIN accounts a ON a.id = o.account_id"
        " WHERE o.state = 'absent' AND o.settled_at > a.reconciled_at - interval '30 minutes'"
    )


async def _live_bot(engine: Engine) -> RunningBot:
    bot = await engine.start_bot(mode=Mode.LIVE)
    await engine.execute(
        "UPDATE connections SET sealed = 'x' WHERE id = :id", id=bot.trader.connection_id
    )
    return bot


async def _lose(engine: Engine, bot: RunningBot, answer: Answer) -> UUID:
    """An entry that is not listed, and so taken for absent."""
    order_id = await engine.intend_entry(bot)
    engine.account(bot).answers.append(answer)
    engine.account(bot).listing_delay = GRACE * 4
    await engine.place(bot, order_id)
    engine.venue.market.now += GRACE
    engine.wall.time += GRACE
    assert (await engine.settle(bot, order_id)).state == "absent"
    return order_id


async def _remove(engine: Engine, bot: RunningBot, *, force: bool = False) -> tuple[str, int]:
    removal = await engine.remove_broker(bot, force=force)
    return removal.status, removal.open_positions


async def _pass(engine: Engine, seconds: float) -> None:
    """Time passes, then the accounts that are due are reconciled."""
    engine.wall.advance(seconds)
    engine.venue.market.now = engine.wall.now()
    await engine.reconciling.reconcile_due(everybody=False)


async def _connection(engine: Engine, bot: RunningBot) -> tuple[str, bool]:
    (row,) = await engine.rows(
        "SELECT status, sealed IS NOT NULL AS has_keys FROM connections WHERE id = :id",
        id=bot.trader.connection_id,
    )
    return row["status"], row["has_keys"]
