"""A market's rules as they are kept with a position, so that its exits need no venue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from domain.markets import MarketRules, MarketStatus


def rules_record(rules: MarketRules) -> dict[str, Any]:
    """JSON form of market rules, kept with a position so that exits need no venue to be planned."""
    return {
        name: str(value) if isinstance(value, Decimal) else value
        for name, value in asdict(rules).items()
    }


def rules_from_record(record: Mapping[str, Any]) -> MarketRules:
    """Read what `rules_record` wrote."""
    return MarketRules(
        symbol=record["symbol"],
        base=record["base"],
        quote=record["quote"],
        quantity_step=Decimal(record["quantity_step"]),
        price_step=Decimal(record["price_step"]),
        quantity_min=Decimal(record["quantity_min"]),
        notional_min=Decimal(record["notional_min"]),
        active=record["active"],
        can_short=record["can_short"],
        # Positions opened by an earlier version carry none of these.
        quantity_max=_optional(record, "quantity_max"),
        notional_max=_optional(record, "notional_max"),
        status=MarketStatus(record.get("status", MarketStatus.OPEN)),
    )


def _optional(record: Mapping[str, Any], name: str) -> Decimal | None:
    value = record.get(name)
    return None if value is None else Decimal(value)
