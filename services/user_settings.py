"""A user's settings: what a bot may do, what its owner is told, and the advanced switches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import MarketRules, VenueKey
from domain.plans import Plan
from domain.ports import Venues, VenueUnavailable, WallClock
from domain.principal import Principal
from models.connections import UserSettings
from services.audit import AuditEvent, record
from services.billing.entitlements import plan_of
from services.database import Database
from services.errors import (
    ExceedsTierLimit,
    FeatureUnavailable,
    InvalidRequest,
    InvalidRiskLevel,
    InvalidSetting,
    TokenInvalid,
    VenueFailed,
)
from services.reads import Caller, Reads
from services.trading.sends import wait_for_entry_sends
from services.venue_keys import CURRENCY

RISK_LEVELS = ("low", "medium", "high")
PAIRS_MAX = 50
POSITIONS_MAX = 1000
AMOUNT_MAX = Decimal(1_000_000_000)

TRADING = (
    "risk_level",
    "max_position_size_usd",
    "max_concurrent_positions",
    "max_daily_loss_usd",
    "allowed_pairs",
    "paper_trading",
    "strategy_may_close_signals",
)
_CHANGES_NOTED = ("risk_level", "paper_trading")
"""Leaves that a start may overrule, so that it matters which came later."""

NOTIFICATIONS = (
    "email_enabled",
    "push_enabled",
    "trade_notifications",
    "daily_summary",
    "weekly_report",
)
ADVANCED = ("enable_meta_ai", "enable_mmin", "enable_gmig", "execution_intelligence")
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "trading": TRADING,
    "notifications": NOTIFICATIONS,
    "advanced": ADVANCED,
}

_FIND = """
SELECT risk_level, max_position_size_usd, max_concurrent_positions, max_daily_loss_usd,
       allowed_pairs, paper_trading, strategy_may_close_signals, email_enabled, push_enabled,
       trade_notifications, daily_summary, weekly_report, advanced, updated_at
