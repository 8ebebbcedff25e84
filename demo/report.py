"""The end of the story: the platform's figures beside the exchange's own books."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from demo.books import RoundTrip, Totals, as_shown
from demo.exchange import Books
from demo.scenario import DEPOSIT, Scenario

_RATE_PLACES = Decimal("0.0001")
_CASH = "USD"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure by each of three ways to know it; None where a way does not tell it."""

    name: str
    api: Decimal
    fills: Decimal | None
    balance: Decimal | None = None

    @property
    def is_equal(self) -> bool:
        """Whether all that is known agrees."""
        return all(other in {None, self.api} for other in (self.fills, self.balance))


@dataclass(frozen=True, slots=True)
class Report:
    """What was shown, and whether it adds up.

    Attributes:
        scenario: what was shown.
        rows: the figures.
        trades: as the API lists them.
        paper_trades: of the twin on paper.
        curve: equity minute by minute, as the API told it.
        differences: in words; empty when everything agrees.
        seconds: how long it took.
    """

    scenario: Scenario
    rows: Sequence[Row]
    trades: Sequence[Mapping[str, Any]]
    paper_trades: Sequence[Mapping[str, Any]]
    curve: Sequence[Decimal]
    differences: Sequence[str]
    seconds: float

    @property
    def is_sound(self) -> bool:
        """Whether there was a round trip, and every figure agrees."""
        return bool(self.trades) and not self.differences

    def write(self, path: Path) -> None:
        """Write it down for machines; decimals as strings, exact."""
        path.write_text(
            json.dumps(
                {
                    "scenario": self.scenario.name,
                    "sound": self.is_sound,
                    "differences": list(self.differences),
                    "figures": {
                        row.name: {
                            "api": str(row.api),
                            "fills": _text(row.fills),
                            "balance": _text(row.balance),
                        }
                        for row in self.rows
                    },
                    "trades": [_plain(trade) for trade in self.trades],
                    "paper_trades": [_plain(trade) for trade in self.paper_trades],
                    "equity_curve": [str(value) for value in self.curve],
                    "seconds": round(self.seconds, 1),
                },
                indent=2,
            )
            + "\n",
            encoding="utf-8",
        )


def compare(
    metrics: Mapping[str, Any], balance: Mapping[str, Any], by_hand: Totals, books: Books
) -> list[Row]:
    """The figures, each by every way to know it.

    Args:
        metrics: of the API's performance.
        balance: of the API.
        by_hand: the exchange's fills, added up.
        books: the exchange's balances.
    """
    cash = books.balances.get(_CASH, Decimal(0))
    deposit = Decimal(DEPOSIT)
    return [
        Row("trades", _number(metrics["total_trades"]), Decimal(by_hand.trades)),
        Row(
            "win_rate",
            _number(metrics["win_rate"]).quantize(_RATE_PLACES),
            by_hand.win_rate.quantize(_RATE_PLACES),
        ),
        Row("gross", _amount(metrics["total_pnl"]), as_shown(by_hand.gross)),
        Row("fees", _amount(metrics["total_fees"]), as_shown(by_hand.fees)),
        Row("net", _amount(metrics["net_pnl"]), as_shown(by_hand.net), as_shown(cash - deposit)),
        Row("max_drawdown", _amount(metrics["max_drawdown"]), as_shown(by_hand.max_drawdown)),
        Row(
            "equity",
            _amount(balance["equity"]),
            as_shown(deposit + by_hand.net),
            as_shown(cash),
        ),
    ]


def differences(
    rows: Sequence[Row],
    trades: Sequence[Mapping[str, Any]],
    trips: Sequence[RoundTrip],
    books: Books,
) -> list[str]:
    """Everything that does not agree, in words."""
    found = [
        f"{row.name}: API {row.api}, fills {row.fills}, balance {row.balance}"
        for row in rows
        if not row.is_equal
    ]
    found += [
        f"the exchange still holds {total} {currency}"
        for currency, total in books.balances.items()
        if currency != _CASH and total
    ]
    return [*found, *_unequal_trades(trades, trips)]


def twin_differences(
    live: Sequence[Mapping[str, Any]], paper: Sequence[Mapping[str, Any]]
) -> list[str]:
    """How trades on paper differ from the live ones of the same rules, in words."""
    ours, theirs = ([_essence(trade) for trade in trades] for trades in (live, paper))
    return [] if ours == theirs else [f"twin: live {ours}, paper {theirs}"]


def _essence(trade: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes two trades the same, whoever made them."""
    names = ("symbol", "opened_at", "closed_at", "exit_reason")
    amounts = ("quantity", "entry_price", "exit_price", "realized_pnl", "fees")
    return (*(trade[name] for name in names), *(_amount(trade[name]) for name in amounts))


def _unequal_trades(
    trades: Sequence[Mapping[str, Any]], trips: Sequence[RoundTrip]
) -> Iterator[str]:
    listed = sorted(
        (
            trade["symbol"],
            _amount(trade["quantity"]),
            _amount(trade["realized_pnl"]),
            _amount(trade["fees"]),
        )
        for trade in trades
        if trade["status"] == "closed"
    )
    added = sorted(
        (trip.symbol, as_shown(trip.quantity), as_shown(trip.gross), as_shown(trip.fees))
        for trip in trips
    )
    if listed != added:
        yield f"trades: API {listed}, fills {added}"


def _amount(value: object) -> Decimal:
    return as_shown(_number(value))


def _number(value: object) -> Decimal:
    return Decimal(str(value))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _plain(trade: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Decimal) else value for name, value in trade.items()
    }
