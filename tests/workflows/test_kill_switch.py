"""The kill switch over real workflows: what it stops, when, and what it never stops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import select
from temporalio.client import Client
from temporalio.service import RPCError

from adapters.embedded.postgres import EmbeddedPostgres
from domain.contracts.kill_switches import kill_switch_workflow_id
from models.bots import Bot
from models.controls import KillSwitch
from services.orders import sending
from services.trading import kill_switch_rounds, kill_switches
from services.trading.kill_switch_rounds import KillSwitchRounds
from services.trading.kill_switches import Engaged, SwitchTarget
from tests.support.databases import fresh_database
from tests.support.switched import ADMIN, SwitchedEngine, switched_engine

pytestmark = [
    pytest.mark.integration,
    # The SDK warns when the server cancels what has just ended, as it does for a late heartbeat.
    pytest.mark.filterwarnings("ignore:Cannot find activity to cancel:UserWarning"),
]

EVERYBODY = SwitchTarget()
BOTS = 20
SYMBOLS = ("BTC-USD", "ETH-USD")


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a send may take longer than in earnest; then engaging waits longer too."""
    monkeypatch.setattr(sending, "ENTRY_SEND_LENGTH_MAX", timedelta(seconds=60))
    monkeypatch.setattr(kill_switches, "SENDS_SECONDS_MAX", 90.0)


@pytest.fixture
async def engine(postgres: EmbeddedPostgres, client: Client) -> AsyncIterator[SwitchedEngine]:
    async with switched_engine(fresh_database(postgres.local_urls), client) as engine:
        yield engine


async def engage(
    engine: SwitchedEngine, *, close_positions: bool = False, reason: str = "too hot"
) -> Engaged:
    return await engine.switches.engage(
        ADMIN, EVERYBODY, reason=reason, close_positions=close_positions, notify_users=True
    )


async def refusals(engine: SwitchedEngine) -> dict[str | None, int]:
    rows = await engine.rows(
        "SELECT refusal_code, count(*) AS orders FROM orders WHERE leg = 'entry'"
        " AND state = 'denied' GROUP BY refusal_code"
    )
    return {row["refusal_code"]: row["orders"] for row in rows}


async def test_no_entry_begins_after_the_call_returned_and_flattening_verifies_flat(
    engine: SwitchedEngine,
) -> None:
    bots = await engine.start_bots(BOTS)
    for symbol in SYMBOLS:
        for bot in bots:
            await engine.intend_entry(bot, symbol)
    wished = len(bots) * len(SYMBOLS)
    async with engine.worker():
        await engine.nudge(bots)
        await engine.until_entered(10)

        engaged = await engage(engine)

        arrived = engine.venue.entries
        assert engaged.sends_in_flight == 0
        assert (engaged.affected_users, engaged.is_telling, engaged.is_new) == (BOTS, True, True)
        await engine.until_quiet()
        report = await engine.until_told(engaged.id)
        assert engine.venue.entries == arrived < wished
        assert await refusals(engine) == {"kill_switch": wished - arrived}
        assert report["entries_cancelled"] == wished - arrived
        assert (report["bots_told"], report["users_told"]) == (BOTS, BOTS)
        assert (report["open_positions"], report["positions_asked"]) == (arrived, 0)

        again = await engage(engine, close_positions=True, reason="too hot to hold")
        flat = await engine.until_told(again.id)

        assert (again.id, again.is_new) == (engaged.id, False)
        assert (flat["positions_asked"], flat["positions_leaving"]) == (arrived, 0)
        assert (flat["open_positions"], flat["is_flat"]) == (0, True)
        assert engine.venue.entries == arrived
        exits = await engine.rows(
            "SELECT exit_reason, count(*) AS positions FROM positions WHERE state = 'closed'"
            " GROUP BY exit_reason"
        )
        assert exits == [{"exit_reason": "kill_switch", "positions": arrived}]
        notices = await engine.rows(
            "SELECT kind, facts->>'reason' AS reason, count(*) AS users FROM notices"
            " WHERE kind LIKE 'kill%' GROUP BY 1, 2 ORDER BY 1"
        )
        assert [tuple(row.values()) for row in notices] == [
            ("kill_switch", "too hot", BOTS),
            ("kill_switch_closing", "too hot to hold", BOTS),
        ], "that positions are closed is told too"
        assert flat["users_told"] == BOTS

        await engine.switches.release(ADMIN, EVERYBODY, reason="cooled down")
        await engine.until_told(engaged.id)
        await engine.until(
            "SELECT count(*) FROM notices WHERE kind = 'kill_switch_released'", expected=BOTS
        )
        await engine.intend_entry(bots[0])
        await engine.nudge(bots[:1])
        await engine.until_quiet()
        assert engine.venue.entries == arrived + 1
        await engine.terminate_bots()


