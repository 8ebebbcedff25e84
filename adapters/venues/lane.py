"""A lane of its own for one kind of question: bounded, and closed while its answers do not come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from adapters.venues.errors import VenueRejectedQuestionError
from domain.ports import VenueUnavailable

FAILURES_MAX = 3
CLOSED_SECONDS_FIRST = 1.0
CLOSED_SECONDS_MAX = 15.0

_Answer = TypeVar("_Answer")
_log = structlog.get_logger("nija.lane")


class QuestionLane:
    """Lets some questions of a kind be open at once, and none while a row of them has failed.

    After `FAILURES_MAX` failures in a row the lane is closed for a growing while: whoever asks then
    gets `VenueUnavailable` at once, those in the queue included. Then one question at a time is let
    through until one is answered.

    Args:
        name: for the log.
        at_once: how many questions may be open.
        closed_seconds: how long it is closed first.
    """

    def __init__(
        self, name: str, *, at_once: int, closed_seconds: float = CLOSED_SECONDS_FIRST
    ) -> None:
        self._name = name
        self._closed_seconds = closed_seconds
        self._places = asyncio.Semaphore(at_once)
        self._failures = 0
        self._closed_until = 0.0
        self._is_probing = False

    async def ask(self, question: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Ask when there is a place.

        Raises:
            VenueUnavailable: from the question, or because the lane is closed.
        """
        self._require_open()
        async with self._places:
            self._require_open()
            is_probe = self._failures >= FAILURES_MAX
            self._is_probing = self._is_probing or is_probe
            try:
                answer = await question()
            except VenueRejectedQuestionError:
                self._failures = 0  # that is an answer
                raise
            except VenueUnavailable:
                self._note_failure()
                raise
            finally:
                if is_probe:
                    self._is_probing = False
            self._failures = 0
            return answer

    def _require_open(self) -> None:
        is_closed = self._failures >= FAILURES_MAX and (
            self._is_probing or asyncio.get_running_loop().time() < self._closed_until
        )
        if is_closed:
            raise VenueUnavailable(f"The venue answers no questions for {self._name} at present")

    def _note_failure(self) -> None:
        self._failures += 1
        over = self._failures - FAILURES_MAX
        if over < 0:
            return
        wait = min(self._closed_seconds * 2 ** min(over, 10), CLOSED_SECONDS_MAX)
        self._closed_until = asyncio.get_running_loop().time() + wait
        _log.warning("lane.closed", lane=self._name, failures=self._failures, seconds=wait)
