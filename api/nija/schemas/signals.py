"""Wire models of the list of received alerts."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from api.kit.wire import Amount, Quantity, Request, ShownPrice, Symbol, View, WallTime, wire_id
from api.nija.schemas.account import End, Start
from api.nija.schemas.common import Pagination
from api.nija.schemas.webhooks import SIGNAL, TRADE
from domain.alerts import AlertState
from domain.contracts.bots import SignalAction
from services.account_views.history import PER_PAGE_MAX
from services.alerts.views import AlertFilter, AlertPage, AlertView

_PAGE_MAX = 1_000_000


class SignalsQuery(Request):
    """Which alerts; dates are of the receipt."""

    page: int = Field(default=1, ge=1, le=_PAGE_MAX)
    per_page: int = Field(default=50, ge=1, le=PER_PAGE_MAX)
    status: AlertState | None = Field(default=None, description="All when left out.")
    symbol: Symbol | None = None
    action: SignalAction | None = None
    start_date: Start | None = Field(default=None, description="ISO 8601, inclusive.")
    end_date: End | None = Field(default=None, description="ISO 8601; a date includes its day.")

    def to_filter(self) -> AlertFilter:
        """What the service is asked for."""
        return AlertFilter(self.status, self.symbol, self.action, self.start_date, self.end_date)


class SignalItem(View):
    """A received alert and what became of it."""

    signal_id: str = Field(examples=["sig_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"])
    trade_id: str | None = Field(
        examples=["trd_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"],
        description="The trade it opens or closes; null where it was refused at once, or closes "
        "what nobody holds.",
    )
    source: str = Field(default="tradingview", examples=["tradingview"])
    symbol: str | None = Field(examples=["BTC-USD"])
    action: str | None = Field(examples=["buy"])
    price: ShownPrice | None = Field(examples=[43210.50])
    size_usd: Amount | None = Field(examples=[500.00])
    quantity: Quantity | None = Field(examples=[0.01157])
    percent: Quantity | None = Field(description="Part of a position to close.", examples=[None])
    side: str | None = Field(
        description="Positions of this side only: long or short.", examples=[None]
    )
    strategy: str | None = Field(examples=["APEX_V72"])
    id: str | None = Field(description="The sender's own id of it.", examples=["breakout-17"])
    status: str = Field(
        examples=["executed"],
        description="processing, accepted, executed, unfilled, refused, expired, duplicate, stale",
    )
    reason: str | None = Field(
        examples=["outside_signal"], description="Why: as in /trading/decisions."
    )
    details: dict[str, Any] | None = Field(
        description="What was wrong (`fields`), ignored on an exit (`ignored`), and how the "
        "fields that could not be used were sent (`said`).",
        examples=[None],
    )
    duplicate_of: str | None = Field(
        description="The signal that it repeats, or that asked for the same exit before.",
        examples=[None],
    )
    received_at: WallTime
    alerted_at: datetime | None = Field(description="The sender's own time.")
    decided_at: WallTime | None
    finished_at: WallTime | None

    @classmethod
    def from_domain(cls, view: AlertView) -> SignalItem:
        """Render an alert."""
        return cls(
            signal_id=wire_id(SIGNAL, view.id),
            trade_id=_optional_id(TRADE, view.trade_id),
            symbol=view.symbol,
            action=view.action,
            price=view.price,
            size_usd=view.size_usd,
            quantity=view.quantity,
            percent=view.percent,
            side=view.side,
            strategy=view.strategy,
            id=view.reference,
            status=view.status,
            reason=view.reason,
            details=view.details,
            duplicate_of=_optional_id(SIGNAL, view.duplicate_of),
            received_at=view.received_at,
            alerted_at=view.alerted_at,
            decided_at=view.decided_at,
            finished_at=view.finished_at,
        )


class SignalsData(View):
    """A page of alerts, newest first."""

    signals: list[SignalItem]
    pagination: Pagination

    @classmethod
    def from_domain(cls, page: AlertPage, query: SignalsQuery) -> SignalsData:
        """Render a page."""
        return cls(
            signals=[SignalItem.from_domain(alert) for alert in page.alerts],
            pagination=Pagination.of(
                page=query.page, per_page=query.per_page, total_items=page.total
            ),
        )


def _optional_id(prefix: str, value: UUID | None) -> str | None:
    return None if value is None else wire_id(prefix, value)
