"""Finding alerts that nobody is at: after a crash, or while the workflow service was down.

Users are gone through in turn, and the alerts of each: a round that was cut off, or could not take
all, goes on in the next one where it ended. So neither a flood of one user's alerts nor rows that
are locked or workflows that are slow keep another user's alerts from being found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, islice, zip_longest
from uuid import UUID

from sqlalchemy import TextClause, text

from domain.alerts import AlertWorkflows
from domain.contracts.bots import BotSignal, Nudge
from domain.ports import WallClock, WorkflowService
from models.alerts import FOLLOWED
from services.alerts.following import AlertFollowing
from services.database import Database
from services.isolation import isolated
from services.refusals import unless_refused
from services.round_robin import RoundRobin

UNDECIDED = timedelta(seconds=5)
"""A bot decides within this, unless nobody told it."""

UNFOLLOWED = timedelta(seconds=60)
"""Following begins within this, unless that was lost."""

AT_ONCE = 200
"""Alerts that a round begins to follow."""

_UNDECIDED = text("""
SELECT DISTINCT b.user_id, b.id FROM alerts a JOIN bots b ON b.user_id = a.user_id
WHERE a.state = 'processing' AND a.received_at < :before AND b.kind = 'apex'
""")
_FOLLOWED = text(f"SELECT user_id, id FROM alerts WHERE {FOLLOWED} AND received_at < :before")  # noqa: S608


class AlertSweep:
    """A part of each round of the worker's sweeper."""

    def __init__(
        self,
        database: Database,
        bots: WorkflowService,
        workflows: AlertWorkflows,
        following: AlertFollowing,
        clock: WallClock,
    ) -> None:
        self._database = database
        self._bots = bots
        self._workflows = workflows
        self._following = following
        self._clock = clock
        self._deciding = RoundRobin()
        self._telling = RoundRobin()
        self._users = RoundRobin()
        self._alerts: dict[UUID, RoundRobin] = {}

    async def sweep(self) -> int:
        """End what came too late; start following every other open alert that nobody is at.

        Bots with undecided alerts are told again; alerts that are followed stay as they are.

        Returns:
            How many bots were told and alerts were to be followed.

        Raises:
            WorkflowServiceUnavailable: the next round goes on.
        """
        await self._following.expire()
        now = self._clock.now()
        bots = dict(await self._found(_UNDECIDED, now - UNDECIDED))
        followed: defaultdict[UUID, list[UUID]] = defaultdict(list)
        for user_id, alert_id in await self._found(_FOLLOWED, now - UNFOLLOWED):
            followed[user_id].append(alert_id)
        # Exits first: they need no workflow service.
        for user_id in self._deciding.order(bots):
            self._deciding.take(user_id)
            with isolated("alerts.exits_wait", user_id=user_id):
                await self._following.decide_exits(user_id)
        for user_id in self._telling.order(bots):
            self._telling.take(user_id)
            call = self._bots.signal_bot(user_id, bots[user_id], BotSignal.ALERT_RECEIVED, Nudge())
            await unless_refused(call, bot_id=bots[user_id])
        return len(bots) + await self._follow(followed)

    async def _found(self, statement: TextClause, before: datetime) -> Sequence[tuple[UUID, UUID]]:
        async with self._database.as_system() as session:
            connection = await session.connection()
            rows = await connection.execute(statement, {"before": before})
            return [(row[0], row[1]) for row in rows]

    async def _follow(self, followed: Mapping[UUID, Sequence[UUID]]) -> int:
        """Begin to follow one alert of each user, then a second one of each, and so on."""
        self._alerts = {user: self._alerts.get(user) or RoundRobin() for user in followed}
        count = 0
        for user_id, alert_id in islice(self._in_turn(followed), AT_ONCE):
            self._users.take(user_id)
            self._alerts[user_id].take(alert_id)
            call = self._workflows.follow_alert(user_id, alert_id, delay_seconds=0)
            await unless_refused(call, alert_id=alert_id)
            count += 1
        return count

    def _in_turn(self, followed: Mapping[UUID, Sequence[UUID]]) -> Iterator[tuple[UUID, UUID]]:
        of_users = [
            [(user_id, alert_id) for alert_id in self._alerts[user_id].order(followed[user_id])]
            for user_id in self._users.order(followed)
        ]
        passes = zip_longest(*of_users)
        return (it for it in chain.from_iterable(passes) if it is not None)
