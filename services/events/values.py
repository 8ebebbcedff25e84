"""What is read of a user's stream."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from models.events import Channel, EventKind


@dataclass(frozen=True, slots=True)
class Event:
    """One committed event.

    Attributes:
        seq: its number among the user's events: without gaps, in the order of commits.
        data: facts under the names of their columns; numbers are Decimal, times and ids text.
        at: wall time.
    """

    user_id: UUID
    seq: int
    channel: Channel
    kind: EventKind
    data: Mapping[str, Any]
    at: datetime

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Event:
        """Read a row whose `data` is JSON text: the driver would make floats of its numbers."""
        return cls(
            user_id=row["user_id"],
            seq=row["seq"],
            channel=Channel(row["channel"]),
            kind=EventKind(row["kind"]),
            data=json.loads(row["data"], parse_float=Decimal, parse_int=Decimal),
            at=row["created_at"],
        )
