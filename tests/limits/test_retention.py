"""What is forgotten with time, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from sqlalchemy import text

from adapters.embedded.postgres_roles import DatabaseUrls
from services import retention
from services.retention import EVERY, RULES, Retention
from tests.api.harness import PASSWORD, Api, World, register
from tests.api.seeding import EPOCH, make_run, watch_venue
from tests.support.rows import Row, add_user_rows, insert, tables, valid_row

pytestmark = pytest.mark.integration

BY_NAME = {table.name: table for table in tables()}
DAY = timedelta(days=1)


@pytest.fixture
async def api(client: httpx.AsyncClient) -> Api:
    return await register(client)


async def forget(world: World) -> None:
    await Retention(world.database, world.clock).sweep()


async def count(world: World, table: str, user_id: UUID) -> int:
    (row,) = await world.sql(
        f"SELECT count(*) AS n FROM {table} WHERE user_id = %(id)s",  # noqa: S608
        id=user_id,
    )
    return int(row["n"])


# --- sessions -------------------------------------------------------------------------------------


async def test_used_tokens_go_once_they_betray_nobody_any_more(world: World, api: Api) -> None:
    stolen = api.refresh_token
    for _ in range(3):  # a session that goes on
        world.clock.advance(days=29)
        answer = await api.data("POST", "/auth/refresh", json={"refresh_token": api.refresh_token})
        api.refresh_token = answer["refresh_token"]
        await forget(world)

    # Issued 87, 58, 29 and 0 days ago, good for 30.
    assert await count(world, "refresh_tokens", api.user_id) == 3
    body = {"refresh_token": stolen}
    assert await api.error("POST", "/auth/refresh", json=body) == (401, "TOKEN_INVALID")
    await api.data("POST", "/auth/refresh", json={"refresh_token": api.refresh_token})


async def test_a_used_token_still_ends_its_session_until_it_expires(world: World, api: Api) -> None:
    stolen = {"refresh_token": api.refresh_token}
    fresh = await api.data("POST", "/auth/refresh", json=stolen)
    world.clock.advance(days=29)
    await forget(world)

    assert await api.error("POST", "/auth/refresh", json=stolen) == (401, "TOKEN_INVALID")
    owners = {"refresh_token": fresh["refresh_token"]}
    assert await api.error("POST", "/auth/refresh", json=owners) == (401, "TOKEN_INVALID")


async def test_sessions_go_a_year_after_their_end_but_for_the_newest(
    world: World, api: Api
) -> None:
    await api.sibling().log_in(api.email)
    await api.data("POST", "/auth/logout", json={"revoke_all": True})
    world.clock.advance(days=31 + 364)
    await forget(world)
    assert await count(world, "sessions", api.user_id) == 2

    world.clock.advance(days=2)
    await forget(world)

    assert await count(world, "sessions", api.user_id) == 1
    assert await count(world, "refresh_tokens", api.user_id) == 0
    # So a login from elsewhere is still told of, and not taken for the first one.
    stranger = {"email": api.email, "password": PASSWORD}
    await api.call("POST", "/auth/login", json=stranger, headers={"User-Agent": "somebody else"})
    told = await world.sql(
        "SELECT 1 FROM notices WHERE user_id = %(id)s AND kind = 'new_login'", id=api.user_id
    )
    assert told


# --- other tables ---------------------------------------------------------------------------------


def a_row(system: psycopg.Connection, rows: dict[str, Row], table: str, **changes: Any) -> None:
    """One more row that differs from the first by its key and the changes."""
    fresh: dict[str, Any] = {"id": f"evt_{uuid4()}" if table == "stripe_events" else uuid4()}
    for name in ("key", "object_name", "dedup_key", "cause"):
        if name in rows.get(table, {}) and name not in changes:
            fresh[name] = uuid4().hex
    row = valid_row(BY_NAME[table], rows["users"]["id"], rows)
    same = {name: rows[table][name] for name in row if table in rows and name in rows[table]}
    insert(system, table, row | same | fresh | changes)


@pytest.mark.parametrize(
    ("table", "kept", "moment", "over", "stays"),
    [
        ("mailed_links", 30, "expires_at", {}, None),
        (
            "messages",
            400,
            "finished_at",
            {"category": "trades", "state": "sent"},
            {"category": "account"},
        ),
        ("alerts", 400, "received_at", {"state": "stale", "dedup_key": None}, {"state": "expired"}),
        ("exports", 90, "keep_until", {"state": "expired"}, {"state": "ready"}),
    ],
)
async def test_what_is_over_goes_and_the_rest_stays(
    world: World,
    urls: DatabaseUrls,
    table: str,
    kept: int,
    moment: str,
    over: dict[str, Any],
    stays: dict[str, Any] | None,
) -> None:
    now = world.clock.now()
    old, recent = now - kept * DAY - DAY, now - kept * DAY + DAY
    with psycopg.connect(urls.system) as system:
        rows = add_user_rows(system)
        user_id = rows["users"]["id"]
        system.execute(f"UPDATE {table} SET {moment} = %s WHERE user_id = %s", (recent, user_id))  # noqa: S608
        a_row(system, rows, table, **over, **{moment: old})
        a_row(system, rows, table, **over, **{moment: recent})
        if stays is not None:
            a_row(system, rows, table, **{**over, **stays}, **{moment: old})
    before = await count(world, table, user_id)

    await forget(world)

    assert await count(world, table, user_id) == before - 1
    left = await world.sql(
        f"SELECT count(*) AS n FROM {table} WHERE user_id = %(id)s AND {moment} < %(cut)s",  # noqa: S608
        id=user_id,
        cut=now - kept * DAY,
    )
    assert left[0]["n"] == (stays is not None)
    await world.sql("DELETE FROM users WHERE id = %(id)s", id=user_id)


async def test_events_of_the_provider_go_once_they_are_handled(world: World) -> None:
    await world.sql(
        "INSERT INTO stripe_events (id, type, created_at, received_at, handled_at)"
        " SELECT name, 'x', now(), now(), handled FROM (VALUES"
        " ('evt_old', %(now)s::timestamptz - interval '91 days'),"
        " ('evt_new', %(now)s::timestamptz - interval '89 days'), ('evt_open', NULL)"
        ") AS v (name, handled)",
        now=world.clock.now(),
    )

    await forget(world)

    left = await world.sql("DELETE FROM stripe_events WHERE id LIKE 'evt_%%' RETURNING id")
    assert {row["id"] for row in left} == {"evt_new", "evt_open"}


async def test_bars_without_an_entry_go_by_the_clock_of_their_venue(world: World, api: Api) -> None:
    await watch_venue(world)
    run = await make_run(world, api)
    (clock,) = await world.sql("SELECT clock_at FROM venue_states WHERE epoch = %(e)s", e=EPOCH)
    at = clock["clock_at"]
    await note(world, run, "bar:BTC-USD:1", "none", at - 91 * DAY)
    await note(world, run, "bar:BTC-USD:2", "none", at - 89 * DAY)
    await note(world, run, "bar:BTC-USD:3", "enter_long", at - 91 * DAY)
    await note(world, run, "signal:4", "none", at - 91 * DAY)

    await forget(world)
    assert await causes(world, api) == ["bar:BTC-USD:2", "bar:BTC-USD:3", "signal:4"]

    await world.sql(
        "UPDATE bot_runs SET state = 'ended', ended_at = %(at)s WHERE id = %(id)s",
        id=run.id,
        at=world.clock.now() - 91 * DAY,
    )
    await forget(world)
    assert await causes(world, api) == ["bar:BTC-USD:3", "signal:4"]


async def note(world: World, run: Any, cause: str, action: str, at: datetime) -> None:
    await world.sql(
        "INSERT INTO decisions (id, user_id, bot_id, run_id, cause, symbol, decided_at, action,"
        " reason, gates) VALUES (gen_random_uuid(), %(user)s, %(bot)s, %(run)s, %(cause)s,"
        " 'BTC-USD', %(at)s, %(action)s, 'no_setup', '[]')",
        user=run.user_id,
        bot=run.bot_id,
        run=run.id,
        cause=cause,
        action=action,
        at=at,
    )


async def causes(world: World, api: Api) -> list[str]:
    rows = await world.sql(
        "SELECT cause FROM decisions WHERE user_id = %(id)s ORDER BY cause", id=api.user_id
    )
    return [row["cause"] for row in rows]


async def test_of_old_days_the_last_equity_stays_and_the_first_of_all(
    world: World, api: Api
) -> None:
    await watch_venue(world)
    run = await make_run(world, api)
    (clock,) = await world.sql("SELECT clock_at FROM venue_states WHERE epoch = %(e)s", e=EPOCH)
    day = clock["clock_at"].astimezone(UTC).replace(hour=0, minute=0) - 100 * DAY
    hours = timedelta(hours=1)
    wanted = {day + 5 * hours: "1", day + 23 * hours: "3", day + DAY + 4 * hours: "4"}
    gone = {day + 9 * hours: "2", day + 20 * hours: None, day + DAY + 3 * hours: "5"}
    unknown = {day: None, day + DAY + 6 * hours: None}
    recent = {clock["clock_at"] - n * hours: "9" for n in (1, 2, 3)}
    for at, equity in {**wanted, **gone, **unknown, **recent}.items():
        await world.sql(
            "INSERT INTO equity_snapshots (account_id, at, user_id, cash, equity, is_lower_bound)"
            " VALUES (%(account)s, %(at)s, %(user)s, 0, %(equity)s, false)",
            account=run.account_id,
            user=api.user_id,
            at=at,
            equity=equity,
        )

    await forget(world)

    rows = await world.sql(
        "SELECT at FROM equity_snapshots WHERE account_id = %(id)s", id=run.account_id
    )
    assert {row["at"] for row in rows} == {*wanted, *unknown, *recent}


# --- how ------------------------------------------------------------------------------------------


async def test_a_table_that_is_locked_keeps_no_other_from_being_gone_through(
    world: World, api: Api
) -> None:
    await world.sql(
        "UPDATE mailed_links SET expires_at = %(at)s WHERE user_id = %(id)s",
        id=api.user_id,
        at=world.clock.now() - 40 * DAY,
    )
    sweep, locked = Retention(world.database, world.clock), RULES[0].table
    assert locked != "mailed_links"
    async with world.database.as_system() as session:
        connection = await session.connection()
        await connection.execute(text(f"LOCK TABLE {locked} IN EXCLUSIVE MODE"))
        assert await sweep.sweep() >= 1

    assert await count(world, "mailed_links", api.user_id) == 0
    await world.sql(
        "UPDATE refresh_tokens SET expires_at = %(at)s WHERE user_id = %(id)s",
        id=api.user_id,
        at=world.clock.now() - 40 * DAY,
    )
    assert await sweep.sweep() >= 1, "it is not through before it has seen all tables"


async def test_it_goes_on_at_once_while_there_is_more(
    world: World, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    monkeypatch.setattr(retention, "BATCHES_MAX", 2)
    await world.sql(
        "INSERT INTO mailed_links (id, user_id, purpose, address, created_at, expires_at)"
        " SELECT gen_random_uuid(), %(id)s, 'verify_email', 'x', %(at)s, %(at)s"
        " FROM generate_series(1, 5)",
        id=api.user_id,
        at=world.clock.now() - 40 * DAY,
    )
    had = await count(world, "mailed_links", api.user_id)
    sweep = Retention(world.database, world.clock)

    assert await sweep.sweep() >= 4
    await sweep.sweep()
    assert await count(world, "mailed_links", api.user_id) == had - 5

    # Through: nothing is looked for until the next time.
    await world.sql(
        "UPDATE mailed_links SET expires_at = %(at)s WHERE user_id = %(id)s",
        id=api.user_id,
        at=world.clock.now() - 40 * DAY,
    )
    await sweep.sweep()
    assert await count(world, "mailed_links", api.user_id) == had - 5
    world.clock.advance(seconds=EVERY.total_seconds())
    await sweep.sweep()
    assert await count(world, "mailed_links", api.user_id) == 0


def test_what_is_kept_for_ever_has_no_rule() -> None:
    for_ever = {"audit_log", "fills", "flows", "orders", "positions", "usage_periods", "users"}
    assert not for_ever & {rule.table for rule in RULES}


async def test_alerts_that_joined_another_go_and_that_one_stays(
    world: World, urls: DatabaseUrls
) -> None:
    now = world.clock.now()
    old, recent = now - 401 * DAY, now - 399 * DAY
    joined: dict[str, Any] = {"state": "accepted", "dedup_key": None}
    with psycopg.connect(urls.system) as system:
        rows = add_user_rows(system)
        user_id, asking = rows["users"]["id"], rows["alerts"]["id"]
        system.execute(
            "UPDATE alerts SET state = 'accepted', dedup_key = NULL, duplicate_of = NULL,"
            " received_at = %s WHERE id = %s",
            (old, asking),
        )
        for at in (old, recent):
            a_row(system, rows, "alerts", **joined, duplicate_of=asking, received_at=at)

    await forget(world)

    left = await world.sql(
        "SELECT id, received_at FROM alerts WHERE user_id = %(id)s ORDER BY received_at", id=user_id
    )
    assert [(it["id"] == asking, it["received_at"]) for it in left] == [
        (True, old),
        (False, recent),
    ]
