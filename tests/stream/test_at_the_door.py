"""Who comes in, when many come at once, and what they must not cost the others."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

from adapters.embedded.postgres import EmbeddedPostgres
from api.kit.stream import connection, strangers
from api.kit.stream.hub import Hub
from domain.plans import Tier
from services.errors import TokenInvalid
from services.events import reading
from services.events.access import Access, Standing
from services.events.live import LiveEvents
from services.events.reading import EventsUnavailable, SystemReads
from services.limits.policy import AddressLimits
from services.reads import Claims
from tests.stream.harness import TTL, Client, Clock, Person, Server, World, entered
from tests.support.databases import fresh_database

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

    async def counted(
        self, _sql: str, sessions: Sequence[UUID], now: datetime, a_minute: int
    ) -> Sequence[Mapping[str, Any]]:
        rows = await self.rows(_sql, sessions)
        return [{**row, "is_taken": True, "resets_at": 0} for row in rows]

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


# --- limits ---------------------------------------------------------------------------------------

LIMITS = AddressLimits(auth=5, public=60)
THERE, ELSEWHERE = "203.0.113.7", "203.0.113.8"


async def knock(server: Server, token: str | None, address: str = THERE) -> tuple[int, str]:
    """Show a token; the code of the close (0: let in) and what was said."""
    behind = {"X-Forwarded-For": address}
    async with Client.to(server, additional_headers=behind) as client:
        try:
            if token is not None:
                await client.say(type="auth", token=token)
            answer = await client.hear()
        except ConnectionClosed:
            return await client.close_code(), ""
        if answer["type"] == "auth_success":
            return 0, ""
        return await client.close_code(), answer["code"]


@pytest.fixture
async def guarded(world: World) -> AsyncIterator[tuple[Server, Server]]:
    """Two processes that limit addresses, behind a proxy."""
    await world.sql("DELETE FROM door_windows")
    async with (
        world.serving(limits=LIMITS, proxies=("127.0.0.1",)) as one,
        world.serving(limits=LIMITS, proxies=("127.0.0.1",)) as another,
    ):
        yield one, another


async def test_bad_tokens_are_counted_by_address_over_all_processes(
    world: World, guarded: tuple[Server, Server], person: Person
) -> None:
    gone = world.tokens.issue(Claims(person.user_id, uuid4()))
    for number in range(5):
        bad = ("nonsense", gone)[number % 2]
        assert await knock(guarded[number % 2], bad) == (4401, "TOKEN_INVALID")

    assert await knock(guarded[0], "nonsense") == (4429, "RATE_LIMITED")
    assert await knock(guarded[1], gone) == (4429, "RATE_LIMITED")
    assert await knock(guarded[0], "nonsense", ELSEWHERE) == (4401, "TOKEN_INVALID")
    # Whoever shares the address and has a good token gets in.
    assert await knock(guarded[0], world.token(person)) == (0, "")


async def test_expired_tokens_are_nobodys_guesses(
    world: World, guarded: tuple[Server, Server], person: Person
) -> None:
    token = world.token(person)
    world.clock.shift = TTL

    for _ in range(8):
        assert await knock(guarded[0], token) == (4401, "TOKEN_EXPIRED")


async def test_the_silent_are_counted_and_leave_places_for_others(
    world: World,
    guarded: tuple[Server, Server],
    person: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "AUTH_SECONDS", 0.1)
    monkeypatch.setattr(strangers, "OF_WATCHED_ADDRESS_MAX", 2)
    server = guarded[0]
    ends = [await knock(server, None) for _ in range(6)]
    assert [code for code, _ in ends] == [4401] * 5 + [4429]

    monkeypatch.setattr(connection, "AUTH_SECONDS", 10)
    async with AsyncExitStack() as silent:
        behind = {"X-Forwarded-For": THERE}
        for _ in range(2):
            await silent.enter_async_context(Client.to(server, additional_headers=behind))
        assert (await knock(server, world.token(person)))[0] == 1013
        assert await knock(server, world.token(person), ELSEWHERE) == (0, "")
    await asyncio.sleep(0.3)  # until the server has noticed that they are gone
    assert await knock(server, world.token(person)) == (0, "")


async def test_one_address_cannot_take_every_place(
    world: World, guarded: tuple[Server, Server], person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "OF_ADDRESS_MAX", 3)
    async with AsyncExitStack() as silent:
        behind = {"X-Forwarded-For": THERE}
        for _ in range(3):
            await silent.enter_async_context(Client.to(guarded[0], additional_headers=behind))
        assert (await knock(guarded[0], world.token(person)))[0] == 1013
        assert await knock(guarded[0], world.token(person), ELSEWHERE) == (0, "")


async def test_logins_of_a_user_are_limited_over_all_processes(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.events.live.LOGINS_A_MINUTE", 4)
    monkeypatch.setattr("services.events.access.UNCOUNTED_A_MINUTE", 0)
    other = await world.person()
    async with world.serving() as one, world.serving() as another:
        token = world.token(person)
        ends = [await knock((one, another)[n % 2], token) for n in range(6)]
        assert ends == [(0, "")] * 4 + [(4429, "RATE_LIMITED")] * 2
        assert await knock(one, world.token(other)) == (0, "")

        world.clock.shift = timedelta(seconds=62)
        at_once = await asyncio.gather(*(knock(one, token) for _ in range(6)))
        assert sorted(at_once) == [(0, "")] * 4 + [(4429, "RATE_LIMITED")] * 2


@pytest.mark.parametrize(("limit", "counted"), [(None, 0), (100, 8)])
async def test_only_who_comes_often_is_counted(
    world: World, person: Person, limit: int | None, counted: int
) -> None:
    await world.sql("DELETE FROM door_windows")
    other = await world.person()
    often = Claims(person.user_id, person.session_id)
    reads = SystemReads(world.urls.system)
    await reads.open()
    access = Access(reads, Noon(), logins_a_minute=limit)

    people = [often] * 19 + [Claims(other.user_id, other.session_id)] * 2 + [often] * 19
    found = await asyncio.gather(*(access.admit(claims) for claims in people))
    await reads.close()

    assert all(isinstance(one, Standing) for one in found)
    rows = await world.sql("SELECT subject, counts FROM door_windows")
    # All 38 came in one look-up, or the first of them alone.
    assert [subject for subject, _ in rows] == [str(person.user_id)] * bool(counted)
    assert all(sum(counts) >= counted for _, counts in rows)


class Noon(Clock):
    """A clock that stands still."""

    _NOON = Clock().now().replace(second=30)

    def now(self) -> datetime:
        return self._NOON


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


async def test_a_server_that_vanished_is_noticed_within_half_a_minute(
    postgres: EmbeddedPostgres,
) -> None:
    reads = SystemReads(fresh_database(postgres.urls).system)  # over TCP: only there it can vanish
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
    feeds = SimpleNamespace(tell=heard.update)
    live = SimpleNamespace(feeds=feeds, access=Broken(), reads=None)
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
