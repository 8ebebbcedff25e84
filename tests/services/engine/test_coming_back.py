"""Orders that were taken for lost and filled after all: every fill is booked, wherever it lands."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from uuid import UUID

import pytest
from sqlmodel import select

from domain.markets import Mode
from domain.orders import OrderRequest, OrderState, PlaceOutcome, Unknown
from models.bots import Bot
from models.controls import KillScope, KillSwitch
from services.orders.booking import book
from services.orders.settling import DOUBT_LENGTH
from tests.support.books import assert_in_order
from tests.support.engine import GRACE, QUANTITY, Engine, RunningBot, close
from tests.support.fake_venue import Answer
from tests.support.lost_entries import lose_entry

pytestmark = pytest.mark.integration


async def test_an_entry_that_comes_back_stands_beside_the_one_that_took_its_place(
    engine: Engine, bot: RunningBot
) -> None:
    lost = await lose_entry(engine, bot)
    second = await engine.open_position(bot)

    await _relist(engine, bot)

    assert (await engine.order(lost)).state == "filled"
    positions = await _positions(engine, bot)
    assert [(row["state"], row["came_back"]) for row in positions] == [
        ("open", True),
        ("open", False),
    ]
    assert positions[1]["id"] == second.id
    assert await _notices(engine, bot) == ["position_came_back"]
    await assert_in_order(engine, bot)
    await engine.execute(
        "UPDATE positions SET close_requested = 'manual' WHERE account_id = :account",
        account=bot.trader.account_id,
    )
    await engine.carry_out(bot)
    assert {row["state"] for row in await _positions(engine, bot)} == {"closed"}
    await assert_in_order(engine, bot)


async def test_an_exit_that_comes_back_after_its_replacement_sold_everything_is_a_surplus(
    engine: Engine, bot: RunningBot
) -> None:
    """It sold the user's own coins: the books say so, the trade's profit does not count it."""
    engine.account(bot).deposit("BTC", "10")
    await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)
    position = await engine.open_position(bot)
    engine.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)
    engine.account(bot).listing_delay = GRACE * 4
    await engine.fire(position, "stop")
    (task,) = (await engine.guard(bot)).orders
    await engine.place(bot, task.order_id)
    engine.venue.market.now += GRACE
    engine.wall.time += GRACE
    assert (await engine.settle(bot, task.order_id)).state == "absent"
    engine.account(bot).listing_delay = GRACE * 0
    await engine.carry_out(bot)
    before = await engine.position(bot)
    assert (before.state, before.surplus_quantity) == ("closed", Decimal(0))

    await _relist(engine, bot)

    after = await engine.position(bot)
    assert (await engine.order(task.order_id)).state == "filled"
    assert (after.state, after.exit_quantity) == ("closed", QUANTITY)
    assert after.surplus_quantity == QUANTITY
    assert after.realized_pnl == before.realized_pnl
    assert after.fees > before.fees, "the fee of the surplus was paid all the same"
    assert await _notices(engine, bot) == ["surplus_exit"]
    await assert_in_order(engine, bot)


@pytest.mark.parametrize("sold", [Answer.FILL_BUT_TIME_OUT, Answer.FILL_PART])
async def test_an_exit_that_comes_back_before_its_replacement_was_sent_replaces_it_again(
    engine: Engine, bot: RunningBot, sold: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replacement would sell the user's own coins; what is left gets an exit of that size."""
    account = engine.account(bot)
    account.deposit("BTC", "10")
    await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")
    (first,) = (await engine.guard(bot)).orders
    account.answers.append(sold)
    account.listing_delay = GRACE * 4
    take = account.place

    async def unheard(request: OrderRequest) -> PlaceOutcome:
        await take(request)
        return Unknown("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(account, "place", unheard)
        await engine.place(bot, first.order_id)
    engine.venue.market.now += GRACE
    engine.wall.time += GRACE
    assert (await engine.settle(bot, first.order_id)).state == "absent"
    account.listing_delay = GRACE * 0
    engine.wall.advance(2)
    (second,) = (await engine.guard(bot)).orders
    await _relist(engine, bot)

    result = await engine.place(bot, second.order_id)

    assert (result.state, result.guard_due) == ("denied", True)
    assert (await engine.order(second.order_id)).refusal_code == "sold_meanwhile"
    await engine.carry_out(bot)
    after = await engine.position(bot)
    assert (after.state, after.exit_quantity) == ("closed", QUANTITY)
    assert after.surplus_quantity == 0
    await assert_in_order(engine, bot)


async def test_a_trade_that_opens_again_counts_once(engine: Engine, bot: RunningBot) -> None:
    position = await engine.open_position(bot)
    late = await _second_entry(engine, position.id)
    engine.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)
    engine.account(bot).listing_delay = GRACE * 4
    await engine.place(bot, late)
    engine.venue.market.now += GRACE
    engine.wall.time += GRACE
    assert (await engine.settle(bot, late)).state == "absent"
    engine.account(bot).listing_delay = GRACE * 0
    await engine.fire(position, "stop")
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    assert await _trades_counted(engine, bot) == 1

    await _relist(engine, bot)

    assert (await engine.position(bot)).state == "open"
    assert await _trades_counted(engine, bot) == 0
    await assert_in_order(engine, bot)
    await engine.fire(await engine.position(bot), "stop")
    await engine.carry_out(bot)
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


