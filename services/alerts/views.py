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

# One that asks for what another asks for already has that one's outcome.
_JOINED = "a.state = 'accepted' AND a.duplicate_of IS NOT NULL"
_ALERTS = f"""
alerts a LEFT JOIN alerts asking
    ON {_JOINED} AND asking.user_id = a.user_id AND asking.id = a.duplicate_of
"""
_STATE = f"""
CASE WHEN {_JOINED} THEN (
    SELECT asking.state FROM alerts asking
    WHERE asking.user_id = a.user_id AND asking.id = a.duplicate_of
) ELSE a.state END
"""
_MATCHING = f"""
a.user_id = %(user_id)s
AND (%(state)s::text IS NULL OR {_STATE} = %(state)s)
AND (%(symbol)s::text IS NULL OR a.symbol = %(symbol)s)
AND (%(action)s::text IS NULL OR a.action = %(action)s)
AND (%(start)s::timestamptz IS NULL OR a.received_at >= %(start)s)
AND (%(end)s::timestamptz IS NULL OR a.received_at < %(end)s)
"""
# Without the join, which takes as long again where the alerts are many.
_COUNT = f"SELECT count(*) AS alerts FROM alerts a WHERE {_MATCHING}"
_PAGE = f"""
SELECT a.id, a.trade_id, coalesce(asking.state, a.state) AS status,
       CASE WHEN asking.id IS NULL THEN a.reason ELSE asking.reason END AS reason, a.details,
       coalesce(a.action, a.details->'said'->>'action') AS action,
       coalesce(a.symbol, a.details->'said'->>'symbol') AS symbol, a.side, a.price, a.size_usd,
       a.quantity, a.percent, a.strategy,
       coalesce(a.reference, a.details->'said'->>'id') AS reference,
       a.duplicate_of, a.alerted_at, a.received_at, a.expires_at, a.decided_at,
       coalesce(asking.finished_at, a.finished_at) AS finished_at
FROM {_ALERTS} WHERE {_MATCHING}
ORDER BY a.received_at DESC, a.id DESC
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
