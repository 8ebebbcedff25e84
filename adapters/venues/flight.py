"""Sharing one question among many callers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class SharedQuestion(Generic[Answer]):
    """Asks once for everybody who waits, and never answers with something asked before the call.

    Callers that come while a request is under way share the *next* one: its answer is at least as
    fresh as their call, so a replay that was advanced in between can not show them its past. A
    thousand callers cost two requests.

    Args:
        ask: the question.
        fresh_seconds: how old an answer may be to be given again without asking; 0 asks for every
            wave of callers.
    """

    def __init__(self, ask: Callable[[], Awaitable[Answer]], *, fresh_seconds: float = 0.0) -> None:
        self._ask = ask
        self._fresh_seconds = fresh_seconds
        self._asking = asyncio.Lock()
        self._boarding: asyncio.Task[Answer] | None = None
        self._last: tuple[float, Answer] | None = None
        self._tasks: set[asyncio.Task[Answer]] = set()

    async def answer(self) -> Answer:
        """The shared answer; a failed request fails those who waited for it, and no others."""
        if self._last is not None and self._is_fresh(self._last):
            return self._last[1]
        if self._boarding is None:
            self._boarding = asyncio.create_task(self._fly())
            self._tasks.add(self._boarding)
            self._boarding.add_done_callback(self._land)
        # A caller that gives up must not take the others' answer away.
        return await asyncio.shield(self._boarding)

    def forget(self) -> None:
        """Ask anew at the next call, however fresh the last answer is."""
        self._last = None

    async def close(self) -> None:
        """Abandon what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fly(self) -> Answer:
        try:
            await self._asking.acquire()
        finally:
            # Whoever calls from here on needs a request that starts later than this one.
            self._boarding = None
        try:
            if self._last is not None and self._is_fresh(self._last):
                return self._last[1]
            answer = await self._ask()
            self._last = (asyncio.get_running_loop().time(), answer)
            return answer
        finally:
            self._asking.release()

    def _is_fresh(self, last: tuple[float, Answer]) -> bool:
        return asyncio.get_running_loop().time() - last[0] < self._fresh_seconds

    def _land(self, task: asyncio.Task[Answer]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Marks it as seen: there may be no caller left to raise it to.
