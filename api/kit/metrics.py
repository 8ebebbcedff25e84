"""Prometheus metrics of the HTTP side, served on a port of their own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    start_http_server,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import Scope

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_seconds = Histogram(
    "nija_http_request_seconds", "Time to answer", ("method", "route"), buckets=_BUCKETS
)
_answers = Counter("nija_http_responses_total", "Answers", ("method", "route", "status"))


def observe(scope: Scope, status: int, seconds: float) -> None:
    """Count an answered request under its route's template, never under its path."""
    method = scope["method"] if scope["method"] in _METHODS else "OTHER"
    route = route_of(scope)
    _seconds.labels(method, route).observe(seconds)
    _answers.labels(method, route, str(status)).inc()


def route_of(scope: Scope) -> str:
    """The template of the route that served a request."""
    path = getattr(scope.get("route"), "path", None)
    return f"{scope.get('root_path', '')}{path}" if path else "unmatched"


def serve_metrics(host: str, port: int) -> None:
    """Serve this process's metrics."""
    start_http_server(port, addr=host)


def share_metrics_of_processes(host: str, port: int, data_dir: Path) -> None:
    """Serve the sum of several processes' metrics; they find the folder in their environment.

    Called by the parent, before it starts the processes that count.
    """
    folder = data_dir / "metrics"
    shutil.rmtree(folder, ignore_errors=True)  # counts of an earlier run
    folder.mkdir(parents=True)
    os.environ[MULTIPROCESS_VARIABLE] = str(folder)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library is untyped here
    start_http_server(port, addr=host, registry=registry)


def is_shared() -> bool:
    """Whether a parent process serves this one's metrics."""
    return MULTIPROCESS_VARIABLE in os.environ
