"""What a request to a venue is made for: who goes first when a venue's request budget is short."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum


class Purpose(StrEnum):
    """Purposes, the most urgent first."""

    EXIT = "exit"
    """Sending and cancelling exits, and the prices that stops are judged by."""
    LOOK_UP = "look_up"
    """What became of an order."""
    ENTRY = "entry"
    SCAN = "scan"
    """Everything else: candles, lists, balances."""


_purpose: ContextVar[Purpose] = ContextVar("purpose", default=Purpose.SCAN)


@contextmanager
def requests_for(purpose: Purpose) -> Iterator[None]:
    """Say what the requests within are made for, those of tasks that begin within included."""
    token = _purpose.set(purpose)
    try:
        yield
    finally:
        _purpose.reset(token)


def purpose_of_requests() -> Purpose:
    """What requests are made for here."""
    return _purpose.get()
