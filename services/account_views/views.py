"""The views of an account that every dialect renders."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from domain.markets import Realm
from services.account_views import stats
from services.account_views.balance import BALANCES, BalanceView
from services.account_views.choice import AccountChoice, first_row
from services.account_views.frame import FRAME, Frame, Period
from services.account_views.history import TRADES, TradeFilter, TradePage, TradeView
from services.account_views.performance import PerformanceView, measure
from services.account_views.positions import POSITIONS, PositionsView
from services.account_views.stats import StatsRows, StatsView
from services.account_views.sums import (
    FLOWS,
    FLOWS_BEFORE,
    NET_BEFORE,
    PNL_OF_DAYS,
    TOTALS,
    TOTALS_OF_DAYS,
    flows_of,
    period,
    sums_of,
)
from services.reads import Caller, Query, Reads, admitted

Rows = Sequence[Mapping[str, Any]]
Asking = Callable[[Frame], Sequence[Query]]
"""The queries that a view needs, once its frame is known."""

_GUESSES_MAX = 10_000


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
        self._guesses: OrderedDict[tuple[UUID, AccountChoice], Frame] = OrderedDict()

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
        paging = {"limit": per_page, "offset": (page - 1) * per_page}

        def ask(frame: Frame) -> Sequence[Query]:
            return wanted.counted(frame), Query(TRADES, {**wanted.params(frame), **paging})

        frame, (counted, rows) = await self.framed(caller, choice, ask)
        return TradePage(tuple(TradeView.of(row, frame) for row in rows), counted[0]["trades"])

    async def performance(
        self, caller: Caller, choice: AccountChoice, wanted: Period
    ) -> PerformanceView:
        """Metrics, daily P&L and the equity curve of a period that ends today at the venue."""

        def ask(frame: Frame) -> Sequence[Query]:
            params = period(frame.account_id, frame.first_day(wanted))
            statements = (TOTALS, PNL_OF_DAYS, NET_BEFORE, FLOWS, FLOWS_BEFORE)
            return tuple(Query(one, params) for one in statements)

        frame, found = await self.framed(caller, choice, ask)
        totals, days, before, flows, flows_before = found
        return measure(
            frame,
            wanted,
            sums=sums_of(totals[0]),
            days=days,
            net_before=before[0],
            flows=flows_of(flows),
            flows_before=flows_before[0],
        )

    async def last_week(self, caller: Caller, choice: AccountChoice) -> PerformanceView:
        """The same of the seven days before today, which is not over."""
        frame = await self.frame(caller, choice)
        first = frame.first_day(Period.WEEK, frame.today)
        params = {**period(frame.account_id, first), "before": frame.today}
        statements = (TOTALS_OF_DAYS, PNL_OF_DAYS, NET_BEFORE, FLOWS, FLOWS_BEFORE)
        totals, days, earlier, flows, flows_before = await self._reads.batch(
            admitted(caller), *(Query(one, params) for one in statements)
        )
        return measure(
            frame,
            Period.WEEK,
            sums=sums_of(totals[0]),
            days=days,
            net_before=earlier[0],
            flows=flows_of(flows),
            flows_before=flows_before[0],
            before=frame.today,
        )

    async def stats(self, caller: Caller, choice: AccountChoice) -> StatsView:
        """Everything since the account began, and the limits that hold for it."""

        def ask(frame: Frame) -> Sequence[Query]:
            params = {"account_id": frame.account_id, "currency": frame.currency}
            statements = (
                stats.MONTHS,
                stats.EXTREMES,
                stats.LIVE,
                stats.FLOWS,
                stats.FLOWS_OF_MONTHS,
                stats.STREAK,
                stats.RISK,
            )
            return *(Query(one, params) for one in statements), *self.worth_queries(choice)

        frame, found = await self.framed(caller, choice, ask)
        months, extremes, live, flows, flowed, streak, risk, *worth_rows = found
        rows = StatsRows(months, extremes[0], live[0], flows[0], flowed, streak, risk[0])
        balance = self.worth(worth_rows).balance
        return stats.put_together(caller.user_id, frame, rows, balance, self._reads.now())

    async def frame(self, caller: Caller, choice: AccountChoice) -> Frame:
        """The chosen account and its present; admits the caller."""
        rows = await self._reads.rows(caller, FRAME, **self._chosen(choice))
        return Frame.of(rows, choice, self._reads.now())

    async def framed(
        self, caller: Caller, choice: AccountChoice, ask: Asking
    ) -> tuple[Frame, Sequence[Rows]]:
        """The frame of a view and the rows of its queries, nearly always in one round trip.

        The queries go along with the frame's own, asked as the caller's last frame would have it.
        Their rows count only if the frame that comes back asks the very same. So nothing is
        answered from memory, and a wrong guess costs a second round trip and nothing else.
        """
        key = (caller.user_id, choice)
        guess = self._guesses.pop(key, None)
        asked = () if guess is None else tuple(ask(guess))
        rows, *found = await self._reads.batch(caller, Query(FRAME, self._chosen(choice)), *asked)
        frame = Frame.of(rows, choice, self._reads.now())
        self._guesses[key] = frame
        if len(self._guesses) > _GUESSES_MAX:
            self._guesses.popitem(last=False)
        wanted = tuple(ask(frame))
        if wanted == asked:
            return frame, found
        return frame, await self._reads.batch(admitted(caller), *wanted)

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
