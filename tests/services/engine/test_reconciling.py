"""Reconciliation and the sweeper: what we missed is found, what is not ours is only noted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from domain.contracts.bots import BotSignal, Nudge, OrderResult
from domain.markets import Mode, VenueKey
from domain.orders import Balances, OrderState
from domain.ports import VenueUnavailable, WorkflowServiceUnavailable
from services.orders.turns import Turns
from services.trading import sweeping as sweeping_module
from tests.support.books import assert_in_order
from tests.support.engine import Engine, RunningBot, buy
from tests.support.fake_venue import KEY, Answer

pytestmark = pytest.mark.integration


async def reconcile(engine: Engine, bot: RunningBot) -> None:
    await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)


async def flows(engine: Engine, bot: RunningBot) -> list[tuple[str, Decimal, str]]:
    rows = await engine.rows(
        "SELECT currency, amount, kind FROM flows WHERE account_id = :id ORDER BY at, currency",
        id=bot.trader.account_id,
    )
    return [(row["currency"], row["amount"], row["kind"]) for row in rows]


async def test_equal_books_stay_untouched(engine: Engine, bot: RunningBot) -> None:
    await engine.open_position(bot)

    await reconcile(engine, bot)

    assert await flows(engine, bot) == []
    assert await engine.balances(bot) == engine.account(bot).totals


async def test_a_deposit_is_noted_once_and_believed(engine: Engine, bot: RunningBot) -> None:
    engine.account(bot).deposit("USD", "250")
    engine.account(bot).deposit("SOL", "3")

    await reconcile(engine, bot)
    await reconcile(engine, bot)

    assert await flows(engine, bot) == [
        ("SOL", Decimal(3), "external"),
        ("USD", Decimal(250), "external"),
    ]
    assert await engine.balances(bot) == {"USD": Decimal(10_250), "SOL": Decimal(3)}


async def test_a_withdrawal_is_a_flow_too(engine: Engine, bot: RunningBot) -> None:
    engine.account(bot).deposit("USD", "-4000")

    await reconcile(engine, bot)

    assert await flows(engine, bot) == [("USD", Decimal(-4_000), "external")]
    assert await engine.balances(bot) == {"USD": Decimal(6_000)}


async def test_two_reconciliations_at_once_note_a_deposit_once(
    engine: Engine, bot: RunningBot
) -> None:
    engine.account(bot).deposit("USD", "250")

    await asyncio.gather(*(reconcile(engine, bot) for _ in range(5)))

    assert await flows(engine, bot) == [("USD", Decimal(250), "external")]


async def test_an_execution_that_we_missed_is_booked_and_no_flow(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)
    engine.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)
    await engine.place(bot, order_id)

    await reconcile(engine, bot)
    await reconcile(engine, bot)

    assert (await engine.order(order_id)).state == OrderState.FILLED
    assert await flows(engine, bot) == []
    await assert_in_order(engine, bot)


async def test_nothing_is_compared_while_an_order_is_on_its_way(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)
    engine.account(bot).answers.append(Answer.FILL_BUT_TIME_OUT)
    engine.account(bot).listing_delay = timedelta(seconds=20)
    await engine.place(bot, order_id)

    await reconcile(engine, bot)

    assert await flows(engine, bot) == [], "the money is in an order of ours, not gone"


async def test_refused_keys_are_noted_stop_entries_and_heal(
    alone: Engine,
) -> None:
    bot = await alone.start_bot()
    alone.account(bot).refuses_keys = True
    await alone.reconciling.reconcile_due(everybody=True)
    (broken,) = await alone.rows("SELECT reconcile_error FROM accounts")

    alone.account(bot).refuses_keys = False
    await alone.hunt(bot, buy())
    (refused,) = await alone.rows("SELECT reason FROM decisions")
    await alone.reconciling.reconcile_due(everybody=True)
    (healed,) = await alone.rows("SELECT reconcile_error FROM accounts")

    assert broken["reconcile_error"] == "The broker refused the API keys"
    assert refused["reason"] == "keys_refused"
    assert healed["reconcile_error"] is None


async def test_one_account_in_trouble_does_not_keep_the_others_from_it(alone: Engine) -> None:
    broken, sound = await alone.start_bot(), await alone.start_bot()
    alone.account(sound).deposit("USD", "1")

    async def fail() -> object:
        raise ValueError("an answer that nobody expected")

    alone.account(broken).balances = fail  # type: ignore[assignment,method-assign]

    await alone.reconciling.reconcile_due(everybody=True)

    assert await flows(alone, sound) == [("USD", Decimal(1), "external")]


@pytest.mark.parametrize(("mode", "due_after_seconds"), [(Mode.LIVE, 30), (Mode.PAPER, 300)])
async def test_reconciliation_comes_round_when_it_is_due(
    alone: Engine, mode: Mode, due_after_seconds: int
) -> None:
    bot = await alone.start_bot(mode=mode)
    await alone.reconciling.reconcile_due(everybody=False)
    alone.account(bot).deposit("USD", "1")

    alone.wall.advance(due_after_seconds - 1)
    await alone.reconciling.reconcile_due(everybody=False)
    early = await flows(alone, bot)
    alone.wall.advance(2)
    await alone.reconciling.reconcile_due(everybody=False)

    assert early == []
    assert await flows(alone, bot) == [("USD", Decimal(1), "external")]


# --- the sweeper ------------------------------------------------------------------------------


async def swept(engine: Engine) -> Engine:
    """After the first sweep, which wakes everybody."""
    await engine.sweeper.sweep()
    engine.sweeper._first = False
    engine.workflows.told.clear()
    return engine


async def test_the_first_sweep_wakes_every_live_bot_and_starts_the_watch(alone: Engine) -> None:
    live, over = await alone.start_bot(), await alone.start_bot()
    await alone.trading.stop(over.trader.principal, close_positions=False, emergency=False)
    await alone.carry_out(over)
    alone.workflows.told.clear()

    await alone.sweeper.sweep()

    assert alone.workflows.told == [(live.bot_id, BotSignal.UPDATE_SETTINGS)]
    assert alone.workflows.watched == [KEY]


@asynccontextmanager
async def sweeping(engine: Engine) -> AsyncIterator[None]:
    """The sweeper's loop; a round is over, what it began may be under way."""
    loop = asyncio.create_task(engine.sweeper.run())
    await asyncio.sleep(0.5)
    try:
        yield
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