@pytest.mark.parametrize("is_stopped", [True, False])
async def test_an_entry_that_nobody_could_ask_about_while_it_was_doubted_is_asked_about_later(
    alone: Engine, *, is_stopped: bool
) -> None:
    """The venue was away for longer than the doubt lasts, or the worker that would ask it."""
    bot = await alone.start_bot()
    await alone.reconciling.reconcile_due(everybody=True)
    lost = await lose_entry(alone, bot)
    if is_stopped:
        await alone.trading.stop(bot.trader.principal, close_positions=False, emergency=False)
        await alone.carry_out(bot)
    alone.account(bot).is_down = True
    for _ in range(3):
        alone.wall.time += DOUBT_LENGTH
        alone.venue.market.now += DOUBT_LENGTH
        await alone.reconciling.reconcile_due(everybody=False)
    assert (await alone.order(lost)).state == "absent"
    alone.account(bot).is_down = False

    await alone.reconciling.reconcile_due(everybody=False)

    assert (await alone.order(lost)).state == "filled"
    assert (await alone.position(bot)).state == "open"
    await assert_in_order(alone, bot)


async def test_refused_keys_end_no_doubt(alone: Engine) -> None:
    """Whoever was not let in has not looked: what filled is found once the keys work again."""
    bot = await alone.start_bot(mode=Mode.LIVE)
    await alone.reconciling.reconcile_due(everybody=True)
    lost = await lose_entry(alone, bot)
    await alone.trading.stop(bot.trader.principal, close_positions=False, emergency=False)
    await alone.carry_out(bot)
    alone.account(bot).refuses_keys = True
    for _ in range(3):
        alone.wall.time += DOUBT_LENGTH
        alone.venue.market.now += DOUBT_LENGTH
        await alone.reconciling.reconcile_due(everybody=False)
    tried_at = await _tried_at(alone, bot)
    alone.wall.advance(29)
    await alone.reconciling.reconcile_due(everybody=False)
    assert await _tried_at(alone, bot) == tried_at, "refused keys are not tried more often"
    alone.account(bot).refuses_keys = False

    alone.wall.advance(2)
    await alone.reconciling.reconcile_due(everybody=False)

    assert (await alone.order(lost)).state == "filled"
    assert (await alone.position(bot)).state == "open"
    await assert_in_order(alone, bot)


async def test_nobody_asks_for_ever_through_a_removed_connection(alone: Engine) -> None:
    bot = await alone.start_bot(mode=Mode.LIVE)
    await lose_entry(alone, bot)
    await alone.remove_broker(bot, force=True)
    alone.venue.refuses_keys = True
    alone.wall.time += DOUBT_LENGTH
    await alone.reconciling.reconcile_due(everybody=False)
    tried_at = await _tried_at(alone, bot)
    assert tried_at == alone.wall.now()

    alone.wall.time += DOUBT_LENGTH
    await alone.reconciling.reconcile_due(everybody=False)

    assert await _tried_at(alone, bot) == tried_at


async def test_the_doubt_about_an_absent_order_ends(alone: Engine) -> None:
    bot = await alone.start_bot()
    order_id = await alone.intend_entry(bot)
    alone.account(bot).answers.append(Answer.TIME_OUT)
    await alone.place(bot, order_id)
    alone.venue.market.now += GRACE
    alone.wall.time += GRACE
    assert (await alone.settle(bot, order_id)).state == "absent"
    await alone.trading.stop(bot.trader.principal, close_positions=False, emergency=False)
    await alone.carry_out(bot)
    alone.wall.time += DOUBT_LENGTH
    await alone.reconciling.reconcile_due(everybody=False)
    alone.account(bot).deposit("USD", "1")

    alone.wall.time += DOUBT_LENGTH
    await alone.reconciling.reconcile_due(everybody=False)

    assert (
        await alone.rows("SELECT 1 FROM flows WHERE account_id = :id", id=bot.trader.account_id)
        == []
    )


