"""Who may listen: the session stands, the person is active, the plan includes live updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.billing import entitled_plan
from domain.errors import DomainError
from domain.plans import Feature, Plan, Tier, lowest_tier_with
from domain.ports import WallClock
from services.errors import SubscriptionRequired, TokenExpired, TokenInvalid
from services.events.reading import SystemReads
from services.reads import Claims, require_active

_STANDINGS = """
SELECT s.id, s.user_id, s.revoked_at, s.expires_at, u.status, u.subscription_tier,
       u.trial_ends_at, b.granted_tier, b.billed_until
FROM sessions s
JOIN users u ON u.id = s.user_id
LEFT JOIN subscriptions b ON b.user_id = u.id
WHERE s.id = ANY(%(sessions)s)
"""
_KILL_SWITCHES = """
SELECT scope, venue, reason, engaged_at FROM kill_switches
WHERE released_at IS NULL AND user_id IS NULL ORDER BY engaged_at
"""


class Access:
    """Looks sessions up, one at the door and all of a process again and again.

    Args:
        reads: connections that see every user's rows.
        clock: wall time.
    """

    def __init__(self, reads: SystemReads, clock: WallClock) -> None:
        self._reads = reads
        self._clock = clock

    async def admit(self, claims: Claims) -> Plan:
        """Let somebody listen, under the limits of the plan that is returned.

        Raises:
            TokenInvalid: no such session, or it was revoked.
            TokenExpired: the session has ended.
            AccountDisabled: the user is disabled.
            AccountSuspended: the user is suspended.
            SubscriptionRequired: the plan has no live updates.
            EventsUnavailable: the database does not answer.
        """
        refusals = await self.refusals([claims])
        refusal = refusals[0]
        if isinstance(refusal, DomainError):
            raise refusal
        return refusal

    async def refusals(self, claims: Sequence[Claims]) -> list[DomainError | Plan]:
        """For each caller the plan they listen under, or why they may not any more."""
        rows = await self._reads.rows(_STANDINGS, sessions=list({one.session_id for one in claims}))
        known = {row["id"]: row for row in rows}
        return [self._judge(one, known.get(one.session_id)) for one in claims]

    def _judge(self, claims: Claims, row: Mapping[str, Any] | None) -> DomainError | Plan:
        now = self._clock.now()
        if row is None or row["user_id"] != claims.user_id or row["revoked_at"] is not None:
            return TokenInvalid()
        if row["expires_at"] <= now:
            return TokenExpired()
        try:
            require_active(row["status"])
        except DomainError as refusal:
            return refusal
        granted = row["granted_tier"]
        plan = entitled_plan(
            Tier(row["subscription_tier"]),
            trial_ends_at=row["trial_ends_at"],
            granted=None if granted is None else Tier(granted),
            billed_until=row["billed_until"],
            now=now,
        )
        if not plan.features.websocket:
            tier = lowest_tier_with(Feature.WEBSOCKET)
            return SubscriptionRequired(
                f"Live updates need the {tier} plan", details={"required_tier": tier.value}
            )
        return plan

    async def kill_switches(self) -> Sequence[Mapping[str, Any]]:
        """The kill switches that hold for everybody, the oldest first."""
        return await self._reads.rows(_KILL_SWITCHES)
