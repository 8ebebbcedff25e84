"""What an alert is before anybody acts on it: exit or entry, refused or not, whose repeat.

An exit is kept by nothing that only concerns entries: no plan, no suspension, no unusable size,
price or time. What was left out of it is noted with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from psycopg.types.json import Jsonb

from domain.alerts import ACTIONS, AlertOffer, AlertState, AlertWish, market_symbol
from domain.contracts.bots import SignalAction
from domain.errors import DomainError
from domain.plans import Feature
from models.columns import new_id
from models.people import UserStatus
from services.alerts.errors import AlertMalformed, WebhookNeedsPlan
from services.billing.entitlements import plan_of_row
from services.errors import InvalidRequest
from services.reads import require_active

WINDOW = timedelta(seconds=60)
"""The minute of the limit, and how long the same body, or id without a time, is the same alert."""

EXIT_WAIT_MAX = timedelta(minutes=15)
"""How long an exit that was taken in may wait for its decision: only while databases or processes
are away. It was in time when it came; far later its sender has decided anew."""

CLOCK_LEAD_MAX = timedelta(seconds=60)
"""How far ahead of ours a sender's clock may be."""


@dataclass(frozen=True, slots=True)
class JudgedAlert:
    """How an alert is stored.

    `window_key` is `look_for` where that counts for a minute only.
    """

    id: UUID
    state: AlertState
    look_for: str | None
    window_key: str | None
    offer: AlertOffer
    wish: AlertWish | None
    refusal: DomainError | None
    is_exit: bool
    ignored: Mapping[str, str]


def judge(
    owner: Mapping[str, Any], offer: AlertOffer, now: datetime, *, age_max: timedelta
) -> JudgedAlert:
    """Decide how an alert is stored.

    Args:
        owner: the row of its key: the user's status and plan, and whether it leaves something.
        offer: what came.
        now: wall time.
        age_max: how old an alert may be.
    """
    wish = offer.wish
    ignored: dict[str, str] = {}
    is_exit = wish is not None and (wish.action is SignalAction.CLOSE or owner["leaves_something"])
    if wish is not None and is_exit:
        wish, ignored = _dispensed(wish, now)
    state = AlertState.PROCESSING
    refusal = _refusal_of(owner, offer, wish, now, is_exit=is_exit)
    if refusal is not None:
        state = AlertState.REFUSED
    elif wish and wish.alerted_at and now - wish.alerted_at > age_max:
        state = AlertState.STALE
        seconds = int(age_max.total_seconds())
        refusal = InvalidRequest({"time": f"The alert is older than {seconds} seconds"})
    look_for = window_key = None
    if wish is not None and state is not AlertState.REFUSED:
        look_for, is_for_ever = _dedup_key(wish)
        window_key = None if is_for_ever else look_for
    return JudgedAlert(
        new_id(), state, look_for, window_key, offer, wish, refusal, is_exit, ignored
    )


def values_of(row: JudgedAlert, now: datetime, *, age_max: timedelta) -> dict[str, Any]:
    """The columns of an alert, and what makes it another one's repeat."""
    wish = {
        name: getattr(row.wish, name, None)
        for name in AlertWish.__dataclass_fields__
        if name != "unusable"
    }
    if row.wish is None:
        wish |= _as_far_as_read(row.offer)
    raised = min(wish["alerted_at"] or now, now)
    return {
        **wish,
        "id": row.id,
        "now": now,
        "window": now - WINDOW,
        "expires_at": now + EXIT_WAIT_MAX if row.is_exit else raised + age_max,
        "state": row.state.value,
        "reason": _reason(row),
        "details": _details(row),
        "look_for": row.look_for,
        "window_key": row.window_key,
        "dedup_key": row.look_for if row.state is AlertState.PROCESSING else None,
        "leaves": row.wish.leaves if row.wish else None,
    }


