"""Closes of positions that cannot leave: however many come, what they cost is bounded."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from adapters.embedded.postgres_roles import DatabaseUrls
from domain.contracts.alerts import SignalResult
from domain.markets import Mode
from services.alerts.intake import Receipt
from services.alerts.views import AlertFilter, AlertView
from tests.alerts.harness import Desk
from tests.support.engine import RunningBot
from tests.support.fake_venue import Answer
from tests.support.rows_read import rows_read

pytestmark = pytest.mark.integration

CLOSES = 60
SECONDS_BETWEEN = 4
"""No key's minute is ever full."""

MANY = 10
FAILING_SECONDS = 3600


async def stuck_bot(desk: Desk) -> tuple[RunningBot, str]:
    """A bot with a position whose exit fails: its keys were withdrawn at the broker."""
    bot, key = await desk.bot_with_key(mode=Mode.LIVE)
    await desk.engine.open_position(bot)
    desk.engine.account(bot).refuses_keys = True
    return bot, key


async def send_many(desk: Desk, key: str, number: int = CLOSES, **fields: Any) -> list[Receipt]:
    receipts = []
    for it in range(number):
        receipts.append(await desk.send(key, action="close", id=f"again-{it}", **fields))
        desk.engine.wall.advance(SECONDS_BETWEEN)
    return receipts


async def followed(desk: Desk, bot: RunningBot, receipts: list[Receipt]) -> list[SignalResult]:
    """The looks at alerts that are to be looked at again."""
    looks = [await desk.follow(bot, receipt.alert_id) for receipt in receipts]
    return [look for look in looks if look.wait_seconds is not None]


async def listed(desk: Desk, bot: RunningBot, **options: Any) -> dict[Any, AlertView]:
    page = await desk.views.page(
        bot.trader.principal, AlertFilter(**options), page=1, per_page=CLOSES
    )
    assert page.total == len(page.alerts)
    return {alert.id: alert for alert in page.alerts}


async def test_closes_of_a_position_that_is_leaving_are_followed_by_one(desk: Desk) -> None:
    bot, key = await stuck_bot(desk)
    alerts = await send_many(desk, key)
    desk.engine.wall.advance(FAILING_SECONDS)

    assert len(await followed(desk, bot, alerts)) == 1

    assert [taken.is_followed for taken in desk.dispatch.taken] == [True] + [False] * (CLOSES - 1)
    assert {taken.exits_of for taken in desk.dispatch.taken[1:]} == {None}, "asked for nothing new"


async def test_a_close_that_asks_again_has_the_outcome_of_the_one_that_asked(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)
    first, *again = await send_many(desk, key, 3)
    desk.engine.account(bot).answers.append(Answer.REFUSE)
    (task,) = (await desk.engine.guard(bot)).orders
    await desk.engine.place(bot, task.order_id)
    await desk.follow(bot, first.alert_id)

    failing = await listed(desk, bot, status="accepted")

    assert {alert.reason for alert in failing.values()} == {"refused"}
    assert {failing[it.alert_id].duplicate_of for it in again} == {first.alert_id}
    assert failing[first.alert_id].duplicate_of is None
    assert {receipt.is_duplicate for receipt in again} == {False}

    await desk.engine.carry_out(bot)
    await desk.follow(bot, first.alert_id)

    assert await listed(desk, bot, status="accepted") == {}
    through = await listed(desk, bot, status="executed")
    assert {(it.status, it.reason) for it in through.values()} == {("executed", "signal_close")}
    assert len({alert.finished_at for alert in through.values()}) == 1
    assert len(through) == 3


async def test_a_close_of_what_left_by_another_cause_is_followed_once(desk: Desk) -> None:
    bot, key = await stuck_bot(desk)
    position = await desk.engine.position(bot)
    await desk.engine.trading.close_position(bot.trader.principal, position.id)

    alerts = await send_many(desk, key, 5)

    assert len(await followed(desk, bot, alerts)) == 1


async def test_a_part_of_what_is_leaving_asks_again_for_all_of_it(desk: Desk) -> None:
    bot, key = await stuck_bot(desk)
    await desk.send(key, action="close")

    alerts = await send_many(desk, key, 5, percent=10)

    assert await followed(desk, bot, alerts) == []


async def test_parts_of_a_position_that_cannot_leave_do_not_pile_up(desk: Desk) -> None:
    """The exits worker's poll reads open requests four times a second."""
    bot, key = await stuck_bot(desk)

    alerts = await send_many(desk, key, quantity="0.03")

    (found,) = await desk.engine.rows(
        "SELECT count(*) AS requests FROM exit_requests WHERE state = 'open' AND user_id = :id",
        id=bot.trader.user_id,
    )
    assert found["requests"] <= MANY
    assert 1 < len(await followed(desk, bot, alerts)) <= MANY


