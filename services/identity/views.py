"""What the dialects are told about a user and a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from domain.plans import Plan, Tier, effective_plan, is_trial_active
from models.people import User

_STORED = (
    "id",
    "email",
    "email_verified_at",
    "full_name",
    "role",
    "status",
    "subscription_tier",
    "trial_ends_at",
    "created_at",
)


@dataclass(frozen=True, slots=True)
class UserView:
    """A person as shown to that person. `plan` is the one whose limits hold now."""

    id: UUID
    email: str
    email_verified_at: datetime | None
    full_name: str
    role: str
    status: str
    subscription_tier: str
    trial_active: bool
    trial_ends_at: datetime | None
    created_at: datetime
    plan: Plan

    @classmethod
    def of(cls, user: User, now: datetime) -> UserView:
        """The view of a stored user at a wall time."""
        return cls.from_row({name: getattr(user, name) for name in _STORED}, now)

    @classmethod
    def from_row(cls, row: Mapping[str, Any], now: datetime) -> UserView:
        """The view of a user's columns at a wall time."""
        trial_active = is_trial_active(row["trial_ends_at"], now)
        return cls(
            **{name: row[name] for name in _STORED},
            trial_active=trial_active,
            plan=effective_plan(Tier(row["subscription_tier"]), trial_active=trial_active),
        )


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """What a login or a refresh hands out; the repr hides the tokens."""

    access_token: str
    refresh_token: str
    expires_in: timedelta
    user: UserView

    def __repr__(self) -> str:
        return f"IssuedTokens(user={self.user.id})"


@dataclass(frozen=True, slots=True)
class SessionView:
    """A login on a device."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ip_address: str | None
    user_agent: str | None
    is_current: bool
