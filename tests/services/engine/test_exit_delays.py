"""How long an exit that is refused again and again delays, and what ends such a delay."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from domain.markets import Mode
from services.trading.exit_delays import (
    PATIENT_AFTER,
    RETRY_SECONDS_MAX,
    RETRY_SECONDS_PATIENT,
    delay_after,
)
from tests.support.attempts import add_refused_attempts
from tests.support.engine import Engine, RunningBot, close
from tests.support.fake_venue import Answer

HOUR = 3600
DAY = 24 * HOUR


def test_delays_grow_to_a_minute_and_within_a_day_to_ten() -> None:
    delays = [delay_after(in_vain) for in_vain in range(1, 1000)]

    assert delays[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert delays == sorted(delays)
    assert max(delays) == RETRY_SECONDS_PATIENT
    before_a_minute = sum(delays[: delays.index(2 * RETRY_SECONDS_MAX)])
    before_the_longest = sum(delays[: delays.index(RETRY_SECONDS_PATIENT)])
    assert 2.5 * HOUR < before_a_minute < 3.5 * HOUR
    assert 0.8 * DAY < before_the_longest < 1.2 * DAY


@pytest.mark.parametrize("in_vain", [10**3, 10**6, 10**9])
def test_no_number_of_tries_makes_a_pause_longer(in_vain: int) -> None:
    assert delay_after(in_vain) == RETRY_SECONDS_PATIENT


async def delay(engine: Engine, tries: int) -> RunningBot:
    """A bot whose stop was refused as often, a minute ago for the last time."""
    bot = await engine.start_bot(mode=Mode.LIVE)
    await engine.fire(await engine.open_position(bot), "stop")
    (task,) = (await engine.guard(bot)).orders
    await add_refused_attempts(engine, task.order_id, tries - 1)
    await refuse(engine, bot)
    engine.wall.advance(RETRY_SECONDS_MAX)
    assert not (await engine.guard(bot)).orders
    return bot


async def refuse(engine: Engine, bot: RunningBot) -> None:
    (task,) = (await engine.guard(bot)).orders
    engine.account(bot).answers.append(Answer.REFUSE)
    assert (await engine.place(bot, task.order_id)).state == "refused"


@pytest.mark.integration
async def test_an_exit_that_was_refused_for_weeks_is_tried_every_ten_minutes(
    engine: Engine,
) -> None:
    bot = await delay(engine, 5000)
    left = RETRY_SECONDS_PATIENT - RETRY_SECONDS_MAX

    assert (await engine.guard(bot)).recheck_seconds == left
    engine.wall.advance(left)
    assert len((await engine.guard(bot)).orders) == 1


REASONS = {
    "keys that work": "UPDATE connections SET last_connected_at = :now"
    " WHERE id = (SELECT connection_id FROM accounts WHERE id = :account_id)",
    "a market of another status": "INSERT INTO market_states (venue, realm, symbol, status, since)"
    " VALUES ('coinbase', 'simulated', 'BTC-USD', 'open', :now)"
    " ON CONFLICT (venue, realm, symbol) DO UPDATE SET since = :now",
    "a command to the bot": "UPDATE bots SET state_changed_at = :now"
    " WHERE user_id = (SELECT user_id FROM accounts WHERE id = :account_id)",
}


@pytest.mark.integration
@pytest.mark.parametrize("reason", REASONS)
async def test_a_long_pause_ends_once_at_what_may_have_changed(alone: Engine, reason: str) -> None:
    bot = await delay(alone, PATIENT_AFTER)

    account_id = bot.trader.account_id
    await alone.execute(REASONS[reason], now=alone.wall.now(), account_id=account_id)
    await refuse(alone, bot)

    view = await alone.guard(bot)
    assert (view.orders, view.recheck_seconds) == ((), 2 * RETRY_SECONDS_MAX)


def pass_time(engine: Engine, seconds: float) -> None:
    engine.wall.advance(seconds)
    engine.venue.market.now += timedelta(seconds=seconds)


@pytest.mark.integration
async def test_an_exit_leaves_soon_after_a_market_takes_orders_again(
    engine: Engine, bot: RunningBot
) -> None:
    """A market refuses every kind of order for two seconds, as in an auction."""
    await engine.fire(await engine.open_position(bot), "stop")
    account = engine.account(bot)
    began = engine.wall.now()
    while engine.wall.now() - began < timedelta(seconds=2):
        for live in (await engine.guard(bot)).orders:
            account.answers.append(Answer.WRONG_TYPE)
            await engine.place(bot, live.order_id)
        pass_time(engine, 0.05)

    # From now on the market takes orders.
    view = await engine.guard(bot)

    assert view.orders or (view.recheck_seconds or 0) <= 3, f"none for {view.recheck_seconds} s"
    kinds = [send.type.value for send in account.sends if send.side == "sell"]
    assert kinds == ["market", "limit", "limit"], "at once in another kind, then after delays"


@pytest.mark.integration
async def test_tries_that_left_at_once_make_no_delay_longer(
    engine: Engine, bot: RunningBot
) -> None:
    """The market's maximum is found by eight halvings within a second; then it refuses that too."""
    await engine.fire(await engine.open_position(bot), "stop")
    account = engine.account(bot)
    account.quantity_max = Decimal("0.015")
    for _ in range(8):
        (live,) = (await engine.guard(bot)).orders
        await engine.place(bot, live.order_id)
        pass_time(engine, 0.1)
    await refuse(engine, bot)

    view = await engine.guard(bot)

    assert not view.orders
    assert view.recheck_seconds is not None
    assert view.recheck_seconds <= 2


