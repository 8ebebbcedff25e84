"""Who may listen: the session stands, the person is active, the plan includes live updates."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from domain.errors import DomainError
from domain.plans import Feature, Plan, lowest_tier_with
from domain.ports import WallClock
from services.billing.entitlements import plan_of_row
from services.errors import RateLimited, SubscriptionRequired, TokenExpired, TokenInvalid
from services.events.reading import EventsUnavailable, SystemReads
from services.limits.allowance import Allowance, Meter
from services.limits.policy import Door
from services.reads import Claims, Reads, require_active

ADMITTED_AT_ONCE = 250

LOGINS_A_MINUTE = 300
"""Of one user, over all processes: six for each connection of the largest plan. Whoever comes back
after a process died needs one for each."""

UNCOUNTED_A_MINUTE = 30
"""Logins of a user at one process that are not worth counting in the database: when thousands come
back at once, the count of each would take as long as all look-ups."""

_STANDINGS = """
SELECT s.id, s.user_id, s.revoked_at, s.expires_at, u.status, u.subscription_tier,
       u.trial_ends_at, b.granted_tier, b.billed_until, coalesce(e.last_seq, 0) AS last_seq
FROM sessions s
JOIN users u ON u.id = s.user_id
LEFT JOIN subscriptions b ON b.user_id = u.id
LEFT JOIN event_streams e ON e.user_id = u.id
WHERE s.id = ANY(%(sessions)s)
"""
# Each login once, and counted: the limit of the user is over all processes. In the order of users,
# for whoever counts holds the window of each until all are counted.
_ENTERING = """
SELECT found.*, door.is_taken, door.resets_at
FROM (
    SELECT s.id, s.user_id, s.revoked_at, s.expires_at, u.status, u.subscription_tier,
           u.trial_ends_at, b.granted_tier, b.billed_until, coalesce(e.last_seq, 0) AS last_seq
    FROM unnest(%(sessions)s::uuid[]) AS asked (id)
    JOIN sessions s ON s.id = asked.id
    JOIN users u ON u.id = s.user_id
    LEFT JOIN subscriptions b ON b.user_id = u.id
    LEFT JOIN event_streams e ON e.user_id = u.id
    ORDER BY s.user_id
) found
CROSS JOIN LATERAL enter_door('listener', found.user_id::text, %(now)s, %(a_minute)s) door
"""
_KILL_SWITCHES = """
SELECT scope, venue, reason, engaged_at FROM kill_switches
WHERE released_at IS NULL AND user_id IS NULL ORDER BY engaged_at
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """Somebody may listen, under the limits of a plan.

    Attributes:
        last_seq: the number of the user's last event at the moment of the look-up.
    """

    plan: Plan
    last_seq: int


