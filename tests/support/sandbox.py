"""The sandbox that tests run workflows in: it fails them where they would not replay.

A worker in earnest runs them without: every activation would pay for a check of what tests have
checked. The modules passed through are deterministic and need not be loaded for each workflow.
"""

from __future__ import annotations

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

_PASSED_THROUGH = ("activities", "domain", "pydantic", "workflows.policies")


def sandboxed() -> SandboxedWorkflowRunner:
    """A runner for a worker or a replayer."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*_PASSED_THROUGH)
    return SandboxedWorkflowRunner(restrictions=restrictions)
