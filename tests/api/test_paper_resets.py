"""Paper accounts that are put back to their opening cash."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from services import paper_accounts
from services.analytics.counting import count_trade, counted
from services.trading.figures import account_sums
from tests.api.fakes import VENUE_NOW
from tests.api.harness import Api, World
from tests.api.seeding import (
    account_of,
    forget_quotes,
    hold,
    make_closed,
    make_position,
    make_run,
    watch_venue,
)

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
async def quotes(world: World) -> None:
    await forget_quotes(world)
    await watch_venue(world, BTC="7000", ETH="400")


async def test_resetting_the_paper_account(world: World, user: Api) -> None:
    account = await account_of(world, user)
    await hold(world, account, "BTC", "0.5")
    await world.sql(
        "UPDATE paper_balances SET total = 400 WHERE account_id = %(id)s", id=account.id
    )
    run = await make_run(world, user, state="stopped")
    await make_closed(world, run, pnl="-9000", closed_at=VENUE_NOW - timedelta(days=1))

    data = await user.data("POST", "/account/paper/reset")

    assert (data["balance"], data["currency"]) == (10000, "USD")
    balance = await user.data("GET", "/account/balance")
    assert balance["cash"] == balance["equity"] == 10000
    flows = await world.sql(
        "SELECT kind, currency, amount FROM flows WHERE account_id = %(id)s ORDER BY kind",
        id=account.id,
    )
    assert [(flow["kind"], flow["amount"]) for flow in flows] == [
        ("opening", 10000),
        ("reset", 9600),
    ]
    performance = await user.data("GET", "/account/performance?period=all")
    assert performance["metrics"]["total_trades"] == 0
    assert (await user.data("GET", "/account/history"))["pagination"]["total_items"] == 1


async def test_what_was_traded_before_a_reset_keeps_nobody_from_entering(
    world: World, user: Api
) -> None:
    account = await account_of(world, user)
    run = await make_run(world, user, state="stopped")
    lost = await make_closed(world, run, pnl="-9000", closed_at=VENUE_NOW - timedelta(minutes=5))
    async with world.database.for_user(account.user_id) as session:
        sums = await account_sums(session, account, VENUE_NOW)
    assert (sums.entries_today, sums.closed_net_pnl) == (1, Decimal(-9001))
    assert (await user.data("GET", "/trading/status"))["today_trades"] == 1

    await user.data("POST", "/account/paper/reset")
    # A fee of it that is corrected afterwards counts no more either.
    before = counted(lost)
    lost.fees += 1
    async with world.database.as_system() as session:
        await count_trade(session, await session.merge(lost), before, counted(lost))

    async with world.database.for_user(account.user_id) as session:
        sums = await account_sums(session, account, VENUE_NOW)
    assert (sums.entries_today, sums.closed_net_pnl) == (0, Decimal(0))
    assert (await user.data("GET", "/trading/status"))["today_trades"] == 0


async def test_a_paper_account_in_use_is_not_reset(world: World, user: Api) -> None:
    run = await make_run(world, user)
    assert await user.error("POST", "/account/paper/reset") == (409, "ALREADY_RUNNING")

    await world.sql("UPDATE bot_runs SET state = 'ended' WHERE id = %(id)s", id=run.id)
    await make_position(world, run)
    assert await user.error("POST", "/account/paper/reset") == (409, "ALREADY_RUNNING")


async def test_a_reset_waits_for_the_end_of_a_run_that_is_flat(world: World, user: Api) -> None:
    """A stop has answered that all is flat; its run ends a moment later."""
    run = await make_run(world, user, state="stopped")
    await world.sql("UPDATE bot_runs SET state = 'exit_only' WHERE id = %(id)s", id=run.id)

    async def end_soon() -> None:
        await asyncio.sleep(0.5)
        await world.sql("UPDATE bot_runs SET state = 'ended' WHERE id = %(id)s", id=run.id)

    ending = asyncio.create_task(end_soon())
    data = await user.data("POST", "/account/paper/reset")
    await ending

    assert data["balance"] == 10000


async def test_a_run_that_does_not_end_is_named_as_what_keeps_the_account(
    world: World, user: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper_accounts, "END_SECONDS_MAX", 0.2)
    run = await make_run(world, user, state="stopped")
    await world.sql("UPDATE bot_runs SET state = 'exit_only' WHERE id = %(id)s", id=run.id)

    answer = await user.call("POST", "/account/paper/reset")

    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "ALREADY_RUNNING"
    assert "still ending" in answer.json()["error"]["message"]
