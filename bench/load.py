"""The load generator, in a process of its own: `python -m bench.load` reads its task as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

from bench.figures import percentile
from bench.http import Connection, HttpFailed, prepared

OK = 200


@dataclass(frozen=True)
class Task:
    """What to ask for, and how hard."""

    url: str
    path: str
    authorization: str
    connections: int = 16
    warmup_seconds: float = 10.0
    measured_seconds: float = 20.0


async def generate(task: Task) -> dict[str, Any]:
    """Keep every connection busy; closed loop, so the rate is what the server can do."""
    starts_at = time.perf_counter() + task.warmup_seconds
    ends_at = starts_at + task.measured_seconds
    latencies: list[float] = []
    request = prepared("GET", task.path, headers={"Authorization": task.authorization})

    async def keep_asking() -> None:
        connection = await Connection.open(task.url)
        while True:
            began = time.perf_counter()
            if began >= ends_at:
                break
            status, body = await connection.exchange(request)
            if status != OK:
                raise HttpFailed(f"{status}: {body[:300]!r}")
            ended = time.perf_counter()
            if began >= starts_at and ended <= ends_at:
                latencies.append((ended - began) * 1000)
        connection.close()

    await asyncio.gather(*(keep_asking() for _ in range(task.connections)))
    return {
        "requests_per_second": round(len(latencies) / task.measured_seconds, 1),
        "p50_ms": round(percentile(latencies, 50), 1),
        "p99_ms": round(percentile(latencies, 99), 1),
        "max_ms": round(max(latencies), 1),
        "requests": len(latencies),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(generate(Task(**json.load(sys.stdin))))))
