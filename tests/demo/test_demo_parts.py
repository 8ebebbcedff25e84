"""The parts of the demonstration that need no stack."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from demo.books import Fill, deepest_fall, round_trips, totals
from demo.chart import braille, column_of
from demo.scenario import recorded, seeded

START = datetime(2018, 4, 5, 9, tzinfo=UTC)


def fill(number: int, side: str, price: str, size: str, symbol: str = "ETH-USD") -> Fill:
    value = Decimal(price) * Decimal(size)
    return Fill(
        trade_id=str(number),
        symbol=symbol,
        side=side,
        price=Decimal(price),
        size=Decimal(size),
        fee=value / 1000,
        time=START + timedelta(minutes=number),
        sequence=number,
    )


def test_a_trip_is_over_when_flat() -> None:
    trips = round_trips(
        [
            fill(1, "buy", "100", "2"),
            fill(2, "buy", "50", "1", symbol="LTC-USD"),
            fill(3, "sell", "110", "0.5"),
            fill(4, "sell", "90", "1.5"),
            fill(5, "buy", "100", "1"),
        ]
    )

    assert [(trip.symbol, trip.quantity) for trip in trips] == [("ETH-USD", Decimal(2))]
    assert trips[0].gross == Decimal(-10)
    assert trips[0].fees == Decimal("0.39")
    assert trips[0].net == Decimal("-10.39")


def test_totals_count_wins_after_fees() -> None:
    trips = round_trips(
        [
            fill(1, "buy", "100", "1"),
            fill(2, "sell", "100.10", "1"),  # less than its fees
            fill(3, "buy", "100", "1"),
            fill(4, "sell", "103", "1"),
        ]
    )

    added = totals(trips, Decimal(1000))

    assert (added.trades, added.wins, added.win_rate) == (2, 1, Decimal("0.5"))
    assert added.net == added.gross - added.fees == Decimal("2.6969")
    assert added.max_drawdown == 0  # of days, and the day ended higher


def test_no_fills_are_no_trades() -> None:
    added = totals(round_trips([]), Decimal(1000))

    assert (added.trades, added.win_rate, added.net) == (0, Decimal(0), Decimal(0))


@pytest.mark.parametrize(
    ("curve", "fall"), [([5, 7, 4, 6, 3, 9], -4), ([1, 2, 3], 0), ([], 0), ([3, 1, 2], -2)]
)
def test_deepest_fall(curve: list[int], fall: int) -> None:
    assert deepest_fall(map(Decimal, curve)) == fall


@pytest.mark.parametrize("values", [[5], [5, 5, 5], [1, 2], [3, 1, 2] * 100])
def test_chart_fills_its_frame(values: list[int]) -> None:
    lines = braille([Decimal(value) for value in values], 20, 5)

    assert [len(line) for line in lines] == [20] * 5
    columns = zip(*lines, strict=True)
    assert all(any(cell != "\u2800" for cell in column) for column in columns)


def test_chart_rises_from_the_bottom_left_to_the_top_right() -> None:
    lines = braille([Decimal(value) for value in range(50)], 10, 4)

    assert lines[0][-1] != "\u2800"
    assert lines[-1][0] != "\u2800"
    assert lines[0][0] == lines[-1][-1] == "\u2800"


def test_marks_stay_inside_the_chart() -> None:
    assert [column_of(index, 91, 64) for index in (0, 45, 90)] == [0, 32, 63]
    assert column_of(0, 1, 64) == 0


def test_scenarios_begin_where_they_say() -> None:
    folder = Path("/data")
    for scenario in (recorded(folder), seeded()):
        assert scenario.environment["NIJA_REPLAY_START"] == scenario.start.isoformat()
        assert scenario.environment["NIJA_SIMULATOR_MODE"] == "step"
    assert recorded(folder).environment["NIJA_MARKET_DATA_DIR"] == "/data"
