"""A plan that is lost: live entries are refused at once, and exits go on as if nothing happened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from adapters.embedded.postgres_roles import DatabaseUrls
from domain.markets import Mode
from tests.support.engine import Engine, RunningBot, buy
from tests.support.written_bars import written_bars

pytestmark = pytest.mark.integration

SUBSCRIBED = """
INSERT INTO subscriptions (id, user_id, status, tier, interval, granted_tier, billed_until,
                           cancel_at_period_end, asked, answered, created_at)
VALUES (gen_random_uuid(), :user, :status, 'basic', 'monthly', 'basic', :until, false, 1, 1, :at)
"""


@pytest.fixture
async def engine(urls: DatabaseUrls) -> AsyncIterator[Engine]:
    it = Engine(urls)
    written_bars(it).write(it, "BTC-USD", None)
    yield it
    await it.close()


async def subscribed(engine: Engine, mode: Mode) -> RunningBot:
    """Somebody who trades on a paid plan of which a payment is missing; the grace runs."""
    bot = await engine.start_bot(mode=mode, tier="basic")
    await engine.execute(
        SUBSCRIBED,
        user=bot.trader.user_id,
        status="past_due",
        until=engine.wall.now() + timedelta(days=7),
        at=engine.wall.now(),
    )
    return bot


async def reasons(engine: Engine, bot: RunningBot) -> list[str]:
    """Why signals were not taken."""
    rows = await engine.rows(
        "SELECT reason FROM decisions"
        " WHERE run_id = :run AND action = 'none' AND cause LIKE 'signal:%'",
        run=bot.run_id,
    )
    return [row["reason"] for row in rows]


async def test_in_the_grace_live_entries_go_on(engine: Engine) -> None:
    bot = await subscribed(engine, Mode.LIVE)
    engine.wall.advance(timedelta(days=7).total_seconds() - 1)

    await engine.hunt(bot, buy("BTC-USD"))

    assert await reasons(engine, bot) == []
    assert [order.leg for order in await engine.orders(bot)] == ["entry"]


async def test_after_the_grace_live_entries_are_refused_and_exits_are_not(engine: Engine) -> None:
    bot = await subscribed(engine, Mode.LIVE)
    position = await engine.open_position(bot, "ETH-USD")
    engine.wall.advance(timedelta(days=7).total_seconds())

    await engine.hunt(bot, buy("BTC-USD"))
    await engine.fire(position, "stop")
    await engine.carry_out(bot)

    assert await reasons(engine, bot) == ["subscription_required"]
    assert {order.symbol for order in await engine.orders(bot)} == {"ETH-USD"}
    closed = await engine.position(bot, "ETH-USD")
    assert (closed.state, closed.exit_reason) == ("closed", "stop_loss")
    assert (await engine.run(bot)).state == "entering", "nothing is stopped; entries are refused"


async def test_after_the_grace_paper_goes_on(engine: Engine) -> None:
    bot = await subscribed(engine, Mode.PAPER)
    engine.wall.advance(timedelta(days=7).total_seconds())

    await engine.hunt(bot, buy("BTC-USD"))

    assert [order.leg for order in await engine.orders(bot)] == ["entry"]
