"""The alerts of a user with their outcomes, newest first."""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from domain.alerts import AlertState
from domain.contracts.bots import SignalAction
from services.reads import Caller, Query, Reads

_MATCHING = """
user_id = %(user_id)s
AND (%(state)s::text IS NULL OR state = %(state)s)
AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
AND (%(action)s::text IS NULL OR action = %(action)s)
AND (%(start)s::timestamptz IS NULL OR received_at >= %(start)s)
AND (%(end)s::timestamptz IS NULL OR received_at < %(end)s)
"""
_COUNT = f"SELECT count(*) AS alerts FROM alerts WHERE {_MATCHING}"
_PAGE = f"""
SELECT id, trade_id, state AS status, reason, details,
       coalesce(action, details->'said'->>'action') AS action,
       coalesce(symbol, details->'said'->>'symbol') AS symbol, side, price, size_usd, quantity,
       percent, strategy, coalesce(reference, details->'said'->>'id') AS reference,
       duplicate_of, alerted_at, received_at, expires_at, decided_at,
       finished_at
FROM alerts WHERE {_MATCHING}
ORDER BY received_at DESC, id DESC
LIMIT %(limit)s OFFSET %(offset)s
"""


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts; times are of the receipt by the wall clock, `end` is exclusive."""

    status: AlertState | None = None
    symbol: str | None = None
    action: SignalAction | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert. What it did not say, or what does not apply to its state, is None.

    Symbol, action and reference of one that could not be understood are as they were sent.
    """

    id: UUID
    trade_id: UUID | None
    status: str
    reason: str | None
    details: dict[str, Any] | None
    action: str | None
    symbol: str | None
    side: str | None
    price: Decimal | None
    size_usd: Decimal | None
    quantity: Decimal | None
    percent: Decimal | None
    strategy: str | None
    reference: str | None
    duplicate_of: UUID | None
    alerted_at: datetime | None
    received_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class AlertPage:
    """One page of alerts, and how many there are in all."""

    alerts: tuple[AlertView, ...]
    total: int


class AlertViews:
    """Reads of a user's alerts."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def page(
        self, caller: Caller, wanted: AlertFilter, *, page: int, per_page: int
    ) -> AlertPage:
        """A page of the alerts that match."""
        values: dict[str, Any] = {
            "state": wanted.status,
            "symbol": wanted.symbol,
            "action": wanted.action,
            "start": wanted.start,
            "end": wanted.end,
        }
        window = {"limit": per_page, "offset": (page - 1) * per_page}
        count, rows = await self._reads.batch(
            caller, Query(_COUNT, values), Query(_PAGE, {**values, **window})
        )
        return AlertPage(tuple(AlertView(**row) for row in rows), count[0]["alerts"])
