"""Daily summaries and weekly reports: the figures of the API's own views, put into a message.

Days are UTC days of the venue's clock, as everywhere; when a report is made is the user's time.
The day it is made on is not over, so a weekly report is of the seven before: each day is in one.
Where nothing happened and nothing is held, there is no report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from domain.notifications import Category, NotificationWorkflows, Report
from domain.ports import WallClock, WorkflowServiceUnavailable
from domain.principal import Principal, Role
from models.columns import new_id
from models.connections import UserSettings
from models.notifications import Message, MessageState, NotificationPreferences
from services.account_views.balance import BalanceView
from services.account_views.choice import AccountChoice
from services.account_views.frame import Period
from services.account_views.performance import PerformanceView
from services.account_views.positions import PositionsView
from services.database import Database
from services.errors import NoBrokerConfigured
from services.notifying.wording import money, number
from services.reads import Caller

POSITIONS_MAX = 20
UNPRICED_MAX = 10
_NOBODY = UUID(int=0)
_NONE = "-"

_Figures = list[tuple[str, str]]


class ReportViews(Protocol):
    """The account views that a report needs; `services.account_views` has them.

    Raises:
        NoBrokerConfigured: from every method, when the user has no account.
    """

    async def performance(
        self, caller: Caller, choice: AccountChoice, period: Period
    ) -> PerformanceView:
        """Metrics, daily P&L and equity curve."""
        ...

    async def last_week(self, caller: Caller, choice: AccountChoice) -> PerformanceView:
        """The same of the seven days before today."""
        ...

    async def balance(self, caller: Caller, choice: AccountChoice) -> BalanceView:
        """Cash and equity."""
        ...

    async def positions(self, caller: Caller, choice: AccountChoice) -> PositionsView:
        """What is open."""
        ...


@dataclass(frozen=True, slots=True)
class _Books:
    """What a report is made of."""

    period: PerformanceView
    curve: PerformanceView
    balance: BalanceView
    positions: PositionsView


class Reports:
    """Makes the messages of reports; delivering them is `Delivering`'s.

    Args:
        database: where messages live.
        views: the account views behind the API.
        workflows: woken when there is something to deliver.
        clock: wall time.
    """

    def __init__(
        self,
        database: Database,
        views: ReportViews,
        workflows: NotificationWorkflows,
        clock: WallClock,
    ) -> None:
        self._database = database
        self._views = views
        self._workflows = workflows
        self._clock = clock

    async def make(self, user_id: UUID, report: Report, due_at: datetime) -> str:
        """Make a user's report of the local day on which it was due, at most once.

        Returns:
            What became of it, in words.

        Raises:
            WorkflowServiceUnavailable: the schedule of a user who is gone could not be removed.
        """
        async with self._database.for_user(user_id) as session:
            settings = await session.get(UserSettings, user_id)
            preferences = await session.get(NotificationPreferences, user_id)
        if settings is None:
            await self._workflows.cancel_report(user_id, report)
            return "the user is gone"
        if not getattr(settings, report.value):
            return "not wanted"
        zone = ZoneInfo(preferences.timezone if preferences else "UTC")
        local_day = due_at.astimezone(zone).date()
        try:
            books = await self._read(user_id, report)
        except NoBrokerConfigured:
            return "there is no account"
        if not _is_worth_telling(books):
            return "nothing to tell"
        is_new = await self._store(user_id, report, f"{report.value}:{local_day}", books)
        return "made" if is_new else "made before"

    async def _read(self, user_id: UUID, report: Report) -> _Books:
        reader = Principal(user_id, _NOBODY, Role.USER)
        choice = AccountChoice()
        is_daily = report is Report.DAILY_SUMMARY
        if is_daily:
            week = await self._views.performance(reader, choice, Period.WEEK)
        else:
            week = await self._views.last_week(reader, choice)
        return _Books(
            period=week,
            curve=await self._views.performance(
                reader, choice, Period.MONTH if is_daily else Period.QUARTER
            ),
            balance=await self._views.balance(reader, choice),
            positions=await self._views.positions(reader, choice),
        )

    async def _store(self, user_id: UUID, report: Report, key: str, books: _Books) -> bool:
        now = self._clock.now()
        async with self._database.for_user(user_id) as session:
            made = await (await session.connection()).execute(
                insert(Message)
                .values(
                    id=new_id(),
                    user_id=user_id,
                    kind=report.value,
                    key=key,
                    category=Category.REPORTS.value,
                    payload=_payload(report, books),
                    state=MessageState.OPEN.value,
                    send_at=now,
                    created_at=now,
                )
                .on_conflict_do_nothing(index_elements=["user_id", "key"])
                .returning(col(Message.id))
            )
            is_new = made.scalar_one_or_none() is not None
        with suppress(WorkflowServiceUnavailable):  # then the pump finds the message
            await self._workflows.wake_notifier(user_id)
        return is_new


def _is_worth_telling(books: _Books) -> bool:
    moved = any(day.pnl for day in books.period.performance.daily_pnl)
    return moved or bool(books.positions.positions) or bool(_metrics(books).total_trades)


def _metrics(books: _Books) -> Any:
    return books.period.performance.metrics


def _payload(report: Report, books: _Books) -> Mapping[str, Any]:
    account = f"{books.period.broker.capitalize()} {books.period.mode}"
    days = books.period.performance.daily_pnl
    if report is Report.DAILY_SUMMARY:
        day = days[-2] if len(days) > 1 else days[-1]
        subject = f"{day.day:%d %B}: {money(day.pnl)} net"
        first = _section(
            f"Daily summary of {day.day:%A, %d %B %Y}",
            [
                ("Net P&L of the day", money(day.pnl)),
                ("Today so far", money(days[-1].pnl)),
                *_account_figures(books),
                ("Account", account),
            ],
        )
    else:
        net = _metrics(books).net_pnl
        subject = f"Your week: {money(net)} net"
        begin, end = days[0].day, days[-1].day
        first = _section(
            f"Weekly report, {begin:%d %B} to {end:%d %B %Y}",
            [*_account_figures(books), ("Account", account)],
        )
    title = "The last seven days" if report is Report.DAILY_SUMMARY else "These seven days"
    parts = [first, _section(title, _period_figures(books)), *_open(books)]
    curve = books.curve.performance.equity_curve
    return {
        "subject": f"NIJA {subject}",
        "sections": parts,
        "curve": [[point.day.isoformat(), str(point.equity)] for point in curve],
    }


def _account_figures(books: _Books) -> _Figures:
    shown: _Figures = [("Equity", money(books.balance.equity))]
    if books.balance.unpriced:
        shown.append(("Not in it, for want of a price", _listed(books.balance.unpriced)))
    unrealized = books.positions.total_unrealized_pnl
    if books.positions.positions and unrealized is not None:
        shown.append(("Open positions", f"{len(books.positions.positions)}, {money(unrealized)}"))
    return shown


def _period_figures(books: _Books) -> _Figures:
    metrics = _metrics(books)
    return [
        ("Trades", f"{metrics.total_trades}"),
        ("Won", f"{metrics.win_rate * 100:.0f} %" if metrics.total_trades else _NONE),
        ("Net P&L", money(metrics.net_pnl)),
        ("Fees", money(metrics.total_fees)),
        ("Best trade", money(metrics.largest_win) if metrics.winning_trades else _NONE),
        ("Worst trade", money(metrics.largest_loss) if metrics.losing_trades else _NONE),
        ("Profit factor", _ratio(metrics.profit_factor) if metrics.total_trades else _NONE),
        ("Deepest drawdown", f"{metrics.max_drawdown_pct:.2f} %"),
    ]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - UNPRICED_MAX
    return ", ".join(names[:UNPRICED_MAX]) + (f" and {more} more" if more > 0 else "")


def _ratio(value: Decimal | None) -> str:
    return _NONE if value is None else f"{value:.2f}"


def _open(books: _Books) -> Sequence[Mapping[str, Any]]:
    positions = books.positions.positions[:POSITIONS_MAX]
    if not positions:
        return ()
    figures = [
        (
            f"{position.symbol} {position.side}, {number(position.quantity)}",
            money(position.unrealized_pnl) if position.unrealized_pnl is not None else _NONE,
        )
        for position in positions
    ]
    return (_section("Open positions", figures),)


def _section(headline: str, figures: _Figures) -> Mapping[str, Any]:
    return {"headline": headline, "sentences": [], "figures": [list(pair) for pair in figures]}
