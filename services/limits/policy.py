"""The figures of the rate limits: users' from the plan table, addresses' from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, ip_address, ip_network

from domain.plans import PLANS, TRIAL_TIER, Tier

_IPV6_SITE = 64
_NOWHERE = "unknown"


class Door(StrEnum):
    """Ways in without a token, each with a count of its own."""

    AUTH = "auth"
    PUBLIC = "public"
    STREAM = "stream"
    """Live connections that showed no good token."""


@dataclass(frozen=True, slots=True)
class AddressLimits:
    """Calls a minute of one network address.

    Attributes:
        auth: calls under `/auth` that need no token: guessing passwords is slow. As many live
            connections may fail to log in.
        public: every other call without a token.
    """

    auth: int = 20
    public: int = 60

    def at(self, door: Door) -> int:
        """Calls a minute at a door."""
        return self.public if door is Door.PUBLIC else self.auth


def user_limits() -> dict[str, int]:
    """Calls a minute by tier, during the trial, and of administrators, who work on any plan."""
    by_tier = {tier.value: plan.limits.api_calls_per_minute for tier, plan in PLANS.items()}
    return {**by_tier, "trial": by_tier[TRIAL_TIER], "admin": by_tier[Tier.ENTERPRISE]}


def subject_of(address: str | None) -> str:
    """Whom an address stands for: an IPv6 site owns 2 to the power of 64 of them."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return _NOWHERE
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, _IPV6_SITE), strict=False))
    return str(parsed)
