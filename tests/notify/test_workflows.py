"""The workflows on a real Temporal server: retries over time, schedules, nothing secret kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.notify import NotifyActivities
from adapters.clock import SystemClock
from adapters.temporal.notifications import TemporalNotifications
from domain.contracts.notifications import notify_workflow_id, report_schedule_id
from domain.notifications import Report, ReportTime, ReportTimeRefused
from services.notices import NoticeKind, tell
from tests.notify.harness import Office
from tests.notify.test_reports import FakeViews
from tests.support.notifications import Hook, until
from tests.support.sandbox import sandboxed
from tests.support.temporal_client import connected
from workflows.notify import NotifyWorkflow, ReportWorkflow

pytestmark = pytest.mark.integration


@pytest.fixture
async def client(temporal_address: str) -> Client:
    return await Client.connect(temporal_address, data_converter=pydantic_data_converter)


@pytest.fixture
async def workflows(client: Client) -> TemporalNotifications:
    queue = f"notify-{uuid4()}"
    return TemporalNotifications(connected(client, queue), queue)


@pytest.fixture
async def live_office(
    office: Office, client: Client, workflows: TemporalNotifications
) -> AsyncIterator[Office]:
    """The office with a worker, by the real clock."""
    notifying = replace(office.notifying, workflows=workflows, clock=SystemClock())
    activities = NotifyActivities(notifying.delivering, notifying.reports(FakeViews()))
    async with Worker(
        client,
        task_queue=workflows._task_queue,
        workflows=[NotifyWorkflow, ReportWorkflow],
        activities=[activities.deliver, activities.report],
        workflow_runner=sandboxed(),
    ):
        office.notifying = notifying
        yield office


async def test_a_notice_is_found_sent_and_the_workflow_ends(
    live_office: Office, client: Client, hook: Hook
) -> None:
    office = live_office
    who = await office.add_user()
    await office.add_channel(who, hook.url)
    async with office.database.for_user(who.user_id) as session:
        now = datetime.now(UTC)
        facts = {"reason": "enough"}
        kind = NoticeKind.EMERGENCY_STOP
        await tell(session, who.user_id, kind, "once", now=now, facts=facts)
    office.mailbox.refuses = True

    await office.notifying.pump(interval_seconds=1).look()
    await until(lambda: hook.bodies)
    office.mailbox.refuses = False
    handle = client.get_workflow_handle(notify_workflow_id(who.user_id))
    await asyncio.wait_for(handle.result(), 30)

    assert len(hook.bodies) == len(office.mailbox.mails) == 1
    history = (await handle.fetch_history()).to_json()
    for secret in ("s3cr3t", "json://", "example.com"):
        assert secret not in history


async def test_a_report_comes_when_its_schedule_fires(live_office: Office, client: Client) -> None:
    office = live_office
    who = await office.add_user()
    await office.notifying.scheduling.reconcile(who.user_id)
    schedule_id = report_schedule_id(who.user_id, Report.DAILY_SUMMARY.value)

    await client.get_schedule_handle(schedule_id).trigger()
    await until(lambda: office.mailbox.mails)

    assert str(office.mailbox.mails[0]["Subject"]).startswith("NIJA ")


async def test_a_schedule_keeps_its_hour_through_summer_time(
    workflows: TemporalNotifications, client: Client
) -> None:
    user_id = uuid4()
    time = ReportTime("Europe/Berlin", 8, 0, weekday=7)
    await workflows.schedule_report(user_id, Report.WEEKLY_REPORT, ReportTime("UTC", 3, 0))
    await workflows.schedule_report(user_id, Report.WEEKLY_REPORT, time)
    handle = client.get_schedule_handle(report_schedule_id(user_id, Report.WEEKLY_REPORT.value))

    async def is_moved() -> bool:
        return (await handle.describe()).schedule.spec.time_zone_name == "Europe/Berlin"

    await until(is_moved)
    times = (await handle.describe()).info.next_action_times

    local = [at.astimezone(ZoneInfo("Europe/Berlin")) for at in times]
    assert {(at.hour, at.minute, at.isoweekday()) for at in local} == {(8, 0, 7)}
    assert all(later - sooner < timedelta(days=8) for sooner, later in pairwise(times))

    calendars = (await handle.describe()).schedule.spec.calendars
    assert len(calendars) == 1, "eight o'clock is never skipped"
    night = ReportTime("Europe/Berlin", 2, 30)
    await workflows.schedule_report(user_id, Report.DAILY_SUMMARY, night)
    daily = client.get_schedule_handle(report_schedule_id(user_id, Report.DAILY_SUMMARY.value))
    skipped = (await daily.describe()).schedule.spec.calendars[1:]
    assert len(skipped) == 10
    assert {(one.month[0].start, one.hour[0].start) for one in skipped} == {(3, 3)}

    await workflows.cancel_report(user_id, Report.DAILY_SUMMARY)
    await workflows.cancel_report(user_id, Report.WEEKLY_REPORT)
    await workflows.cancel_report(user_id, Report.WEEKLY_REPORT)
    with pytest.raises(RPCError):
        await handle.describe()


async def test_a_zone_that_temporal_does_not_know_is_refused(
    workflows: TemporalNotifications, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.temporal.notifications.instead_of_skipped", lambda *_: ())

    with pytest.raises(ReportTimeRefused):
        await workflows.schedule_report(
            uuid4(), Report.DAILY_SUMMARY, ReportTime("Mars/Olympus", 8, 0)
        )