async def test_what_comes_back_when_no_run_is_there_is_guarded_by_the_next(alone: Engine) -> None:
    bot = await alone.start_bot()
    lost = await lose_entry(alone, bot)
    await alone.trading.stop(bot.trader.principal, close_positions=False, emergency=False)
    await alone.carry_out(bot)
    assert (await alone.run(bot)).state == "ended"

    await _relist(alone, bot, due=True)
    assert (await alone.order(lost)).state == "filled"
    assert [row["run_id"] for row in await _positions(alone, bot)] == [bot.run_id]
    await alone.trading.start(
        bot.trader.principal, broker="coinbase", paper_trading=True, risk_profile="medium"
    )

    (position,) = await _positions(alone, bot)
    assert (position["state"], position["run_id"] == bot.run_id) == ("open", False)
    await alone.fire(await alone.position(bot), "stop")
    await alone.carry_out(bot)
    assert (await alone.position(bot)).state == "closed"


async def test_what_comes_back_when_no_run_is_there_needs_no_start_to_be_guarded(
    alone: Engine,
) -> None:
    """Nothing that forbids a start (a kill switch, a plan, an emergency stop) may keep its stop."""
    bot = await alone.start_bot()
    await lose_entry(alone, bot)
    await alone.trading.emergency_stop(bot.trader.principal, reason="test", close_positions=False)
    await alone.carry_out(bot)
    assert (await alone.run(bot)).state == "ended"

    await _relist(alone, bot, due=True)

    woken = await alone.bot(bot)
    assert woken.revision > woken.seen_revision, "the sweeper wakes it"
    position = await alone.position(bot)
    assert (position.state, (await alone.run(bot)).state) == ("open", "exit_only")
    await alone.fire(position, "stop")
    view = await alone.carry_out(bot)
    assert view.finished
    closed = await alone.position(bot)
    assert (closed.state, closed.exit_reason) == ("closed", "stop_loss")
    run = await alone.run(bot)
    assert (run.state, run.ended_at is not None) == ("ended", True)
    await assert_in_order(alone, bot)


async def test_what_comes_back_and_was_asked_to_leave_before_is_woken_for_it(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)
    engine.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)
    engine.account(bot).listing_delay = GRACE * 4
    await engine.place(bot, order_id)
    await engine.hunt(bot, close())
    engine.venue.market.now += GRACE
    engine.wall.time += GRACE
    assert (await engine.settle(bot, order_id)).state == "absent"
    await engine.guard(bot)

    await _relist(engine, bot)

    woken = await engine.bot(bot)
    assert woken.revision > woken.seen_revision, "its exit would wait for the longest silence"
    await engine.carry_out(bot)
    closed = await engine.position(bot)
    assert (closed.state, closed.exit_reason) == ("closed", "signal_close")


async def test_what_comes_back_while_its_run_is_ending_is_not_left_without_one(
    engine: Engine, bot: RunningBot
) -> None:
    """The guard does not see the booking yet: had it ended the run, nobody would make the exit."""
    lost = await lose_entry(engine, bot)
    await engine.trading.stop(bot.trader.principal, close_positions=False, emergency=False)
    at_venue = engine.account(bot).orders[(await engine.order(lost)).client_order_id]
    async with engine.database.for_user(bot.trader.user_id) as session:
        await book(
            session,
            lost,
            fills=at_venue.fills,
            state=OrderState.FILLED,
            venue_order_id=at_venue.report.venue_order_id,
            at=engine.venue.market.now,
            wall=engine.wall.now(),
            came_back=True,
        )

        await asyncio.wait_for(engine.guard(bot), timeout=4)

    position = await engine.position(bot)
    assert (position.state, (await engine.run(bot)).state) == ("open", "exit_only")
    await engine.fire(position, "stop")
    assert (await engine.carry_out(bot)).finished
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


async def test_what_comes_back_to_a_removed_connection_wakes_nothing(engine: Engine) -> None:
    """A gateway that was opened before may still be answered; nobody else has keys to sell with."""
    bot = await engine.start_bot(mode=Mode.LIVE)
    await lose_entry(engine, bot)
    await engine.remove_broker(bot, force=True)

    await _relist(engine, bot)

    assert (await engine.position(bot)).state == "open"
    assert (await engine.run(bot)).state == "ended"


