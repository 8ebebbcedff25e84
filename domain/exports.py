"""Exports: what can be exported, where the files lie, and how a cell is made safe."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class ExportFormat(StrEnum):
    """File formats."""

    CSV = "csv"
    JSON = "json"

    @property
    def content_type(self) -> str:
        """The media type a file of this format is served with."""
        return "text/csv; charset=utf-8" if self is ExportFormat.CSV else "application/json"


class ExportData(StrEnum):
    """What can be exported."""

    TRADES = "trades"
    POSITIONS = "positions"
    ORDERS = "orders"
    AUDIT = "audit"


class ExportState(StrEnum):
    """`pending` until its file is complete; a file that outlived its time is `expired`."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Spreadsheets take text that begins so for a formula."""


def defused(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe goes before one.

    Numbers are not texts: they are written as they are and stay numbers, also negative ones.
    """
    # Leading blanks do not stop a spreadsheet from looking at what follows them.
    return f"'{text}" if text.startswith(FORMULA_STARTS) or _is_padded_formula(text) else text


def _is_padded_formula(text: str) -> bool:
    return text[:1].isspace() and text.lstrip().startswith(FORMULA_STARTS)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A file in the store; `changed_at` is the store's own time."""

    name: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class OpenedObject:
    """A file being read: its size in bytes, and its content. The content must be read or closed."""

    size: int
    content: AsyncGenerator[bytes]


class ObjectMissing(Exception):
    """There is no such file."""


class ObjectStoreUnavailable(Exception):
    """The store cannot be reached, or has no room."""


class ObjectStore(Protocol):
    """Files under names that the server chose. A file is there whole or not at all."""

    async def write(self, name: str, chunks: AsyncIterable[bytes]) -> int:
        """Store what comes; an existing file of that name is replaced when all has come.

        Returns:
            The size in bytes.

        Raises:
            ObjectStoreUnavailable: nothing was stored, or all of it and the answer was lost.
        """
        ...

    async def open(self, name: str) -> OpenedObject:
        """Open a file.

        Raises:
            ObjectMissing: there is none.
            ObjectStoreUnavailable: it cannot be read now.
        """
        ...

    async def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error.

        Raises:
            ObjectStoreUnavailable: it may still be there.
        """
        ...

    async def stored(self) -> Sequence[StoredObject]:
        """Every complete file; what was left half-written long ago is cleared away.

        Raises:
            ObjectStoreUnavailable: it cannot be listed now.
        """
        ...


class ExportWorkflows(Protocol):
    """Starts the workflow of an export."""

    async def start_export(self, user_id: UUID, export_id: UUID) -> None:
        """Start it unless it runs or has ended.

        Raises:
            WorkflowServiceUnavailable: not started; the sweeper will see the row.
        """
        ...
