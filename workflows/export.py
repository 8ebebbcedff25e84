"""Carries one export out, however often a worker dies over it."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.export import ExportActivities
    from domain.contracts.exports import EXPORT_WORKFLOW, ExportInput, ExportResult
    from workflows import policies


@workflow.defn(name=EXPORT_WORKFLOW)
class ExportWorkflow:
    """One for each export; its row tells what became of it."""

    @workflow.run
    async def run(self, request: ExportInput) -> ExportResult:
        """Write the file; after the last attempt say that it failed."""
        try:
            return await workflow.execute_activity_method(
                ExportActivities.write, request, **policies.EXPORT
            )
        except ActivityError:
            return await workflow.execute_activity_method(
                ExportActivities.give_up, request, **policies.GUARD
            )
