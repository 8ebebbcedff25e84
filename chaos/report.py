"""The figures of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.figures import spread
from chaos.alerts import Alerts
from chaos.commands import Commands
from chaos.delays import StopDelay
from chaos.faults import Faults
from chaos.killer import Killer
from chaos.records import Records
from chaos.uptime import Uptime

if TYPE_CHECKING:
    from chaos.run import Options


def figures(
    options: Options,
    records: Records,
    uptime: Uptime,
    killer: Killer,
    alerts: Alerts,
    commands: Commands,
    faults: Faults,
    delays: Sequence[StopDelay],
    seconds: float,
) -> dict[str, Any]:
    """Counts, and latencies in seconds."""
    venue = [account.venue for account in records.accounts if account.venue is not None]
    return {
        "seed": options.seed,
        "bots": options.bots,
        "minutes": round(seconds / 60, 1),
        "kills": {**dict(sorted(killer.kills.items())), "all": killer.kills.total()},
        "strikes": dict(sorted(killer.moments.items())),
        "recovery_s": {
            name: spread(values, digits=2) for name, values in sorted(uptime.recoveries.items())
        },
        "orders": {
            "live": sum(len(account["orders"]) for account in venue),
            "paper": len(records.all("paper_orders")),
            **_states(records, "orders"),
        },
        "fills": {
            "live": sum(len(account["fills"]) for account in venue),
            "paper": len(records.all("paper_fills")),
        },
        "positions": {
            **_states(records, "positions"),
            "left by": dict(
                Counter(
                    row["exit_reason"]
                    for row in records.all("positions")
                    if row["exit_reason"] is not None
                )
            ),
        },
        "alerts": {
            **dict(alerts.sent),
            **_states(records, "alerts"),
            "acknowledged_s": spread(list(alerts.acknowledged.values()), digits=3),
            "received_to_decided_s": spread(_decided_after(records), digits=3),
        },
        "commands": {
            **dict(sorted(commands.given.items())),
            "promises": len(commands.bans),
            "answered_s": spread(commands.seconds, digits=3),
        },
        "faults": {"given": faults.given.total(), "that acted": faults.hits.total()},
        "faults_that_acted": dict(sorted(faults.hits.items())),
        "stops": {
            "crossed": len(delays),
            "to_the_venue_s": spread([delay.seconds for delay in delays], digits=2),
            "lost_and_sent_again_s": spread(
                [delay.lost_seconds for delay in delays if delay.lost_seconds is not None],
                digits=2,
            ),
        },
    }


def _states(records: Records, table: str) -> dict[str, int]:
    return dict(sorted(Counter(row["state"] for row in records.all(table)).items()))


def _decided_after(records: Records) -> list[float]:
    return [
        (row["decided_at"] - row["received_at"]).total_seconds()
        for row in records.all("alerts")
        if row["decided_at"] is not None
    ]
