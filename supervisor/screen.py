"""What a person sees of a running stack: one table, then what happens."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from settings import Settings
from supervisor.activity import Activity, ActivityEvent, Feed
from supervisor.stack import Stack

LIVE_EVENTS = 15


def welcome(stack: Stack, settings: Settings) -> Table:
    """Where everything is."""
    table = Table(title="NIJA is running", title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(stack, settings).items():
        table.add_row(name, escape(value))
    return table


def _rows(stack: Stack, settings: Settings) -> Mapping[str, str]:
    assert stack.info is not None, "shown once it runs"
    info, ports = stack.info, stack.plan.ports
    rows = {
        "API": f"{info.api_url}/api/v1",
        "Metrics": info.metrics_url,
        "Temporal": info.temporal_address,
        "Temporal UI": info.temporal_ui_url,
        "PostgreSQL": f"127.0.0.1:{ports.postgres}" if ports.postgres else "given",
        "Exchange simulator": info.simulator_url,
        "Venues": "coinbase (simulated)" if settings.venues == "simulated" else "coinbase (real)",
        "Demo login": f"{info.demo_email}  {info.demo_password}" if info.demo_email else None,
        "Admin login": f"{info.admin_email}  (password in run.json)",
        "Data folder": str(settings.data_dir.expanduser().resolve()),
    }
    return {name: value for name, value in rows.items() if value is not None}


async def show_activity(console: Console, feed: Feed) -> None:
    """Show what happens until cancelled: a live view on a terminal, else a line an event."""
    if console.is_terminal:
        await _live(console, feed)
    else:
        await _lines(console, feed)


async def _live(console: Console, feed: Feed) -> None:
    latest: deque[ActivityEvent] = deque(maxlen=LIVE_EVENTS)
    with Live(console=console, auto_refresh=False) as live:
        async for look in feed.looks():
            latest.extend(look["events"])
            events = Table.grid(padding=(0, 2))
            for event in latest:
                events.add_row(*_cells(event))
            hint = "[dim]Ctrl-C stops everything; the data is kept."
            live.update(Group(_summary(look), events, hint), refresh=True)


async def _lines(console: Console, feed: Feed) -> None:
    async for look in feed.looks():
        for event in look["events"]:
            console.print("  ".join(_cells(event)), soft_wrap=True, highlight=False)


def _summary(look: Activity) -> str:
    bots = ", ".join(f"{count} {state}" for state, count in sorted(look["bots"].items()))
    equity = f", equity {look['equity']:,.2f} USD" if look["equity"] is not None else ""
    return f"[bold]Bots:[/] {escape(bots) or 'none yet'}{equity}"


def _cells(event: ActivityEvent) -> tuple[str, str, str]:
    return f"{event['at']:%H:%M:%S}", escape(event["kind"]), escape(event["text"])
