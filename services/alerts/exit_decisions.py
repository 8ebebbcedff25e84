"""Having exits asked for right after their alerts were stored, before these are answered.

A decision may find rows locked by a booking, another decision or a process that froze. So it is no
part of the transaction that stores an alert, which later alerts of its key wait for. What leaves
other positions is decided at once, and the rest tried again for a moment; what could not be decided
then is decided by the bot's next look at its alerts.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from domain.ports import WallClock
from services.database import Database
from services.trading.signal_exits import SignalExits, decide_exits

SECONDS_MAX = 2.0
"""How long an answer waits for the decision; senders wait as little as three."""

LOCKED_SECONDS_MAX = 1.0
"""How long a decision waits for rows that another transaction has locked."""

RETRY_SECONDS_FIRST = 0.1
"""The first delay between two tries; each is twice the one before."""

_Decision = asyncio.Task[SignalExits | None]

_log = structlog.get_logger("nija.alerts")


class ExitDecisions:
    """Decides on the exits that alerts of a user ask for, in one transaction at a time.

    It takes all that wait: alerts that come while one is under way share the next, so a burst costs
    few, and a row that is locked for long takes one connection of a user.

    Args:
        database: connections that nothing else needs.
        clock: wall time.
        seconds_max: how long a decision is waited for.
    """

    def __init__(self, database: Database, clock: WallClock, *, seconds_max: float) -> None:
        self._database = database
        self._clock = clock
        self._seconds_max = seconds_max
        self._next: dict[UUID, _Decision] = {}
        self._under_way: dict[UUID, _Decision] = {}

    async def decide(self, user_id: UUID) -> SignalExits | None:
        """Decide on a user's exits, at least on those whose alerts are stored by now.

        Returns:
            What became of all that waited; None where that failed or takes longer.
        """
        if user_id not in self._next:
            before = self._under_way.get(user_id)
            self._next[user_id] = asyncio.create_task(self._decide_after(before, user_id))
        decision = self._next[user_id]
        await asyncio.wait({decision}, timeout=self._seconds_max)
        return decision.result() if decision.done() else None

    async def close(self) -> None:
        """Break off what is under way; the alerts wait in their rows."""
        decisions = (*self._next.values(), *self._under_way.values())
        for decision in decisions:
            decision.cancel()
        await asyncio.gather(*decisions, return_exceptions=True)

    async def _decide_after(self, before: _Decision | None, user_id: UUID) -> SignalExits | None:
        if before is not None:
            await asyncio.wait({before})
        self._under_way[user_id] = self._next.pop(user_id)
        try:
            return await self._decide_all(user_id)
        except Exception as failure:  # noqa: BLE001 - a boundary: the alerts are stored
            is_known = isinstance(failure, SQLAlchemyError)
            log = _log.warning if is_known else _log.exception
            log("alert.exit_waits", error=type(failure).__name__)
            return None
        finally:
            del self._under_way[user_id]

    async def _decide_all(self, user_id: UUID) -> SignalExits:
        """Decide, and again for a moment while positions are locked."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LOCKED_SECONDS_MAX
        delay = RETRY_SECONDS_FIRST
        exits = await self._decide_once(user_id)
        while exits.is_locked and loop.time() < until:
            await asyncio.sleep(delay)
            delay *= 2
            exits = (await self._decide_once(user_id)).after(exits)
        return exits

    async def _decide_once(self, user_id: UUID) -> SignalExits:
        async with self._database.for_user(user_id) as session:
            connection = await session.connection()
            milliseconds = round(LOCKED_SECONDS_MAX * 1_000)
            await connection.execute(text(f"SET LOCAL lock_timeout = {milliseconds}"))
            return await decide_exits(session, user_id, self._clock.now())