async def reconciled_once(engine: Engine, bot: RunningBot) -> None:
    """Wait for the end of the turn that every account gets at the start."""
    query = "SELECT 1 FROM accounts WHERE id = :id AND reconcile_tried_at IS NOT NULL"
    async with asyncio.timeout(10):
        while not await engine.rows(query, id=bot.trader.account_id):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def deposit_noted(engine: Engine, bot: RunningBot, amount: int) -> None:
    """Wait until the account's one flow is this.

    The account is due again meanwhile: a turn may have asked for its balances before the deposit.
    """
    async with asyncio.timeout(30):
        while await flows(engine, bot) != [("USD", Decimal(amount), "external")]:
            await asyncio.sleep(0.2)
            engine.wall.advance(3_600)


async def test_sweeps_that_fail_for_another_reason_do_not_reconcile_everybody_each_time(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await alone.start_bot()

    async def down(_key: VenueKey) -> None:
        raise WorkflowServiceUnavailable

    monkeypatch.setattr(alone.workflows, "ensure_watch", down)
    monkeypatch.setattr(alone.sweeper, "_interval", 0.1)
    assert not await alone.sweeper.sweep()
    async with sweeping(alone):
        alone.account(bot).deposit("USD", "1")
        told = len(alone.workflows.told)
        await asyncio.sleep(1)

        assert len(alone.workflows.told) > told
        assert await flows(alone, bot) == []


async def test_a_slow_account_keeps_the_sweeper_from_nothing_else(alone: Engine) -> None:
    slow, other = await alone.start_bot(), await alone.start_bot()

    async def pages() -> Balances:
        await asyncio.sleep(60)
        raise VenueUnavailable("never before the test is over")

    alone.account(slow).balances = pages  # type: ignore[method-assign]
    alone.sweeper._interval = 0.1
    async with sweeping(alone):
        await reconciled_once(alone, other)
        alone.workflows.told.clear()
        alone.account(other).deposit("USD", "1")
        alone.wall.advance(3_600)

        await deposit_noted(alone, other, 1)
        assert other.bot_id in {bot_id for bot_id, _ in alone.workflows.told}


async def test_a_bot_that_agrees_with_its_row_is_left_alone(alone: Engine) -> None:
    await alone.start_bot()
    await swept(alone)

    await alone.sweeper.sweep()

    assert alone.workflows.told == []


async def test_a_command_that_was_not_delivered_is_told_by_the_sweep(alone: Engine) -> None:
    bot = await alone.start_bot()
    await swept(alone)
    alone.workflows.is_down = True
    await alone.trading.pause(bot.trader.principal)
    alone.workflows.is_down = False

    await alone.sweeper.sweep()
    told = list(alone.workflows.told)
    await alone.guard(bot)
    alone.workflows.told.clear()
    await alone.sweeper.sweep()

    assert told == [(bot.bot_id, BotSignal.UPDATE_SETTINGS)]
    assert alone.workflows.told == [], "the guard has seen the row"


async def test_a_bot_that_is_silent_for_too_long_is_woken(alone: Engine) -> None:
    bot = await alone.start_bot()
    await swept(alone)
    alone.wall.advance(401)

    await alone.sweeper.sweep()

    assert alone.workflows.told == [(bot.bot_id, BotSignal.UPDATE_SETTINGS)]


class _Failing:
    """A chore whose server is away."""

    async def sweep(self) -> int:
        raise WorkflowServiceUnavailable("away")


async def test_a_part_of_a_sweep_that_fails_keeps_no_other_from_its_work(alone: Engine) -> None:
    bot = await alone.start_bot()
    alone.account(bot).deposit("USD", "250")
    alone.sweeper._chores = (_Failing(),)
    alone.workflows.told.clear()

    is_whole = await alone.sweeper.sweep()

    assert not is_whole
    assert alone.workflows.told == [(bot.bot_id, BotSignal.UPDATE_SETTINGS)]
    assert alone.workflows.watched == [KEY]
    async with sweeping(alone):
        await deposit_noted(alone, bot, 250)


class _Defective:
    """A chore that fails as nobody expected."""

    async def sweep(self) -> int:
        raise ValueError("a defect")


class _Hanging:
    """A chore whose server takes its time."""

    async def sweep(self) -> int:
        await asyncio.sleep(60)
        return 0


async def test_a_part_of_a_sweep_that_hangs_keeps_no_other_from_its_work(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await alone.start_bot()
    monkeypatch.setattr(sweeping_module, "PART_SECONDS_MAX", 3.0)
    alone.sweeper._chores = (_Hanging(), _Defective(), _Hanging())
    alone.workflows.told.clear()

    assert not await alone.sweeper.sweep()

    assert alone.workflows.told == [(bot.bot_id, BotSignal.UPDATE_SETTINGS)]


async def test_a_bot_that_cannot_be_told_keeps_no_other_from_it(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, other = await alone.start_bot(), await alone.start_bot()
    tell = alone.workflows.signal_bot
    alone.workflows.told.clear()

    async def refuse(user_id: UUID, bot_id: UUID, signal: BotSignal, message: Nudge) -> None:
        if bot_id == refused.bot_id:
            raise ValueError("exceeded workflow execution limit for signal events")
        await tell(user_id, bot_id, signal, message)

    monkeypatch.setattr(alone.workflows, "signal_bot", refuse)

    await alone.sweeper.sweep()

    assert alone.workflows.told == [(other.bot_id, BotSignal.UPDATE_SETTINGS)]


async def test_with_the_workflow_service_away_accounts_are_reconciled_all_the_same(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(key: VenueKey) -> None:
        raise WorkflowServiceUnavailable(str(key))

    bot = await alone.start_bot()
    alone.account(bot).deposit("USD", "250")
    monkeypatch.setattr(alone.workflows, "ensure_watch", away)
    alone.workflows.is_down = True

    async with sweeping(alone):
        await deposit_noted(alone, bot, 250)
    monkeypatch.undo()
    alone.workflows.is_down = False
    alone.workflows.told.clear()
    await alone.sweeper.sweep()
    assert alone.workflows.told == [(bot.bot_id, BotSignal.UPDATE_SETTINGS)], "still the first one"


async def test_a_reconciliation_that_is_cut_off_goes_on_where_it_was(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two orders whose look-ups are slow: a turn is long enough for one."""
    bot = await alone.start_bot()
    for symbol in ("BTC-USD", "ETH-USD"):
        order_id = await alone.intend_entry(bot, symbol)
        alone.account(bot).answers.append(Answer.TIME_OUT)
        await alone.place(bot, order_id)
    settle, asked = alone.settling.settle, list[UUID]()

    async def slowly(user_id: UUID, order_id: UUID, *, doubt_the_end: bool = False) -> OrderResult:
        asked.append(order_id)
        await asyncio.sleep(0.6)
        return await settle(user_id, order_id, doubt_the_end=doubt_the_end)

    monkeypatch.setattr(alone.settling, "settle", slowly)
    alone.reconciling._turns = Turns(alone.reconciling._try, seconds_max=1)

    for _ in range(2):
        await alone.reconciling.reconcile_due(everybody=True)
    (account,) = await alone.rows("SELECT reconciled_at FROM accounts")

    assert [asked[0], asked[1], asked[1]] == asked
    assert account["reconciled_at"] is not None
