"""Cash, equity and buying power of an account."""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from domain.money import ZERO
from domain.valuation import value_at
from services.account_views.choice import CHOSEN

BALANCES = f"""
WITH {CHOSEN}
SELECT chosen.id AS account_id, chosen.venue, chosen.mode, chosen.currency AS account_currency,
       b.currency, b.total, b.held, b.observed_at, m.price, m.at AS quoted_at,
       (SELECT coalesce(sum(o.reserved_quote), 0) FROM orders o
        WHERE o.user_id = chosen.user_id AND o.account_id = chosen.id
          AND o.state NOT IN ('filled', 'cancelled', 'refused', 'denied', 'absent')) AS reserved
FROM chosen
LEFT JOIN balances b
    ON b.user_id = chosen.user_id AND b.account_id = chosen.id AND b.total <> 0
LEFT JOIN LATERAL market_price(chosen.venue, chosen.realm, b.currency, chosen.currency) m ON true
ORDER BY b.currency
"""
"""One row a currency held; one row of nulls where nothing is."""


@dataclass(frozen=True, slots=True)
class BalanceView:
    """What an account is worth.

    `unpriced` are the currencies held that have no price. They are left out of equity, which is
    then a lower bound. Unrealised P&L is None where an open position has no price.
    """

    broker: str
    mode: str
    cash: Decimal
    equity: Decimal
    unpriced: tuple[str, ...]
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
        worth = value_at(
            {row["currency"]: row["total"] for row in held_rows},
            currency,
            {row["currency"]: row["price"] for row in held_rows},
        )
        held = next((row["held"] for row in held_rows if row["currency"] == currency), ZERO)
        times = [row[name] for row in held_rows for name in ("observed_at", "quoted_at")]
        return cls(
            broker=rows[0]["venue"],
            mode=rows[0]["mode"],
            cash=worth.cash,
            equity=worth.equity,
            unpriced=worth.unpriced,
            unrealized_pnl=unrealized_pnl,
            buying_power=max(ZERO, worth.cash - held - rows[0]["reserved"]),
            currency=currency,
            last_updated=max((time for time in times if time is not None), default=None),
        )

    @property
    def equity_is_lower_bound(self) -> bool:
        """Whether something held has no price and is left out of equity."""
        return bool(self.unpriced)
