"""Contracts of the kill switch's workflow: telling everybody, flattening, verifying."""

from __future__ import annotations

from uuid import UUID

from domain.contracts.base import Contract

KILL_SWITCH_WORKFLOW = "kill_switch"
SIGNAL_CHANGED = "changed"


def kill_switch_workflow_id(switch_id: UUID) -> str:
    """The one workflow of a kill switch."""
    return f"kill-switch:{switch_id}"


class KillSwitchCounts(Contract):
    """What the telling has come to. `untold`: bots that the sweeper tells, once it can."""

    bots: int = 0
    untold: int = 0

    def plus(self, other: KillSwitchCounts) -> KillSwitchCounts:
        """The sums of both."""
        return KillSwitchCounts(bots=self.bots + other.bots, untold=self.untold + other.untold)


class KillSwitchInput(Contract):
    """Which switch, and how far an earlier run of this workflow came with its revision."""

    switch_id: UUID
    revision: int = 0
    after: UUID | None = None
    counts: KillSwitchCounts = KillSwitchCounts()


class KillSwitchRound(Contract):
    """A revision that bots and users are to be told of; `is_due` is false when all were."""

    switch_id: UUID
    revision: int
    is_due: bool = True
    flatten: bool = False


class KillSwitchPageInput(Contract):
    """Ask for the next page of bots, those after the one named."""

    round: KillSwitchRound
    after: UUID | None = None


class KillSwitchPage(Contract):
    """A page of bots was told; `last` is None after the last page.

    `superseded` says that the switch has changed since: the round is not worth finishing.
    """

    last: UUID | None = None
    superseded: bool = False
    counts: KillSwitchCounts = KillSwitchCounts()


class KillSwitchLook(Contract):
    """What is left to wait for."""

    open_positions: int = 0
    sends_in_flight: int = 0
    superseded: bool = False


class KillSwitchEnd(Contract):
    """How a round ended."""

    round: KillSwitchRound
    counts: KillSwitchCounts
    look: KillSwitchLook
