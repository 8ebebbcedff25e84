"""Writing the files of exports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio import activity

from activities.beating import heartbeating
from domain.contracts.exports import ExportInput, ExportResult

if TYPE_CHECKING:
    from services.exports.writing import ExportWriting


class ExportActivities:
    """Writing and giving up, one service call each."""

    def __init__(self, writing: ExportWriting) -> None:
        self._writing = writing

    @activity.defn(name="exports.write")
    async def write(self, request: ExportInput) -> ExportResult:
        """Write the file of an export, from its beginning."""
        async with heartbeating():
            return await self._writing.write(request.user_id, request.export_id)

    @activity.defn(name="exports.give_up")
    async def give_up(self, request: ExportInput) -> ExportResult:
        """Say that an export failed."""
        async with heartbeating():
            return await self._writing.give_up(request.user_id, request.export_id)
