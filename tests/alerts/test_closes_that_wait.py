"""Closes that wait for a lock leave what was held when first decided, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from adapters.embedded.postgres import EmbeddedPostgres
from domain.markets import Mode
from tests.alerts.harness import Desk, open_desk
from tests.support.databases import fresh_database
from tests.support.engine import RunningBot
from tests.support.locks import locked_position

pytestmark = pytest.mark.integration


async def two_accounts(desk: Desk) -> tuple[RunningBot, RunningBot, str]:
    """A live account whose run is stopped and that holds BTC; a paper account that runs."""
    earlier, key = await desk.bot_with_key(mode=Mode.LIVE)
    await desk.engine.open_position(earlier)
    await desk.engine.trading.stop(earlier.trader.principal, close_positions=False, emergency=False)
    return earlier, await desk.engine.start_on_paper(earlier), key


async def test_a_close_that_waits_for_a_lock_closes_nothing_that_a_later_alert_has_bought(
    desk: Desk,
) -> None:
    """`close`, then `buy`: decided in the order in which they came, what was bought stays."""
    earlier, latest, key = await two_accounts(desk)
    locked = await desk.engine.position(earlier)
    await desk.engine.hunt(latest)  # the market is known: the lock does not last

    async with locked_position(desk.engine.database, locked):
        closing = await desk.send(key, action="close")
        assert (await desk.alert(closing.alert_id))["state"] == "processing"
        desk.engine.wall.advance(0.001)  # alerts of one moment have no order
        await desk.send(key, action="buy")
        for _ in range(4):  # a busy machine answers for the market late
            for order in (await desk.engine.hunt(latest)).orders:
                await desk.engine.place(latest, order.order_id)
            if await desk.engine.fills(latest):
                break
        bought = await desk.engine.position(latest)
        assert bought.state == "open"
    await desk.following.decide_exits(latest.trader.user_id)

    assert (await desk.engine.position(earlier)).close_requested == "signal_close"
    assert (await desk.engine.position(latest)).close_requested is None


async def test_asking_again_asks_nothing_of_what_was_bought_since(desk: Desk) -> None:
    """The account that was free was asked, and has sold; a later alert buys there again."""
    earlier, latest, key = await two_accounts(desk)
    await desk.engine.open_position(latest)
    locked = await desk.engine.position(earlier)

    async with locked_position(desk.engine.database, locked):
        await desk.send(key, action="close")
        await desk.engine.carry_out(latest)
        sold = await desk.engine.position(latest)
        assert sold.state == "closed"
        desk.engine.venue.market.now += timedelta(seconds=1)
        await desk.engine.open_position(latest)
    await desk.following.decide_exits(latest.trader.user_id)

    bought = await desk.engine.position(latest)
    assert (bought.id != sold.id, bought.close_requested) == (True, None)


async def test_a_close_that_could_not_be_asked_for_closes_nothing_that_was_bought_since(
    postgres: EmbeddedPostgres,
) -> None:
    """The database refuses what the first look at the alert writes; the next look is in order."""
    urls = fresh_database(postgres.local_urls)
    async with open_desk(urls) as desk:
        bot, key = await desk.bot_with_key()
        held = await desk.engine.open_position(bot)
        alter = "ALTER TABLE positions"
        with psycopg.connect(urls.owner, autocommit=True) as owner:
            owner.execute(f"{alter} ADD CONSTRAINT refusing CHECK (close_requested IS NULL)")
            closing = await desk.send(key, action="close")
            assert (await desk.alert(closing.alert_id))["state"] == "processing"
            owner.execute(f"{alter} DROP CONSTRAINT refusing")
        await desk.engine.fire(held, "stop")
        await desk.engine.carry_out(bot)
        desk.engine.venue.market.now += timedelta(seconds=1)
        await desk.engine.open_position(bot)

        await desk.following.decide_exits(bot.trader.user_id)

        bought = await desk.engine.position(bot)
        assert (bought.id != held.id, bought.close_requested) == (True, None)
        assert (await desk.alert(closing.alert_id))["reason"] == "no_position"
