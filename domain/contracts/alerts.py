"""Contracts of the workflow that follows an alert."""

from __future__ import annotations

from uuid import UUID

from domain.contracts.base import Contract

SIGNAL_WORKFLOW = "signal"


def signal_workflow_id(alert_id: UUID) -> str:
    """The one workflow of an alert."""
    return f"signal:{alert_id}"


class SignalInput(Contract):
    """Which alert, and whose."""

    user_id: UUID
    alert_id: UUID


class SignalResult(Contract):
    """Where the alert stands; `wait_seconds` until the next look, None when it is at its end."""

    wait_seconds: float | None = None
    state: str = ""
    reason: str = ""
