"""The product's own Temporal client over a connection that a test has."""

from __future__ import annotations

from temporalio.client import Client

from adapters.temporal.client import TemporalWorkflows


def connected(client: Client, task_queue: str) -> TemporalWorkflows:
    """A client of the product for a task queue; it has no need to connect."""
    workflows = TemporalWorkflows("", "default", task_queue)
    workflows._client = client
    return workflows
