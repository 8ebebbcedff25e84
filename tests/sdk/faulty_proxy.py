"""A TCP proxy that fails on demand, for clients in this process and in others.

`POST /faults` with a list tells it what to do with the next requests: `refuse` answers 503 without
passing the request on, `lose` passes it on and breaks the connection instead of answering, `pass`
passes. `POST /break` breaks every connection there is, WebSockets included.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

CHUNK_BYTES = 65_536
METHODS = (b"GET ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ")
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-type: application/json\r\n"
    b"connection: close\r\ncontent-length: 2\r\n\r\n{}"
)
DONE = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"


class FaultyProxy:
    """Forwards connections to a server, or does not."""

    def __init__(self, upstream_url: str) -> None:
        parts = urlsplit(upstream_url)
        self._upstream = (parts.hostname, parts.port)
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.faults: deque[str] = deque()
        self.passed: list[bytes] = []

    def break_off(self) -> None:
        """Break all connections, as a failing network does."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server = await asyncio.open_connection(*self._upstream)
        ends = {writer, server}
        self._writers |= ends
        loses = asyncio.Event()
        answering = asyncio.create_task(_pump(server_reader, writer, loses))
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                if not await self._take(chunk, reader, writer, loses):
                    break
                server.write(chunk)
                await server.drain()
        except ConnectionError:
            pass  # broken on purpose
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            self._writers -= ends
            for end in ends:
                end.close()

    async def _take(
        self,
        chunk: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        loses: asyncio.Event,
    ) -> bool:
        """Whether to pass a chunk on."""
        if not chunk.startswith(METHODS):
            return True
        if chunk.startswith((b"POST /faults ", b"POST /break ")):
            await self._obey(chunk, reader, writer)
            writer.write(DONE)
            return False
        fault = self.faults.popleft() if self.faults else "pass"
        if fault == "refuse":
            writer.write(REFUSAL)
            return False
        if fault == "lose":
            loses.set()
        self.passed.append(chunk.split(b" HTTP/")[0])
        return True

    async def _obey(
        self, chunk: bytes, reader: asyncio.StreamReader, asking: asyncio.StreamWriter
    ) -> None:
        head, _, body = chunk.partition(b"\r\n\r\n")
        if head.startswith(b"POST /break "):
            self._writers.discard(asking)
            self.break_off()
            return
        while not body:
            body = await reader.read(CHUNK_BYTES)
        self.faults.extend(json.loads(body))


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loses: asyncio.Event
) -> None:
    try:
        while chunk := await reader.read(CHUNK_BYTES):
            if loses.is_set():
                writer.transport.abort()
                return
            writer.write(chunk)
            await writer.drain()
        writer.close()
    except ConnectionError:
        return


@asynccontextmanager
async def faulty_proxy(upstream_url: str) -> AsyncIterator[FaultyProxy]:
    """A proxy before a server."""
    proxy = FaultyProxy(upstream_url)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        proxy.break_off()
        await server.wait_closed()
