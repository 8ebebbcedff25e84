"""The audit log's chain: whatever is done to a sealed entry, even by the owner, is found."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

from services.audit_chain import GENESIS, AuditSealing, AuditVerifying, Break, Head, Verification
from tests.api.harness import Api, World
from tests.support.command_line import nija_said

pytestmark = pytest.mark.integration

ENTRIES = 12


async def add_entries(world: World, count: int = ENTRIES) -> None:
    """Entries with content that is easily garbled: unicode, floats, nesting."""
    await world.sql(
        "INSERT INTO audit_log (id, at, event_type, user_id, actor_id, ip_address, user_agent,"
        " meta) SELECT gen_random_uuid(), now() + n * interval '1 millisecond', 'event_' || n,"
        " gen_random_uuid(), NULL, '192.168.1.1', 'Mozilla/5.0 (\u00fc)',"
        " jsonb_build_object('n', n, 'size', 0.1 * n, 'names', jsonb_build_array('\u00e4', NULL))"
        " FROM generate_series(1, %(count)s) n",
        count=count,
    )


async def seal(world: World) -> int:
    return await AuditSealing(world.database, world.clock).sweep()


async def verify(world: World, noted: Head | None = None) -> Verification:
    return await AuditVerifying(world.database).verify(noted)


def as_owner(world: World, statement: str, **values: Any) -> None:
    with psycopg.connect(world.urls.owner, autocommit=True) as owner:
        owner.execute(statement.encode(), values)


@pytest.fixture
async def sealed(world: World) -> World:
    await add_entries(world)
    assert await seal(world) == ENTRIES
    return world


async def test_what_was_sealed_verifies_and_sealing_again_changes_nothing(sealed: World) -> None:
    first = await verify(sealed)
    assert await seal(sealed) == 0
    await add_entries(sealed, 3)
    before = await verify(sealed)
    await seal(sealed)
    after = await verify(sealed, noted=first.head)

    assert first == Verification(ENTRIES, 0, first.head, None)
    assert (before.unsealed, before.broken) == (3, None)
    assert (after.entries, after.unsealed, after.broken) == (ENTRIES + 3, 0, None)
    assert await verify(sealed, noted=after.head) == after


async def test_an_empty_log_verifies(world: World) -> None:
    assert await verify(world) == Verification(0, 0, Head(0, GENESIS), None)


TAMPERING: dict[str, tuple[str, int, str]] = {
    "a changed time": (
        "UPDATE audit_log SET at = at + interval '1 microsecond' WHERE sequence = 5",
        5,
        "its content was changed",
    ),
    "changed metadata": (
        "UPDATE audit_log SET meta = jsonb_set(meta, '{n}', '99') WHERE sequence = 7",
        7,
        "its content was changed",
    ),
    "another actor": (
        "UPDATE audit_log SET actor_id = gen_random_uuid() WHERE sequence = 1",
        1,
        "its content was changed",
    ),
    "a removed entry": (
        "DELETE FROM audit_log WHERE sequence = 4",
        4,
        "the entry is missing",
    ),
    "a removed beginning": (
        "DELETE FROM audit_log WHERE sequence < 4",
        1,
        "the entry is missing",
    ),
    "a removed end": (
        "DELETE FROM audit_log WHERE sequence = 12",
        ENTRIES,
        "the end of the chain is missing or was added to",
    ),
    "everything removed": (
        "DELETE FROM audit_log",
        1,
        "the end of the chain is missing or was added to",
    ),
    "two that changed places": (
        "UPDATE audit_log SET sequence = 7 - abs(sequence) WHERE sequence IN (-3, 4)",
        3,
        "it does not continue the entry before it",
    ),
    "an entry that was put back unsealed": (
        (
            "UPDATE audit_log SET sequence = NULL, previous_hash = NULL, hash = NULL"
            " WHERE sequence = 6"
        ),
        6,
        "the entry is missing",
    ),
    "a forged entry at the end": (
        (
            "INSERT INTO audit_log (id, at, event_type, meta, sequence, previous_hash, hash)"
            " SELECT gen_random_uuid(), now(), 'forged', '{}', 13, hash, repeat('a', 64)"
            " FROM audit_log WHERE sequence = 12"
        ),
        ENTRIES + 1,
        "its content was changed",
    ),
}


@pytest.mark.parametrize("case", TAMPERING)
async def test_what_an_owner_does_to_the_log_is_found(sealed: World, case: str) -> None:
    statement, sequence, problem = TAMPERING[case]
    as_owner(sealed, "ALTER TABLE audit_log DISABLE TRIGGER audit_log_is_sealed_once")
    try:
        if "-3" in statement:
            as_owner(sealed, "UPDATE audit_log SET sequence = -3 WHERE sequence = 3")
        as_owner(sealed, statement)
    finally:
        as_owner(sealed, "ALTER TABLE audit_log ENABLE TRIGGER audit_log_is_sealed_once")

    found = (await verify(sealed)).broken

    assert found is not None
    assert (found.sequence, found.problem) == (sequence, problem)


async def test_a_chain_made_anew_does_not_match_an_end_that_was_noted(sealed: World) -> None:
    noted = (await verify(sealed)).head
    as_owner(sealed, "TRUNCATE audit_log, audit_chains")
    await add_entries(sealed, ENTRIES + 1)
    await seal(sealed)

    assert (await verify(sealed)).broken is None
    found = (await verify(sealed, noted)).broken
    assert found is not None
    assert (found.sequence, "another chain" in found.problem) == (ENTRIES, True)
    assert (await verify(sealed, Head(99, noted.hash))).broken == Break(
        ENTRIES + 2, None, "the chain ends before the entry that was noted"
    )


async def test_passes_at_once_and_entries_that_commit_late_make_one_chain(world: World) -> None:
    """An entry whose transaction was open during a pass is sealed by a later one."""
    async with await psycopg.AsyncConnection.connect(world.urls.system) as late:
        await late.execute(
            "INSERT INTO audit_log (id, at, event_type, meta)"
            " VALUES (%s, '2020-01-01', 'late', '{}')",
            (uuid4(),),
        )
        await add_entries(world)
        await asyncio.gather(*(seal(world) for _ in range(4)))
        during = await verify(world)
        await late.commit()
    await asyncio.gather(*(seal(world) for _ in range(4)))

    after = await verify(world)

    assert (during.entries, during.broken) == (ENTRIES, None)
    assert (after.entries, after.unsealed, after.broken) == (ENTRIES + 1, 0, None)
    (row,) = await world.sql("SELECT sequence FROM audit_log WHERE event_type = 'late'")
    assert row["sequence"] == ENTRIES + 1


def _roles(world: World) -> dict[str, str]:
    return {"app": world.urls.app, "system": world.urls.system}


@pytest.mark.parametrize("role", ["app", "system"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET event_type = 'x'",
        "UPDATE audit_log SET hash = repeat('a', 64)",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
    ],
)
async def test_no_role_of_ours_can_change_a_sealed_entry(
    sealed: World, role: str, statement: str
) -> None:
    with (
        psycopg.connect(_roles(sealed)[role]) as connection,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


async def test_a_user_s_role_cannot_write_an_entry_that_looks_sealed(world: World) -> None:
    user_id = uuid4()
    with psycopg.connect(world.urls.app) as app:
        app.execute("SELECT set_config('nija.user_id', %s, true)", (str(user_id),))
        with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
            app.execute(
                "INSERT INTO audit_log (id, at, event_type, user_id, meta, sequence,"
                " previous_hash, hash) VALUES (%s, now(), 'forged', %s, '{}', 1, 'a', 'b')",
                (uuid4(), user_id),
            )


async def command(world: World, *arguments: str) -> tuple[int, str]:
    """Run `nija audit verify` as an operator would."""
    return await nija_said(
        "audit", "verify", *arguments, NIJA_SYSTEM_DATABASE_URL=world.urls.system
    )


async def test_the_command_names_the_first_broken_entry(sealed: World) -> None:
    head = (await verify(sealed)).head
    code, output = await command(sealed, "--head", str(head))
    assert code == 0
    assert output == (
        f"{ENTRIES} entries are as they were written, 0 are not sealed yet.\n"
        f"The chain ends at {head}\n"
    )
    as_owner(sealed, "ALTER TABLE audit_log DISABLE TRIGGER audit_log_is_sealed_once")
    as_owner(sealed, "UPDATE audit_log SET event_type = 'x' WHERE sequence IN (3, 9)")
    as_owner(sealed, "ALTER TABLE audit_log ENABLE TRIGGER audit_log_is_sealed_once")
    (entry,) = await sealed.sql("SELECT id FROM audit_log WHERE sequence = 3")

    code, output = await command(sealed)

    assert code == 1
    assert output == (
        f"The audit log is broken at entry 3 (id {entry['id']}): its content was changed.\n"
    )


# --- the call -------------------------------------------------------------------------------------

Find = Callable[..., Awaitable[list[str]]]


@pytest.fixture
def find(admin: Api) -> Find:
    async def find(**query: Any) -> list[str]:
        data = await admin.data("GET", "/admin/audit-logs", params=query)
        return [entry["event_type"] for entry in data["logs"]]

    return find


async def test_entries_are_listed_with_filters(
    world: World, admin: Api, user: Api, find: Find
) -> None:
    await seal(world)
    person = f"usr_{user.user_id.hex}"
    data = await admin.data(
        "GET", "/admin/audit-logs", params={"user_id": person, "event_type": "user_login"}
    )

    (entry,) = data["logs"]
    assert entry["log_id"].startswith("log_")
    assert (entry["event_type"], entry["user_id"]) == ("user_login", person)
    assert isinstance(entry["metadata"], dict)
    assert (isinstance(entry["sequence"], int), len(entry["hash"])) == (True, 64)
    assert data["pagination"]["total_items"] == 1
    assert set(await find(user_id=person)) >= {"user_login", "user_registered"}
    today = world.clock.now().date().isoformat()
    assert await find(user_id=person, start_date=today, end_date=today, per_page=1, page=2)
    assert await find(event_type="user_login", end_date="2020-01-01") == []
    assert "admin_read" in await find(event_type="admin_read")
    for query in (
        {"user_id": "somebody"},
        {"per_page": 501},
        {"start_date": "soon"},
        {"event_type": "user\x00login"},
    ):
        assert await admin.error("GET", "/admin/audit-logs", params=query) == (
            422,
            "VALIDATION_ERROR",
        )


async def test_small_numbers_of_an_entry_leave_as_they_were_written(
    world: World, admin: Api
) -> None:
    await world.sql(
        "INSERT INTO audit_log (id, at, event_type, user_id, meta) VALUES (gen_random_uuid(),"
        """ now(), 'trade_executed', %(id)s, '{"size": 0.00001, "n": 1, "in": [1e-9]}')""",
        id=admin.user_id,
    )

    answer = await admin.call("GET", "/admin/audit-logs", params={"event_type": "trade_executed"})

    assert '"metadata":{"n":1,"in":[0.000000001],"size":0.00001}' in answer.text
