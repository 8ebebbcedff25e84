"""The kill switch's calls: what they answer, whom they cover, what they never wait for."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services.accounts import hold_entries, let_entries_pass
from services.trading import kill_switches
from services.trading.context import active_kill_switch
from services.trading.kill_switches import KillSwitches, SwitchTarget
from tests.api.harness import Api, World
from tests.api.seeding import make_position, make_run, watch_venue
from tests.support.switched import ADMIN, FakeSwitchWorkflows

pytestmark = pytest.mark.integration

ENGAGE = {"reason": "Market emergency - extreme volatility"}
URL = "/admin/kill-switch"


async def sending_entry(world: World, user: Api) -> UUID:
    """An entry that some process marked as being sent just now."""
    await watch_venue(world, BTC="7000")
    run = await make_run(world, user)
    position = await make_position(world, run, state="pending", open_quantity=0)
    order_id = uuid4()
    await world.sql(
        "INSERT INTO orders (id, user_id, account_id, bot_id, run_id, position_id, cause, leg,"
        " attempt, client_order_id, symbol, side, type, time_in_force, quantity, limit_price,"
        " reserved_quote, state, filled_quantity, created_at, intended_at, sent_at)"
        " VALUES (%(id)s, %(user)s, %(account)s, %(bot)s, %(run)s, %(position)s, 'signal:1',"
        " 'entry', 1, 'c1', 'BTC-USD', 'buy', 'limit', 'ioc', 1, 1, 1, 'sending', 0, %(now)s,"
        " %(now)s, %(now)s)",
        id=order_id,
        user=user.user_id,
        account=run.account_id,
        bot=run.bot_id,
        run=run.id,
        position=position.id,
        now=world.clock.now(),
    )
    return order_id


async def test_engaging_twice_is_engaging_once_and_releasing_needs_a_reason(
    world: World, admin: Api, user: Api
) -> None:
    await watch_venue(world, BTC="7000")
    await make_position(world, await make_run(world, user))
    assert await admin.data("GET", URL) == {"active": False, "kill_switches": [], "released": []}

    first = await admin.data("POST", URL, json=ENGAGE)
    second = await admin.data("POST", URL, json=ENGAGE)

    assert first["message"] == "Global kill switch activated"
    assert (first["affected_users"], first["active_positions"]) == (1, 1)
    assert (first["sends_in_flight"], first["telling"]) == (0, "started")
    assert first["timestamp"].endswith("Z")
    assert second == first | {"message": "Global kill switch is already active"}
    listed = await admin.data("GET", URL)
    assert (listed["active"], len(listed["kill_switches"])) == (True, 1)
    assert listed["kill_switches"][0]["active_positions"] == 1
    assert (await user.data("GET", "/trading/status"))["kill_switch"]["scope"] == "global"
    assert await admin.error("DELETE", URL) == (422, "VALIDATION_ERROR")

    released = await admin.data("DELETE", URL, params={"reason": "calm again"})

    assert released["message"] == "Global kill switch released"
    assert released["kill_switch"]["release_reason"] == "calm again"
    assert await admin.error("DELETE", URL, params={"reason": "again"}) == (404, "NOT_FOUND")
    assert (await user.data("GET", "/trading/status"))["kill_switch"] is None
    listed = await admin.data("GET", URL)
    assert (listed["active"], len(listed["released"])) == (False, 1)
    audited = await world.sql(
        "SELECT event_type FROM audit_log WHERE event_type LIKE 'kill%%' ORDER BY at, event_type"
    )
    assert [row["event_type"] for row in audited] == [
        "kill_switch_engaged",
        "kill_switch_released",
    ]


async def test_engaging_again_to_close_positions_makes_the_standing_one_close_them(
    world: World, admin: Api
) -> None:
    first = await admin.data("POST", URL, json=ENGAGE)
    closing = {"reason": "The exchange was robbed", "close_all_positions": True}
    second = await admin.data("POST", URL, json=closing)
    third = await admin.data("POST", URL, json=closing | {"reason": "again"})

    rows = await world.sql("SELECT close_positions, revision FROM kill_switches")
    assert rows == [{"close_positions": True, "revision": 2}]
    said = "Global kill switch is already active"
    assert (first["close_all_positions"], first["closing_reason"]) == (False, None)
    assert second["message"] == f"{said}; it closes open positions from now on"
    assert third["message"] == f"{said} and closes open positions"
    for answer in (second, third):
        assert answer["reason"] == ENGAGE["reason"]
        assert answer["close_all_positions"] is True
        assert answer["closing_reason"] == closing["reason"]
    (listed,) = (await admin.data("GET", URL))["kill_switches"]
    assert (listed["reason"], listed["closing_reason"]) == (ENGAGE["reason"], closing["reason"])
    assert listed["closing_by"] == f"usr_{admin.user_id.hex}"
    assert listed["closing_since"] >= listed["engaged_at"]
    audited = await world.sql(
        "SELECT meta->>'reason' AS reason FROM audit_log WHERE event_type = 'kill_switch_engaged'"
        " ORDER BY at, meta->>'close_all_positions'"
    )
    assert [row["reason"] for row in audited] == [ENGAGE["reason"], closing["reason"]]


async def test_a_switch_that_closes_from_the_beginning_has_one_reason(admin: Api) -> None:
    answer = await admin.data("POST", URL, json=ENGAGE | {"close_all_positions": True})

    assert answer["message"] == "Global kill switch activated"
    assert (answer["close_all_positions"], answer["closing_reason"]) == (True, None)


async def test_many_who_engage_at_once_make_one_switch(world: World) -> None:
    switches = world.administration.kill_switches

    engaged = await asyncio.gather(
        *(
            switches.engage(
                ADMIN, SwitchTarget(), reason="all", close_positions=False, notify_users=True
            )
            for _ in range(4)
        )
    )

    assert len({one.id for one in engaged}) == 1
    assert sum(one.is_new for one in engaged) == 1


async def test_scopes_cover_whom_they_name(world: World, admin: Api, user: Api) -> None:
    person = f"usr_{user.user_id.hex}"
    await admin.data("POST", URL, json=ENGAGE | {"scope": "user", "user_id": person})

    async def covers(user_id: UUID, venue: str) -> str | None:
        async with world.database.as_system() as session:
            found = await active_kill_switch(session, user_id, venue)
            return found.scope if found else None

    assert await covers(user.user_id, "coinbase") == "user"
    assert await covers(admin.user_id, "coinbase") is None
    await admin.data("POST", URL, json=ENGAGE | {"scope": "broker", "broker": "Coinbase"})
    assert await covers(admin.user_id, "coinbase") == "broker"
    assert await covers(admin.user_id, "kraken") is None
    assert await admin.error("DELETE", URL, params={"reason": "not this one"}) == (
        404,
        "NOT_FOUND",
    )
    await admin.data(
        "DELETE", URL, params={"reason": "done", "scope": "broker", "broker": "coinbase"}
    )
    assert await covers(admin.user_id, "coinbase") is None
    assert await covers(user.user_id, "coinbase") == "user"
    assert (await admin.data("GET", URL))["active"] is False


async def test_a_global_switch_is_seen_behind_any_number_of_later_ones(
    world: World, admin: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_switches, "LISTED_MAX", 1)
    await admin.data("POST", URL, json=ENGAGE)
    world.clock.advance(seconds=1)
    await admin.data("POST", URL, json=ENGAGE | {"scope": "broker", "broker": "coinbase"})

    listed = await admin.data("GET", URL)

    assert listed["active"] is True
    assert [one["scope"] for one in listed["kill_switches"]] == ["global"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, (422, "VALIDATION_ERROR")),
        ({"reason": ""}, (422, "VALIDATION_ERROR")),
        (ENGAGE | {"scope": "user"}, (422, "VALIDATION_ERROR")),
        (ENGAGE | {"user_id": f"usr_{uuid4().hex}"}, (422, "VALIDATION_ERROR")),
        (ENGAGE | {"scope": "user", "user_id": f"usr_{uuid4().hex}"}, (422, "VALIDATION_ERROR")),
        (ENGAGE | {"scope": "broker", "broker": "mtgox"}, (400, "UNSUPPORTED_BROKER")),
        (ENGAGE | {"close_all_positions": "yes"}, (422, "VALIDATION_ERROR")),
    ],
)
async def test_a_switch_that_would_stop_nothing_is_refused(
    world: World, admin: Api, body: dict[str, str], code: tuple[int, str]
) -> None:
    assert await admin.error("POST", URL, json=body) == code
    assert await world.sql("SELECT 1 FROM kill_switches") == []


async def test_with_the_workflow_service_away_it_is_engaged_all_the_same(world: World) -> None:
    switches = KillSwitches(world.database, FakeSwitchWorkflows(is_away=True), world.clock)

    engaged = await switches.engage(
        ADMIN, SwitchTarget(), reason="dark", close_positions=False, notify_users=True
    )

    assert engaged.is_telling is False
    assert await world.sql("SELECT scope FROM kill_switches WHERE released_at IS NULL") == [
        {"scope": "global"}
    ]


async def test_the_time_of_a_report_is_written_like_every_other(world: World, admin: Api) -> None:
    """Workflows store it as Python writes it: with an offset, and with fractions of a second."""
    await admin.data("POST", URL, json=ENGAGE)
    await world.sql(
        "UPDATE kill_switches SET report = '"
        '{"is_flat": true, "reported_at": "2026-11-30T09:58:32.840534+00:00"}'
        "'"
    )

    listed = await admin.data("GET", URL)

    assert listed["kill_switches"][0]["report"] == {
        "is_flat": True,
        "reported_at": "2026-11-30T09:58:32Z",
    }


async def test_a_send_under_way_is_waited_for(world: World, admin: Api, user: Api) -> None:
    order_id = await sending_entry(world, user)
    engaging = asyncio.create_task(admin.data("POST", URL, json=ENGAGE))
    while not await world.sql("SELECT 1 FROM kill_switches"):
        assert not engaging.done()

    assert not engaging.done()
    await world.sql("UPDATE orders SET state = 'refused' WHERE id = %(id)s", id=order_id)

    assert (await engaging)["sends_in_flight"] == 0


async def test_a_send_that_does_not_end_is_reported(
    world: World, admin: Api, user: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_switches, "SENDS_SECONDS_MAX", 0.2)
    order_id = await sending_entry(world, user)

    assert (await admin.data("POST", URL, json=ENGAGE))["sends_in_flight"] == 1

    world.clock.advance(minutes=1)
    again = await admin.data("POST", URL, json=ENGAGE)
    assert again["sends_in_flight"] == 1, "the clock of the worker that sends it may be behind"

    world.clock.advance(minutes=5)
    again = await admin.data("POST", URL, json=ENGAGE)
    assert again["sends_in_flight"] == 0, f"{order_id} was left by a process that is gone"


async def test_an_entry_at_its_gate_delays_the_answer_and_not_the_switch(
    world: World, admin: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_switches, "SENDS_SECONDS_MAX", 0.2)
    async with world.database.as_system() as passing:
        await let_entries_pass(passing)
        engaged = await admin.data("POST", URL, json=ENGAGE)

        connection = await passing.connection()
        seen = await connection.execute(text("SELECT count(*) FROM kill_switches"))
        assert seen.scalar_one() == 1

    assert engaged["sends_in_flight"] == 0


async def test_an_entry_waits_for_whoever_engages(world: World) -> None:
    async with world.database.as_system() as engaging:
        await hold_entries(engaging)
        async with world.database.as_system() as passing:
            connection = await passing.connection()
            tried = await connection.execute(
                text("SELECT pg_try_advisory_xact_lock_shared(:key)"),
                {"key": 0x6B696C6C},
            )
            assert tried.scalar_one() is False
