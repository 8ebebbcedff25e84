"""The pace at which a client may send requests: the most urgent first, and no place kept in vain.

ccxt's own queue is first come, first served, and a request whose sender gave up uses its share all
the same: where senders give up after a second, one slow answer fills it faster than it empties, and
nothing gets through any more.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Mapping
from types import MappingProxyType

from domain.requests import Purpose, purpose_of_requests

_RANKS: Mapping[Purpose, int] = MappingProxyType(
    {purpose: rank for rank, purpose in enumerate(Purpose)}
)
_Place = tuple[int, int, float, asyncio.Future[None]]


class RequestPace:
    """Lets requests go one after the other, by their purpose and then in the order they came."""

    def __init__(self) -> None:
        self._queue: list[_Place] = []
        self._numbers = itertools.count()
        self._free_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    async def wait(self, seconds: float) -> None:
        """Wait until this request may go.

        Args:
            seconds: how long after it the next one may go.
        """
        go = asyncio.get_running_loop().create_future()
        rank = _RANKS[purpose_of_requests()]
        heapq.heappush(self._queue, (rank, next(self._numbers), seconds, go))
        self._let_go()
        try:
            await go
        except asyncio.CancelledError:
            self._queue = [place for place in self._queue if not place[-1].done()]
            heapq.heapify(self._queue)
            raise

    def _let_go(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue and self._timer is None:
            now = loop.time()
            if self._free_at > now:
                self._timer = loop.call_at(self._free_at, self._time_is_up)
                return
            _rank, _number, seconds, go = heapq.heappop(self._queue)
            if not go.done():
                self._free_at = now + seconds
                go.set_result(None)

    def _time_is_up(self) -> None:
        self._timer = None
        self._let_go()
