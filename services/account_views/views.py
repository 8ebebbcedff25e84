"""The views of an account that every dialect renders."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

from domain.markets import Realm
from services.account_views.balance import BALANCES, BalanceView
from services.account_views.choice import AccountChoice, first_row
from services.account_views.history import COUNT, TRADES, TradeFilter, TradePage, TradeView
from services.account_views.performance import (
    ACCOUNT,
    DAYS,
    PerformanceView,
    Period,
    first_day_of,
    measure,
)
from services.account_views.performance import TRADES as CLOSED_TRADES
from services.account_views.positions import POSITIONS, PositionsView
from services.reads import Caller, Query, Reads


class AccountViews:
    """Reads of one account, chosen per call.

    Args:
        reads: the read side.
        realm: the kind of venue this installation trades at.

    Raises:
        NoBrokerConfigured: from every method, when the caller has no such account.
    """

    def __init__(self, reads: Reads, *, realm: Realm) -> None:
        self._reads = reads
        self._realm = realm

    async def positions(
        self, caller: Caller, choice: AccountChoice, *, symbol: str | None = None
    ) -> PositionsView:
        """Open positions; pending ones are listed once something is filled."""
        rows = await self._reads.rows(caller, POSITIONS, **self._chosen(choice), symbol=symbol)
        first_row(rows, choice)
        return PositionsView.of(rows)

    async def balance(self, caller: Caller, choice: AccountChoice) -> BalanceView:
        """Cash, equity, buying power."""
        chosen = self._chosen(choice)
        balances, positions = await self._reads.batch(
            caller, Query(BALANCES, chosen), Query(POSITIONS, {**chosen, "symbol": None})
        )
        first_row(balances, choice)
        return BalanceView.of(balances, PositionsView.of(positions).total_unrealized_pnl)

    async def history(
        self,
        caller: Caller,
        choice: AccountChoice,
        wanted: TradeFilter,
        *,
        page: int,
        per_page: int,
    ) -> TradePage:
        """One page of trades, newest first."""
        matching: dict[str, Any] = {
            **self._chosen(choice),
            "symbol": wanted.symbol,
            "state": wanted.status,
            "start": wanted.start,
            "end": wanted.end,
        }
        paging = {"limit": per_page, "offset": (page - 1) * per_page}
        counted, rows = await self._reads.batch(
            caller, Query(COUNT, matching), Query(TRADES, {**matching, **paging})
        )
        total = first_row(counted, choice)["trades"]
        return TradePage(tuple(TradeView.of(row) for row in rows), total)

    async def performance(
        self, caller: Caller, choice: AccountChoice, period: Period
    ) -> PerformanceView:
        """Metrics, daily P&L and the equity curve of a period that ends today at the venue."""
        chosen = self._chosen(choice)
        accounts, days = await self._reads.batch(
            caller, Query(ACCOUNT, chosen), Query(DAYS, chosen)
        )
        account = first_row(accounts, choice)
        now: datetime = account["clock_at"] or self._reads.now()
        first = first_day_of(period, now)
        trades = await self._reads.rows(
            caller, CLOSED_TRADES, **chosen, days=period.days, not_before=_midnight(first)
        )
        return measure(account, days, trades, period=period, now=now)

    def _chosen(self, choice: AccountChoice) -> dict[str, Any]:
        return {"realm": self._realm, "mode": choice.mode, "venue": choice.venue}


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)
