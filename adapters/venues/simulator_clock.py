"""Reading the clock of the exchange simulator."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from adapters.venues.errors import VenueAnswerMalformedError
from domain.markets import VenueClock


def parse_simulator_clock(answer: Mapping[str, object]) -> VenueClock:
    """The simulator's `GET /control/clock`.

    Raises:
        VenueAnswerMalformedError: it is something else.
    """
    now, epoch = answer.get("now"), answer.get("epoch")
    if not isinstance(now, str) or not isinstance(epoch, str | int):
        raise VenueAnswerMalformedError("The simulator's clock has no time or no epoch")
    try:
        at = datetime.fromisoformat(now)
    except ValueError:
        raise VenueAnswerMalformedError("The simulator's time is not an ISO time") from None
    if at.tzinfo is None:
        raise VenueAnswerMalformedError("The simulator's time has no zone")
    return VenueClock(now=at.astimezone(UTC), epoch=str(epoch))
