"""What clients and server say to each other, apart from events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from api.kit.stream import connection
from domain.plans import PLANS, Tier
from tests.stream.harness import TTL, Client, Person, Server, World, entered

pytestmark = pytest.mark.integration

BAD_MESSAGES = (
    ("{", "MALFORMED_BODY"),
    ("[]", "VALIDATION_ERROR"),
    (b"{}", "MALFORMED_BODY"),
    ('{"type":"shout"}', "VALIDATION_ERROR"),
    ('{"type":"subscribe"}', "VALIDATION_ERROR"),
    ('{"type":"subscribe","channel":"secrets"}', "VALIDATION_ERROR"),
    ('{"type":"subscribe","channel":"bot","typo":1}', "VALIDATION_ERROR"),
    ('{"type":"subscribe","channel":"bot","resume_from":-1}', "VALIDATION_ERROR"),
    ('{"type":"subscribe","channel":"bot","resume_from":9e99}', "VALIDATION_ERROR"),
    ('{"type":"subscribe","channel":"bot","resume_from":99999}', "RESUME_NOT_POSSIBLE"),
)


async def test_the_seeds_conversation(world: World, server: Server, person: Person) -> None:
    async with Client.to(server) as client:
        await client.say(type="auth", token=f"Bearer {world.token(person)}")
        answer = await client.hear()
        assert answer["type"] == "auth_success"
        assert answer["user_id"] == f"usr_{person.user_id.hex}"
        assert answer["subscriptions"] == []

        await client.say(type="subscribe", channel="positions")
        subscribed = await client.hear()
        assert subscribed["type"] == "subscribed"
        assert subscribed["channel"] == "positions"
        assert subscribed["subscriptions"] == ["positions"]
        assert subscribed["seq"] == answer["latest_seq"] == await world.latest(person)

        await client.say(type="unsubscribe", channel="positions")
        assert (await client.until(type="unsubscribed"))["subscriptions"] == []
        await client.say(type="ping", id="7")
        pong = await client.hear()
        assert (pong["type"], pong["id"], pong["latest_seq"]) == ("pong", "7", answer["latest_seq"])


async def test_a_bad_message_is_answered_and_ends_nothing(
    world: World, server: Server, person: Person
) -> None:
    async with entered(world, server, person) as client:
        for said, code in BAD_MESSAGES:
            await client.say_raw(said)
            answer = await client.hear()
            await client.say(type="ping")

            assert (answer["type"], answer["code"]) == ("error", code), said
            assert answer["message"]
            assert (await client.hear())["type"] == "pong"


async def test_a_bad_message_is_not_repeated_back(
    world: World, server: Server, person: Person
) -> None:
    token = world.token(person)
    async with entered(world, server, person) as client:
        await client.say(type="auth", token=[token])

        assert token not in str(await client.hear())


@pytest.mark.parametrize(
    "message",
    [
        {"type": "auth", "token": "Bearer nonsense"},
        {"type": "auth"},
        {"type": "subscribe", "channel": "bot"},
    ],
)
async def test_without_a_good_token_the_door_stays_shut(
    server: Server, message: dict[str, Any]
) -> None:
    async with Client.to(server) as client:
        await client.say(**message)

        assert await client.close_code() == 4401


async def test_who_says_nothing_is_sent_away(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "AUTH_SECONDS", 0.05)

    async with Client.to(server) as client:
        assert await client.close_code() == 4401


async def test_an_expired_token_is_refused(world: World, server: Server, person: Person) -> None:
    token = world.token(person)
    world.clock.shift = TTL

    async with Client.to(server) as client:
        await client.say(type="auth", token=token)
        assert (await client.hear())["code"] == "TOKEN_EXPIRED"
        assert await client.close_code() == 4401


async def test_a_token_that_expires_closes(world: World, server: Server, person: Person) -> None:
    token = world.token(person)
    world.clock.shift = TTL - timedelta(seconds=2)

    async with Client.to(server) as client:
        await client.enter(token, "bot")
        assert (await client.hear())["code"] == "TOKEN_EXPIRED"
        assert await client.close_code() == 4401


async def test_a_fresh_token_prolongs(world: World, server: Server, person: Person) -> None:
    token = world.token(person)
    world.clock.shift = TTL - timedelta(seconds=2)

    async with Client.to(server) as client:
        await client.enter(token, "bot")
        await client.say(type="auth", token=world.token(person))

        assert (await client.until(type="auth_success"))["subscriptions"] == ["bot"]


async def test_somebody_elses_token_does_not(world: World, server: Server, person: Person) -> None:
    other = await world.person()

    async with entered(world, server, person) as client:
        await client.say(type="auth", token=world.token(other))
        assert await client.close_code() == 4401


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE sessions SET revoked_at = now() WHERE user_id = %s", 4401),
        ("UPDATE users SET status = 'suspended' WHERE id = %s", 4403),
        ("UPDATE users SET status = 'disabled' WHERE id = %s", 4403),
    ],
)
async def test_a_right_that_ends_closes_at_once(
    world: World, server: Server, person: Person, statement: str, code: int
) -> None:
    bystander = await world.person()
    async with (
        entered(world, server, person, "bot") as client,
        entered(world, server, bystander, "bot") as other,
    ):
        await world.sql(statement, person.user_id)

        assert await client.close_code() == code
        await other.say(type="ping")
        assert (await other.hear())["type"] == "pong"


async def test_a_plan_that_ends_closes_at_the_next_check(
    world: World, server: Server, person: Person
) -> None:
    async with entered(world, server, person, "bot") as client:
        await world.sql("UPDATE users SET subscription_tier = 'free' WHERE id = %s", person.user_id)
        await server.hub.recheck([person.user_id])

        assert (await client.hear())["code"] == "SUBSCRIPTION_REQUIRED"
        assert await client.close_code() == 4402


async def test_the_free_plan_has_no_live_updates_but_its_trial_has(
    world: World, server: Server
) -> None:
    free, trying = await world.person(tier="free"), await world.person(tier="free")
    await world.sql(
        "UPDATE users SET trial_ends_at = now() + interval '1 day' WHERE id = %s", trying.user_id
    )

    async with Client.to(server) as client:
        await client.say(type="auth", token=world.token(free))
        answer = await client.hear()
        assert answer["code"] == "SUBSCRIPTION_REQUIRED"
        assert answer["details"] == {"required_tier": "basic"}
        assert await client.close_code() == 4402
    async with Client.to(server) as client:
        assert (await client.enter(world.token(trying)))["type"] == "auth_success"


async def test_a_plan_has_so_many_connections(world: World, server: Server) -> None:
    person = await world.person(tier="basic")
    allowed = PLANS[Tier.BASIC].limits.live_connections
    clients = [Client.to(server) for _ in range(allowed)]
    try:
        for client in clients:
            await (await client.__aenter__()).enter(world.token(person))

        async with Client.to(server) as one_more:
            await one_more.say(type="auth", token=world.token(person))
            assert (await one_more.hear())["code"] == "EXCEEDS_TIER_LIMIT"
            assert await one_more.close_code() == 4429
    finally:
        for client in clients:
            await client.__aexit__(None, None, None)


async def test_who_talks_too_much_is_sent_away(
    world: World, server: Server, person: Person
) -> None:
    async with entered(world, server, person) as client:
        for _ in range(connection.MESSAGES_MAX + 1):
            await client.say(type="ping")

        assert await client.close_code() == 4429


async def test_an_oversize_message_closes(world: World, server: Server, person: Person) -> None:
    async with entered(world, server, person) as client:
        await client.say_raw("x" * 20_000)

        assert await client.close_code() == 1009


async def test_pages_of_other_hosts_may_not_connect(world: World, person: Person) -> None:
    async with world.serving("https://app.example") as server:
        with pytest.raises(InvalidStatus, match="403"):
            async with Client.to(server, origin="https://evil.example"):
                pass
        for origin in ("https://app.example", f"http://127.0.0.1:{server.port}"):
            async with Client.to(server, origin=origin) as client:
                await client.enter(world.token(person))


async def test_no_token_is_logged(
    world: World, server: Server, person: Person, caplog: pytest.LogCaptureFixture
) -> None:
    token = world.token(person)
    with caplog.at_level("DEBUG"), caplog.at_level("DEBUG", "nija.websockets"):
        async with connect(f"{server.url}?token={token}") as socket:
            await Client(socket).enter(token, "bot")

    ours = [record for record in caplog.records if not record.name.startswith("websockets")]
    assert ours
    assert not [record for record in ours if token[:20] in record.getMessage()]
