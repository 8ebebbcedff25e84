"""Connections of one process that have not shown a good token yet, by network address.

One address cannot take every place. One from which logins fail (a bad token, or none in time) is
watched for as long as its failures of the last minute, which are counted over all processes, are
more than the limit: a few may still try, so whoever has a good token and shares the address gets
in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import monotonic

import structlog

from domain.errors import DomainError
from services.errors import TokenInvalid
from services.events.access import count_failed_login
from services.limits.policy import subject_of
from services.reads import Reads

STRANGERS_MAX = 1_000
"""Connections of one process that have not shown a good token yet."""

OF_ADDRESS_MAX = 900
"""Those of one address; a proxy that is not trusted looks like one."""

OF_WATCHED_ADDRESS_MAX = 20
"""Those of an address whose logins fail."""

_log = structlog.get_logger("nija.streams")


class Strangers:
    """Who waits to be let in.

    Args:
        reads: counts failed logins by address, where addresses are limited.
        seconds: a clock that only goes forward.
    """

    def __init__(self, reads: Reads, *, seconds: Callable[[], float] = monotonic) -> None:
        self._reads = reads
        self._seconds = seconds
        self._waiting: Counter[str] = Counter()
        self._watched: dict[str, float] = {}  # until when
        self._count = 0

    def may_wait(self, address: str | None) -> bool:
        """Whether one more of an address may."""
        subject = subject_of(address)
        is_watched = self._watched.get(subject, 0.0) > self._seconds()
        most = OF_WATCHED_ADDRESS_MAX if is_watched else OF_ADDRESS_MAX
        return self._count < STRANGERS_MAX and self._waiting[subject] < most

    def come(self, address: str | None) -> None:
        """Somebody waits."""
        self._waiting[subject_of(address)] += 1
        self._count += 1

    def go(self, address: str | None) -> None:
        """Somebody was let in, or is gone."""
        subject = subject_of(address)
        self._waiting[subject] -= 1
        self._count -= 1
        if not self._waiting[subject]:
            del self._waiting[subject]

    async def note_failure(self, address: str | None, failure: DomainError) -> DomainError:
        """Count a login that failed; answers what its client is told.

        One whose token has merely expired is nobody who guesses.
        """
        if not isinstance(failure, TokenInvalid):
            return failure
        allowance = await count_failed_login(self._reads, address)
        if allowance is None or allowance.retry_after is None:
            return failure
        subject, now = subject_of(address), self._seconds()
        self._watched = {one: until for one, until in self._watched.items() if until > now}
        if subject not in self._watched:
            _log.warning("stream.address_watched", address=subject)
        self._watched[subject] = now + allowance.retry_after
        return allowance.refusal()
