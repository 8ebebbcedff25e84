"""Stands for a venue's watch in Temporal; the exits workers keep the watch itself without it."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.markets import MarketActivities
    from domain.contracts.bots import WatchInput
    from domain.contracts.exits import exits_task_queue
    from workflows import policies


@workflow.defn(name="watch")
class WatchWorkflow:
    """One for each venue and realm; ends its activity every few minutes: short histories."""

    @workflow.run
    async def run(self, request: WatchInput) -> None:
        """Follow it, then continue as new, in the exits worker if this began in the main one."""
        await workflow.execute_activity_method(
            MarketActivities.watch,
            request,
            summary=f"prices of {request.venue} ({request.realm})",
            **policies.WATCH,
        )
        workflow.continue_as_new(request, task_queue=exits_task_queue(workflow.info().task_queue))
