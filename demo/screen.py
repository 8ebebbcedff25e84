"""How the story looks in a terminal: calm sections, one line an event, a chart, two tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.rule import Rule
from rich.status import Status
from rich.table import Table
from rich.text import Text

from demo.books import Fill
from demo.chart import braille, column_of
from demo.chronicle import Event, Kind
from demo.report import Report, Row

_STYLES: Final[Mapping[Kind, str]] = {
    Kind.QUIET: "dim",
    Kind.DECISION: "bold cyan",
    Kind.FILL: "cyan",
    Kind.STOP: "yellow",
    Kind.GAIN: "bold green",
    Kind.LOSS: "bold red",
}
_INDENT: Final = (0, 0, 0, 2)
_CHART_WIDTH, _CHART_HEIGHT = 64, 9
_WIDTH_MAX: Final = 110
_NAMES: Final = {
    "trades": "Trades",
    "win_rate": "Win rate",
    "gross": "Gross P&L",
    "fees": "Fees",
    "net": "Net P&L",
    "max_drawdown": "Max drawdown",
    "equity": "Equity",
}
_COUNTS: Final = frozenset({"trades"})
_RATES: Final = frozenset({"win_rate"})


class Screen:
    """Everything that is printed."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._console.width = min(self._console.width, _WIDTH_MAX)

    def section(self, title: str) -> None:
        """Begin a chapter."""
        self._console.print()
        self._console.print(Rule(f"[bold]{escape(title)}", align="left", style="dim"))

    def say(self, sentence: str) -> None:
        """A sentence of the story; long ones wrap under themselves."""
        self._console.print(Padding(Text(sentence), _INDENT))

    def fact(self, name: str, value: object) -> None:
        """A name and its value, on one line however long, so that it can be copied."""
        line = Text.assemble("  ", (f"{name:<17} ", "dim"), str(value))
        self._console.print(line, soft_wrap=True)

    def event(self, event: Event) -> None:
        """One thing that happened; long sentences wrap under themselves."""
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(style="dim", no_wrap=True, min_width=len("00:00"))
        quiet = event.kind is Kind.QUIET
        line.add_column(style=_STYLES[event.kind], no_wrap=quiet, overflow="ellipsis")
        line.add_row(f"{event.at:%H:%M}", Text(event.text))
        self._console.print(Padding(line, _INDENT))

    def complain(self, sentence: str) -> None:
        """Something is wrong."""
        self._console.print(sentence, style="bold red", markup=False, soft_wrap=True)

    @contextmanager
    def waiting(self, what: str) -> Iterator[Status]:
        """Show that something takes a while; nothing where nobody looks."""
        with self._console.status(what, spinner="dots") as status:
            yield status

    # --- the report -------------------------------------------------------------------------

    def report(self, report: Report, fills: Sequence[Fill], started_at: datetime) -> None:
        """The trades, the curve, and the figures by three ways."""
        self._console.print(Padding(_trades_table(report.trades), _INDENT))
        self._console.print()
        self._curve(report.curve, fills, started_at)
        self._console.print()
        self._console.print(Padding(_figures_table(report.rows), _INDENT))

    def _curve(self, curve: Sequence[Decimal], fills: Sequence[Fill], started_at: datetime) -> None:
        lines = braille(curve, _CHART_WIDTH, _CHART_HEIGHT)
        labels = {0: max(curve), len(lines) - 1: min(curve)}
        color = "green" if curve[-1] >= curve[0] else "red"
        self.say("Equity in USD, minute by minute")
        for number, line in enumerate(lines):
            label = f"{labels[number]:,.2f}" if number in labels else ""
            text = Text.assemble((f"{label:>10} ", "dim"), (line, color))
            self._console.print(Padding(text, _INDENT))
        marks = _marks(fills, started_at, len(curve))
        self._console.print(Padding(Text(f"{'':>11}{marks}", "dim"), _INDENT))
        ends_at = started_at + timedelta(minutes=len(curve) - 1)
        clock = f"{started_at:%H:%M}".ljust(_CHART_WIDTH - 5) + f"{ends_at:%H:%M}"
        self._console.print(Padding(Text(f"{'':>11}{clock}", "dim"), _INDENT))
        self._console.print(Padding(Text(f"{'':>11}▲ bought  ▼ sold", "dim"), _INDENT))


def _marks(fills: Sequence[Fill], started_at: datetime, count: int) -> str:
    marks = [" "] * _CHART_WIDTH
    for fill in fills:
        minute = int((fill.time - started_at).total_seconds() // 60)
        column = column_of(min(max(minute, 0), count - 1), count, _CHART_WIDTH)
        mark = "▲" if fill.is_buy else "▼"
        marks[column] = "◆" if marks[column] not in {" ", mark} else mark
    return "".join(marks).rstrip()


def _trades_table(trades: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("pair", "opened", "closed", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("size", "entry", "exit", "gross", "fees", "net"):
        table.add_column(name, justify="right")
    table.add_column("left by", no_wrap=True)
    for trade in trades:
        table.add_row(
            trade["symbol"],
            _clock(trade["opened_at"]),
            _clock(trade["closed_at"]),
            f"{trade['size_usd']:.2f}",
            _price(trade["entry_price"]),
            _price(trade["exit_price"]),
            f"{trade['realized_pnl']:+.2f}",
            f"{trade['fees']:.2f}",
            f"[{'green' if trade['net_pnl'] > 0 else 'red'}]{trade['net_pnl']:+.2f}",
            str(trade["exit_reason"] or trade["status"]).replace("_", " "),
        )
    return table


def _figures_table(rows: Sequence[Row]) -> Table:
    table = Table("", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name in ("API", "fills re-added", "exchange"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in rows:
        table.add_row(
            _NAMES[row.name],
            *(_figure(row.name, value) for value in (row.api, row.fills, row.balance)),
            "[green]equal" if row.is_equal else "[bold red]DIFFERENT",
        )
    return table


def _figure(name: str, value: Decimal | None) -> str:
    if value is None:
        return ""
    if name in _COUNTS:
        return str(value)
    return f"{value:.2%}" if name in _RATES else f"{value:,.8f}"


def _clock(time: str | None) -> str:
    return "" if time is None else f"{datetime.fromisoformat(time):%H:%M}"


def _price(price: Decimal | None) -> str:
    return "" if price is None else f"{price:,.2f}"
