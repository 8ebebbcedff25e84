"""The picture of an equity curve, as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 1_200, 440
"""Twice the size it is shown at, for screens that have the pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 150, 30, 30, 60
_GRID_LINES = 4
_FONT_SIZE = 24
_LINE = 5
_DOT = 9
_INK, _FAINT, _GRID = (40, 48, 60), (110, 120, 135), (226, 230, 236)
_UP, _DOWN = (22, 135, 82), (196, 54, 54)
_FILL = {_UP: (226, 243, 234), _DOWN: (249, 229, 229)}

Points = Sequence[tuple[date, Decimal]]


def draw_curve(points: Points) -> bytes:
    """Draw equity by day, at least two days.

    Raises:
        ValueError: there are fewer than two points.
    """
    if len(points) < 2:  # noqa: PLR2004 - a line has two ends
        raise ValueError("A curve needs two points")
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(_FONT_SIZE)
    low, high = _range([value for _, value in points])
    apart = (high - low) / _GRID_LINES
    places = 0 if apart >= 1 else 2  # no two lines with the same label
    for step in range(_GRID_LINES + 1):
        level = low + apart * step
        y = _y(level, low, high)
        draw.line([(_LEFT, y), (WIDTH - _RIGHT, y)], fill=_GRID, width=2)
        draw.text((_LEFT - 16, y), f"{level:,.{places}f}", fill=_FAINT, font=font, anchor="rm")
    line = [
        (_x(index, len(points)), _y(value, low, high)) for index, (_, value) in enumerate(points)
    ]
    color = _UP if points[-1][1] >= points[0][1] else _DOWN
    floor = HEIGHT - _BOTTOM
    draw.polygon([(line[0][0], floor), *line, (line[-1][0], floor)], fill=_FILL[color])
    draw.line(line, fill=color, width=_LINE, joint="curve")
    x, y = line[-1]
    draw.ellipse([(x - _DOT, y - _DOT), (x + _DOT, y + _DOT)], fill=color)
    below = floor + 20
    draw.text((_LEFT, below), f"{points[0][0]:%d %b}", fill=_INK, font=font, anchor="lt")
    last = (WIDTH - _RIGHT, below)
    draw.text(last, f"{points[-1][0]:%d %b}", fill=_INK, font=font, anchor="rt")
    stream = BytesIO()
    image.quantize(64).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _range(values: Sequence[Decimal]) -> tuple[Decimal, Decimal]:
    """The levels at the bottom and the top: some air around the curve, also around a flat one."""
    low, high = min(values), max(values)
    air = (high - low) / 10 or abs(high) / 100 or Decimal(1)
    return low - air, high + air


def _x(index: int, count: int) -> int:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * index // (count - 1)


def _y(value: Decimal, low: Decimal, high: Decimal) -> int:
    room = HEIGHT - _TOP - _BOTTOM
    return HEIGHT - _BOTTOM - int(room * (value - low) / (high - low))
