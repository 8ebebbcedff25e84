"""Cells and rows as bytes, page by page: CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

import orjson

from domain.exports import ExportFormat, defused
from domain.money import unending_rounded
from services.exports.columns import Cell, Column


class Encoder(Protocol):
    """Turns pages of rows into a file."""

    def begin(self) -> bytes:
        """What comes before the first row."""
        ...

    def page(self, rows: Sequence[Any]) -> bytes:
        """Some rows."""
        ...

    def end(self) -> bytes:
        """What comes after the last row."""
        ...


def encoder(kind: ExportFormat, columns: Sequence[Column], facts: Mapping[str, Any]) -> Encoder:
    """The encoder of a format; `facts` tell in a JSON file what it holds."""
    return CsvEncoder(columns) if kind is ExportFormat.CSV else JsonEncoder(columns, facts)


class CsvEncoder:
    """RFC 4180: commas, CRLF, a header, UTF-8."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns

    def begin(self) -> bytes:
        """The header."""
        return _lines([[column.name for column in self._columns]])

    def page(self, rows: Sequence[Any]) -> bytes:
        """A line a row."""
        return _lines([[csv_cell(column.cell(row)) for column in self._columns] for row in rows])

    def end(self) -> bytes:
        """Nothing."""
        return b""


class JsonEncoder:
    """One object: what the file holds, and its `rows`."""

    def __init__(self, columns: Sequence[Column], facts: Mapping[str, Any]) -> None:
        self._columns = columns
        self._facts = facts
        self._count = 0

    def begin(self) -> bytes:
        """The facts, and the beginning of the list."""
        return orjson.dumps(dict(self._facts))[:-1] + b',"rows":['

    def page(self, rows: Sequence[Any]) -> bytes:
        """Objects, each on a line of its own."""
        parts = []
        for row in rows:
            cells = {column.name: json_cell(column.cell(row)) for column in self._columns}
            parts.append((b",\n" if self._count else b"\n") + orjson.dumps(cells, _exact))
            self._count += 1
        return b"".join(parts)

    def end(self) -> bytes:
        """The end of the list, and how long it is."""
        return b'\n],"row_count":%d}\n' % self._count


def plain(value: Decimal) -> str:
    """A decimal without an exponent and without trailing zeros."""
    text = format(unending_rounded(value), "f")
    return "0" if text == "-0" else text


def csv_cell(value: Cell) -> str:
    """A cell of a CSV file; only texts can be formulas, and are defused."""
    match value:
        case None:
            return ""
        case Decimal():
            return plain(value)
        case int():
            return str(value)
        case datetime():
            return _time(value)
        case str():
            return defused(value)
        case _:
            return defused(orjson.dumps(dict(value), _exact).decode())


def json_cell(value: Cell) -> Any:
    """A cell of a JSON file: decimals as numbers, byte for byte what CSV shows."""
    match value:
        case Decimal():
            return orjson.Fragment(plain(value).encode())
        case datetime():
            return _time(value)
        case _:
            return value


def _exact(value: object) -> orjson.Fragment:
    """A decimal within a kept record."""
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f").encode())
    raise TypeError(f"{type(value).__name__} has no form in a file")


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()
