"""What a user allows entries to do: settings and plan, held while a transaction relies on them.

Both gates read them inside their own transaction: the one that commits an intent and the one that
marks its order as being sent. The rows are locked shared, a change locks them exclusively. So an
entry either sees a change, or is visible as being sent once the change has committed, and whoever
changed them waits for that send to end (`services.trading.sends`).

Lock order: alerts, bot, user, settings, account, position, order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Mode
from domain.money import ZERO
from domain.plans import Plan
from domain.positions import PositionState
from domain.risk import (
    RISK_PROFILES,
    EffectiveLimits,
    RiskLevel,
    RiskProfile,
    SettingsLimits,
    daily_loss_limit,
    effective_limits,
    lower_risk,
)
from models.bots import BotRun
from models.connections import Account, UserSettings
from models.people import User
from models.trading import Order, Position
from services.billing.entitlements import plan_of
from services.trading.figures import account_standing, last_prices

CLOCKS_APART_MAX = timedelta(seconds=2)
"""How far the clocks of the processes that change settings and make intents may differ."""

_LIVE = (PositionState.PENDING.value, PositionState.OPEN.value)


@dataclass(frozen=True, slots=True)
class EntryTerms:
    """A user's settings and plan; they stay as they are until the transaction ends."""

    settings: UserSettings
    plan: Plan

    def limits(self, mode: Mode) -> EffectiveLimits:
        """The lower of plan and settings."""
        return effective_limits(
            self.plan,
            SettingsLimits(
                max_position_size=self.settings.max_position_size_usd,
                max_positions=self.settings.max_concurrent_positions,
                max_daily_loss=self.settings.max_daily_loss_usd,
            ),
            mode,
        )

    def profile(self, run: BotRun) -> RiskProfile:
        """The run's risk profile, or that of the settings where it was lowered during the run.

        A start may choose another level than the settings have; a later change of the settings is
        the user's newer word, and only ever a ceiling.
        """
        level, changed_at = RiskLevel(run.risk_level), self.settings.risk_level_changed_at
        if changed_at is not None and changed_at > run.started_at:
            level = lower_risk(level, RiskLevel(self.settings.risk_level))
        return RISK_PROFILES[level]

    def allows_mode(self, run: BotRun) -> bool:
        """False for a live run whose user has switched the settings to paper since it started."""
        changed_at = self.settings.paper_trading_changed_at
        is_later = changed_at is not None and changed_at > run.started_at
        return not (run.mode == Mode.LIVE and self.settings.paper_trading and is_later)


async def hold_terms(session: AsyncSession, user_id: UUID, wall: datetime) -> EntryTerms:
    """Read a user's settings and plan, and keep both from changing until the transaction ends."""
    await session.exec(select(User.id).where(User.id == user_id).with_for_update(read=True))
    settings = (
        await session.exec(
            select(UserSettings)
            .where(UserSettings.user_id == user_id)
            .with_for_update(read=True)
            .execution_options(populate_existing=True)
        )
    ).one()
    return EntryTerms(settings, await plan_of(session, user_id, wall))


async def refusal_by_terms(
    session: AsyncSession,
    terms: EntryTerms,
    run: BotRun,
    position: Position,
    order: Order,
    venue_now: datetime,
) -> tuple[str, str] | None:
    """Why an intended entry must not be sent under the terms in force now; code and reason.

    Args:
        session: the transaction that holds the terms; account, position and order are locked.
        terms: the user's settings and plan.
        run: the run that made the intent.
        position: the pending position.
        order: its entry order.
        venue_now: the venue's time.
    """
    limits = terms.limits(Mode(run.mode))
    if not limits.may_enter:
        return "subscription_required", "The plan has no live trading"
    if not terms.allows_mode(run):
        return "paper_trading_only", "The settings were switched to paper trading"
    if position.symbol not in terms.settings.allowed_pairs:
        return "pair_not_allowed", f"{position.symbol} is no longer an allowed pair"
    worst = order.quantity * max(order.limit_price or ZERO, position.decision_price)
    if worst > limits.max_position_size:
        return "position_size_reduced", f"At most {limits.max_position_size:f} a position by now"
    if await _live_positions(session, order.account_id) > limits.max_positions:
        return "max_positions_reached", f"At most {limits.max_positions} positions by now"
    return await _refusal_by_risk(session, terms, run, order, venue_now)


async def _refusal_by_risk(
    session: AsyncSession, terms: EntryTerms, run: BotRun, order: Order, venue_now: datetime
) -> tuple[str, str] | None:
    """What only matters where the settings were changed after the intent was made."""
    since, profile = order.intended_at - CLOCKS_APART_MAX, terms.profile(run)
    changed_at = terms.settings.risk_level_changed_at
    is_lowered = profile.level != run.risk_level
    if is_lowered and changed_at is not None and changed_at >= since:
        return "risk_level_reduced", f"The risk level is {profile.level} by now"
    if terms.settings.updated_at < since:
        return None
    account = (await session.exec(select(Account).where(Account.id == order.account_id))).one()
    standing = await account_standing(
        session, account, await last_prices(session, account), venue_now
    )
    equity, day_pnl = standing.common.equity, standing.common.daily_net_pnl
    if equity is None or day_pnl is None:
        if terms.settings.updated_at <= order.intended_at:
            return None  # the intent was judged by these settings
        return "equity_unknown", "The day's P&L cannot be compared with the changed settings"
    if day_pnl <= -daily_loss_limit(terms.settings.max_daily_loss_usd, profile, equity):
        return "daily_loss_reached", "The day's loss has reached the limit by now"
    return None


async def _live_positions(session: AsyncSession, account_id: UUID) -> int:
    return (
        await session.exec(
            select(func.count())
            .select_from(Position)
            .where(Position.account_id == account_id, col(Position.state).in_(_LIVE))
        )
    ).one()
