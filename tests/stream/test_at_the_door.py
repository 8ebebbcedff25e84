"""Who comes in, when many come at once, and what they must not cost the others."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import psycopg
import pytest

from api.kit.stream import connection
from api.kit.stream.hub import Hub
from domain.plans import Tier
from services.errors import TokenInvalid
from services.events import reading
from services.events.access import Access, Standing
from services.events.live import LiveEvents
from services.events.reading import EventsUnavailable, SystemReads
from services.reads import Claims
from tests.stream.harness import Client, Clock, Person, Server, World, entered

pytestmark = pytest.mark.integration


# --- admission ------------------------------------------------------------------------------------


class Sessions:
    """Answers like the database, and counts the questions."""

    def __init__(self, *, is_up: bool = True) -> None:
        self.owners: dict[UUID, UUID] = {}
        self.asked = 0
        self._is_up = is_up

    def new(self) -> Claims:
        claims = Claims(uuid4(), uuid4())
        self.owners[claims.session_id] = claims.user_id
        return claims

    async def rows(self, _sql: str, sessions: Sequence[UUID]) -> Sequence[Mapping[str, Any]]:
        self.asked += 1
        await asyncio.sleep(0.01)
        if not self._is_up:
            raise EventsUnavailable
        return [
            {
                "id": session,
                "user_id": self.owners[session],
                "revoked_at": None,
                "expires_at": Clock().now() + timedelta(hours=1),
                "status": "active",
                "subscription_tier": Tier.PRO.value,
                "trial_ends_at": None,
                "granted_tier": None,
                "billed_until": None,
                "last_seq": 7,
            }
            for session in sessions
            if session in self.owners
        ]


def access_of(sessions: Sessions) -> Access:
    return Access(cast("SystemReads", sessions), Clock())


async def test_who_comes_at_once_is_looked_up_at_once() -> None:
    sessions = Sessions()
    access = access_of(sessions)
    known = [sessions.new() for _ in range(100)]
    strangers = [Claims(uuid4(), uuid4()), Claims(uuid4(), known[0].session_id)]

    found = await asyncio.gather(
        *(access.admit(claims) for claims in [*known, *strangers]), return_exceptions=True
    )

    assert sessions.asked <= 2
    assert all(isinstance(one, Standing) and one.last_seq == 7 for one in found[:-2])
    assert [type(one) for one in found[-2:]] == [TokenInvalid, TokenInvalid]


async def test_who_is_gone_before_the_answer_spoils_it_for_nobody() -> None:
    sessions = Sessions()
    access = access_of(sessions)
    going, staying = [asyncio.create_task(access.admit(sessions.new())) for _ in range(2)]
    await asyncio.sleep(0)
    going.cancel()

    assert (await staying).last_seq == 7
    assert (await access.admit(sessions.new())).last_seq == 7


async def test_a_database_that_is_down_is_told_to_everybody() -> None:
    sessions = Sessions(is_up=False)
    access = access_of(sessions)

    found = await asyncio.gather(
        *(access.admit(sessions.new()) for _ in range(5)), return_exceptions=True
    )

    assert [type(one) for one in found] == [EventsUnavailable] * 5


async def test_a_server_that_is_slow_does_not_blame_the_token(
    world: World, server: Server, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "AUTH_SECONDS", 0.3)
    monkeypatch.setattr(connection, "ADMISSION_SECONDS", 0.3)
    async with (
        await psycopg.AsyncConnection.connect(world.urls.owner) as blocking,
        Client.to(server) as client,
    ):
        await blocking.execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        await client.say(type="auth", token=world.token(person))

        assert await client.close_code() == 1013


async def test_a_session_that_ends_while_its_owner_comes_in_is_noticed(
    world: World, server: Server, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = server.live.access.admit

    async def admit(claims: Claims) -> Standing:
        standing = await look_up(claims)
        heard = server.hub._access_changes
        await world.sql("UPDATE sessions SET revoked_at = now() WHERE user_id = %s", person.user_id)
        while server.hub._access_changes == heard:  # noqa: ASYNC110 - a notification is on its way
            await asyncio.sleep(0.01)
        return standing

    monkeypatch.setattr(server.live.access, "admit", admit)
    async with asyncio.timeout(10), Client.to(server) as client:  # sooner than the usual check
        await client.say(type="auth", token=world.token(person))

        assert await client.close_code() == 4401


async def test_many_come_back_at_once_and_each_gets_what_it_missed(world: World) -> None:
    people = [await world.person() for _ in range(20)]
    starts = [await world.latest(person) for person in people]
    for person in people[::2]:
        await world.move_stop(person, 6751)

    async def come_back(server: Server, person: Person, start: int, *, missed: bool) -> None:
        async with Client.to(server) as client:
            answer = await client.enter(world.token(person), "positions", resume_from=start)
            assert (answer["resumed"], answer["seq"]) == (True, start)
            await world.move_stop(person, 6752)
            events = await client.events(2 if missed else 1)
            wanted = [6751, 6752] if missed else [6752]
            assert [event["data"]["stop_loss"] for event in events] == wanted
            assert events[-1]["seq"] == start + len(wanted)

    async with world.serving() as server:
        await asyncio.gather(
            *(
                come_back(server, person, start, missed=number % 2 == 0)
                for number, (person, start) in enumerate(zip(people, starts, strict=True))
            )
        )


# --- what clients can do to the server ------------------------------------------------------------


async def test_who_sends_pings_and_reads_nothing_is_cut_off(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2_000)
    writer.write(
        b"GET /ws/v1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport
    ping = bytes((0x89, 0x80 | 125)) + bytes(4) + bytes(125)

    async def flood() -> None:
        for _ in range(600):  # 40 MB of answers: more than two sockets hold
            writer.write(ping * 512)
            await writer.drain()
            await asyncio.sleep(0)

    with pytest.raises(ConnectionError):
        await flood()
    writer.close()


# --- the database ---------------------------------------------------------------------------------


async def test_a_pool_in_use_is_asked_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_POOL_TIMEOUT_SECONDS", 0.4)
    reads = SystemReads(world.urls.system)
    await reads.open()
    sleeping = [
        asyncio.create_task(reads.rows("SELECT pg_sleep(2)")) for _ in range(reading._CONNECTIONS)
    ]
    await asyncio.sleep(0.3)

    began = time.monotonic()
    with pytest.raises(EventsUnavailable):
        await reads.rows("SELECT 1")
    seconds = time.monotonic() - began
    await asyncio.gather(*sleeping)
    await reads.close()

    assert seconds < 0.75


async def test_a_server_that_vanished_is_noticed_within_half_a_minute(world: World) -> None:
    reads = SystemReads(world.urls.system)
    await reads.open()
    async with reads._pool.connection() as raw:
        duplicate = socket.socket(fileno=os.dup(raw.pgconn.socket))
        with duplicate:
            unanswered = duplicate.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    await reads.close()

    assert 0 < unanswered <= 30_000


# --- kill switches --------------------------------------------------------------------------------

_ENGAGE_UNHEARD = """
WITH gone AS (
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = 'nija_system' AND datname = current_database() AND pid <> pg_backend_pid()
)
INSERT INTO kill_switches (id, scope, reason, engaged_at)
SELECT gen_random_uuid(), 'global', 'unheard ' || count(*), now() FROM gone
"""
_RELEASE = "UPDATE kill_switches SET released_at = now() WHERE scope = 'global'"


async def test_a_kill_switch_that_nobody_could_hear_of_is_told(
    world: World, server: Server, person: Person
) -> None:
    async with entered(world, server, person, "bot") as client:
        await world.sql(_ENGAGE_UNHEARD)
        try:
            engaged = await client.until(type="kill_switch")
        finally:
            await world.sql(_RELEASE)
        released = await client.until(type="kill_switch")

    assert engaged["data"]["active"] is True
    assert engaged["data"]["reason"].startswith("unheard")
    assert released["data"]["active"] is False


async def test_a_kill_switch_that_holds_is_told_to_who_comes_later(
    world: World, server: Server, person: Person
) -> None:
    async with entered(world, server, person, "bot") as witness:
        await world.sql(
            "INSERT INTO kill_switches (id, scope, reason, engaged_at)"
            " VALUES (gen_random_uuid(), 'global', 'held', now())"
        )
        try:
            await witness.until(type="kill_switch")
            async with entered(world, server, person, "bot") as late:
                held = await late.until(type="kill_switch")
        finally:
            await world.sql(_RELEASE)
        await witness.until(type="kill_switch")

    assert (held["data"]["active"], held["data"]["reason"]) == (True, "held")


# --- faults ---------------------------------------------------------------------------------------


async def test_a_process_whose_checks_have_died_does_not_go_on_serving(world: World) -> None:
    class Broken:
        """Access with a defect."""

        async def kill_switches(self) -> Sequence[Mapping[str, Any]]:
            raise ZeroDivisionError

    heard: dict[str, Any] = {}
    live = SimpleNamespace(feeds=SimpleNamespace(tell=heard.update), access=Broken())
    asked_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, asked_to_end.set)
    try:
        async with Hub(cast("LiveEvents", live), world.tokens).running():
            heard["on_kill_switch"]()
            async with asyncio.timeout(5):
                await asked_to_end.wait()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
