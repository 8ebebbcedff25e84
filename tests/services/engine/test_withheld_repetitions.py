"""Exits that are for more than is left by the time they would be sent again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import select

from domain.ports import VenueUnavailable
from models.trading import Fill, Position
from services.orders.late_reports import correct_fee
from services.orders.settling import DOUBT_LENGTH
from tests.support.books import assert_in_order
from tests.support.engine import GRACE, Engine, RunningBot
from tests.support.fake_venue import Answer, Cancel

pytestmark = pytest.mark.integration

LEFT = Decimal("2.98")


@pytest.fixture
async def bot(engine: Engine) -> RunningBot:
    """At a venue that answers a known id with the known order; the account holds coins besides."""
    bot = await engine.start_bot()
    account = engine.account(bot)
    account.repeats_known_orders = True
    account.deposit("BTC", "10")
    await engine.reconciling.reconcile(bot.trader.user_id, bot.trader.account_id)
    return bot


def pass_time(engine: Engine, length: timedelta) -> None:
    engine.wall.advance(length.total_seconds())
    engine.venue.market.now += length


def sold_at_venue(engine: Engine, bot: RunningBot) -> Decimal:
    made = engine.account(bot).fills_made
    return sum((fill.quantity for fill in made if fill.side == "sell"), Decimal(0))


async def drive(engine: Engine, bot: RunningBot, rounds: int = 6) -> None:
    """Every live order gets its next step, again and again; a second and a half apart."""
    for _ in range(rounds):
        for live in (await engine.guard(bot)).orders:
            with suppress(VenueUnavailable):
                if live.state == "intended":
                    await engine.place(bot, live.order_id)
                else:
                    await engine.settle(bot, live.order_id)
        pass_time(engine, timedelta(seconds=1.5))


async def commission_in_coins(engine: Engine, bot: RunningBot, position: Position) -> None:
    """The entry's commission turns out to be in coins: the position holds less than it seemed."""
    async with engine.database.for_user(bot.trader.user_id) as session:
        fills = (await session.exec(select(Fill).where(Fill.position_id == position.id))).all()
    entry = next(iter(engine.account(bot).orders.values()))
    for fill in fills:
        report = next(it for it in entry.fills if it.venue_fill_id == fill.venue_fill_id)
        async with engine.database.for_user(bot.trader.user_id) as session:
            await correct_fee(
                session,
                fill.id,
                replace(report, fee=Decimal("0.01"), fee_currency="BTC"),
                at=engine.venue.market.now,
                wall=engine.wall.now(),
            )
    assert (await engine.position(bot)).open_quantity == LEFT


async def unanswered_exit(engine: Engine, bot: RunningBot, answer: Answer) -> UUID:
    """A stop's exit without an answer, of a position that holds less than it is for by now."""
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")
    (first,) = (await engine.guard(bot)).orders
    engine.account(bot).answers.append(answer)
    engine.account(bot).listing_delay = timedelta(minutes=2)
    await engine.place(bot, first.order_id)
    await commission_in_coins(engine, bot, position)
    return first.order_id


async def test_a_repetition_that_the_gate_withholds_is_not_replaced_while_it_may_have_sold(
    engine: Engine, bot: RunningBot
) -> None:
    """The first send has filled, its answer was lost, and the listing lags for longer than the
    grace. A repetition is withheld, and nothing leaves in its place."""
    first = await unanswered_exit(engine, bot, Answer.FILL_BUT_TIME_OUT)
    assert sold_at_venue(engine, bot) == 3

    await drive(engine, bot, rounds=30)

    row = await engine.order(first)
    assert (row.state, row.sends, row.refusal_code) == ("unknown", 1, "repetition_withheld")
    pass_time(engine, timedelta(minutes=2))
    await drive(engine, bot)
    assert sold_at_venue(engine, bot) == 3
    position = await engine.position(bot)
    assert (position.state, (await engine.order(first)).refusal_code) == ("closed", None)