async def test_what_comes_back_while_a_command_holds_the_bot_waits_for_nothing(
    engine: Engine, bot: RunningBot
) -> None:
    await lose_entry(engine, bot)
    await engine.trading.stop(bot.trader.principal, close_positions=False, emergency=False)
    await engine.carry_out(bot)
    async with engine.database.for_user(bot.trader.user_id) as session:
        await session.exec(select(Bot).where(Bot.id == bot.bot_id).with_for_update(key_share=True))

        await asyncio.wait_for(_relist(engine, bot), timeout=4)

    assert (await engine.position(bot)).state == "open"
    assert (await engine.run(bot)).state == "exit_only"


@pytest.mark.parametrize(
    ("is_closing", "is_released"), [(True, False), (False, False), (True, True)]
)
async def test_what_comes_back_long_after_a_kill_switch_that_closes_positions_leaves(
    engine: Engine, bot: RunningBot, *, is_closing: bool, is_released: bool
) -> None:
    """Its workflow stopped asking by then; only an engaged switch that closes positions counts."""
    await lose_entry(engine, bot)
    switch = KillSwitch(
        scope=KillScope.USER,
        user_id=bot.trader.user_id,
        reason="test",
        engaged_at=engine.wall.now(),
        close_positions=is_closing,
        released_at=engine.wall.now() if is_released else None,
    )
    async with engine.database.as_system() as session:
        session.add(switch)
    is_leaving = is_closing and not is_released

    await _relist(engine, bot)

    woken = await engine.bot(bot)
    assert (woken.revision > woken.seen_revision) == is_leaving
    position = await engine.position(bot)
    assert (position.state, position.came_back) == ("open", True)
    assert position.close_cause == (f"command:{switch.id}:{position.id}" if is_leaving else None)
    assert set(await engine.triggers(position)) >= {"stop"}, "until then its stop holds"
    await engine.carry_out(bot)
    after = await engine.position(bot)
    assert (after.state, after.exit_reason) == (
        ("closed", "kill_switch") if is_leaving else ("open", None)
    )
    await assert_in_order(engine, bot)


async def _tried_at(engine: Engine, bot: RunningBot) -> object:
    (row,) = await engine.rows(
        "SELECT reconcile_tried_at FROM accounts WHERE id = :id", id=bot.trader.account_id
    )
    return row["reconcile_tried_at"]


async def _relist(engine: Engine, bot: RunningBot, *, due: bool = False) -> None:
    """The venue lists everything now, and the account is reconciled."""
    engine.venue.market.now += GRACE * 4
    engine.wall.time += GRACE * 4
    if due:
        await engine.reconciling.reconcile_due(everybody=False)
    else:
        await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)


async def _second_entry(engine: Engine, position_id: UUID) -> UUID:
    """Another entry order of a position, as a strategy that adds to it would make."""
    await engine.execute(
        "INSERT INTO orders (id, user_id, account_id, bot_id, run_id, position_id, cause, leg,"
        " attempt, client_order_id, symbol, side, type, time_in_force, quantity, limit_price,"
        " reserved_quote, state, filled_quantity, created_at, intended_at)"
        " SELECT gen_random_uuid(), user_id, account_id, bot_id, run_id, position_id, cause, leg,"
        " 2, gen_random_uuid()::text, symbol, side, type, time_in_force, quantity, limit_price,"
        " reserved_quote, 'intended', 0, created_at, intended_at"
        " FROM orders WHERE position_id = :position AND leg = 'entry'",
        position=position_id,
    )
    (row,) = await engine.rows(
        "SELECT id FROM orders WHERE attempt = 2 AND leg = 'entry' AND position_id = :position",
        position=position_id,
    )
    return UUID(str(row["id"]))


async def _positions(engine: Engine, bot: RunningBot) -> list[dict[str, object]]:
    rows = await engine.rows(
        "SELECT * FROM positions WHERE account_id = :account ORDER BY came_back DESC",
        account=bot.trader.account_id,
    )
    return [dict(row) for row in rows]


async def _trades_counted(engine: Engine, bot: RunningBot) -> int:
    (row,) = await engine.rows(
        "SELECT coalesce(sum(trades), 0)::int AS trades FROM daily_results WHERE run_id = :run",
        run=bot.run_id,
    )
    return int(row["trades"])


async def _notices(engine: Engine, bot: RunningBot) -> list[str]:
    rows = await engine.rows(
        "SELECT kind FROM notices WHERE user_id = :user AND kind IN"
        " ('position_came_back', 'surplus_exit') ORDER BY created_at",
        user=bot.trader.user_id,
    )
    return [row["kind"] for row in rows]
