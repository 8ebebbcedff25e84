"""What kind of news each notice is: who wants it, whether it can wait or be refused."""

from __future__ import annotations

from collections.abc import Mapping

from domain.notifications import Category
from models.notifications import MessageKind

_TRADES = ("trade_opened", "trade_closed", "stop_hit", "target_hit", "part_closed")
_BILLING = (
    "trial_ending",
    "trial_ended",
    "plan_changed",
    "plan_lost",
    "subscription_renewed",
    "payment_failed",
    "payment_recovered",
    "cancellation_set",
    "subscription_ended",
    "refunded",
    "limit_near",
)
_ACCOUNT = (
    "new_login",
    "password_changed",
    "password_reset",
    "account_locked",
    "verify_email",
    "reset_password",
    "confirm_email_change",
    "email_changed",
    "two_factor_enabled",
    "two_factor_disabled",
    "recovery_code_used",
    "recovery_codes_replaced",
    "webhook_key_issued",
    "account_deletion_requested",
)
_REPORTS = (MessageKind.DAILY_SUMMARY.value, MessageKind.WEEKLY_REPORT.value)

_CATEGORIES: Mapping[str, Category] = {
    **dict.fromkeys(_TRADES, Category.TRADES),
    **dict.fromkeys(_BILLING, Category.BILLING),
    **dict.fromkeys(_ACCOUNT, Category.ACCOUNT),
    **dict.fromkeys(_REPORTS, Category.REPORTS),
}

_URGENT = frozenset(
    {
        "emergency_stop",
        "kill_switch",
        "kill_switch_closing",
        "kill_switch_released",
        "keys_refused",
        "daily_loss_reached",
        "position_came_back",
        "surplus_exit",
        "exit_failing",
        "exit_alert_stale",
        "order_vanished",
        "order_unresolved",
        "closed_elsewhere",
        "market_halted",
        "payment_failed",
        "plan_lost",
    }
)

LINKED = frozenset({"verify_email", "reset_password", "confirm_email_change"})
"""Kinds whose mail has a link with a secret, made when the mail is sent."""

ADDRESSED = frozenset({"confirm_email_change", "email_changed", "account_deletion_requested"})
"""Kinds whose fact `to` is the address they are mailed to; with others it is something else."""


def category_of(kind: str) -> Category:
    """The category of a notice or message; what is not listed is an alert."""
    return _CATEGORIES.get(kind, Category.ALERTS)


def is_urgent(kind: str) -> bool:
    """Whether it must neither wait for a digest nor drown in one."""
    return kind in _URGENT or category_of(kind) is Category.ACCOUNT