async def test_following_a_part_reads_none_of_the_others(desk: Desk, urls: DatabaseUrls) -> None:
    bot, key = await stuck_bot(desk)
    receipt = await desk.send(key, action="close", quantity=0.03, id="part")
    await desk.engine.execute(
        "INSERT INTO exit_requests (id, user_id, account_id, position_id, cause, quantity, reason,"
        " state, merged_into, requested_at, created_at, ended_at)"
        " SELECT gen_random_uuid(), r.user_id, r.account_id, r.position_id, 'command:' || n,"
        " r.quantity, r.reason, 'done', NULL, r.requested_at, r.created_at, r.created_at"
        " FROM exit_requests r, generate_series(1, 3000) n WHERE r.user_id = :id",
        id=bot.trader.user_id,
    )
    with psycopg.connect(urls.owner) as connection:
        connection.execute("ANALYZE exit_requests")  # as the server does by itself, a little later

    with rows_read(desk.engine.database, "exit_requests") as read:
        await desk.follow(bot, receipt.alert_id)

    assert read.most < 100


async def test_parts_that_were_merged_have_the_outcome_of_the_one_that_carries_them_out(
    desk: Desk,
) -> None:
    bot, key = await stuck_bot(desk)
    alerts = await send_many(desk, key, 20, quantity="0.03")
    desk.engine.account(bot).refuses_keys = False

    await desk.engine.carry_out(bot)
    assert await followed(desk, bot, alerts) == []

    through = await listed(desk, bot, status="executed")
    assert {alert.id for alert in through.values()} == {it.alert_id for it in alerts}


async def test_a_close_of_all_after_parts_is_followed_to_the_end_of_the_position(
    desk: Desk,
) -> None:
    bot, key = await stuck_bot(desk)
    await desk.send(key, action="close", quantity=1, id="part")
    whole = await desk.send(key, action="close", id="all")
    again = await desk.send(key, action="close", id="all again")

    (look,) = await followed(desk, bot, [whole, again])

    assert look.state == "accepted"
    assert (await listed(desk, bot))[again.alert_id].duplicate_of == whole.alert_id


async def test_closes_that_wait_and_are_decided_together_are_followed_by_one(desk: Desk) -> None:
    bot, key = await stuck_bot(desk)
    receipts = await send_many(desk, key, 1)
    await desk.engine.execute(
        "UPDATE positions SET close_requested = NULL, close_cause = NULL WHERE user_id = :id",
        id=bot.trader.user_id,
    )
    await desk.engine.execute(
        "INSERT INTO alerts (id, user_id, key_id, bot_id, state, action, symbol, trade_id,"
        " received_at, expires_at)"
        " SELECT gen_random_uuid(), user_id, key_id, bot_id, 'processing', action, symbol,"
        " gen_random_uuid(), :now, cast(:now AS timestamptz) + interval '15 minutes'"
        " FROM alerts, generate_series(1, 5) WHERE id = :id",
        id=receipts[0].alert_id,
        now=desk.engine.wall.now(),
    )
    await desk.engine.execute(
        "UPDATE alerts SET state = 'executed' WHERE id = :id", id=receipts[0].alert_id
    )

    await desk.following.decide_exits(bot.trader.user_id)

    rows = await desk.alerts(bot.trader)
    looks = [await desk.following.follow(bot.trader.user_id, row["id"]) for row in rows]
    assert {row["state"] for row in rows} == {"executed", "accepted"}
    assert len([look for look in looks if look.wait_seconds is not None]) == 1


async def test_a_close_of_another_position_of_the_market_is_followed_itself(desk: Desk) -> None:
    """One that came back beside the position that took its place."""
    bot, key = await stuck_bot(desk)
    await desk.send(key, action="close")
    await desk.engine.execute(
        "UPDATE positions SET came_back = true WHERE user_id = :id", id=bot.trader.user_id
    )
    desk.engine.account(bot).refuses_keys = False
    await desk.engine.open_position(bot)
    desk.engine.account(bot).refuses_keys = True

    other = await desk.send(key, action="close", id="other")
    again = await desk.send(key, action="close", id="again")

    (look,) = await followed(desk, bot, [other, again])
    assert look.state == "accepted"


async def test_an_alert_that_ended_when_it_was_decided_needs_no_follower(desk: Desk) -> None:
    _bot, key = await desk.bot_with_key()

    receipt = await desk.send(key, action="close")

    assert (await desk.alert(receipt.alert_id))["reason"] == "no_position"
    assert not desk.dispatch.taken[-1].is_followed
