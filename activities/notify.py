"""Delivering messages, and making reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity

from activities.beating import heartbeating
from domain.contracts.notifications import DeliverResult, NotifyInput, ReportInput, ReportResult
from domain.notifications import Report

if TYPE_CHECKING:
    from services.notifying.delivering import Delivering
    from services.notifying.reports import Reports


class NotifyActivities:
    """Delivering and reporting, one service call each."""

    def __init__(self, delivering: Delivering, reports: Reports) -> None:
        self._delivering = delivering
        self._reports = reports

    @activity.defn(name="notify.deliver")
    async def deliver(self, request: NotifyInput) -> DeliverResult:
        """Send what is due for a user; tell when to look again."""
        async with heartbeating():
            return await self._delivering.deliver(request.user_id)

    @activity.defn(name="notify.report")
    async def report(self, request: ReportInput) -> ReportResult:
        """Make the message of a report."""
        due_at = request.due_at or activity.info().scheduled_time
        async with heartbeating():
            return ReportResult(
                summary=await self._reports.make(request.user_id, Report(request.report), due_at)
            )
