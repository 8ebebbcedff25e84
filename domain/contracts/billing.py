"""Contracts of the billing workflows."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from domain.contracts.base import Contract

SUBSCRIPTION_WORKFLOW = "subscription"
STRIPE_EVENT_WORKFLOW = "stripe_event"


def subscription_workflow_id(user_id: UUID) -> str:
    """The one workflow of a user's subscription."""
    return f"subscription:{user_id}"


def stripe_event_workflow_id(event_id: str) -> str:
    """The one workflow of a stored event."""
    return f"stripe-event:{event_id}"


class SubscriptionSignal(StrEnum):
    """Names of the signals a subscription takes; frozen, histories hold them."""

    LOOK = "look"


class SubscriptionInput(Contract):
    """Whose subscription."""

    user_id: UUID


class TendResult(Contract):
    """When to look again; None when nothing is left to wait for."""

    wait_seconds: float | None = None
    summary: str = ""


class StripeEventInput(Contract):
    """Which stored event."""

    event_id: str


class StripeEventResult(Contract):
    """What became of it."""

    summary: str = ""