async def test_it_holds_and_is_carried_out_when_every_worker_was_dead(
    engine: SwitchedEngine,
) -> None:
    bots = await engine.start_bots(3)
    holding, wishing = bots[0], bots[1:]
    await engine.open_position(holding)
    for bot in wishing:
        await engine.intend_entry(bot)
    await engine.nudge(bots)

    engaged = await engage(engine, close_positions=True)

    assert engaged.sends_in_flight == 0
    assert engaged.active_positions == 1
    async with engine.worker():
        report = await engine.until_told(engaged.id)
        await engine.until_quiet()
        await engine.terminate_bots()
    assert engine.venue.entries == 1, "the one before the switch"
    assert await refusals(engine) == {"kill_switch": 2}
    executed = await engine.rows(
        "SELECT meta->>'side' AS side, meta->>'leg' AS leg, (meta->>'size_usd')::numeric AS size,"
        " meta->>'broker' AS broker FROM audit_log WHERE event_type = 'trade_executed' ORDER BY 1"
    )
    assert executed == [
        {"side": "buy", "leg": "entry", "size": 300, "broker": "coinbase"},
        {"side": "sell", "leg": "flatten", "size": 300, "broker": "coinbase"},
    ]
    assert (report["entries_cancelled"], report["positions_asked"], report["is_flat"]) == (
        2,
        1,
        True,
    )


async def test_a_lost_start_of_the_telling_is_made_up_for_by_the_sweep(
    engine: SwitchedEngine, client: Client
) -> None:
    await engine.start_bots(1)
    engaged = await engage(engine)
    handle = client.get_workflow_handle(kill_switch_workflow_id(engaged.id))
    await handle.terminate("nobody told it")

    found = await engine.sweep.sweep()
    repeated = await engine.sweep.sweep()

    assert (found, repeated) == (1, 1), "starting it again is nothing to a workflow that runs"
    async with engine.worker():
        report = await engine.until_told(engaged.id)
        await engine.until_quiet()
        await engine.terminate_bots()
    assert report["bots_told"] == 1
    assert await engine.sweep.sweep() == 0
    with suppress(RPCError):
        await handle.terminate("the test is over")


async def test_a_release_on_the_way_ends_the_waiting_for_flat_books(
    engine: SwitchedEngine,
) -> None:
    (bot,) = await engine.start_bots(1)
    await engine.open_position(bot)
    engine.account(bot).is_down = True
    await engine.execute("UPDATE bots SET seen_revision = revision")
    async with engine.worker():
        engaged = await engage(engine)
        await engine.until_told(engaged.id)
        await engine.switches.release(ADMIN, EVERYBODY, reason="a false alarm")
        report = await engine.until_told(engaged.id)
        await engine.terminate_bots()

    assert report["open_positions"] == 1, "it was not asked to leave"
    assert report["revision"] == 2


async def test_a_bot_whose_row_a_hanging_process_holds_keeps_no_position_from_leaving(
    engine: SwitchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_switch_rounds, "EXITS_FIRST_SECONDS", 0.1)
    held, free = await engine.start_bots(2)
    for bot in (held, free):
        await engine.open_position(bot)
    engaged = await engage(engine, close_positions=True)
    due = await engine.rounds.begin(engaged.id)
    async with engine.database.as_system() as hanging:
        await hanging.exec(select(Bot).where(Bot.id == held.bot_id).with_for_update())

        page = await engine.rounds.tell(due, None)

    assert (page.counts.bots, page.counts.untold) == (2, 1)
    assert (await engine.position(free)).close_requested == "kill_switch"
    assert (await engine.position(held)).close_requested == "kill_switch"
    told = await engine.rows("SELECT user_id FROM notices WHERE kind = 'kill_switch'")
    assert len(told) == 2
    await engine.terminate_bots()


async def test_a_bot_that_cannot_be_minded_keeps_no_other_from_being_told(
    engine: SwitchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_switch_rounds, "PAGE", 2)
    bots = await engine.start_bots(3)
    engaged = await engage(engine)
    due = await engine.rounds.begin(engaged.id)
    broken = min(bot.bot_id for bot in bots)
    mind = KillSwitchRounds._mind_rows

    async def fail(self: KillSwitchRounds, switch: KillSwitch, found: Any) -> bool:
        if found["id"] == broken:
            raise ZeroDivisionError
        return await mind(self, switch, found)

    monkeypatch.setattr(KillSwitchRounds, "_mind_rows", fail)
    first = await engine.rounds.tell(due, None)
    second = await engine.rounds.tell(due, first.last)

    assert (first.counts.bots, first.counts.untold) == (2, 1)
    assert (second.counts.bots, second.counts.untold, second.last) == (1, 0, None)
    told = await engine.rows("SELECT user_id FROM notices WHERE kind = 'kill_switch'")
    assert len(told) == 2
    await engine.terminate_bots()


async def test_a_page_is_told_again_where_the_database_had_no_connection_to_give(
    engine: SwitchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bots = await engine.start_bots(2)
    engaged = await engage(engine)
    due = await engine.rounds.begin(engaged.id)
    mind = KillSwitchRounds._mind_rows

    async def fail(self: KillSwitchRounds, switch: KillSwitch, found: Any) -> bool:
        if found["id"] == bots[0].bot_id:
            raise PoolTimeout
        return await mind(self, switch, found)

    with monkeypatch.context() as busy:
        busy.setattr(KillSwitchRounds, "_mind_rows", fail)
        with pytest.raises(PoolTimeout):
            await engine.rounds.tell(due, None)
    told = await engine.rows("SELECT user_id FROM notices WHERE kind = 'kill_switch'")
    assert [row["user_id"] for row in told] == [bots[1].trader.user_id]
    page = await engine.rounds.tell(due, None)

    assert (page.counts.bots, page.counts.untold) == (2, 0)
    await engine.terminate_bots()
