"""A TCP proxy that can lose answers: what a broken network looks like to a client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

CHUNK_BYTES = 65_536


class LossyProxy:
    """Forwards connections to a server.

    While `loses_answers` is set, requests arrive at the server and its answers go nowhere: the
    connection stays open and silent, or, with `breaks_connections`, breaks off.
    """

    def __init__(self, upstream_url: str) -> None:
        parts = urlsplit(upstream_url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._upstream = (parts.hostname, parts.port)
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.loses_answers = False
        self.breaks_connections = False
        self.requests_forwarded = 0
        self.pieces_forwarded = 0
        self.answer_lost = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        both = {
            asyncio.create_task(self._requests(reader, upstream_writer)),
            asyncio.create_task(self._answers(upstream_reader, writer)),
        }
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for closing in (writer, upstream_writer):
                closing.close()
                with suppress(ConnectionError):
                    await closing.wait_closed()
            self._tasks.discard(task)

    async def close(self) -> None:
        tasks = list(self._tasks)
        if tasks:  # those whose client has closed end by themselves
            await asyncio.wait(tasks, timeout=0.2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _requests(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while chunk := await client.read(CHUNK_BYTES):
            self.pieces_forwarded += 1
            self.requests_forwarded += chunk.startswith((b"GET ", b"POST "))
            server.write(chunk)
            await server.drain()

    async def _answers(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while chunk := await server.read(CHUNK_BYTES):
            if self.loses_answers:
                self.answer_lost.set()
                if self.breaks_connections:
                    return
                continue
            client.write(chunk)
            await client.drain()


@asynccontextmanager
async def lossy_proxy(upstream_url: str) -> AsyncIterator[LossyProxy]:
    proxy = LossyProxy(upstream_url)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxy.url = f"http://127.0.0.1:{port}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()
