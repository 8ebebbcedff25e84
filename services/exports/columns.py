"""What each kind of export holds: its rows, and its columns in their order.

A column says what its cells are. Only texts can be taken for formulas; numbers are written as plain
decimals and stay numbers.
"""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from domain.exports import ExportData
from domain.money import ZERO
from services.account_views.frame import Frame
from services.account_views.history import COLUMNS, TradeView
from services.audit import stored_meta

Cell = str | int | Decimal | datetime | Mapping[str, Any] | None
"""A value of a column, before it is written."""

_BOUNDS = """
AND {time} >= CAST(:start AS timestamptz) AND {time} < CAST(:end AS timestamptz)
"""
_POSITIONS = f"""
FROM positions p
WHERE p.user_id = :user_id AND p.account_id = :account_id
  AND ((:closed AND p.state = 'closed')
       OR (:open AND p.state IN ('pending', 'open') AND p.entry_quantity > 0))
  AND (p.closed_at IS NULL OR p.closed_at >= CAST(:retained AS timestamptz))
  {_BOUNDS.format(time="p.opened_at")}
ORDER BY p.opened_at, p.id
"""

STATEMENTS: Mapping[ExportData, str] = {
    ExportData.TRADES: f"SELECT {COLUMNS} {_POSITIONS}",
    ExportData.POSITIONS: f"""
        SELECT {COLUMNS}, p.open_quantity, p.stop_loss, p.take_profit {_POSITIONS}
    """,
    ExportData.ORDERS: f"""
        SELECT o.id, o.position_id, o.symbol, o.side, o.type, o.leg, o.state, o.quantity,
               o.limit_price, o.filled_quantity, o.client_order_id, o.venue_order_id,
               o.refusal_code, o.refusal_reason, o.created_at, o.venue_sent_at
        FROM orders o JOIN positions p ON p.user_id = o.user_id AND p.id = o.position_id
        WHERE o.user_id = :user_id AND o.account_id = :account_id
          AND ((:closed AND p.state IN ('closed', 'cancelled'))
               OR (:open AND p.state IN ('pending', 'open')))
          AND o.created_at >= CAST(:retained AS timestamptz)
          {_BOUNDS.format(time="o.created_at")}
        ORDER BY o.created_at, o.id
    """,
    # What an administrator did came from the administrator's address; notes were kept once.
    ExportData.AUDIT: f"""
        SELECT a.id, a.at, a.event_type, (a.meta - 'note')::text AS meta,
               CASE WHEN a.actor_id IS DISTINCT FROM a.user_id THEN NULL ELSE a.ip_address END
               AS ip_address,
               CASE WHEN a.actor_id IS DISTINCT FROM a.user_id THEN NULL ELSE a.user_agent END
               AS user_agent
        FROM audit_log a
        WHERE a.user_id = :user_id AND a.at >= CAST(:retained_wall AS timestamptz)
          {_BOUNDS.format(time="a.at")}
        ORDER BY a.at, a.id
    """,
}
"""The rows of each kind, oldest first.

Times of the audit log, in columns and in filters, are of the wall clock, all others of the venue's.
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, and the cell of a row."""

    name: str
    cell: Callable[[Any], Cell]


def row_of(data: ExportData, row: Mapping[str, Any], frame: Frame) -> Any:
    """What the columns of a kind read: the API's own view of a trade, else the stored row."""
    if data in {ExportData.TRADES, ExportData.POSITIONS}:
        return {**row, "view": TradeView.of(row, frame)}
    return row


def _seen(name: str, of: str | None = None) -> Column:
    return Column(name, lambda row: getattr(row["view"], of or name))


def _kept(name: str, of: str | None = None) -> Column:
    return Column(name, lambda row: row[of or name])


def _named(name: str, prefix: str, of: str = "id") -> Column:
    return Column(name, lambda row: f"{prefix}_{row[of].hex}")


_TRADE = (
    _named("trade_id", "trd"),
    _seen("symbol"),
    _seen("side"),
    _seen("status"),
    _seen("entry_price"),
    _seen("exit_price"),
    _seen("size_usd"),
    _seen("quantity"),
    _seen("realized_pnl"),
    _seen("realized_pnl_pct"),
    _seen("fees"),
    _seen("net_pnl"),
    _seen("opened_at"),
    _seen("closed_at"),
    _seen("duration_minutes"),
    _seen("exit_reason"),
    _seen("source"),
    _seen("broker"),
    _seen("mode"),
    _seen("sold_quantity"),
    _seen("closed_elsewhere_quantity"),
    _seen("written_off_quantity"),
)
_POSITION = (
    _named("position_id", "pos"),
    _seen("symbol"),
    _seen("side"),
    _seen("status"),
    _seen("entry_price"),
    _seen("quantity"),
    _kept("open_quantity"),
    _seen("size_usd"),
    Column("open_size_usd", lambda row: (row["view"].entry_price or ZERO) * row["open_quantity"]),
    _kept("stop_loss"),
    _kept("take_profit"),
    _seen("fees"),
    _seen("opened_at"),
    _seen("closed_at"),
    _seen("broker"),
    _seen("mode"),
    _seen("sold_quantity"),
    _seen("closed_elsewhere_quantity"),
    _seen("written_off_quantity"),
    _seen("realized_pnl"),
    _seen("realized_pnl_pct"),
    _seen("net_pnl"),
)
_ORDER = (
    _named("order_id", "ord"),
    _named("position_id", "pos", "position_id"),
    *(
        _kept(name)
        for name in (
            "symbol",
            "side",
            "type",
            "leg",
            "state",
            "quantity",
            "limit_price",
            "filled_quantity",
            "client_order_id",
            "venue_order_id",
            "refusal_code",
            "refusal_reason",
        )
    ),
    # Both by the venue's clock, as every time but those of the audit log.
    _kept("intended_at", "created_at"),
    _kept("sent_at", "venue_sent_at"),
)
_AUDIT = (
    _named("log_id", "log"),
    _kept("event_type"),
    _kept("ip_address"),
    _kept("user_agent"),
    Column("metadata", lambda row: stored_meta(row["meta"])),
    _kept("timestamp", "at"),
)

TABLES: Mapping[ExportData, tuple[Column, ...]] = {
    ExportData.TRADES: _TRADE,
    ExportData.POSITIONS: _POSITION,
    ExportData.ORDERS: _ORDER,
    ExportData.AUDIT: _AUDIT,
}
