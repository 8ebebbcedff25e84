"""Removing a broker: its keys go when nothing needs them any more, and not before."""

from __future__ import annotations

from uuid import UUID

import pytest

from adapters.vault import Vault, generate_key
from domain.markets import Mode, Realm
from models.connections import ConnectionStatus
from services.connections import Connections
from services.orders.settling import DOUBT_LENGTH
from services.reads import Reads
from tests.support.books import assert_in_order
from tests.support.engine import GRACE, Engine, RunningBot
from tests.support.fake_venue import Answer

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
    await alone.trading.connection_removed(bot.trader.principal, connection_id, force=False)
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
    assert bot.trader.connection_id is not None
    connections = Connections(
        engine.database,
        Reads("", engine.wall),
        engine.wall,
        engine.venue,
        Vault(generate_key("k1")),
        engine.trading,
        realm=Realm.SIMULATED,
    )
    removal = await connections.remove(bot.trader.principal, bot.trader.connection_id, force=force)
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