class Access:
    """Looks sessions up, at their login and all of a process again and again.

    Args:
        reads: connections that see every user's rows.
        clock: wall time.
        logins_a_minute: how often a user may log in; None counts nothing.
    """

    def __init__(
        self,
        reads: SystemReads,
        clock: WallClock,
        *,
        logins_a_minute: int | None = LOGINS_A_MINUTE,
    ) -> None:
        self._reads = reads
        self._clock = clock
        self._logins_a_minute = logins_a_minute
        self._minute = 0
        self._lately: Counter[UUID] = Counter()  # logins of this minute, by user
        self._waiting: list[tuple[Claims, asyncio.Future[DomainError | Standing]]] = []
        self._looking_up: asyncio.Task[None] | None = None

    async def admit(self, claims: Claims) -> Standing:
        """Let somebody listen, under the limits of a plan.

        Who comes while others are looked up is looked up with all who came meanwhile: when another
        process died, its clients come at once.

        Raises:
            TokenInvalid: no such session, or it was revoked.
            TokenExpired: the session has ended.
            AccountDisabled: the user is disabled.
            AccountSuspended: the user is suspended.
            SubscriptionRequired: the plan has no live updates.
            RateLimited: the user logged in too often within a minute.
            EventsUnavailable: the database does not answer.
        """
        answer: asyncio.Future[DomainError | Standing] = asyncio.get_running_loop().create_future()
        self._waiting.append((claims, answer))
        if self._looking_up is None or self._looking_up.done():
            self._looking_up = asyncio.create_task(self._look_up())
        found = await answer
        if isinstance(found, DomainError):
            raise found
        return found

    async def _look_up(self) -> None:
        while self._waiting:
            some = self._waiting[:ADMITTED_AT_ONCE]
            del self._waiting[:ADMITTED_AT_ONCE]
            found: Sequence[DomainError | Standing]
            try:
                found = await self._enter([claims for claims, _ in some])
            except EventsUnavailable:
                found = [EventsUnavailable() for _ in some]
            except BaseException as failure:
                # Nobody waits for ever, and each hears what went wrong.
                for _, answer in some:
                    if answer.done():
                        continue
                    if isinstance(failure, Exception):
                        answer.set_exception(failure)
                    else:
                        answer.cancel()
                raise
            for (_, answer), one in zip(some, found, strict=True):
                if not answer.done():  # who asked may be gone
                    answer.set_result(one)

    async def _enter(self, claims: Sequence[Claims]) -> list[DomainError | Standing]:
        """What `standings` answers, for callers who log in."""
        often = [one for one in claims if self._comes_often(one.user_id)]
        if not often:
            return await self.standings(claims)
        users = {one.user_id for one in often}
        judged = iter(await self._count([one for one in claims if one.user_id in users]))
        others = iter(await self.standings([one for one in claims if one.user_id not in users]))
        return [next(judged if one.user_id in users else others) for one in claims]

    def _comes_often(self, user_id: UUID) -> bool:
        if self._logins_a_minute is None:
            return False
        minute = int(self._clock.now().timestamp()) // 60
        if minute != self._minute:
            self._minute, self._lately = minute, Counter()
        self._lately[user_id] += 1
        return self._lately[user_id] > UNCOUNTED_A_MINUTE

    async def _count(self, claims: Sequence[Claims]) -> list[DomainError | Standing]:
        rows = await self._reads.counted(
            _ENTERING,
            sessions=[one.session_id for one in claims],
            now=self._clock.now(),
            a_minute=self._logins_a_minute,
        )
        known: dict[UUID, list[Mapping[str, Any]]] = {}
        for row in rows:
            known.setdefault(row["id"], []).append(row)
        return [self._judge_login(one, known.get(one.session_id)) for one in claims]

    def _judge_login(
        self, claims: Claims, rows: list[Mapping[str, Any]] | None
    ) -> DomainError | Standing:
        row = rows.pop() if rows else None
        judged = self._judge(claims, row)
        if row is None or row["is_taken"] or isinstance(judged, DomainError):
            return judged
        seconds = row["resets_at"] - int(self._clock.now().timestamp())
        details = {"limit": self._logins_a_minute, "retry_after_seconds": max(1, seconds)}
        return RateLimited("Too many logins; try again later", details=details)

    async def standings(self, claims: Sequence[Claims]) -> list[DomainError | Standing]:
        """For each caller what they listen under, or why they may not any more.

        Raises:
            EventsUnavailable: the database does not answer.
        """
        rows = await self._reads.rows(_STANDINGS, sessions=list({one.session_id for one in claims}))
        known = {row["id"]: row for row in rows}
        return [self._judge(one, known.get(one.session_id)) for one in claims]

    def _judge(self, claims: Claims, row: Mapping[str, Any] | None) -> DomainError | Standing:
        now = self._clock.now()
        if row is None or row["user_id"] != claims.user_id or row["revoked_at"] is not None:
            return TokenInvalid()
        if row["expires_at"] <= now:
            return TokenExpired()
        try:
            require_active(row["status"])
        except DomainError as refusal:
            return refusal
        plan = plan_of_row(row, now)
        if not plan.features.websocket:
            tier = lowest_tier_with(Feature.WEBSOCKET)
            return SubscriptionRequired(
                f"Live updates need the {tier} plan", details={"required_tier": tier.value}
            )
        return Standing(plan, row["last_seq"])

    async def kill_switches(self) -> Sequence[Mapping[str, Any]]:
        """The kill switches that hold for everybody, the oldest first."""
        return await self._reads.rows(_KILL_SWITCHES)


async def count_failed_login(reads: Reads, address: str | None) -> Allowance | None:
    """Count a login that failed, by network address; None where that could not be counted.

    What it answers has a time to try again where there were too many.
    """
    meter = Meter()
    try:
        await reads.admit_address(Door.STREAM, address, meter)
    except RateLimited:
        pass  # as the allowance says
    except (psycopg.Error, OSError):
        return None  # what is wrong with the token stays true
    return meter.allowance
