"""Alerts that close: committed where they are stored, whatever state anything else is in."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlmodel import select

from domain.markets import Mode, Realm, VenueKey
from models.trading import Position
from services.alerts.errors import AlertMalformed
from services.alerts.views import AlertFilter
from services.bot_views import BotViews
from services.errors import InvalidRequest
from tests.alerts.harness import Desk
from tests.api.harness import ALERT_AGE as AGE
from tests.support.crashes import Crashed
from tests.support.engine import RunningBot, buy
from tests.support.fake_venue import Answer
from tests.support.locks import locked_position

pytestmark = pytest.mark.integration

CLOSED = ("closed", "signal_close")


async def close_requested(desk: Desk, bot: RunningBot, symbol: str = "BTC-USD") -> str | None:
    return (await desk.engine.position(bot, symbol)).close_requested


async def ended(desk: Desk, bot: RunningBot) -> tuple[str, str | None]:
    await desk.engine.carry_out(bot)
    position = await desk.engine.position(bot)
    return position.state, position.exit_reason


async def test_a_close_is_committed_with_the_alert(desk: Desk) -> None:
    """No hunt, no market and no workflow is needed for it."""
    bot, key = await desk.bot_with_key()
    position = await desk.engine.open_position(bot)
    desk.engine.venue.market.down |= {"clock", "rules", "quote"}

    receipt = await desk.send(key, action="close")

    assert await close_requested(desk, bot) == "signal_close"
    alert = await desk.alert(receipt.alert_id)
    assert (alert["state"], alert["reason"], alert["trade_id"]) == (
        "accepted",
        "signal_close",
        position.id,
    )
    assert (desk.dispatch.taken[-1].exits_of, desk.dispatch.taken[-1].bot_id) == (bot.bot_id, None)


async def _stop(desk: Desk, bot: RunningBot) -> None:
    await desk.engine.trading.stop(bot.trader.principal, close_positions=False, emergency=False)


async def _emergency(desk: Desk, bot: RunningBot) -> None:
    await desk.engine.trading.emergency_stop(
        bot.trader.principal, reason="a test", close_positions=False
    )


async def _pause(desk: Desk, bot: RunningBot) -> None:
    await desk.engine.trading.pause(bot.trader.principal)


async def _error(desk: Desk, bot: RunningBot) -> None:
    desk.engine.account(bot).refuses_keys = True
    await desk.engine.hunt(bot)
    desk.engine.account(bot).refuses_keys = False


async def _lose_plan(desk: Desk, bot: RunningBot) -> None:
    await desk.engine.execute(
        "UPDATE users SET subscription_tier = 'free' WHERE id = :id", id=bot.trader.user_id
    )


async def _suspend(desk: Desk, bot: RunningBot) -> None:
    await desk.engine.execute(
        "UPDATE users SET status = 'suspended' WHERE id = :id", id=bot.trader.user_id
    )


async def _kill(desk: Desk, bot: RunningBot) -> None:
    await desk.engine.execute(
        "INSERT INTO kill_switches (id, scope, user_id, reason, engaged_by, engaged_at,"
        " close_positions, notify_users, revision, handled_revision)"
        " VALUES (gen_random_uuid(), 'user', :id, 'a test', NULL, :now, false, false, 1, 0)",
        id=bot.trader.user_id,
        now=desk.engine.wall.now(),
    )


async def _end_run(desk: Desk, bot: RunningBot) -> None:
    await _stop(desk, bot)
    await desk.engine.execute("UPDATE bot_runs SET state = 'ended' WHERE id = :id", id=bot.run_id)


@pytest.mark.parametrize(
    ("happens", "action"),
    [
        (_stop, "sell"),
        (_emergency, "flat"),
        (_pause, "close"),
        (_error, "exit_long"),
        (_lose_plan, "sell"),
        (_suspend, "close"),
        (_kill, "exit"),
        (_end_run, "close_long"),
    ],
)
async def test_a_close_works_in_every_state(desk: Desk, action: str, happens: Any) -> None:
    bot, key = await desk.bot_with_key(mode=Mode.LIVE)
    await desk.engine.open_position(bot)
    await happens(desk, bot)

    receipt = await desk.send(key, action=action)

    assert await ended(desk, bot) == CLOSED
    assert (await desk.follow(bot, receipt.alert_id)).state == "executed"


@pytest.mark.parametrize("action", ["close", "sell"])
@pytest.mark.parametrize("holds_both", [True, False])
async def test_a_close_reaches_the_account_of_an_earlier_run(
    desk: Desk, action: str, holds_both: bool
) -> None:
    earlier, key = await desk.bot_with_key(mode=Mode.LIVE)
    held = await desk.engine.open_position(earlier)
    await _stop(desk, earlier)
    latest = await desk.engine.start_on_paper(earlier)
    if holds_both:
        held = await desk.engine.open_position(latest)

    receipt = await desk.send(key, action=action)

    assert receipt.trade_id == held.id, "of the latest account, where it holds any"
    assert (await desk.alert(receipt.alert_id))["trade_id"] == held.id
    assert await ended(desk, earlier) == CLOSED
    if holds_both:
        assert await ended(desk, latest) == CLOSED
    assert (await desk.follow(latest, receipt.alert_id)).state == "executed"


async def test_a_row_that_cannot_be_read_keeps_no_other_account_from_leaving(desk: Desk) -> None:
    earlier, key = await desk.bot_with_key(mode=Mode.LIVE)
    broken = await desk.engine.open_position(earlier)
    await _stop(desk, earlier)
    latest = await desk.engine.start_on_paper(earlier)
    await desk.engine.open_position(latest)
    await desk.engine.execute(
        "UPDATE positions SET rules = '{\"odd\": 1}' WHERE id = :id", id=broken.id
    )

    await desk.send(key, action="close", quantity="1")

    assert (await desk.engine.carry_out(latest)).recheck_seconds is None
    assert (await desk.engine.position(latest)).open_quantity == 2


@pytest.mark.parametrize(
    "decoration",
    [
        {"size_usd": 0},
        {"quantity": -1},
        {"quantity": "NaN"},
        {"price": ""},
        {"price": "{{close}}"},
        {"size_usd": "1e999999999"},
        {"percent": 0},
        {"time": "yesterday"},
        {"time": ""},
        {"time": 0},
        {"time": "0"},
        {"time": -1},
        {"time": "1970-01-01T00:00:00Z"},
        {"time": "2099-01-01T00:00:00Z"},
        {"id": ""},
    ],
    ids=str,
)
async def test_what_an_exit_can_do_without_is_ignored_and_shown(
    desk: Desk, decoration: dict[str, Any]
) -> None:
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)

    receipt = await desk.send(key, action="sell", **decoration)

    assert await ended(desk, bot) == CLOSED
    alert = await desk.alert(receipt.alert_id)
    assert list(alert["details"]["ignored"]) == list(decoration)


async def test_an_entry_with_an_unusable_size_is_refused_and_listed(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()

    with pytest.raises(InvalidRequest):
        await desk.send(key, action="buy", size_usd=0, id="a1")

    (alert,) = await desk.alerts(bot.trader)
    assert (alert["state"], alert["reason"]) == ("refused", "invalid")
    assert (alert["symbol"], alert["action"], alert["reference"]) == ("BTC-USD", "buy", "a1")


@pytest.mark.parametrize(
    ("part", "left"),
    [
        ({"quantity": 1}, "2"),
        ({"percent": 50}, "1.5"),
        ({"percent": "50%"}, "1.5"),
        ({"size_usd": 100}, "2"),
        ({"quantity": 1, "percent": 90}, "2"),
    ],
    ids=str,
)
async def test_a_part_leaves_the_rest_with_its_stop(
    desk: Desk, part: dict[str, Any], left: str
) -> None:
    bot, key = await desk.bot_with_key()
    position = await desk.engine.open_position(bot)

    receipt = await desk.send(key, action="sell", **part)
    assert (await desk.follow(bot, receipt.alert_id)).state == "accepted"
    await desk.engine.carry_out(bot)

    rest = await desk.engine.position(bot)
    assert (rest.state, rest.open_quantity) == ("open", Decimal(left))
    assert "stop" in await desk.engine.triggers(position)
    assert (await desk.follow(bot, receipt.alert_id)).state == "executed"


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_a_decision_says_by_the_venues_clock_when_it_was_made(
    desk: Desk, is_stopped: bool
) -> None:
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)
    if is_stopped:
        await _end_run(desk, bot)
    clock, wall = desk.engine.venue.market, desk.engine.wall
    clock.now += timedelta(hours=2)
    wall.advance(3600)
    await desk.engine.watching.look(VenueKey("coinbase", Realm.SIMULATED))
    clock.now += timedelta(seconds=5)
    wall.advance(5)
    await desk.engine.execute(
        "UPDATE bots SET last_scan_at = :then WHERE id = :id",
        id=bot.bot_id,
        then=clock.now - timedelta(minutes=40),
    )

    receipt = await desk.send(key, action="close")
    late = buy()
    if is_stopped:
        await desk.engine.hunt(bot, late)

    rows = await desk.engine.rows(
        "SELECT cause, decided_at FROM decisions WHERE bot_id = :id", id=bot.bot_id
    )
    decided = {row["cause"]: row["decided_at"] for row in rows}
    assert decided[f"signal:{receipt.alert_id}"] == clock.now
    assert decided.get(f"signal:{late.signal_id}", clock.now) == clock.now
    assert len(decided) == 1 + is_stopped


async def test_more_than_is_held_closes_all(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)

    await desk.send(key, action="close", quantity=1_000_000)

    assert await ended(desk, bot) == CLOSED


async def test_a_close_of_the_other_side_leaves_nothing(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)

    receipt = await desk.send(key, action="close_short", id="x")
    again = await desk.send(key, action="close_short", id="x")

    alert = await desk.alert(receipt.alert_id)
    assert (alert["state"], alert["reason"]) == ("refused", "no_position")
    assert receipt.trade_id is again.trade_id is alert["trade_id"] is None, "there is no such trade"
    assert await close_requested(desk, bot) is None


# --- repeats ------------------------------------------------------------------------------------


async def test_an_exit_id_works_again_and_again(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    for _ in range(3):
        await desk.engine.open_position(bot)
        receipt = await desk.send(key, action="close", id="Long Exit")
        assert not receipt.is_duplicate
        assert await ended(desk, bot) == CLOSED
        await desk.follow(bot, receipt.alert_id)
        desk.engine.wall.advance(61)


async def test_an_entry_and_an_exit_of_one_id_are_two_alerts(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    entry = await desk.send(key, action="buy", id="L1")
    result = await desk.engine.hunt(bot)
    await desk.engine.place(bot, result.orders[0].order_id)

    closing = await desk.send(key, action="close", id="L1")
    other = await desk.send(key, action="close", id="L1", symbol="ETH-USD")

    assert (entry.is_duplicate, closing.is_duplicate, other.is_duplicate) == (False, False, False)
    assert await ended(desk, bot) == CLOSED


async def test_a_repeat_of_an_exit_that_came_to_nothing_is_none(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    early = await desk.send(key, action="close", id="X")
    await desk.engine.open_position(bot)

    again = await desk.send(key, action="close", id="X")

    assert (await desk.alert(early.alert_id))["reason"] == "no_position"
    assert not again.is_duplicate
    assert await ended(desk, bot) == CLOSED


async def test_a_repeat_of_an_exit_under_way_is_one(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)
    first = await desk.send(key, action="sell", quantity=1, id="TP")

    again = await desk.send(key, action="sell", quantity=1, id="TP")

    assert (again.is_duplicate, again.alert_id) == (True, first.alert_id)
    await desk.engine.carry_out(bot)
    assert (await desk.engine.position(bot)).open_quantity == Decimal(2)


# --- order --------------------------------------------------------------------------------------


async def test_a_buy_that_still_waits_is_overtaken_by_a_close(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    entry = await desk.send(key, action="buy")
    desk.engine.wall.advance(0.01)
    closing = await desk.send(key, action="close")

    result = await desk.engine.hunt(bot)

    assert result.orders == ()
    assert (await desk.alert(entry.alert_id))["reason"] == "overtaken"
    assert (await desk.alert(closing.alert_id))["reason"] == "no_position"


async def test_a_close_behind_a_locked_row_is_stored_and_decided_later(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    position = await desk.engine.open_position(bot)
    held, release = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with desk.engine.database.as_system() as session:
            await session.exec(select(Position).where(Position.id == position.id).with_for_update())
            held.set()
            await release.wait()

    holding = asyncio.create_task(hold())
    await held.wait()
    receipt = await desk.send(key, action="close")
    assert (await desk.alert(receipt.alert_id))["state"] == "processing"
    release.set()
    await holding

    await desk.following.decide_exits(bot.trader.user_id)

    assert await ended(desk, bot) == CLOSED


@pytest.mark.parametrize("number", range(4))
async def test_a_crash_at_any_step_loses_no_exit(desk: Desk, number: int) -> None:
    """An alert that was answered has asked. A sender that got no answer sends again."""
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)
    desk.engine.crash.die_at(number)
    try:
        await desk.send(key, action="close")
    except Crashed:
        desk.engine.wire()
    else:
        assert await close_requested(desk, bot) == "signal_close"
    desk.engine.crash.die_at(None)

    again = await desk.send(key, action="close")

    assert again.is_duplicate
    assert await close_requested(desk, bot) == "signal_close"
    assert await ended(desk, bot) == CLOSED
    assert len([order for order in await desk.engine.orders(bot) if order.leg == "exit"]) == 1


async def test_a_close_is_not_answered_before_it_has_asked(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    position = await desk.engine.open_position(bot)
    async with locked_position(desk.engine.database, position):
        waiting = asyncio.create_task(desk.send(key, action="close"))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        assert [alert["state"] for alert in await desk.alerts(bot.trader)] == ["processing"]
    await waiting

    assert await close_requested(desk, bot) == "signal_close"


# --- outcomes -----------------------------------------------------------------------------------


async def test_a_failing_exit_looks_like_one_until_it_is_through(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)
    desk.engine.account(bot).answers.append(Answer.REFUSE)
    receipt = await desk.send(key, action="close")
    (task,) = (await desk.engine.guard(bot)).orders
    await desk.engine.place(bot, task.order_id)

    failing = await desk.follow(bot, receipt.alert_id)
    assert (failing.state, failing.reason) == ("accepted", "refused")
    assert (await desk.alert(receipt.alert_id))["reason"] == "refused"

    assert await ended(desk, bot) == CLOSED
    through = await desk.follow(bot, receipt.alert_id)
    assert (through.state, through.reason) == ("executed", "signal_close")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer.FILL_NOTHING, "no_liquidity_within_slippage_cap"),
        (Answer.REFUSE, "refused: refused"),
    ],
)
async def test_an_entry_that_bought_nothing_says_why(
    desk: Desk, answer: Answer, reason: str
) -> None:
    bot, key = await desk.bot_with_key()
    desk.engine.account(bot).answers.append(answer)
    receipt = await desk.send(key)
    result = await desk.engine.hunt(bot)
    await desk.engine.place(bot, result.orders[0].order_id)

    followed = await desk.follow(bot, receipt.alert_id)

    assert (followed.state, followed.reason) == ("unfilled", reason)
    views = BotViews(desk.reads, desk.engine.wall, realm=Realm.SIMULATED)
    decisions = await views.decisions(bot.trader.principal, symbol="BTC-USD", limit=10)
    assert {it.unfilled_reason for it in decisions if it.action == "enter_long"} == {reason}


async def test_an_entry_denied_before_it_was_sent_says_why(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    receipt = await desk.send(key)
    result = await desk.engine.hunt(bot)
    await _pause(desk, bot)
    await desk.engine.place(bot, result.orders[0].order_id)

    followed = await desk.follow(bot, receipt.alert_id)

    assert (followed.state, followed.reason) == ("unfilled", "bot_not_running")


# --- the list -----------------------------------------------------------------------------------


async def test_every_refused_alert_is_listed_with_what_it_said(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    with pytest.raises(InvalidRequest):
        await desk.send(key, action="hold", symbol="BTC USD", id="n1")
    with pytest.raises(AlertMalformed):
        await desk.send_raw(f'{{"action": "close", "id": "n2", "api_key": "{key}",}}'.encode())

    page = await desk.views.page(bot.trader.principal, AlertFilter(), page=1, per_page=10)

    said = {alert.reason: (alert.symbol, alert.action, alert.reference) for alert in page.alerts}
    assert said == {"invalid": ("BTC USD", "hold", "n1"), "malformed": (None, "close", "n2")}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"size_usd": "abc"}, {"size_usd": "abc"}),
        ({"quantity": -1, "size_usd": 50}, {"quantity": "-1"}),
        ({"size_usd": ""}, {"size_usd": ""}),
        ({"percent": "9" * 500}, {"percent": "9" * 128}),
        ({"size_usd": True, "time": "nwk_" + "k" * 43}, {"size_usd": "true", "time": "nwk_***"}),
        ({"price": {"api_secret": "s"}, "strategy": [1]}, {"price": "{...}", "strategy": "[...]"}),
        (
            {"symbol": "BTC USD", "size_usd": 500, "percent": None},
            {"symbol": "BTC USD", "action": "buy", "size_usd": "500", "percent": "null"},
        ),
    ],
    ids=str,
)
async def test_what_could_not_be_used_is_listed_in_its_own_words(
    desk: Desk, body: dict[str, Any], expected: dict[str, str]
) -> None:
    bot, key = await desk.bot_with_key()
    with pytest.raises(InvalidRequest):
        await desk.send(key, **{"action": "buy", **body})

    (alert,) = (
        await desk.views.page(bot.trader.principal, AlertFilter(), page=1, per_page=9)
    ).alerts

    assert alert.details is not None
    assert alert.details["said"] == expected


async def test_what_an_exit_went_without_is_listed_in_its_own_words(desk: Desk) -> None:
    bot, key = await desk.bot_with_key()
    await desk.engine.open_position(bot)

    receipt = await desk.send(key, action="close", percent="half", quantity=1, price="abc")

    details = (await desk.alert(receipt.alert_id))["details"]
    assert details["said"] == {"percent": "half", "price": "abc"}
    assert list(details["ignored"]) == ["price", "percent"]


@pytest.mark.parametrize("holds", [True, False])
async def test_an_exit_that_came_too_late_is_told_where_something_stays_open(
    desk: Desk, holds: bool
) -> None:
    bot, key = await desk.bot_with_key()
    if holds:
        await desk.engine.open_position(bot)
    old = (desk.engine.wall.now() - AGE - timedelta(seconds=1)).isoformat()

    for _ in range(2):
        with pytest.raises(InvalidRequest):
            await desk.send(key, action="close", time=old)

    told = await desk.engine.rows(
        "SELECT facts FROM notices WHERE user_id = :user AND kind = 'exit_alert_stale'",
        user=bot.trader.user_id,
    )
    assert [row["facts"] for row in told] == [{"symbol": "BTC-USD"}] * holds
