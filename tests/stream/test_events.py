"""Committed events: every one once, in the order of the commits, to those whose they are."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest

from api.kit.stream import connection
from models.events import EVENTS_KEPT
from models.tenancy import USER_SETTING
from tests.stream.harness import Client, Person, Server, World, entered

pytestmark = pytest.mark.integration

AT = datetime(2018, 3, 2, 12, tzinfo=UTC)
POSITION_KEYS = {
    "position_id",
    "symbol",
    "current_price",
    "unrealized_pnl",
    "unrealized_pnl_pct",
    "timestamp",
}


async def test_a_change_of_a_position_is_told(world: World, server: Server, person: Person) -> None:
    async with entered(world, server, person, "positions") as client:
        await world.move_stop(person, 6750)
        event = (await client.events(1))[0]

    assert event["type"] == "position_update"
    assert event["channel"] == "positions"
    assert event["seq"] == await world.latest(person)
    assert set(event["data"]) >= POSITION_KEYS
    assert event["data"]["position_id"] == f"pos_{person.position_id.hex}"
    assert (event["data"]["stop_loss"], event["data"]["entry_price"]) == (6750, 6800)


async def test_an_event_shows_the_digits_that_are_stored(
    world: World, server: Server, person: Person
) -> None:
    coins = (
        "UPDATE positions SET entry_quantity = 1234567890123.00000001,"
        " open_quantity = 1234567890123.00000001, stop_loss = 0.000000001233,"
        " entry_notional = 1234567890123.00000001 * 0.000000001234,"
        " closed_elsewhere_quantity = 0.00000001 WHERE id = %s"
    )
    async with entered(world, server, person, "positions") as client:
        await world.change(person, coins, person.position_id)
        text = ""
        while '"position_update"' not in text or '"seq"' not in text:
            text = await client.hear_text()

    for name, digits in (
        ("entry_price", "0.000000001234"),
        ("stop_loss", "0.000000001233"),
        ("quantity", "1234567890123.00000001"),
        ("closed_elsewhere_quantity", "0.00000001"),
    ):
        assert f'"{name}":{digits},' in text, text


async def test_a_trade_is_told_from_its_opening_to_its_close(
    world: World, server: Server, person: Person
) -> None:
    pending = "UPDATE positions SET state = 'pending', entry_quantity = 0, entry_notional = 0"
    steps = {
        (
            "opened",
            0.2,
            6800,
        ): "UPDATE positions SET state = 'open', entry_quantity = 0.2, entry_notional = 1360",
        (
            "increased",
            0.3,
            6900,
        ): "UPDATE positions SET entry_quantity = 0.5, entry_notional = 3430",
        ("reduced", 0.2, 7000): "UPDATE positions SET exit_quantity = 0.2, exit_notional = 1400",
        (
            "closed",
            0.3,
            7100,
        ): "UPDATE positions SET state = 'closed', exit_quantity = 0.5, exit_notional = 3530,"
        " open_quantity = 0, realized_pnl = 100, closed_at = now(), exit_reason = 'stop_loss'",
    }
    await world.change(person, f"{pending} WHERE id = %s", person.position_id)
    async with entered(world, server, person, "trades") as client:
        for step in steps.values():
            await world.change(person, f"{step} WHERE id = %s", person.position_id)
        events = await client.events(len(steps))

    told = [
        (
            event["data"]["action"],
            event["data"]["executed_quantity"],
            event["data"]["executed_price"],
        )
        for event in events
    ]
    assert told == list(steps)
    last = events[-1]["data"]
    assert last["trade_id"] == f"trd_{person.position_id.hex}"
    assert (last["entry_price"], last["exit_price"], last["size_usd"]) == (6860, 7060, 3430)
    assert (last["realized_pnl"], last["net_pnl"]) == (100, 96.6)


async def test_a_fee_that_was_settled_later_is_told(
    world: World, server: Server, person: Person
) -> None:
    closed = (
        "UPDATE positions SET state = 'closed', exit_quantity = entry_quantity, open_quantity = 0,"
        " exit_notional = entry_notional + 100, realized_pnl = 100, fees = 3, closed_at = now(),"
        " exit_reason = 'stop_loss' WHERE id = %s"
    )
    await world.change(person, closed, person.position_id)
    async with entered(world, server, person, "trades", "positions") as client:
        await world.change(
            person, "UPDATE positions SET fees = 3.5 WHERE id = %s", person.position_id
        )
        trade, position = await client.events(2)

    assert trade["type"] == "trade_executed"
    assert trade["data"]["action"] == "corrected"
    assert (trade["data"]["executed_quantity"], trade["data"]["executed_price"]) == (0, None)
    assert (trade["data"]["fees"], trade["data"]["net_pnl"]) == (3.5, 96.5)
    assert position["data"]["fees"] == 3.5


async def test_bot_and_account_are_told(world: World, server: Server, person: Person) -> None:
    await world.quote("7000", AT)
    async with entered(world, server, person, "bot", "account") as client:
        await world.change(person, "UPDATE bots SET state = 'paused' WHERE id = %s", person.bot_id)
        await world.change(
            person, "UPDATE balances SET total = 9000 WHERE account_id = %s", person.account_id
        )
        await world.change(
            person,
            "UPDATE bot_runs SET state = 'ended', ended_at = now(), end_reason = 'stopped'"
            " WHERE id = %s",
            person.run_id,
        )
        bot, account, run = await client.events(3)

    assert bot["type"] == "bot_update"
    assert (bot["data"]["previous_status"], bot["data"]["status"]) == ("running", "paused")
    assert bot["data"]["run_id"] == f"run_{person.run_id.hex}"
    assert account["type"] == "account_update"
    assert (account["data"]["cash"], account["data"]["equity"]) == (9000, 9000)
    assert account["data"]["unrealized_pnl"] == 100
    assert account["data"]["timestamp"] == "2018-03-02T12:00:00Z"
    assert (run["type"], run["data"]["reason"]) == ("run_ended", "stopped")


async def test_signals_and_entries_are_told_and_quiet_bars_are_not(
    world: World, server: Server, person: Person
) -> None:
    async with entered(world, server, person, "bot") as client:
        for cause, action in (("bar:1", "none"), ("bar:2", "enter_long"), ("signal:3", "none")):
            await world.change(
                person,
                "INSERT INTO decisions (id, user_id, bot_id, run_id, cause, symbol, decided_at,"
                " action, reason, gates) VALUES (gen_random_uuid(), %s, %s, %s, %s, 'BTC-USD',"
                " now(), %s, 'no_setup', '[]')",
                person.user_id,
                person.bot_id,
                person.run_id,
                cause,
                action,
            )
        events = await client.events(2)

    assert [event["data"]["cause"] for event in events] == ["bar:2", "signal:3"]


async def test_what_changes_nothing_to_tell_costs_no_number(world: World, person: Person) -> None:
    before = await world.latest(person)
    for statement in (
        "UPDATE bots SET last_scan_at = now(), state = state WHERE user_id = %s",
        "UPDATE positions SET exit_plan = '{}' WHERE user_id = %s",
        "UPDATE balances SET observed_at = now() WHERE user_id = %s",
    ):
        await world.change(person, statement, person.user_id)

    assert await world.latest(person) == before


async def test_what_is_rolled_back_is_never_told(
    world: World, server: Server, person: Person
) -> None:
    before = await world.latest(person)
    async with entered(world, server, person, "positions") as client:
        with pytest.raises(psycopg.errors.CheckViolation):
            await world.change(
                person,
                "UPDATE positions SET stop_loss = 1, state = 'x' WHERE id = %s",
                person.position_id,
            )
        await world.move_stop(person, 6751)

        assert [event["seq"] for event in await client.events(1)] == [before + 1]


async def test_concurrent_writers_are_told_once_in_the_order_of_their_commits(
    world: World, server: Server, person: Person
) -> None:
    before, writers, each = await world.latest(person), 8, 15
    async with AsyncExitStack() as clients:
        listening = [
            await clients.enter_async_context(
                entered(world, server, person, "positions", "bot", "trades", "account")
            )
            for _ in range(3)
        ]

        await asyncio.gather(*(_write(world, person, each, offset) for offset in range(writers)))
        heard = [await client.events(writers * each) for client in listening]
        stored = await world.sql(
            "SELECT seq, data ->> 'stop_loss' FROM stream_events WHERE user_id = %s AND seq > %s"
            " ORDER BY seq",
            person.user_id,
            before,
        )

    numbers = list(range(before + 1, before + writers * each + 1))
    for events in heard:
        assert [event["seq"] for event in events] == numbers
        assert [(event["seq"], event["data"]["stop_loss"]) for event in events] == [
            (seq, float(stop)) for seq, stop in stored
        ]
    (final,) = await world.sql("SELECT stop_loss FROM positions WHERE id = %s", person.position_id)
    assert final[0] == Decimal(stored[-1][1])


async def _write(world: World, person: Person, count: int, offset: int) -> None:
    async with await psycopg.AsyncConnection.connect(world.urls.app) as connection_:
        for number in range(count):
            async with connection_.transaction():
                await connection_.execute(
                    "SELECT set_config(%s, %s, true)", (USER_SETTING, str(person.user_id))
                )
                await connection_.execute(
                    "UPDATE positions SET stop_loss = %s WHERE id = %s",
                    (1000 + offset * 100 + number, person.position_id),
                )


async def test_another_users_events_are_never_seen(world: World, server: Server) -> None:
    one, two = await world.person(), await world.person()
    channels = ("positions", "trades", "account", "bot")
    async with (
        entered(world, server, one, *channels) as first,
        entered(world, server, two, *channels) as second,
    ):
        for price in (6751, 6752):
            await world.move_stop(one, price)
        await world.move_stop(two, 6753)

        mine = await first.events(2)
        theirs = await second.events(1)

    assert {event["data"]["position_id"] for event in mine} == {f"pos_{one.position_id.hex}"}
    assert {event["data"]["position_id"] for event in theirs} == {f"pos_{two.position_id.hex}"}


async def test_a_client_resumes_across_a_restart(world: World, person: Person) -> None:
    async with (
        world.serving() as server,
        entered(world, server, person, "positions", "trades") as client,
    ):
        await world.move_stop(person, 6751)
        last = (await client.events(1))[-1]["seq"]
    for price in (6752, 6753):
        await world.move_stop(person, price)
    await world.change(person, "UPDATE bots SET state = 'paused' WHERE id = %s", person.bot_id)

    async with world.serving() as server, Client.to(server) as client:
        answer = await client.enter(world.token(person), "positions", "trades", resume_from=last)
        await world.move_stop(person, 6754)
        events = await client.events(3)

    assert (answer["resumed"], answer["seq"]) == (True, last)
    assert [event["seq"] for event in events] == [last + 1, last + 2, last + 4]
    assert [event["data"]["stop_loss"] for event in events] == [6752, 6753, 6754]


async def test_a_resume_among_live_events_gives_each_once_in_order(
    world: World, server: Server, person: Person
) -> None:
    start = await world.latest(person)
    writing = asyncio.create_task(_write(world, person, 150, 0))
    async with entered(world, server, person, "positions") as steady:
        for _ in range(5):
            async with Client.to(server) as client:
                await client.enter(world.token(person), "positions", resume_from=start)
                numbers = [event["seq"] for event in await client.events(30)]
            assert numbers == list(range(start + 1, start + 31))
            start += 30
        await writing
        assert await steady.events(1)


async def test_a_subscribed_channel_is_not_resumed_over(
    world: World, server: Server, person: Person
) -> None:
    async with entered(world, server, person, "bot") as client:
        await client.say(type="subscribe", channel="bot", resume_from=0)
        assert (await client.hear())["code"] == "ALREADY_SUBSCRIBED"


async def test_only_the_last_thousand_are_kept(
    world: World, server: Server, person: Person
) -> None:
    await world.sql(
        "UPDATE event_streams SET last_seq = last_seq + 5000 WHERE user_id = %s", person.user_id
    )
    await world.sql(
        "INSERT INTO stream_events (user_id, seq, channel, kind, data, created_at)"
        " SELECT user_id, n, 'bot', 'run', '{}', now() FROM event_streams,"
        " generate_series(last_seq - 999, last_seq) AS n WHERE user_id = %s",
        person.user_id,
    )
    await world.move_stop(person, 6760)
    latest = await world.latest(person)
    kept = await world.sql(
        "SELECT min(seq), count(*) FROM stream_events WHERE user_id = %s", person.user_id
    )

    assert kept == [(latest - EVENTS_KEPT + 1, EVENTS_KEPT)]
    async with entered(world, server, person) as client:
        await client.say(
            type="subscribe", channel="positions", resume_from=latest - EVENTS_KEPT - 1
        )
        refused = await client.hear()
        await client.say(type="subscribe", channel="positions", resume_from=latest - EVENTS_KEPT)

        assert refused["code"] == "RESUME_NOT_POSSIBLE"
        assert refused["details"] == {"oldest": latest - EVENTS_KEPT, "latest": latest}
        assert [event["seq"] for event in await client.events(1)] == [latest]


async def test_a_slow_client_is_dropped_and_others_are_served(
    world: World, server: Server, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BACKLOG_BYTES_MAX", 20_000)
    async with entered(world, server, person, "positions") as quick:
        slow = await _deaf(world, server, person)
        events = 0
        while len(server.hub._connections) > 1:
            await world.change(
                person,
                "UPDATE positions SET stop_loss = stop_loss + 1, exit_reason = %s WHERE id = %s",
                "x" * 60_000,
                person.position_id,
            )
            events += 1
        heard = await quick.events(events)
        slow.close()

    assert len({event["seq"] for event in heard}) == events


async def _deaf(world: World, server: Server, person: Person) -> asyncio.StreamWriter:
    """A client that subscribes and then reads no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2_000)
    writer.write(
        b"GET /ws/v1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    token = f"Bearer {world.token(person)}"
    for message in (
        {"type": "auth", "token": token},
        {"type": "subscribe", "channel": "positions"},
    ):
        text = json.dumps(message).encode()
        writer.write(b"\x81" + bytes((0x80 | 126,)) + len(text).to_bytes(2) + bytes(4) + text)
        await reader.readexactly(4)
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport
    return writer


async def test_prices_are_told_without_a_number(
    world: World, server: Server, person: Person
) -> None:
    await world.quote("7000", AT)
    async with entered(world, server, person, "positions", "account") as client:
        first = await client.until(type="position_update")
        await world.quote("7100", AT)
        while (update := await client.until(type="position_update"))["data"] == first["data"]:
            pass

    assert "seq" not in first
    assert set(update["data"]) >= POSITION_KEYS
    assert update["data"]["current_price"] == 7100
    assert (update["data"]["unrealized_pnl"], update["data"]["unrealized_pnl_pct"]) == (
        150,
        4.4118,
    )
    assert update["data"]["timestamp"] == "2018-03-02T12:00:00Z"


async def test_a_kill_switch_of_everybody_is_told_to_all_who_follow_their_bot(
    world: World, server: Server, person: Person
) -> None:
    async with entered(world, server, person, "bot") as client:
        await world.sql(
            "INSERT INTO kill_switches (id, scope, reason, engaged_at)"
            " VALUES (gen_random_uuid(), 'global', 'drill', now())"
        )
        engaged = await client.until(type="kill_switch")
        await world.sql("UPDATE kill_switches SET released_at = now() WHERE scope = 'global'")
        released = await client.until(type="kill_switch")

    assert (engaged["data"]["active"], engaged["data"]["reason"]) == (True, "drill")
    assert released["data"]["active"] is False


async def test_a_lost_database_connection_loses_no_event(
    world: World, server: Server, person: Person
) -> None:
    async with entered(world, server, person, "positions") as client:
        await world.move_stop(person, 6751)
        first = (await client.events(1))[0]["seq"]
        await world.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'nija_system' AND datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )
        for price in (6752, 6753, 6754):
            await world.move_stop(person, price)

        assert [event["seq"] for event in await client.events(3)] == [
            first + 1,
            first + 2,
            first + 3,
        ]


