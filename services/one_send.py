"""Connections whose pipelined statements leave together.

psycopg sends each statement of a pipeline when it is executed: a system call and a waking of the
server for every one, a sixth of what a read costs. Here they wait for the end of the pipeline, and
the server finds them all at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType

from psycopg import AsyncConnection, AsyncPipeline
from psycopg.abc import PQGen
from psycopg.rows import Row


class OneSendConnection(AsyncConnection[Row]):
    """A connection whose pipelines send everything when they are left.

    Results are there once the block of the pipeline has ended, not within it. A test watches the
    wire: this rests on three names that psycopg keeps to itself.
    """

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[HeldPipeline]:
        """Run the statements of the block in one round trip; not to be nested."""
        self._pipeline = held = HeldPipeline(self)
        try:
            async with held:
                yield held
        finally:
            self._pipeline = None


class HeldPipeline(AsyncPipeline):
    """A pipeline that sends nothing before it is left."""

    _is_leaving = False

    def end_transaction(self) -> None:
        """Commit what was executed so far before the server goes on with the rest.

        What fails before does not keep what follows from being carried out.
        """
        self._enqueue_sync()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self._is_leaving = True
        await super().__aexit__(exc_type, exc_val, exc_tb)

    def _communicate_gen(self) -> PQGen[None]:
        if self._is_leaving:
            yield from super()._communicate_gen()
