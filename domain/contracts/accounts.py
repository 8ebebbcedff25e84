"""Contracts of the workflow that deletes an account."""

from __future__ import annotations

from uuid import UUID

from domain.contracts.base import Contract

DELETION_WORKFLOW = "account_deletion"


def deletion_workflow_id(user_id: UUID) -> str:
    """The one workflow that deletes a user's account."""
    return f"account-deletion:{user_id}"


class DeletionInput(Contract):
    """Whose account."""

    user_id: UUID


class DeletionStep(Contract):
    """When to look again; None when all is done."""

    wait_seconds: float | None = None
    summary: str = ""
