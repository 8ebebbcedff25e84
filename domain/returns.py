"""Returns without deposits and withdrawals, and the ratios drawn from them.

Money that came or went is no profit. A period is cut at every flow; what was gained in each part is
divided by the capital that the part began with, and the parts are linked (time-weighted return). A
part without capital has no return and is left out. Returns are fractions of one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from domain.money import ONE, ZERO

DAYS_A_YEAR = Decimal(365)
"""Crypto markets trade every day; ratios are annualised with this."""

DAYS_MIN = 14
OBSERVATIONS_MIN = 10
"""Days on which a trade closed. Of fewer, or within fewer days, a ratio says nothing."""


class DayResult(NamedTuple):
    """What closed trades of a UTC day made; `gross` is before fees, `net` after."""

    day: date
    gross: Decimal
    net: Decimal


class CapitalFlow(NamedTuple):
    """Money that came (positive) or went.

    Attributes:
        day: the UTC day.
        amount: in the account's currency.
        gross_before: P&L before fees of that day's trades that closed before it.
        net_before: the same after fees.
    """

    day: date
    amount: Decimal
    gross_before: Decimal = ZERO
    net_before: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Linked:
    """Returns of a period.

    Attributes:
        gross: of the whole period, before fees.
        daily: of each day, after fees.
        levels: what one unit of money became by the end of each day, after fees.
        has_capital: whether every part in which something was gained or lost had capital.
    """

    gross: Decimal
    daily: tuple[Decimal, ...]
    levels: tuple[Decimal, ...]
    has_capital: bool

    @property
    def net(self) -> Decimal:
        """Of the whole period, after fees."""
        return self.levels[-1] - ONE if self.levels else ZERO


def link_returns(
    days: Sequence[DayResult], initial: Decimal, flows: Sequence[CapitalFlow] = ()
) -> Linked:
    """Link the returns of consecutive days.

    Args:
        days: every day of the period, in order.
        initial: capital before the first of them.
        flows: in the order in which they came; those of other days are left out.
    """
    of_day = defaultdict(list)
    for flow in flows:
        of_day[flow.day].append(flow)
    capital, level, has_capital = initial, ONE, True
    part_capital, part_gross, gross = initial, ZERO, ZERO
    # Gained since the level last changed by a flow, so that without flows the level is exact.
    base_level, base_capital = ONE, initial
    daily, levels = [], []
    for result in days:
        begun, net_before, gross_before = level, ZERO, ZERO
        for flow in of_day.get(result.day, ()):
            capital += flow.net_before - net_before
            part_gross += flow.gross_before - gross_before
            net_before, gross_before = flow.net_before, flow.gross_before
            if base_capital > ZERO:
                level = base_level * capital / base_capital
                gross = _linked(gross, part_gross / part_capital)
            elif capital != base_capital:
                has_capital = False
            capital += flow.amount
            base_level, base_capital = level, capital
            part_capital, part_gross = capital, ZERO
        capital += result.net - net_before
        part_gross += result.gross - gross_before
        if base_capital > ZERO:
            level = base_level * capital / base_capital
        elif capital != base_capital:
            has_capital = False
        daily.append(level / begun - ONE if begun > ZERO else ZERO)
        has_capital = has_capital and begun > ZERO
        levels.append(level)
    if part_capital > ZERO:
        gross = _linked(gross, part_gross / part_capital)
    return Linked(gross, tuple(daily), tuple(levels), has_capital)


def _linked(one: Decimal, next_one: Decimal) -> Decimal:
    """Two returns, one after the other; exact where one of them is nothing."""
    return one + next_one + one * next_one


def deepest_fall(levels: Sequence[Decimal]) -> Decimal:
    """The deepest fall below an earlier peak, as a fraction of it; zero or negative."""
    peak, deepest = ONE, ZERO
    for level in levels:
        peak = max(peak, level)
        deepest = min(deepest, level / peak - ONE)
    return deepest


class NoRatio(StrEnum):
    """Why there are no ratios."""

    DAYS = "fewer_than_14_days"
    OBSERVATIONS = "fewer_than_10_observations"
    CAPITAL = "no_capital"
    VARIATION = "no_variation"


@dataclass(frozen=True, slots=True)
class Ratios:
    """Ratios of a period, annualised by 365 days, risk-free 0; all None with a `reason`.

    Attributes:
        sharpe: mean / sample standard deviation of daily returns.
        sortino: mean / downside deviation (below zero); None without a losing day.
        calmar: annual return / deepest fall; None without a fall.
        reason: why there are none.
    """

    sharpe: Decimal | None = None
    sortino: Decimal | None = None
    calmar: Decimal | None = None
    reason: NoRatio | None = None


def ratios(daily: Sequence[Decimal], *, observations: int, has_capital: bool = True) -> Ratios:
    """Draw the ratios from daily returns.

    Args:
        daily: of every day, those without a trade included.
        observations: how many of the days saw a trade close.
        has_capital: as in `Linked`.
    """
    if len(daily) < DAYS_MIN:
        return Ratios(reason=NoRatio.DAYS)
    if observations < OBSERVATIONS_MIN:
        return Ratios(reason=NoRatio.OBSERVATIONS)
    if not has_capital or min(daily) <= -ONE:
        return Ratios(reason=NoRatio.CAPITAL)
    mean = sum(daily, ZERO) / len(daily)
    variance = sum(((value - mean) ** 2 for value in daily), ZERO) / (len(daily) - 1)
    if not variance:
        return Ratios(reason=NoRatio.VARIATION)
    downside = sum((min(value, ZERO) ** 2 for value in daily), ZERO) / len(daily)
    year = DAYS_A_YEAR.sqrt()
    return Ratios(
        sharpe=mean / variance.sqrt() * year,
        sortino=mean / downside.sqrt() * year if downside else None,
        calmar=_calmar(daily),
    )


def _calmar(daily: Sequence[Decimal]) -> Decimal | None:
    level, levels = ONE, []
    for value in daily:
        level *= ONE + value
        levels.append(level)
    fall = deepest_fall(levels)
    if not fall:
        return None
    annual = level ** (DAYS_A_YEAR / len(daily)) - ONE
    return annual / -fall
