"""Telling everybody of a kill switch. The switch itself is a row and holds without this workflow.

A round takes one revision of the row (engaged, escalated to flattening, released) to every bot it
covers, page by page: intended entries are cancelled, positions are asked to leave where that is
wished, users are told. Then it looks until everything is flat, or has waited long enough, and
stores what came of it. It ends when the row has no revision left that was not told.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.kill_switch import KillSwitchActivities
    from domain.contracts.kill_switches import (
        KILL_SWITCH_WORKFLOW,
        SIGNAL_CHANGED,
        KillSwitchCounts,
        KillSwitchEnd,
        KillSwitchInput,
        KillSwitchLook,
        KillSwitchPageInput,
        KillSwitchRound,
    )
    from workflows import policies

LOOK_DELAY_FIRST = timedelta(seconds=1)
LOOK_DELAY_MAX = timedelta(seconds=15)
FLAT_PATIENCE = timedelta(minutes=10)
"""How long a round waits for flat books before it reports what is still open."""


@workflow.defn(name=KILL_SWITCH_WORKFLOW)
class KillSwitchWorkflow:
    """Tell, verify, report; once for each revision of the switch."""

    def __init__(self) -> None:
        self._is_changed = False

    @workflow.signal(name=SIGNAL_CHANGED)
    def changed(self) -> None:
        """The row has a new revision, or may have: look again before ending."""
        self._is_changed = True

    @workflow.run
    async def run(self, request: KillSwitchInput) -> None:
        """Go on until nothing is left to tell."""
        progress = request
        while True:
            self._is_changed = False
            due = await workflow.execute_activity_method(
                KillSwitchActivities.begin,
                request.switch_id,
                summary="what is to be told",
                **policies.KILL_SWITCH,
            )
            if not due.is_due:
                if self._is_changed:
                    continue
                return
            counts = await self._tell(due, progress)
            progress = KillSwitchInput(switch_id=request.switch_id)
            look = None if counts is None else await self._verify(due)
            if counts is not None and look is not None and not look.superseded:
                await workflow.execute_activity_method(
                    KillSwitchActivities.finish,
                    KillSwitchEnd(round=due, counts=counts, look=look),
                    summary="report",
                    **policies.KILL_SWITCH,
                )
            if self._history_is_long():
                workflow.continue_as_new(progress)

    async def _tell(
        self, due: KillSwitchRound, progress: KillSwitchInput
    ) -> KillSwitchCounts | None:
        """Tell every bot; None when the switch changed on the way."""
        goes_on = progress.revision == due.revision
        after = progress.after if goes_on else None
        counts = progress.counts if goes_on else KillSwitchCounts()
        while True:
            page = await workflow.execute_activity_method(
                KillSwitchActivities.tell,
                KillSwitchPageInput(round=due, after=after),
                summary="a page of bots",
                **policies.KILL_SWITCH,
            )
            counts, after = counts.plus(page.counts), page.last
            if page.superseded:
                return None
            workflow.set_current_details(f"{counts.bots} bots told")
            if after is None:
                return counts
            if self._history_is_long():
                workflow.continue_as_new(
                    KillSwitchInput(
                        switch_id=due.switch_id,
                        revision=due.revision,
                        after=after,
                        counts=counts,
                    )
                )

    async def _verify(self, due: KillSwitchRound) -> KillSwitchLook:
        """Look until sends have ended and, when flattening, nothing is open."""
        began, delay = workflow.now(), LOOK_DELAY_FIRST
        while True:
            # A change before this look is seen by it, one after it ends the delay.
            self._is_changed = False
            look = await workflow.execute_activity_method(
                KillSwitchActivities.look, due, summary="is it flat", **policies.KILL_SWITCH
            )
            left = look.sends_in_flight + (look.open_positions if due.flatten else 0)
            workflow.set_current_details(
                f"{look.open_positions} positions open, {look.sends_in_flight} sends in flight"
            )
            if look.superseded or not left or workflow.now() - began >= FLAT_PATIENCE:
                return look
            with suppress(TimeoutError):
                await workflow.wait_condition(lambda: self._is_changed, timeout=delay)
            delay = min(delay * 2, LOOK_DELAY_MAX)

    def _history_is_long(self) -> bool:
        return workflow.info().get_current_history_length() >= policies.HISTORY_EVENTS_MAX
