"""Contracts of the export workflow."""

from __future__ import annotations

from uuid import UUID

from domain.contracts.base import Contract

EXPORT_WORKFLOW = "export"


def export_workflow_id(export_id: UUID) -> str:
    """The one workflow of an export."""
    return f"export:{export_id}"


class ExportInput(Contract):
    """Whose export, and which."""

    user_id: UUID
    export_id: UUID


class ExportResult(Contract):
    """What became of it: the state of its row."""

    state: str = ""
    rows: int = 0
