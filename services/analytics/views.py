"""The analytics that every dialect renders: one round trip each, whatever the number of trades."""

from __future__ import annotations

from collections.abc import Sequence

from services.account_views.choice import AccountChoice
from services.account_views.frame import EVER, Frame, Period
from services.account_views.sums import (
    DAYS,
    FLOWS,
    FLOWS_BEFORE,
    NET_BEFORE,
    TOTALS,
    flows_of,
    period,
    sums_of,
    unpriced_of,
)
from services.account_views.views import AccountViews
from services.analytics import dashboard as board
from services.analytics import trades as grouped
from services.analytics.dashboard import DashboardView
from services.analytics.trades import GroupBy, GroupResult, TradeAnalytics
from services.reads import Caller, Query


class Analytics:
    """Reads of one account, chosen per call.

    Args:
        accounts: the views of accounts, which know the chosen one's present.

    Raises:
        NoBrokerConfigured: from every method, when the caller has no such account.
    """

    def __init__(self, accounts: AccountViews) -> None:
        self._accounts = accounts

    async def dashboard(self, caller: Caller, choice: AccountChoice) -> DashboardView:
        """How the account did lately, and what it is worth."""

        def ask(frame: Frame) -> Sequence[Query]:
            params = period(frame.account_id, frame.first_day(Period.MONTH))
            statements = (DAYS, NET_BEFORE, FLOWS, FLOWS_BEFORE, board.TOP_SYMBOL)
            worth = self._accounts.worth_queries(choice)
            return *(Query(one, params) for one in statements), *worth

        frame, found = await self._accounts.framed(caller, choice, ask)
        days, before, flows, flows_before, top, *worth_rows = found
        begun_with = frame.opening_equity + before[0]["net_pnl"] + flows_before[0]["amount"]
        today, week, month = board.results(frame, days, begun_with, flows_of(flows))
        worth_now = self._accounts.worth(worth_rows)
        return DashboardView(
            today=today,
            week=week,
            month=month,
            active_positions=len(worth_now.positions.positions),
            equity=worth_now.balance.equity,
            unpriced=worth_now.balance.unpriced,
            flows_unpriced=unpriced_of(flows_before[0]),
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
        bucketed = grouped.BY_BUCKET.get(group_by)
        statements = (TOTALS, grouped.BY_SYMBOL, grouped.BY_HOUR, grouped.EXTREMES)

        def ask(frame: Frame) -> Sequence[Query]:
            params = period(frame.account_id, frame.first_day(wanted), symbol=symbol)
            also = () if bucketed is None else (bucketed,)
            return tuple(Query(one, params) for one in (*statements, *also))

        frame, found = await self._accounts.framed(caller, choice, ask)
        totals, by_symbol, by_hour, extremes, *buckets = found
        first = frame.first_day(wanted)
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
