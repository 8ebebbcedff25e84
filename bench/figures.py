"""Percentiles, the machine, and how results are shown and kept."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results.json"


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of all values do not exceed; nan without any."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    index = max(0, -(-len(ordered) * percent // 100) - 1)
    return ordered[int(index)]


def spread(values: Sequence[float], *, digits: int = 1) -> dict[str, float | int]:
    """Count, median, p99 and maximum."""
    return {
        "count": len(values),
        "p50": round(percentile(values, 50), digits),
        "p99": round(percentile(values, 99), digits),
        "max": round(max(values, default=float("nan")), digits),
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "temporalio": version("temporalio"),
        "fastapi": version("fastapi"),
        "psycopg": version("psycopg"),
    }


def show(console: Console, title: str, result: Mapping[str, Any]) -> None:
    """One table; nested figures are named by their path."""
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _flat(result):
        table.add_row(name, str(value))
    console.print(table)


def keep(part: str, result: Mapping[str, Any]) -> None:
    """Write a part's result beside those of the other parts."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[part] = {"machine": machine(), **result}
    RESULTS.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")


def _flat(result: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in result.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, value))
    return rows