FROM user_settings WHERE user_id = %(user_id)s
"""


class SettingsListener(Protocol):
    """Whoever must know that settings changed."""

    async def settings_changed(self, principal: Principal) -> None:
        """The settings of a user are new and committed."""
        ...


@dataclass(frozen=True, slots=True)
class SettingsView:
    """All settings of a user, one flat value a leaf."""

    risk_level: str
    max_position_size_usd: Decimal
    max_concurrent_positions: int
    max_daily_loss_usd: Decimal
    allowed_pairs: list[str]
    paper_trading: bool
    strategy_may_close_signals: bool
    email_enabled: bool
    push_enabled: bool
    trade_notifications: bool
    daily_summary: bool
    weekly_report: bool
    enable_meta_ai: bool
    enable_mmin: bool
    enable_gmig: bool
    execution_intelligence: bool
    updated_at: datetime

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> SettingsView:
        """The view of a stored row; an advanced switch that was never set is off."""
        leaves: dict[str, Any] = {name: row[name] for name in row if name != "advanced"}
        leaves |= {name: bool(row["advanced"].get(name)) for name in ADVANCED}
        return cls(**leaves)


class UserSettingsService:
    """Reads and changes settings.

    Args:
        database: where they live.
        reads: the read side.
        clock: wall time.
        venues: which pairs exist.
        listener: told after a change is committed.
        venue: the venue whose pairs may be allowed.
    """

    def __init__(
        self,
        database: Database,
        reads: Reads,
        clock: WallClock,
        venues: Venues,
        listener: SettingsListener,
        *,
        venue: VenueKey,
    ) -> None:
        self._database = database
        self._reads = reads
        self._clock = clock
        self._venues = venues
        self._listener = listener
        self._venue = venue

    async def get(self, caller: Caller) -> SettingsView:
        """The caller's settings.

        Raises:
            TokenInvalid: the user is gone.
        """
        rows = await self._reads.rows(caller, _FIND)
        if not rows:
            raise TokenInvalid
        return SettingsView.of(rows[0])

    async def update(self, principal: Principal, wishes: Mapping[str, Any]) -> list[str]:
        """Change leaves; answers the names of those whose value is another one now.

        Asking for what is so already waits like the change itself, which may still be waiting.

        Args:
            principal: whose settings.
            wishes: leaf name to a value of the leaf's type.

        Raises:
            InvalidSetting: no setting has that name.
            InvalidRiskLevel: not low, medium or high.
            InvalidRequest: a value is out of range, or a pair does not exist at the venue or is not
                quoted in the currency of accounts.
            ExceedsTierLimit: the plan does not go that far.
            FeatureUnavailable: an advanced switch that is not built yet.
            VenueFailed: the venue could not be asked for its pairs.
        """
        check_wishes(wishes)
        if "allowed_pairs" in wishes:
            await self._check_pairs(principal, wishes["allowed_pairs"])
        async with self._database.for_user(principal.user_id) as session:
            stored, plan = await self._lock(session, principal.user_id)
            changed = [name for name in wishes if _stored_value(stored, name) != wishes[name]]
            check_plan({name: wishes[name] for name in changed}, plan)
            if changed:
                self._change(session, principal, stored, {name: wishes[name] for name in changed})
        is_of_trading = not set(wishes).isdisjoint(TRADING)
        if is_of_trading:
            # No entry passes its gate under the old ones any more; those that did come to an end
            # before the answer.
            await wait_for_entry_sends(self._database, self._clock, principal.user_id)
        if changed or is_of_trading:  # who made the change may have died before telling
            await self._listener.settings_changed(principal)
        return changed

    def _change(
        self,
        session: AsyncSession,
        principal: Principal,
        stored: UserSettings,
        changes: Mapping[str, Any],
    ) -> None:
        stored.updated_at = self._clock.now()
        _apply(stored, changes, stored.updated_at)
        record(
            session,
            AuditEvent.SETTINGS_CHANGED,
            user_id=principal.user_id,
            at=stored.updated_at,
            meta={"fields": list(changes)},
        )

    async def _check_pairs(self, principal: Principal, pairs: list[str]) -> None:
        current = await self.get(principal)
        new = sorted(set(pairs) - set(current.allowed_pairs))
        if not new:
            return
        market_data = self._venues.market_data(self._venue)
        try:
            missing = _not_traded(new, await market_data.rules())
            if missing:
                # Refused by what the venue says now: the known list may be of before a pause.
                missing = _not_traded(new, await market_data.fresh_rules())
        except VenueUnavailable:
            raise VenueFailed from None
        if missing:
            problem = f"Not traded at the venue for {CURRENCY}: {', '.join(missing)}"
            raise InvalidRequest({"trading.allowed_pairs": problem})

    async def _lock(self, session: AsyncSession, user_id: UUID) -> tuple[UserSettings, Plan]:
        stored = (
            await session.exec(
                select(UserSettings).where(UserSettings.user_id == user_id).with_for_update()
            )
        ).first()
        if stored is None:
            raise TokenInvalid
        return stored, await plan_of(session, user_id, self._clock.now())


def check_wishes(wishes: Mapping[str, Any]) -> None:
    """Refuse values that no plan allows.

    Raises:
        InvalidSetting: no setting has that name.
        InvalidRiskLevel: not low, medium or high.
        InvalidRequest: a value is out of range.
        FeatureUnavailable: an advanced switch that is not built yet.
    """
    unknown = [name for name in wishes if not any(name in leaves for leaves in SECTIONS.values())]
    if unknown:
        raise InvalidSetting(details={"settings": unknown})
    if "risk_level" in wishes and wishes["risk_level"] not in RISK_LEVELS:
        raise InvalidRiskLevel(details={"allowed": list(RISK_LEVELS)})
    problems = dict(_range_problems(wishes))
    if problems:
        raise InvalidRequest(problems)
    enabled = [name for name in ADVANCED if wishes.get(name)]
    if enabled:
        raise FeatureUnavailable(
            f"{', '.join(enabled)} cannot be enabled yet", details={"settings": enabled}
        )


def check_plan(changes: Mapping[str, Any], plan: Plan) -> None:
    """Refuse changes beyond a plan. A plan without live trading does not limit paper sizes.

    Raises:
        ExceedsTierLimit: the plan does not go that far.
    """
    limits = {
        "max_concurrent_positions": plan.limits.max_positions,
        "max_position_size_usd": plan.limits.max_position_size_usd or None,
    }
    for name, limit in limits.items():
        if limit is not None and name in changes and changes[name] > limit:
            raise ExceedsTierLimit(
                f"{name} may be at most {limit} on the {plan.name} plan",
                details={"setting": name, "limit": limit, "tier": plan.tier.value},
            )


def _range_problems(wishes: Mapping[str, Any]) -> list[tuple[str, str]]:
    problems = [
        (f"trading.{name}", f"More than 0 and at most {AMOUNT_MAX}")
        for name in ("max_position_size_usd", "max_daily_loss_usd")
        if name in wishes and not 0 < wishes[name] <= AMOUNT_MAX
    ]
    if not 1 <= wishes.get("max_concurrent_positions", 1) <= POSITIONS_MAX:
        problems.append(("trading.max_concurrent_positions", f"1 to {POSITIONS_MAX}"))
    pairs = wishes.get("allowed_pairs", ["BTC-USD"])
    if not 1 <= len(pairs) <= PAIRS_MAX or len(set(pairs)) != len(pairs):
        problems.append(("trading.allowed_pairs", f"1 to {PAIRS_MAX} different pairs"))
    return problems


def _stored_value(stored: UserSettings, name: str) -> Any:
    return bool(stored.advanced.get(name)) if name in ADVANCED else getattr(stored, name)


def _apply(stored: UserSettings, changes: Mapping[str, Any], now: datetime) -> None:
    for name, value in changes.items():
        if name in _CHANGES_NOTED:
            setattr(stored, f"{name}_changed_at", now)
        if name in ADVANCED:
            stored.advanced = {**stored.advanced, name: value}
        else:
            setattr(stored, name, value)


def _not_traded(pairs: Sequence[str], rules: Mapping[str, MarketRules]) -> list[str]:
    return [
        pair
        for pair in pairs
        if pair not in rules or not rules[pair].active or rules[pair].quote != CURRENCY
    ]
