"""The read side under row-level security, and after its server was restarted."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psutil
import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql

from adapters.embedded.postgres_roles import DatabaseUrls
from models.tenancy import USER_TABLES
from services.reads import POOL_TIMEOUT_SECONDS, Claims, Query
from tests.api.harness import Api, World, open_client, open_world
from tests.support.databases import nowhere

pytestmark = pytest.mark.integration


async def test_queries_see_only_the_caller_s_rows(world: World, user: Api, other: Api) -> None:
    counts = {}
    for api in (user, other):
        rows = await world.reads.rows(
            world.principal(api.user_id), "SELECT user_id FROM user_settings"
        )
        counts[api.user_id] = [row["user_id"] for row in rows]
    assert counts == {user.user_id: [user.user_id], other.user_id: [other.user_id]}


async def test_nothing_of_a_caller_stays_on_the_connection(world: World, user: Api) -> None:
    await world.reads.rows(world.principal(user.user_id), "SELECT 1")
    async with world.reads._pool.connection() as connection:
        for table in USER_TABLES:
            count = sql.SQL("SELECT count(*) AS n FROM {}").format(sql.Identifier(table))
            cursor = await connection.execute(count)
            assert await cursor.fetchone() == {"n": 0}


async def test_interleaved_callers_do_not_mix(world: World, user: Api, other: Api) -> None:
    async def own(api: Api) -> bool:
        rows = await world.reads.rows(
            world.principal(api.user_id), "SELECT user_id, pg_sleep(0.005) FROM user_settings"
        )
        return [row["user_id"] for row in rows] == [api.user_id]

    assert all(await asyncio.gather(*(own(api) for api in (user, other) * 20)))


async def test_the_read_side_cannot_write(world: World, user: Api) -> None:
    with pytest.raises(pg.ReadOnlySqlTransaction):
        await world.reads.rows(
            world.principal(user.user_id), "UPDATE users SET full_name = 'x' RETURNING id"
        )
    rows = await world.reads.rows(world.principal(user.user_id), "SELECT 1 AS one")
    assert rows == [{"one": 1}]


async def test_a_failed_batch_leaves_no_trace(world: World, user: Api) -> None:
    caller = world.principal(user.user_id)
    with pytest.raises(pg.DivisionByZero):
        await world.reads.batch(
            caller, Query("SELECT 1", {}), Query("SELECT 1/0", {}), Query("SELECT 1", {})
        )
    assert len(await world.reads.rows(caller, "SELECT 1")) == 1


async def test_a_restarted_server_costs_no_request(world: World, user: Api) -> None:
    for _ in range(3):
        await asyncio.gather(*(user.data("GET", "/account/positions") for _ in range(8)))
        async with await psycopg.AsyncConnection.connect(
            world.urls.superuser, autocommit=True
        ) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'nija_app'"
            )
        answers = await asyncio.gather(*(user.call("GET", "/account/positions") for _ in range(8)))
        assert {answer.status_code for answer in answers} == {200}


async def test_claims_of_somebody_else_s_session_are_nobody_s(
    world: World, user: Api, other: Api
) -> None:
    claims = world.identity.access_tokens.verify(user.token or "")
    mixed = Claims(other.user_id, claims.session_id)
    other.token = world.identity.access_tokens.issue(mixed)
    assert await other.error("GET", "/account/positions") == (401, "TOKEN_INVALID")


async def test_a_database_nobody_listens_on_is_waited_for_once(urls: DatabaseUrls) -> None:
    async with open_world(nowhere(urls)) as world, open_client(world) as client:
        token = world.identity.access_tokens.issue(Claims(uuid4(), uuid4()))
        began = time.monotonic()
        api = Api(client, token)
        answers = await asyncio.gather(
            api.error("GET", "/account/balance"), api.error("POST", "/trading/pause")
        )
    assert list(answers) == [(500, "DATABASE_ERROR")] * 2
    assert time.monotonic() - began < POOL_TIMEOUT_SECONDS + 3


@contextmanager
def frozen_server(backend: int) -> Iterator[None]:
    """The server that a backend belongs to, stopped; it accepts connections and says nothing."""
    postmaster = psutil.Process(backend).parent()
    assert postmaster is not None
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


async def test_a_server_that_stands_still_is_not_waited_for(world: World, user: Api) -> None:
    world.reads._answer_seconds = 1.0
    principal = world.principal(user.user_id)
    (row,) = await world.reads.rows(principal, "SELECT pg_backend_pid() AS pid")
    with frozen_server(row["pid"]):
        began = time.monotonic()
        answer = await user.error("GET", "/account/balance")
        waited = time.monotonic() - began
    assert answer == (500, "DATABASE_ERROR")
    assert waited < 3
    assert (await user.call("GET", "/account/balance")).status_code == 200
    async with world.reads._pool.connection() as connection:
        cursor = await connection.execute("SELECT pg_backend_pid() AS pid")
        assert await cursor.fetchone() != {"pid": row["pid"]}
