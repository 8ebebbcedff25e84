"""Contracts of the notification workflows."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from domain.contracts.base import Contract

NOTIFY_WORKFLOW = "notify"
REPORT_WORKFLOW = "report"


def notify_workflow_id(user_id: UUID) -> str:
    """The one workflow that delivers a user's messages."""
    return f"notify:{user_id}"


def report_schedule_id(user_id: UUID, report: str) -> str:
    """The one schedule of a user's report."""
    return f"{report}:{user_id}"


class NotifySignal(StrEnum):
    """Names of the signals; frozen, histories hold them."""

    LOOK = "look"


class NotifyInput(Contract):
    """Whose messages."""

    user_id: UUID


class DeliverResult(Contract):
    """When to look again; None when nothing is left to send."""

    wait_seconds: float | None = None
    summary: str = ""


class ReportInput(Contract):
    """Which report of whom, and when it was due."""

    user_id: UUID
    report: str
    due_at: datetime | None = None


class ReportResult(Contract):
    """What became of it."""

    summary: str = ""
