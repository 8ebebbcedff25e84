"""Contracts of the workflow that carries out a bot's exits, in a worker process of its own."""

from __future__ import annotations

from uuid import UUID

from domain.contracts.base import Contract
from domain.contracts.bots import BotRef, OrderTask

EXITS_WORKFLOW = "exits"
SIGNAL_DUE = "due"
_QUEUE_SUFFIX = "-exits"


def exits_workflow_id(bot_id: UUID) -> str:
    """The one workflow of a bot's exits."""
    return f"exits:{bot_id}"


def exits_task_queue(task_queue: str) -> str:
    """The task queue of the exits worker beside the one of the main worker."""
    return task_queue if task_queue.endswith(_QUEUE_SUFFIX) else f"{task_queue}{_QUEUE_SUFFIX}"


class ExitsInput(Contract):
    """What the workflow is started with."""

    bot: BotRef


class ExitsDue(Contract):
    """A bot's live exit orders, and the wait before more of them are made.

    `recheck_seconds` is None where no exit waits: neither one to be repeated nor one whose position
    was locked by another transaction.
    """

    orders: tuple[OrderTask, ...] = ()
    recheck_seconds: float | None = None
