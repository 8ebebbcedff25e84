"""A curve drawn with braille characters: two dots wide and four high in each cell."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

_BLANK: Final = 0x2800
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_ACROSS, _DOWN = 2, 4


def braille(values: Sequence[Decimal], width: int, height: int) -> list[str]:
    """Draw values from left to right over the whole width, lowest at the bottom.

    Args:
        values: at least one.
        width: in characters.
        height: in lines.
    """
    levels = _levels(_stretched(values, width * _ACROSS), height * _DOWN)
    cells = [[_BLANK] * width for _ in range(height)]
    before = levels[0]
    for column, level in enumerate(levels):
        # A jump is drawn as a vertical stroke, so that the curve hangs together.
        for dot in range(min(before, level), max(before, level) + 1):
            row = height * _DOWN - 1 - dot
            cells[row // _DOWN][column // _ACROSS] |= _DOTS[column % _ACROSS][row % _DOWN]
        before = level
    return ["".join(map(chr, line)) for line in cells]


def column_of(index: int, count: int, width: int) -> int:
    """The character under which the value number `index` of `count` is drawn."""
    return min(width - 1, index * width // max(1, count - 1))


def _stretched(values: Sequence[Decimal], columns: int) -> list[Decimal]:
    last = len(values) - 1
    return [
        values[(column * last + columns // 2) // max(1, columns - 1)] for column in range(columns)
    ]


def _levels(values: Sequence[Decimal], dots: int) -> list[int]:
    low, high = min(values), max(values)
    if low == high:
        return [dots // 2] * len(values)
    return [int((value - low) / (high - low) * (dots - 1)) for value in values]