async def test_a_user_can_be_deleted_in_the_transaction_that_changed_them(
    world: World, person: Person
) -> None:
    async with world.database.as_system() as session:
        raw = await session.connection()
        for statement in (
            "UPDATE bots SET state = 'stopped' WHERE user_id = '{}'",
            "UPDATE positions SET stop_loss = 1 WHERE user_id = '{}'",
            "UPDATE balances SET total = 1 WHERE user_id = '{}'",
            "DELETE FROM users WHERE id = '{}'",
        ):
            await raw.exec_driver_sql(statement.format(person.user_id))

    assert await world.sql("SELECT 1 FROM event_streams WHERE user_id = %s", person.user_id) == []


async def test_a_transaction_that_tells_very_much_takes_one_number_range(
    world: World, server: Server, person: Person
) -> None:
    before, many = await world.latest(person), 20_000
    async with entered(world, server, person, "bot") as client:
        await world.change(
            person,
            "INSERT INTO decisions (id, user_id, bot_id, run_id, cause, symbol, decided_at,"
            " action, reason, gates) SELECT gen_random_uuid(), %s, %s, %s, 'signal:' || n,"
            " 'BTC-USD', now(), 'none', 'no_setup', '[]' FROM generate_series(1, %s) AS n",
            person.user_id,
            person.bot_id,
            person.run_id,
            many,
        )
        code = await client.close_code()

    kept = await world.sql(
        "SELECT min(seq), max(seq), count(*), min(data ->> 'cause') FROM stream_events"
        " WHERE user_id = %s",
        person.user_id,
    )
    newest = before + many
    assert kept == [(newest - EVENTS_KEPT + 1, newest, EVENTS_KEPT, "signal:19001")]
    assert code == 4410
    assert await world.sql("SELECT count(*) FROM pending_events") == [(0,)]


async def test_users_of_one_transaction_each_get_their_own_numbers(world: World) -> None:
    people = [await world.person() for _ in range(3)]
    before = [await world.latest(one) for one in people]

    await world.sql(
        "UPDATE positions SET stop_loss = stop_loss - 1 WHERE user_id = ANY(%s)",
        [one.user_id for one in people],
    )

    assert [await world.latest(one) for one in people] == [number + 1 for number in before]