async def test_a_withheld_exit_that_never_arrived_is_replaced_once_nothing_is_to_be_expected(
    engine: Engine, bot: RunningBot
) -> None:
    first = await unanswered_exit(engine, bot, Answer.TIME_OUT)
    await drive(engine, bot, rounds=30)
    assert sold_at_venue(engine, bot) == 0

    pass_time(engine, DOUBT_LENGTH)
    await drive(engine, bot)

    assert (await engine.order(first)).state == "absent"
    assert (await engine.position(bot)).state == "closed"
    assert sold_at_venue(engine, bot) == LEFT


async def lost_by_its_venue(engine: Engine, bot: RunningBot) -> UUID:
    """A stop's exit that was accepted, rests, and has not been listed for the grace."""
    account = engine.account(bot)
    position = await engine.open_position(bot)
    await engine.fire(position, "stop")
    (first,) = (await engine.guard(bot)).orders
    account.answers.append(Answer.REST)
    account.cancel_answers.extend([Cancel.REFUSE] * 100)
    await engine.place(bot, first.order_id)
    assert (await engine.order(first.order_id)).state == "open"
    account.knows_nothing = True
    await engine.settle(bot, first.order_id)
    assert (await engine.order(first.order_id)).missed_at is not None
    pass_time(engine, GRACE + timedelta(seconds=1))
    return first.order_id


async def test_an_exit_that_was_seen_filling_is_not_sent_again_by_who_did_not_see_it(
    engine: Engine, bot: RunningBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two look at an exit that its venue had lost. One sees a part of it filled and books it; the
    other, who saw nothing yet, must not have it sent again: the rest of it rests at the venue."""
    first = await lost_by_its_venue(engine, bot)
    account = engine.account(bot)
    client_order_id = (await engine.order(first)).client_order_id
    list_fills = account.fills

    async def seen_by_another(*_args: Any, **_named: Any) -> Any:
        monkeypatch.setattr(account, "fills", list_fills)
        account.knows_nothing = False
        account.fill_part(client_order_id, Decimal("0.5"))
        await engine.settle(bot, first)
        assert (await engine.position(bot)).open_quantity == Decimal("2.5")
        return ()  # as it was when this one was asked

    monkeypatch.setattr(account, "fills", seen_by_another)
    await engine.settle(bot, first)
    await drive(engine, bot)
    account.fill_resting(client_order_id)
    await drive(engine, bot)

    assert sold_at_venue(engine, bot) == 3
    assert (await engine.order(first)).sends == 1
    assert (await engine.position(bot)).state == "closed"
    await assert_in_order(engine, bot)


async def test_an_earlier_exit_that_comes_back_does_not_have_its_unanswered_successor_replaced(
    engine: Engine, bot: RunningBot
) -> None:
    """The first was taken for absent after half an hour; the second fills unheard. What the first
    sold makes the second too large to be repeated, and no third one leaves in its place."""
    account = engine.account(bot)
    account.repeats_known_orders = False  # so an accepted exit is given up after half an hour
    first = await lost_by_its_venue(engine, bot)
    pass_time(engine, DOUBT_LENGTH)
    assert (await engine.settle(bot, first)).state == "absent"
    account.repeats_known_orders = True
    account.answers.append(Answer.FILL_BUT_TIME_OUT)
    account.listing_delay = timedelta(minutes=2)
    pass_time(engine, timedelta(seconds=2))
    (second,) = (await engine.guard(bot)).orders
    await engine.place(bot, second.order_id)
    account.knows_nothing = False
    account.fill_part((await engine.order(first)).client_order_id, Decimal(1))
    await engine.settling.settle(bot.trader.user_id, first, doubt_the_end=True)
    assert (await engine.position(bot)).open_quantity == 2

    await drive(engine, bot, rounds=30)

    assert sold_at_venue(engine, bot) == 4, "by the first two, before anybody knew"
    assert (await engine.order(second.order_id)).refusal_code == "repetition_withheld"
    pass_time(engine, timedelta(minutes=2))
    await drive(engine, bot)
    assert (await engine.position(bot)).surplus_quantity == 1
    assert sold_at_venue(engine, bot) == 4
