"""A bot's exits: one workflow on the task queue of the exits worker, alive while any is due.

The rows own the facts. Whatever makes an exit due (a trigger that fired, a command, an alert, a
kill switch) commits that first, and wakes this workflow; the exits worker's own poll of the rows
wakes it where that was lost. It makes the exit orders that are due, sends each once, looks them up
until they are final, and ends when nothing is left. Entries, their worker and its task queue have
no part in it.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.exits import ExitActivities
    from domain.contracts.bots import Nudge
    from domain.contracts.exits import EXITS_WORKFLOW, SIGNAL_DUE, ExitsDue, ExitsInput
    from workflows import policies
    from workflows.execution import OrderExecution


@workflow.defn(name=EXITS_WORKFLOW)
class ExitWorkflow:
    """Make, send, look up; end when no exit is due."""

    @workflow.init
    def __init__(self, start: ExitsInput) -> None:
        self._bot = start.bot
        self._is_due = True
        self._view = ExitsDue()
        self._orders = OrderExecution(start.bot.user_id, self._order_ended)

    @workflow.run
    async def run(self, start: ExitsInput) -> None:
        """Go on until nothing is due; continue as new when the history has grown long."""
        while True:
            closing = workflow.info().get_current_history_length() >= policies.HISTORY_EVENTS_MAX
            if closing and not self._orders.is_sending:
                workflow.continue_as_new(start)
            if self._is_due:
                self._is_due = False
                self._view = await workflow.execute_local_activity_method(
                    ExitActivities.make_due, self._bot, **policies.EXITS
                )
                self._orders.carry_out(self._view.orders, closing=closing)
            if not self._is_due and not self._is_waiting():
                return
            await self._wait(closing=closing)

    @workflow.signal(name=SIGNAL_DUE)
    def due(self, nudge: Nudge) -> None:
        """An exit is due, or may be: read the rows."""
        self._is_due = True

    def _order_ended(self) -> None:
        self._is_due = True

    def _is_waiting(self) -> bool:
        return bool(self._orders.count) or self._view.recheck_seconds is not None

    async def _wait(self, *, closing: bool) -> None:
        """Until an exit is due, an order has ended, or the time of a repeated exit has come."""
        recheck = self._view.recheck_seconds
        timeout = None if recheck is None else timedelta(seconds=recheck)
        count = self._orders.count
        try:
            await workflow.wait_condition(
                lambda: (
                    self._is_due
                    or self._orders.count < count
                    or (closing and not self._orders.is_sending)
                ),
                timeout=timeout,
            )
        except TimeoutError:
            self._is_due = True
