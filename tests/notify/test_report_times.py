"""On which days, and when instead, a report's time is skipped by a change to summer time."""

from __future__ import annotations

from datetime import date

import pytest

from adapters.temporal.notifications import instead_of_skipped
from domain.notifications import ReportTime

FIRST = date(2026, 1, 1)


def until_2029(time: ReportTime) -> list[str]:
    """Local times, without their zone."""
    found = instead_of_skipped(time, FIRST)
    return [f"{at:%Y-%m-%d %H:%M}" for at in found if at.year < 2029]


def test_it_is_as_much_later_as_clocks_are_put_forward() -> None:
    assert until_2029(ReportTime("Europe/Berlin", 2, 30)) == [
        "2026-03-29 03:30",
        "2027-03-28 03:30",
        "2028-03-26 03:30",
    ]
    assert until_2029(ReportTime("Australia/Lord_Howe", 2, 0))[0] == "2026-10-04 02:30"
    assert until_2029(ReportTime("Africa/Cairo", 0, 0))[0] == "2026-04-24 01:00"


@pytest.mark.parametrize(
    "time",
    [
        ReportTime("UTC", 2, 30),
        ReportTime("Europe/Berlin", 8, 0),
        ReportTime("Europe/Berlin", 2, 30, weekday=1),
        ReportTime("America/New_York", 1, 30),
    ],
)
def test_most_times_are_never_skipped(time: ReportTime) -> None:
    assert until_2029(time) == []


def test_a_weekly_report_is_moved_only_on_its_day() -> None:
    assert len(until_2029(ReportTime("Europe/Berlin", 2, 30, weekday=7))) == 3
