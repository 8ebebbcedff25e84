"""A bound on the database connections that one caller has of a pool that serves many.

Calls that wait for the caller's own rows, or take long, must leave connections to everybody else.
Whoever takes connections for callers asks here first, and waits without one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from weakref import WeakValueDictionary

_HAVING: ContextVar[frozenset[tuple[int, Hashable]]] = ContextVar(
    "callers_with_a_connection", default=frozenset()
)


class CallerConnections:
    """Which callers have how many connections of one pool.

    Args:
        of_a_caller: connections of one caller at a time; None is any number.
    """

    def __init__(self, of_a_caller: int | None) -> None:
        self._of_a_caller = of_a_caller
        self._allowed: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def one_for(self, caller: Hashable, *, wait_seconds: float) -> AsyncIterator[None]:
        """Wait until the caller has few enough connections to take one more.

        Within another one for the same caller nothing is waited for.

        Raises:
            TimeoutError: the caller's other calls kept all of theirs for so long.
        """
        having, it = _HAVING.get(), (id(self), caller)
        if self._of_a_caller is None or it in having:
            yield
            return
        allowed = self._allowed.get(caller)
        if allowed is None:
            allowed = self._allowed[caller] = asyncio.Semaphore(self._of_a_caller)
        async with asyncio.timeout(wait_seconds):
            await allowed.acquire()
        _HAVING.set(having | {it})
        try:
            yield
        finally:
            _HAVING.set(having)
            allowed.release()
