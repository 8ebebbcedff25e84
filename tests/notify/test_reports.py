"""Reports: made once a local day from the figures of the API, scheduled as the user wants."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlmodel import select

from domain.notifications import Report, ReportTime
from domain.performance import ClosedTrade, measure_performance
from domain.principal import Principal
from models.notifications import NotificationPreferences
from services.account_views.balance import BalanceView
from services.account_views.choice import AccountChoice
from services.account_views.frame import Period
from services.account_views.performance import PerformanceView
from services.account_views.positions import PositionsView
from services.errors import InvalidRequest
from services.reads import Caller
from tests.notify.harness import BASE_URL, Office
from tests.support.notifications import Hook

pytestmark = pytest.mark.integration

DUE = datetime(2026, 3, 1, 7, tzinfo=UTC)
TODAY = DUE.date()
DAILY = Report.DAILY_SUMMARY


@dataclass
class FakeViews:
    """Books of an account that won 10 USD before fees yesterday."""

    trades: int = 1
    pnl: int = 10

    async def performance(
        self, caller: Caller, choice: AccountChoice, period: Period
    ) -> PerformanceView:
        closed = DUE - timedelta(days=1)
        trade = ClosedTrade(Decimal(self.pnl), Decimal(2), closed - timedelta(hours=1), closed)
        first = TODAY - timedelta(days=(period.days or 1) - 1)
        performance = measure_performance(
            [trade] * self.trades,
            {closed.date(): trade.net_pnl * self.trades} if self.trades else {},
            Decimal(10_000),
            first_day=first,
            last_day=TODAY,
        )
        return PerformanceView(period, performance, (), "coinbase", "paper")

    async def last_week(self, caller: Caller, choice: AccountChoice) -> PerformanceView:
        view = await self.performance(caller, choice, Period.WEEK)
        days = view.performance.daily_pnl
        assert days[-1].day == TODAY
        return replace(view, performance=replace(view.performance, daily_pnl=days[:-1]))

    async def balance(self, caller: Caller, choice: AccountChoice) -> BalanceView:
        cash = Decimal(10_008)
        return BalanceView("coinbase", "paper", cash, cash, (), Decimal(0), cash, "USD", DUE)

    async def positions(self, caller: Caller, choice: AccountChoice) -> PositionsView:
        return PositionsView((), Decimal(0), Decimal(0), Decimal(0))


async def make(office: Office, who: Principal, report: Report, trades: int = 1) -> str:
    return await office.notifying.reports(FakeViews(trades)).make(who.user_id, report, DUE)


async def test_a_daily_summary_is_mailed_with_its_picture(office: Office) -> None:
    who = await office.add_user()

    made = await make(office, who, Report.DAILY_SUMMARY)
    await office.deliver(who)

    assert made == "made"
    (mail,) = office.mailbox.mails
    assert mail["Subject"] == "NIJA 28 February: $8.00 net"
    body = mail.get_body(("plain",))
    assert body is not None
    text = body.get_content()
    for line in ("Net P&L of the day: $8.00", "Equity: $10,008.00", "Trades: 1", "Fees: $2.00"):
        assert line in text
    assert any(part.get_content_type() == "image/png" for part in mail.walk())
    assert str(mail["List-Unsubscribe"]).startswith(f"<{BASE_URL}/unsubscribe?token=")
    assert office.workflows.woken == [who.user_id]


async def test_a_report_is_made_once_a_local_day(office: Office) -> None:
    who = await office.add_user()

    first = await make(office, who, Report.WEEKLY_REPORT)
    again = await make(office, who, Report.WEEKLY_REPORT)
    await office.deliver(who)

    assert (first, again) == ("made", "made before")
    assert office.mailbox.subjects == ["NIJA Your week: $8.00 net"]
    body = office.mailbox.mails[0].get_body(("plain",))
    assert body is not None
    assert "to 28 February 2026" in body.get_content(), "the day it is made on is not over"


async def test_a_profit_factor_of_losses_alone_is_zero(office: Office) -> None:
    who = await office.add_user()

    await office.notifying.reports(FakeViews(pnl=-10)).make(who.user_id, Report.DAILY_SUMMARY, DUE)
    await office.deliver(who)

    body = office.mailbox.mails[0].get_body(("plain",))
    assert body is not None
    assert "Profit factor: 0.00" in body.get_content()


async def test_where_nothing_happened_there_is_no_report(office: Office) -> None:
    who = await office.add_user()
    spared = await office.add_user(daily_summary=False)

    assert await make(office, who, Report.DAILY_SUMMARY, trades=0) == "nothing to tell"
    assert await make(office, spared, Report.DAILY_SUMMARY) == "not wanted"
    assert office.mailbox.mails == []


async def test_the_schedule_of_a_user_who_is_gone_is_removed(office: Office) -> None:
    who = await office.add_user()
    time = ReportTime("UTC", 8, 0)
    await office.workflows.schedule_report(who.user_id, Report.DAILY_SUMMARY, time)
    await office.execute("DELETE FROM users WHERE id = :user", user=who.user_id)

    assert await make(office, who, Report.DAILY_SUMMARY) == "the user is gone"
    assert office.workflows.schedules == {}


async def test_unsubscribing_takes_no_login_and_two_clicks_are_one(office: Office) -> None:
    who = await office.add_user()
    await make(office, who, Report.DAILY_SUMMARY)
    await office.deliver(who)
    link = str(office.mailbox.mails[0]["List-Unsubscribe"]).strip("<>")
    token = link.partition("token=")[2]
    unsubscribing = office.notifying.unsubscribing

    assert unsubscribing.read(token).words == "daily summaries"
    await unsubscribing.follow(token)
    await unsubscribing.follow(token)

    (settings,) = await office.rows(
        "SELECT daily_summary, weekly_report FROM user_settings WHERE user_id = :user",
        user=who.user_id,
    )
    assert settings == {"daily_summary": False, "weekly_report": True}
    assert who.user_id.hex not in link
    changes = await office.rows(
        "SELECT 1 FROM audit_log WHERE user_id = :user AND event_type = 'settings_changed'",
        user=who.user_id,
    )
    assert len(changes) == 1


async def test_schedules_follow_wishes(office: Office, hook: Hook) -> None:
    who = await office.add_user(weekly_report=False)
    preferences = office.notifying.preferences
    schedules = office.workflows.schedules
    daily, weekly = (who.user_id, Report.DAILY_SUMMARY), (who.user_id, Report.WEEKLY_REPORT)

    await preferences.change(who, {"timezone": "Europe/Berlin", "report_time": "07:30"})
    assert schedules == {daily: ReportTime("Europe/Berlin", 7, 30)}

    await office.execute("UPDATE user_settings SET weekly_report = true, daily_summary = false")
    await office.notifying.scheduling.sweep()
    assert schedules[weekly] == ReportTime("Europe/Berlin", 7, 30, weekday=1)
    assert daily not in schedules

    await office.execute("UPDATE user_settings SET email_enabled = false")
    await office.notifying.scheduling.sweep()
    assert weekly not in schedules, "there is nowhere to send it"

    await office.add_channel(who, hook.url, ["reports"])
    await office.notifying.scheduling.sweep()
    assert weekly in schedules

    calls = office.workflows.calls
    await office.notifying.scheduling.sweep()
    assert office.workflows.calls == calls, "what is as it should be is left alone"


async def test_a_change_while_temporal_is_away_is_made_good(office: Office) -> None:
    who = await office.add_user()
    office.workflows.is_away = True
    view = await office.notifying.preferences.change(who, {"weekly_day": "friday"})
    office.workflows.is_away = False
    office.wall.advance(seconds=61)

    await office.notifying.scheduling.sweep()

    assert view.weekly_day == "friday"
    made = office.workflows.schedules[who.user_id, Report.WEEKLY_REPORT]
    assert made == ReportTime("UTC", 8, 0, weekday=5)


async def test_a_zone_that_temporal_does_not_know_is_its_user_s_trouble_alone(
    office: Office,
) -> None:
    strange, usual = await office.add_user(), await office.add_user()
    office.workflows.unknown_zones = {"America/Coyhaique"}
    view = await office.notifying.preferences.change(strange, {"timezone": "America/Coyhaique"})

    office.wall.advance(seconds=61)
    await office.notifying.scheduling.sweep()

    assert view.timezone == "America/Coyhaique"
    assert (usual.user_id, Report.DAILY_SUMMARY) in office.workflows.schedules
    assert (strange.user_id, Report.DAILY_SUMMARY) not in office.workflows.schedules


async def test_preferences_that_are_locked_keep_nobody_else_s_schedules_from_being_made(
    office: Office,
) -> None:
    users = [await office.add_user() for _ in range(3)]
    await office.notifying.scheduling.sweep()
    await office.execute("UPDATE notification_preferences SET report_hour = 9")
    office.wall.advance(seconds=61)
    locked = users[1].user_id
    async with office.database.as_system() as session:
        rows = select(NotificationPreferences).where(NotificationPreferences.user_id == locked)
        assert (await session.exec(rows.with_for_update())).all()
        await office.notifying.scheduling.sweep()

    made = {user.user_id: office.workflows.schedules[user.user_id, DAILY].hour for user in users}
    assert made == {user.user_id: 8 if user.user_id == locked else 9 for user in users}


async def test_a_time_zone_that_does_not_exist_is_refused(office: Office) -> None:
    who = await office.add_user()

    with pytest.raises(InvalidRequest):
        await office.notifying.preferences.change(who, {"timezone": "Europe/Atlantis"})

    assert (await office.notifying.preferences.get(who)).timezone == "UTC"
