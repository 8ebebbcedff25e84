"""From settings to running objects: the only place that knows concrete classes.

A container for each kind of process: the API, the main worker, the exits worker. They are async
context managers, so that whatever they opened is closed again.
"""

from bootstrap.api import ApiContainer, build_container
from bootstrap.core import MissingSetting
from bootstrap.exits import ExitsContainer, build_exits
from bootstrap.memory import settle_memory
from bootstrap.notifying import open_delivery
from bootstrap.people import ensure_people
from bootstrap.readiness import Readiness
from bootstrap.worker import WorkerContainer, build_worker

__all__ = [
    "ApiContainer",
    "ExitsContainer",
    "MissingSetting",
    "Readiness",
    "WorkerContainer",
    "build_container",
    "build_exits",
    "build_worker",
    "ensure_people",
    "open_delivery",
    "settle_memory",
]
