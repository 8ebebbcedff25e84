"""Events and values as `/ws/v1` shows them: the data of each frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from api.kit.wire import base_quantity, quote_amount, quote_price, ratio, wire_id
from api.nija.schemas.account import POSITION, TRADE
from domain.money import ZERO, pct
from domain.positions import Direction
from models.events import EventKind
from services.events.prices import AccountWorth, PositionWorth
from services.events.values import Event

_RUN, _DECISION = "run", "dec"
_Facts = Mapping[str, Any]


def frame_of(event: Event) -> tuple[str, dict[str, Any]]:
    """The type and data of a committed event's frame."""
    kind, render = _FRAMES[event.kind]
    return kind, render(event.data)


def position_worth(worth: PositionWorth) -> dict[str, Any]:
    """A position at a new price, in the fields of `GET /account/positions`."""
    view = worth.view
    return {
        "position_id": wire_id(POSITION, view.id),
        "symbol": view.symbol,
        "side": view.side.value,
        "status": "open",
        "entry_price": quote_price(view.entry_price),
        "current_price": _shown(view.current_price),
        "size_usd": quote_amount(view.size_usd),
        "quantity": base_quantity(view.quantity),
        "unrealized_pnl": _amount(view.unrealized_pnl),
        "unrealized_pnl_pct": _ratio(view.unrealized_pnl_pct),
        "stop_loss": _shown(view.stop_loss),
        "take_profit": _shown(view.take_profit),
        "opened_at": view.opened_at,
        "broker": view.broker,
        "sold_quantity": base_quantity(view.sold_quantity),
        "closed_elsewhere_quantity": base_quantity(view.closed_elsewhere_quantity),
        "written_off_quantity": base_quantity(view.written_off_quantity),
        "market_status": view.market_status,
        "closing": view.closing,
        "exit_state": view.exit_state,
        "exit_due_at": view.exit_due_at,
        "exit_attempts": view.exit_attempts,
        "exit_error": view.exit_error,
        "mode": worth.mode,
        "timestamp": worth.at or view.opened_at,
    }


def account_worth(worth: AccountWorth) -> dict[str, Any]:
    """An account at new prices."""
    return {
        "broker": worth.venue,
        "mode": worth.mode,
        "currency": worth.currency,
        "cash": quote_amount(worth.cash),
        "equity": quote_amount(worth.equity),
        "unpriced": list(worth.unpriced),
        "equity_is_lower_bound": bool(worth.unpriced),
        "unrealized_pnl": _amount(worth.unrealized_pnl),
        "timestamp": worth.at,
    }


def kill_switch(
    *, active: bool, scope: str, venue: str | None, reason: str, since: datetime | None
) -> dict[str, Any]:
    """A kill switch that was engaged or released."""
    return {
        "active": active,
        "scope": scope,
        "broker": venue,
        "reason": reason,
        "since": since,
    }


def _position(facts: _Facts) -> dict[str, Any]:
    entry_price = _price(facts["entry_notional"], facts["entry_quantity"])
    quantity, last = facts["open_quantity"], facts["last"]
    size = ZERO if entry_price is None else entry_price * quantity
    pnl: Decimal | None = ZERO
    if quantity:
        sign = Direction(facts["side"]).sign
        pnl = None if last is None else sign * (last * quantity - size)
    return {
        "position_id": wire_id(POSITION, UUID(facts["id"])),
        "symbol": facts["symbol"],
        "side": facts["side"],
        "status": facts["state"],
        "entry_price": _shown(entry_price),
        "current_price": _shown(last),
        "size_usd": quote_amount(size),
        "quantity": base_quantity(quantity),
        "unrealized_pnl": _amount(pnl),
        "unrealized_pnl_pct": None if pnl is None else ratio(pct(pnl, size) if size else ZERO),
        "stop_loss": _shown(facts["stop_loss"]),
        "take_profit": _shown(facts["take_profit"]),
        "realized_pnl": _amount(facts["realized_pnl"]),
        "fees": quote_amount(facts["fees"]),
        "closing": facts["close_requested"] is not None and facts["state"] == "open",
        **_gone(facts),
        "market_status": facts.get("market_status", "open"),
        "exit_state": facts.get("exit_state"),
        "exit_due_at": _moment(facts.get("exit_due_at")),
        "exit_attempts": int(facts.get("exit_attempts", 0)),
        "exit_error": facts.get("exit_error"),
        "exit_reason": facts["exit_reason"],
        "opened_at": _moment(facts["opened_at"]),
        "closed_at": _moment(facts["closed_at"]),
        "broker": facts["venue"],
        "mode": facts["mode"],
        "timestamp": _moment(facts["closed_at"] or facts["clock_at"] or facts["opened_at"]),
    }