@pytest.mark.integration
async def test_a_maximum_is_found_at_once_also_after_hours_of_other_refusals(
    alone: Engine,
) -> None:
    bot = await alone.start_bot(mode=Mode.LIVE)
    await alone.fire(await alone.open_position(bot), "stop")
    (task,) = (await alone.guard(bot)).orders
    await add_refused_attempts(alone, task.order_id, 200)
    account = alone.account(bot)
    account.quantity_max = Decimal(1)

    for _ in range(6):
        for live in (await alone.guard(bot)).orders:
            await alone.place(bot, live.order_id)

    sizes = [send.quantity for send in account.sends if send.side == "sell"]
    assert sizes[:3] == [Decimal(3), Decimal("1.5"), Decimal("0.75")]
    assert (await alone.position(bot)).state == "closed"


async def reconcile_error(engine: Engine, bot: RunningBot) -> str | None:
    (row,) = await engine.rows(
        "SELECT reconcile_error FROM accounts WHERE id = :id", id=bot.trader.account_id
    )
    error: str | None = row["reconcile_error"]
    return error


@pytest.mark.integration
async def test_an_exit_is_tried_once_a_reconciliation_finds_that_refused_keys_work_again(
    alone: Engine,
) -> None:
    """The keys were let in again at the venue, after they had been refused for some hours."""
    bot = await alone.start_bot(mode=Mode.LIVE)
    await alone.fire(await alone.open_position(bot), "stop")
    (task,) = (await alone.guard(bot)).orders
    await add_refused_attempts(alone, task.order_id, 900)
    alone.venue.refuses_keys = True
    (task,) = (await alone.guard(bot)).orders
    assert (await alone.place(bot, task.order_id)).state == "refused"
    pass_time(alone, 30)
    await alone.reconciling._try(bot.trader.user_id, bot.trader.account_id)
    assert await reconcile_error(alone, bot) is not None
    alone.venue.refuses_keys = False
    pass_time(alone, 30)
    await alone.reconciling._try(bot.trader.user_id, bot.trader.account_id)
    assert await reconcile_error(alone, bot) is None

    view = await alone.guard(bot)

    assert len(view.orders) == 1, f"the exit waits {view.recheck_seconds} s more"
    alone.account(bot).answers.append(Answer.REFUSE)
    await alone.place(bot, view.orders[0].order_id)
    pass_time(alone, 30)
    await alone.reconciling._try(bot.trader.user_id, bot.trader.account_id)
    assert not (await alone.guard(bot)).orders, "keys that go on working are no news"


async def by_user(engine: Engine, bot: RunningBot) -> None:
    position = await engine.position(bot)
    await engine.trading.close_position(bot.trader.principal, position.id)


async def by_alert(engine: Engine, bot: RunningBot) -> None:
    await engine.hunt(bot, close())


async def by_part(engine: Engine, bot: RunningBot) -> None:
    position = await engine.position(bot)
    await engine.trading.close_position(bot.trader.principal, position.id, percent=Decimal(10))


async def by_kill_switch(engine: Engine, bot: RunningBot) -> None:
    await engine.execute("UPDATE kill_switches SET released_at = :now", now=engine.wall.now())
    await engine.execute(
        "INSERT INTO kill_switches (id, scope, user_id, reason, engaged_at, close_positions,"
        " notify_users, revision, handled_revision)"
        " VALUES (gen_random_uuid(), 'user', :user_id, 'a test', :now, true, false, 1, 0)",
        now=engine.wall.now(),
        user_id=bot.trader.user_id,
    )


@pytest.mark.integration
@pytest.mark.parametrize("ask", [by_user, by_alert, by_part, by_kill_switch])
async def test_who_asks_again_for_an_exit_waits_a_minute_at_most(
    alone: Engine, ask: Callable[[Engine, RunningBot], Awaitable[None]]
) -> None:
    """However often: many closes make no more tries."""
    bot = await leaving(alone, 900)
    pass_time(alone, 120)
    assert not (await alone.guard(bot)).orders

    await ask(alone, bot)
    await refuse(alone, bot)
    tries = 0
    for _ in range(30):
        pass_time(alone, 5)
        await ask(alone, bot)
        if (await alone.guard(bot)).orders:
            tries += 1
            await refuse(alone, bot)

    assert tries == 2, "within two and a half minutes"


async def leaving(engine: Engine, tries: int) -> RunningBot:
    """A bot whose user asked for the exit of its position, which was refused as often."""
    bot = await engine.start_bot(mode=Mode.LIVE)
    await engine.open_position(bot)
    await by_user(engine, bot)
    (task,) = (await engine.guard(bot)).orders
    await add_refused_attempts(engine, task.order_id, tries - 1)
    await refuse(engine, bot)
    return bot
