"""All that administrators are served with, put together."""

from __future__ import annotations

from dataclasses import dataclass

from domain.markets import Realm
from domain.ports import KillSwitchWorkflows, WallClock, WorkflowService
from services.admin.audit_logs import AuditLogs
from services.admin.metrics import PlatformMetrics
from services.admin.people import People
from services.admin.traffic import Traffic
from services.database import Database
from services.trading.kill_switches import KillSwitches


@dataclass(frozen=True, slots=True)
class Administration:
    """What looks and reaches across users; `traffic` counts what this process answers."""

    people: People
    platform_metrics: PlatformMetrics
    audit_logs: AuditLogs
    kill_switches: KillSwitches
    traffic: Traffic


def assemble(
    database: Database,
    workflows: WorkflowService,
    switches: KillSwitchWorkflows,
    clock: WallClock,
    *,
    realm: Realm,
) -> Administration:
    """Make all of it."""
    return Administration(
        people=People(database, workflows, clock, realm=realm),
        platform_metrics=PlatformMetrics(database, clock, realm=realm),
        audit_logs=AuditLogs(database, clock),
        kill_switches=KillSwitches(database, switches, clock),
        traffic=Traffic(database, clock),
    )
