"""The Python SDK's live updates with a hand-written server: silence, and ends in between."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from nija_sdk import AsyncNIJAClient, NIJAClient


@dataclass
class Server:
    """Lets everybody in. Its first connection is silent afterwards, the second tells one event."""

    url: str = ""
    said: list[list[dict[str, Any]]] = field(default_factory=list)

    async def talk(self, connection: ServerConnection) -> None:
        said: list[dict[str, Any]] = []
        self.said.append(said)
        number = len(self.said)
        async for text in connection:
            message = json.loads(text)
            said.append(message)
            if message["type"] == "auth":
                await connection.send('{"type":"auth_success"}')
            if message["type"] == "subscribe":
                await connection.send('{"type":"subscribed","seq":5}')
                event = {"type": "bot_update", "channel": "bot", "seq": 4 + number, "data": {}}
                await connection.send(json.dumps(event))


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    async with serve(server.talk, "127.0.0.1", 0) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        server.url = f"http://127.0.0.1:{port}"
        yield server


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nija_sdk.live.QUIET_SECONDS", 0.2)


def check(server: Server) -> None:
    """The silent connection was asked, given up, and gone on from."""
    first, second = server.said[:2]
    assert [message["type"] for message in first] == ["auth", "subscribe", "ping"]
    assert second[1]["resume_from"] == 5


async def test_a_server_that_has_gone_silent_is_left() -> None:
    async with serving() as server, AsyncNIJAClient("token", base_url=server.url) as client:
        async with asyncio.timeout(20):
            events = client.ws.events("bot")
            assert (await anext(events)).seq == 6

        check(server)


async def test_a_server_that_has_gone_silent_is_left_by_blocking_clients() -> None:
    async with serving() as server:
        with NIJAClient("token", base_url=server.url) as client:
            events = client.ws.events("bot")
            event = await asyncio.wait_for(asyncio.to_thread(next, events), 20)
            await asyncio.to_thread(events.close)  # type: ignore[attr-defined]  # a generator

        assert event.seq == 6
        check(server)


async def test_a_channel_wanted_while_a_connection_breaks_is_asked_for_by_the_next() -> None:
    async with serving() as server, AsyncNIJAClient("token", base_url=server.url) as client:
        events = client.ws.events("bot")
        async with asyncio.timeout(20):
            assert (await anext(events)).seq == 6
            connection = client.ws._connection
            assert connection is not None
            await connection.close()
            await client.ws.subscribe("trades")
            going_on = asyncio.ensure_future(anext(events))
            while len(server.said) < 3 or len(server.said[2]) < 2:  # noqa: ASYNC110 - of the server
                await asyncio.sleep(0.01)

        assert server.said[2][1]["channels"] == ["bot", "trades"]
        assert (await going_on).seq == 7


async def test_the_same_of_a_blocking_client() -> None:
    async with serving() as server:
        client = NIJAClient("token", base_url=server.url)
        came: list[int | None] = []

        def listen() -> None:
            for event in client.ws.events("bot"):
                came.append(event.seq)
                if event.seq == 6:
                    assert client.ws._connection is not None
                    client.ws._connection.close()
                    client.ws.subscribe("trades")
                if event.seq == 7:
                    return

        thread = threading.Thread(target=listen)
        thread.start()
        await asyncio.to_thread(thread.join, 20)
        client.close()

        assert came == [6, 7]
        assert server.said[2][1]["channels"] == ["bot", "trades"]