def _refusal_of(
    owner: Mapping[str, Any],
    offer: AlertOffer,
    wish: AlertWish | None,
    now: datetime,
    *,
    is_exit: bool,
) -> DomainError | None:
    """Why an alert is refused whatever its age. Plans and suspensions keep nobody from leaving."""
    if not (is_exit and owner["status"] == UserStatus.SUSPENDED):
        try:
            require_active(owner["status"])
        except DomainError as refusal:
            return refusal
    plan = plan_of_row(owner, now)
    if not is_exit and not plan.features.allows(Feature.TRADINGVIEW_WEBHOOK):
        return WebhookNeedsPlan(details={"tier": plan.tier.value})
    if offer.is_malformed:
        return AlertMalformed()
    problems = offer.problems if wish is None else wish.unusable
    if wish is None or (problems and not is_exit):
        return InvalidRequest(problems)
    if wish.alerted_at is not None and wish.alerted_at - now > CLOCK_LEAD_MAX:
        return InvalidRequest({"time": _IN_FUTURE})
    return None


_IN_FUTURE = "The time lies in the future"
_REASONS = {
    WebhookNeedsPlan.code: "subscription_required",
    InvalidRequest.code: "invalid",
    AlertMalformed.code: "malformed",
}


def _dispensed(wish: AlertWish, now: datetime) -> tuple[AlertWish, dict[str, str]]:
    """An exit without what it can do without, and what that was."""
    ignored = dict(wish.unusable)
    if wish.alerted_at is not None and wish.alerted_at - now > CLOCK_LEAD_MAX:
        ignored["time"] = _IN_FUTURE
        wish = replace(wish, alerted_at=None)
    amounts = [name for name in ("quantity", "percent", "size_usd") if getattr(wish, name)]
    for name in amounts[1:]:
        ignored[name] = f"{amounts[0]} says how much"
    decisive = amounts[:1]
    wish = replace(
        wish,
        unusable={},
        quantity=wish.quantity if "quantity" in decisive else None,
        percent=wish.percent if "percent" in decisive else None,
        size_usd=wish.size_usd if "size_usd" in decisive else None,
    )
    return wish, ignored


def _as_far_as_read(offer: AlertOffer) -> dict[str, Any]:
    """What a refused alert said, where it is of a form that the columns take."""
    action, side = ACTIONS.get(offer.said.get("action", "").lower(), (None, None))
    return {
        "symbol": market_symbol(offer.said.get("symbol", "")),
        "action": action,
        "side": side,
        "reference": offer.said.get("id"),
    }


def _details(row: JudgedAlert) -> Jsonb | None:
    details: dict[str, Any] = dict(row.refusal.details or {}) if row.refusal else {}
    if row.ignored:
        details["ignored"] = dict(row.ignored)
    if said := _said(row):
        details["said"] = said
    return Jsonb(details) if details else None


def _said(row: JudgedAlert) -> dict[str, str]:
    """What an alert said that the columns do not show: all of it, or the fields it goes without."""
    said = row.offer.said
    if row.wish is None:
        return dict(said)
    unusable = row.offer.wish.unusable if row.offer.wish is not None else {}
    return {name: words for name, words in said.items() if name in unusable}


def _reason(row: JudgedAlert) -> str | None:
    if row.refusal is None:
        return None
    if row.state is AlertState.STALE:
        return "too_old"
    return _REASONS.get(row.refusal.code, row.refusal.code)


def _dedup_key(wish: AlertWish) -> tuple[str, bool]:
    """What is the same for the same alert sent again, and whether for longer than a minute.

    What is wished for belongs to it: charts give every order of a strategy, an exit and an entry of
    whatever market, the same id.
    """
    parts = {
        name: str(value)
        for name, value in asdict(wish).items()
        if value is not None and name != "unusable"
    }
    if wish.reference is not None:
        kept = {"reference", "action", "side", "symbol", "alerted_at"}
        parts = {name: value for name, value in parts.items() if name in kept}
    kind = "body" if wish.reference is None else "id"
    digest = hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f"{kind}:{digest}", wish.reference is not None and wish.alerted_at is not None
