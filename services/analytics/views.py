"""The analytics that every dialect renders: two round trips each, whatever the number of trades."""

from __future__ import annotations

from services.account_views.choice import AccountChoice
from services.account_views.frame import EVER, Period
from services.account_views.sums import DAYS, NET_BEFORE, TOTALS, period, sums_of
from services.account_views.views import AccountViews
from services.analytics import dashboard as board
from services.analytics import trades as grouped
from services.analytics.dashboard import DashboardView
from services.analytics.trades import GroupBy, GroupResult, TradeAnalytics
from services.reads import Caller, Query, Reads, admitted


class Analytics:
    """Reads of one account, chosen per call.

    Args:
        reads: the read side.
        accounts: the views of accounts, which know the chosen one's present.

    Raises:
        NoBrokerConfigured: from every method, when the caller has no such account.
    """

    def __init__(self, reads: Reads, accounts: AccountViews) -> None:
        self._reads = reads
        self._accounts = accounts

    async def dashboard(self, caller: Caller, choice: AccountChoice) -> DashboardView:
        """How the account did lately, and what it is worth."""
        frame = await self._accounts.frame(caller, choice)
        params = period(frame.account_id, frame.first_day(Period.MONTH))
        worth = self._accounts.worth_queries(choice)
        days, before, top, *worth_rows = await self._reads.batch(
            admitted(caller),
            Query(DAYS, params),
            Query(NET_BEFORE, params),
            Query(board.TOP_SYMBOL, params),
            *worth,
        )
        today, week, month = board.results(frame, days, before[0]["net_pnl"])
        worth_now = self._accounts.worth(worth_rows)
        return DashboardView(
            today=today,
            week=week,
            month=month,
            active_positions=len(worth_now.positions.positions),
            equity=worth_now.balance.equity,
            top_symbol=board.top_symbol(top),
            broker=frame.venue,
            mode=frame.mode,
        )

    async def trades(
        self,
        caller: Caller,
        choice: AccountChoice,
        wanted: Period,
        *,
        symbol: str | None = None,
        group_by: GroupBy = GroupBy.HOUR,
    ) -> TradeAnalytics:
        """Closed trades of a period that ends today at the venue."""
        frame = await self._accounts.frame(caller, choice)
        first = frame.first_day(wanted)
        params = period(frame.account_id, first, symbol=symbol)
        bucketed = grouped.BY_BUCKET.get(group_by)
        totals, by_symbol, by_hour, extremes, *buckets = await self._reads.batch(
            admitted(caller),
            Query(TOTALS, params),
            Query(grouped.BY_SYMBOL, params),
            Query(grouped.BY_HOUR, params),
            Query(grouped.EXTREMES, params),
            *([] if bucketed is None else [Query(bucketed, params)]),
        )
        return TradeAnalytics(
            period=wanted,
            first_day=None if first == EVER else first,
            sums=sums_of(totals[0]),
            by_symbol=tuple(GroupResult.of(row, "symbol") for row in by_symbol),
            by_hour=tuple(GroupResult.of(row, "hour") for row in by_hour),
            group_by=group_by,
            by_bucket=tuple(GroupResult.of(row, "start") for rows in buckets for row in rows),
            best=grouped.noted(extremes, "best"),
            worst=grouped.noted(extremes, "worst"),
            broker=frame.venue,
            mode=frame.mode,
        )
