"""A lane of its own for one kind of question: bounded, and closed while its answers do not come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from adapters.venues.errors import VenueRejectedQuestionError
from domain.ports import VenueUnavailable

FAILURES_MAX = 3
CLOSED_SECONDS_FIRST = 1.0
CLOSED_SECONDS_MAX = 15.0

_Answer = TypeVar("_Answer")
_log = structlog.get_logger("nija.lane")


@dataclass(slots=True)
class _Gate:
    """Closed for a growing while after a row of failures; then one question at a time tries it."""

    failures: int = 0
    closed_until: float = 0.0
    is_probing: bool = False

    @property
    def is_shut(self) -> bool:
        """Whether only a probe may pass."""
        return self.failures >= FAILURES_MAX

    def refuses(self, now: float) -> bool:
        """Whether not even a probe may pass."""
        return self.is_shut and (self.is_probing or now < self.closed_until)

    def note_failure(self, now: float, closed_seconds: float) -> float | None:
        """How long it is closed for this failure, if it is."""
        self.failures += 1
        over = self.failures - FAILURES_MAX
        if over < 0:
            return None
        wait = min(closed_seconds * (1 << min(over, 10)), CLOSED_SECONDS_MAX)
        self.closed_until = now + wait
        return wait


class QuestionLane:
    """Lets some questions of a kind be open at once, and none while a row of them has failed.

    After `FAILURES_MAX` failures in a row about one market, that market is left alone for a growing
    while. Once as many markets have begun to fail with no answer in between, the lane is closed for
    all: whoever asks then gets `VenueUnavailable` at once, those in the queue included. Then one
    question at a time is let through until one is answered, and beside it one about a market that
    fails by itself: a market that never answers keeps no other from being asked.

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
        self._all = _Gate()
        self._failing: dict[str, _Gate] = {}
        self._is_one_beside = False

    async def ask(self, question: Callable[[], Awaitable[_Answer]], *, about: str = "") -> _Answer:
        """Ask when there is a place.

        Args:
            question: what to ask.
            about: the market.

        Raises:
            VenueUnavailable: from the question, or because the lane is closed.
        """
        self._require_open(about)
        async with self._places:
            gate = self._require_open(about)
            is_probe = gate.is_shut
            gate.is_probing = gate.is_probing or is_probe
            is_beside = gate is not self._all and self._all.is_shut
            self._is_one_beside = self._is_one_beside or is_beside
            try:
                answer = await question()
            except VenueRejectedQuestionError:
                self._note_answer(about)
                raise
            except VenueUnavailable:
                self._note_failure(about)
                raise
            finally:
                if is_probe:
                    gate.is_probing = False
                if is_beside:
                    self._is_one_beside = False
            self._note_answer(about)
            return answer

    def _require_open(self, about: str) -> _Gate:
        """The gate that a question passes: the market's own where it fails, else that of all."""
        gate = self._failing.get(about, self._all)
        is_second = gate is not self._all and self._all.is_shut and self._is_one_beside
        if is_second or gate.refuses(asyncio.get_running_loop().time()):
            raise VenueUnavailable(f"The venue answers no questions for {self._name} at present")
        return gate

    def _note_answer(self, about: str) -> None:
        self._failing.pop(about, None)
        self._all.failures = 0

    def _note_failure(self, about: str) -> None:
        now = asyncio.get_running_loop().time()
        is_new = about not in self._failing
        own = self._failing.setdefault(about, _Gate()).note_failure(now, self._closed_seconds)
        # A market that failed before says nothing new about the others.
        of_all = self._all.note_failure(now, self._closed_seconds) if is_new else None
        if own is not None or of_all is not None:
            _log.warning(
                "lane.closed", lane=self._name, market=about, seconds=own, seconds_of_all=of_all
            )