def _gone(facts: _Facts) -> dict[str, Decimal]:
    """What of a position was sold, and what left otherwise; events of before say only the first."""
    return {
        "sold_quantity": base_quantity(facts["exit_quantity"]),
        "closed_elsewhere_quantity": base_quantity(facts.get("closed_elsewhere_quantity", ZERO)),
        "written_off_quantity": base_quantity(facts.get("written_off_quantity", ZERO)),
    }


def _trade(facts: _Facts) -> dict[str, Any]:
    entry_price = _price(facts["entry_notional"], facts["entry_quantity"])
    pnl = facts["realized_pnl"]
    action = facts["action"]
    return {
        "trade_id": wire_id(TRADE, UUID(facts["id"])),
        "action": action,
        "symbol": facts["symbol"],
        "side": facts["side"],
        "status": facts["state"],
        "entry_price": _shown(entry_price),
        "exit_price": _shown(_price(facts["exit_notional"], facts["exit_quantity"])),
        "size_usd": quote_amount(facts["entry_notional"]),
        "quantity": base_quantity(facts["entry_quantity"]),
        **_gone(facts),
        "executed_quantity": base_quantity(facts["executed_quantity"]),
        "executed_price": _shown(_price(facts["executed_notional"], facts["executed_quantity"])),
        "realized_pnl": _amount(pnl),
        "net_pnl": _amount(None if pnl is None else pnl - facts["fees"]),
        "fees": quote_amount(facts["fees"]),
        "exit_reason": facts["exit_reason"],
        "opened_at": _moment(facts["opened_at"]),
        "closed_at": _moment(facts["closed_at"]),
        "broker": facts["venue"],
        "mode": facts["mode"],
        "timestamp": _moment(
            facts["opened_at"]
            if action == "opened"
            else facts["closed_at"] or facts["clock_at"] or facts["opened_at"]
        ),
    }


def _balance(facts: _Facts) -> dict[str, Any]:
    return {
        "broker": facts["venue"],
        "mode": facts["mode"],
        "currency": facts["currency"],
        "cash": quote_amount(facts["cash"]),
        "equity": _amount(facts["equity"]),
        # Events from before an upgrade do not say what was left out.
        "unpriced": facts.get("unpriced", []),
        "equity_is_lower_bound": bool(facts.get("unpriced")),
        "unrealized_pnl": _amount(facts["unrealized_pnl"]),
        "timestamp": _moment(facts["clock_at"] or facts["observed_at"]),
    }


def _bot(facts: _Facts) -> dict[str, Any]:
    return {
        "status": facts["state"],
        "previous_status": facts["previous_state"],
        "broker": facts["venue"],
        "mode": facts["mode"],
        "risk_profile": facts["risk_level"],
        "run_id": _id(_RUN, facts["run_id"]),
        "run_state": facts["run_state"],
        "last_error": facts["last_error"],
        "timestamp": _moment(facts["state_changed_at"]),
    }


def _run(facts: _Facts) -> dict[str, Any]:
    return {
        "run_id": _id(_RUN, facts["id"]),
        "status": facts["state"],
        "previous_status": facts["previous_state"],
        "reason": facts["end_reason"],
        "broker": facts["venue"],
        "mode": facts["mode"],
        "timestamp": _moment(facts["ended_at"]),
    }


def _decision(facts: _Facts) -> dict[str, Any]:
    return {
        "decision_id": _id(_DECISION, facts["id"]),
        "symbol": facts["symbol"],
        "action": facts["action"],
        "score": facts["score"],
        "reason": facts["reason"],
        "cause": facts["cause"],
        "position_id": _id(POSITION, facts["position_id"]),
        "bar_at": _moment(facts["bar_at"]),
        "timestamp": _moment(facts["decided_at"]),
    }


def _kill_switch(facts: _Facts) -> dict[str, Any]:
    return kill_switch(
        active=facts["released_at"] is None,
        scope=facts["scope"],
        venue=facts["venue"],
        reason=facts["reason"],
        since=_moment(facts["engaged_at"]),
    )


_FRAMES: Mapping[EventKind, tuple[str, Callable[[_Facts], dict[str, Any]]]] = {
    EventKind.POSITION: ("position_update", _position),
    EventKind.TRADE: ("trade_executed", _trade),
    EventKind.BALANCE: ("account_update", _balance),
    EventKind.BOT: ("bot_update", _bot),
    EventKind.RUN: ("run_ended", _run),
    EventKind.DECISION: ("bot_decision", _decision),
    EventKind.KILL_SWITCH: ("kill_switch", _kill_switch),
}


def _price(notional: Decimal, quantity: Decimal) -> Decimal | None:
    return notional / quantity if quantity else None


def _amount(value: Decimal | None) -> Decimal | None:
    return None if value is None else quote_amount(value)


def _shown(value: Decimal | None) -> Decimal | None:
    return None if value is None else quote_price(value)


def _ratio(value: Decimal | None) -> Decimal | None:
    return None if value is None else ratio(value)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _id(prefix: str, text: str | None) -> str | None:
    return None if text is None else wire_id(prefix, UUID(text))
