"""Two thousand WebSocket clients in a process of their own: `python -m bench.stream_clients`.

They read raw frames, because the usual libraries cost more than the server they would measure.
Each checks that its events follow one upon the other; one that loses its connection comes back and
resumes. Standard input brings the task as a line of JSON, and later the moment at which a server
was killed; the answer is JSON again.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import orjson
import uvloop

from bench.figures import spread

CONNECTING_AT_ONCE = 40
CONNECTING_SECONDS_MAX = 120.0
CATCHING_UP_SECONDS = 3.0
RETRY_SECONDS = (0.05, 0.5)
_HEAD = b"\r\n\r\n"
_PING, _CLOSE = 0x9, 0x8
_SHORT, _MEDIUM = 126, 127
_MARK, _STAMP = b'"seq":', b'"stop_loss":'
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@dataclass(frozen=True)
class Task:
    """Where to connect, as whom, and to what."""

    url: str
    tokens: Sequence[str]
    channels: Sequence[str]


@dataclass
class Record:
    """What one client saw."""

    last: int | None = None
    events: int = 0
    gaps: int = 0
    repeated: int = 0
    values: int = 0
    closes: list[int] = field(default_factory=list)
    joined: asyncio.Event = field(default_factory=asyncio.Event)
    lost_at: float | None = None
    away: list[float] = field(default_factory=list)
    seen: list[tuple[float, float]] = field(default_factory=list)  # sent at, received at


class Client(asyncio.Protocol):
    """One connection of one client."""

    def __init__(self, task: Task, token: str, record: Record) -> None:
        self._task, self._token, self._record = task, token, record
        self._buffer = bytearray()
        self._is_open = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(
            (
                f"GET /ws/v1 HTTP/1.1\r\nHost: {urlsplit(self._task.url).netloc}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Note since when the client is away."""
        self._record.lost_at = self._record.lost_at or time.time()
        for future in (self.ready, self.lost):
            if not future.done():
                future.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take whole frames."""
        self._buffer += data
        if not self._is_open:
            head, found, rest = bytes(self._buffer).partition(_HEAD)
            if not found:
                return
            self._is_open = head.startswith(b"HTTP/1.1 101")
            self._buffer = bytearray(rest)
            self._say(type="auth", token=f"Bearer {self._token}")
        self._read_frames(time.time())

    def _read_frames(self, now: float) -> None:
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            length, header = buffer[at + 1], 2
            if length == _SHORT:
                length, header = int.from_bytes(buffer[at + 2 : at + 4]), 4
            elif length == _MEDIUM:
                length, header = int.from_bytes(buffer[at + 2 : at + 10]), 10
            end = at + header + length
            if len(buffer) < end:
                break
            self._take(buffer[at] & 0x0F, bytes(buffer[at + header : end]), now)
            at = end
        del buffer[:at]

    def _take(self, opcode: int, payload: bytes, now: float) -> None:
        if opcode == _PING:
            self._transport.write(_masked(0xA, payload))
        elif opcode == _CLOSE:
            self._record.closes.append(int.from_bytes(payload[:2]))
            self._transport.close()
        elif payload.startswith(b'{"type":"position_update"'):
            self._take_update(payload, now)
        else:
            self._take_answer(orjson.loads(payload), now)

    def _take_update(self, payload: bytes, now: float) -> None:
        mark = payload.find(_MARK, 0, 80)
        record = self._record
        if mark < 0:
            record.values += 1
            return
        seq = int(payload[mark + len(_MARK) : payload.index(b",", mark)])
        start = payload.index(_STAMP) + len(_STAMP)
        assert record.last is not None, "subscribed first"
        record.gaps += max(0, seq - record.last - 1)
        record.repeated += seq <= record.last
        record.last = seq
        record.events += 1
        record.seen.append((float(payload[start : payload.index(b",", start)]), now))

    def _take_answer(self, answer: dict[str, Any], now: float) -> None:
        record = self._record
        match answer["type"]:
            case "auth_success":
                resume = {} if record.last is None else {"resume_from": record.last}
                self._say(type="subscribe", channels=self._task.channels, **resume)
            case "subscribed":
                if record.last is None:
                    record.last = answer["seq"]
                    record.joined.set()
                if record.lost_at is not None:
                    record.away.append(now - record.lost_at)
                    record.lost_at = None
                if not self.ready.done():
                    self.ready.set_result(None)
            case "account_update":
                record.values += 1
            case other:
                raise RuntimeError(f"{other}: {answer}")

    def _say(self, **message: Any) -> None:
        self._transport.write(_masked(0x1, orjson.dumps(message)))


def _masked(opcode: int, payload: bytes) -> bytes:
    length = len(payload)
    header = (
        bytes((0x80 | opcode, 0x80 | length))
        if length < _SHORT
        else bytes((0x80 | opcode, 0x80 | _SHORT)) + length.to_bytes(2)
    )
    return header + bytes(4) + payload  # masked with zeros


async def _stay(task: Task, token: str, record: Record, gate: asyncio.Semaphore) -> None:
    """Be connected, again and again."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(task.url)
    host, port = parts.hostname or "", parts.port or 0
    while True:
        async with gate:
            try:
                _, client = await loop.create_connection(
                    lambda: Client(task, token, record), host, port
                )
                await client.ready
            except OSError:
                client = None
        if client is not None:
            await client.lost
        await asyncio.sleep(random.uniform(*RETRY_SECONDS))


async def serve() -> dict[str, Any]:
    """Connect everybody, say so, and listen until told to sum up."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=2**26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    task = Task(**json.loads(await lines.readline()))
    gate = asyncio.Semaphore(CONNECTING_AT_ONCE)
    records = [Record() for _ in task.tokens]
    staying = [
        asyncio.create_task(_stay(task, token, record, gate))
        for token, record in zip(task.tokens, records, strict=True)
    ]
    async with asyncio.timeout(CONNECTING_SECONDS_MAX):
        await asyncio.gather(*(record.joined.wait() for record in records))
    print("connected", flush=True)
    killed_at = float(json.loads(await lines.readline()))
    while any(record.lost_at is not None for record in records):  # noqa: ASYNC110 - of 2,000
        await asyncio.sleep(0.1)
    await asyncio.sleep(CATCHING_UP_SECONDS)
    for one in staying:
        one.cancel()
    return _summary(records, killed_at)


def _summary(records: Sequence[Record], killed_at: float) -> dict[str, Any]:
    seen = [one for record in records for one in record.seen]
    steady = [(got - sent) * 1000 for sent, got in seen if sent < killed_at]
    after = [(got - sent) * 1000 for sent, got in seen if sent >= killed_at]
    away = [seconds for record in records for seconds in record.away]
    return {
        "last": [record.last for record in records],
        "deliveries": len(seen),
        "values": sum(record.values for record in records),
        "gaps": sum(record.gaps for record in records),
        "repeated": sum(record.repeated for record in records),
        "commit_to_client_ms": spread(steady),
        "after_the_kill_ms": spread(after),
        "resumed": len(away),
        "seconds_away": spread(away, digits=2),
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(serve())))
