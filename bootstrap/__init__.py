"""From settings to running objects: the only place that knows concrete classes.

Two containers: what a worker needs and what the API needs. Both are async context managers, so
that whatever they opened is closed again.
"""

from bootstrap.api import ApiContainer, build_container
from bootstrap.ground import MissingSetting
from bootstrap.memory import settle_memory
from bootstrap.notifying import open_delivery
from bootstrap.people import ensure_people
from bootstrap.worker import WorkerContainer, build_worker

__all__ = [
    "ApiContainer",
    "MissingSetting",
    "WorkerContainer",
    "build_container",
    "build_worker",
    "ensure_people",
    "open_delivery",
    "settle_memory",
]
