"""The views of an account that every dialect renders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from domain.markets import Realm
from services.account_views import stats
from services.account_views.balance import BALANCES, BalanceView
from services.account_views.choice import AccountChoice, first_row
from services.account_views.frame import FRAME, Frame, Period
from services.account_views.history import COUNT, TRADES, TradeFilter, TradePage, TradeView
from services.account_views.performance import PerformanceView, measure
from services.account_views.positions import POSITIONS, PositionsView
from services.account_views.stats import StatsRows, StatsView
from services.account_views.sums import (
    NET_BEFORE,
    NET_OF_DAYS,
    TOTALS,
    TOTALS_OF_DAYS,
    period,
    sums_of,
)
from services.reads import Caller, Query, Reads, admitted


class Worth(NamedTuple):
    """What an account holds now."""

    balance: BalanceView
    positions: PositionsView


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
        rows = await self._reads.batch(caller, *self.worth_queries(choice))
        first_row(rows[0], choice)
        return self.worth(rows).balance

    async def history(
        self,
        caller: Caller,
        choice: AccountChoice,
        wanted: TradeFilter,
        *,
        page: int,
        per_page: int,
    ) -> TradePage:
        """One page of trades, newest first, as far back as the plan goes."""
        frame = await self.frame(caller, choice)
        caller = admitted(caller)
        matching = wanted.params(frame)
        paging = {"limit": per_page, "offset": (page - 1) * per_page}
        counted, rows = await self._reads.batch(
            caller, Query(COUNT, matching), Query(TRADES, {**matching, **paging})
        )
        return TradePage(tuple(TradeView.of(row, frame) for row in rows), counted[0]["trades"])

    async def performance(
        self, caller: Caller, choice: AccountChoice, wanted: Period
    ) -> PerformanceView:
        """Metrics, daily P&L and the equity curve of a period that ends today at the venue."""
        frame = await self.frame(caller, choice)
        params = period(frame.account_id, frame.first_day(wanted))
        totals, days, before = await self._reads.batch(
            admitted(caller),
            Query(TOTALS, params),
            Query(NET_OF_DAYS, params),
            Query(NET_BEFORE, params),
        )
        return measure(frame, wanted, sums=sums_of(totals[0]), days=days, net_before=before[0])

    async def last_week(self, caller: Caller, choice: AccountChoice) -> PerformanceView:
        """The same of the seven days before today, which is not over."""
        frame = await self.frame(caller, choice)
        first = frame.first_day(Period.WEEK, frame.today)
        params = {**period(frame.account_id, first), "before": frame.today}
        totals, days, earlier = await self._reads.batch(
            admitted(caller),
            Query(TOTALS_OF_DAYS, params),
            Query(NET_OF_DAYS, params),
            Query(NET_BEFORE, params),
        )
        return measure(
            frame,
            Period.WEEK,
            sums=sums_of(totals[0]),
            days=days,
            net_before=earlier[0],
            before=frame.today,
        )

    async def stats(self, caller: Caller, choice: AccountChoice) -> StatsView:
        """Everything since the account began, and the limits that hold for it."""
        frame = await self.frame(caller, choice)
        params = {"account_id": frame.account_id, "currency": frame.currency}
        months, extremes, live, flows, streak, risk, *worth_rows = await self._reads.batch(
            admitted(caller),
            Query(stats.MONTHS, params),
            Query(stats.EXTREMES, params),
            Query(stats.LIVE, params),
            Query(stats.FLOWS, params),
            Query(stats.STREAK, params),
            Query(stats.RISK, params),
            *self.worth_queries(choice),
        )
        rows = StatsRows(months, extremes[0], live[0], flows[0], streak, risk[0])
        equity = self.worth(worth_rows).balance.equity
        return stats.put_together(caller.user_id, frame, rows, equity, self._reads.now())

    async def frame(self, caller: Caller, choice: AccountChoice) -> Frame:
        """The chosen account and its present; admits the caller."""
        rows = await self._reads.rows(caller, FRAME, **self._chosen(choice))
        return Frame.of(rows, choice, self._reads.now())

    def worth_queries(self, choice: AccountChoice) -> tuple[Query, Query]:
        """What `worth` is made of."""
        chosen = self._chosen(choice)
        return Query(BALANCES, chosen), Query(POSITIONS, {**chosen, "symbol": None})

    @staticmethod
    def worth(rows: Sequence[Sequence[Mapping[str, Any]]]) -> Worth:
        """Value what an account holds, from the rows of `worth_queries`."""
        balances, positions = rows
        held = PositionsView.of(positions)
        return Worth(BalanceView.of(balances, held.total_unrealized_pnl), held)

    def _chosen(self, choice: AccountChoice) -> dict[str, Any]:
        return {"realm": self._realm, "mode": choice.mode, "venue": choice.venue}
