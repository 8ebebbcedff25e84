"""Telling many workflows one after another, of which the workflow service may refuse one."""

from __future__ import annotations

from collections.abc import Awaitable

import structlog

from domain.ports import WorkflowServiceRefused

_log = structlog.get_logger("nija.workflows")


async def unless_refused(call: Awaitable[None], **about: object) -> None:
    """Make a call of the workflow service; a refusal is logged and keeps nobody after it.

    A service that is away is not asked for the others: that ends the caller's round.

    Raises:
        WorkflowServiceUnavailable: it did not answer.
    """
    try:
        await call
    except WorkflowServiceRefused as refused:
        _log.error("workflow.refused", why=str(refused), **{k: str(v) for k, v in about.items()})
