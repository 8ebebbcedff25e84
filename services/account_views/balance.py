"""Cash, equity and buying power of an account."""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from domain.money import ZERO
from services.account_views.choice import CHOSEN, QUOTED
from services.account_views.positions import total

BALANCES = f"""
WITH {CHOSEN}
SELECT chosen.id AS account_id, chosen.venue, chosen.mode, chosen.currency AS account_currency,
       b.currency, b.total, b.held, b.observed_at, q.last, q.at AS quoted_at,
       (SELECT coalesce(sum(o.reserved_quote), 0) FROM orders o
        WHERE o.user_id = chosen.user_id AND o.account_id = chosen.id
          AND o.state NOT IN ('filled', 'cancelled', 'refused', 'denied', 'absent')) AS reserved
FROM chosen
LEFT JOIN balances b
    ON b.user_id = chosen.user_id AND b.account_id = chosen.id AND b.total <> 0
{QUOTED} AND q.symbol = b.currency || '-' || chosen.currency
ORDER BY b.currency
"""
"""One row a currency held; one row of nulls where nothing is."""


@dataclass(frozen=True, slots=True)
class BalanceView:
    """What an account is worth. Equity is null where something held cannot be valued."""

    broker: str
    mode: str
    cash: Decimal
    equity: Decimal | None
    unrealized_pnl: Decimal | None
    buying_power: Decimal
    currency: str
    last_updated: datetime | None

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], unrealized_pnl: Decimal | None) -> BalanceView:
        """Spot equity: cash plus the market value of everything else held.

        Args:
            rows: of `BALANCES`, at least one.
            unrealized_pnl: of the open positions.
        """
        currency = rows[0]["account_currency"]
        held_rows = [row for row in rows if row["currency"] is not None]
        cash_row = next((row for row in held_rows if row["currency"] == currency), None)
        cash = ZERO if cash_row is None else cash_row["total"]
        held = ZERO if cash_row is None else cash_row["held"]
        times = [row[name] for row in held_rows for name in ("observed_at", "quoted_at")]
        return cls(
            broker=rows[0]["venue"],
            mode=rows[0]["mode"],
            cash=cash,
            equity=total([_value(row, currency) for row in held_rows]),
            unrealized_pnl=unrealized_pnl,
            buying_power=max(ZERO, cash - held - rows[0]["reserved"]),
            currency=currency,
            last_updated=max((time for time in times if time is not None), default=None),
        )


def _value(row: Mapping[str, Any], currency: str) -> Decimal | None:
    held: Decimal = row["total"]
    if row["currency"] == currency:
        return held
    price: Decimal | None = row["last"]
    return None if price is None else held * price
