"""Reading what the exchange simulator tells of itself: its clock and a new account's fees."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from adapters.venues.errors import VenueAnswerMalformedError
from domain.markets import FeeRates, VenueClock

_YEARS = range(1970, 2243)


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
    if at.year not in _YEARS:
        raise VenueAnswerMalformedError("The simulator's time is in no year that has markets")
    return VenueClock(now=at.astimezone(UTC), epoch=str(epoch))


def parse_simulator_rate(answer: Mapping[str, object]) -> float:
    """How many seconds of the replay pass in a second; a replay in steps stands between them."""
    speed = answer.get("speed")
    if (
        answer.get("mode") == "step"
        or isinstance(speed, bool)
        or not isinstance(speed, int | float)
    ):
        return 0.0
    return max(0.0, float(speed))


def parse_simulator_fees(answer: Mapping[str, object]) -> FeeRates:
    """The fees of the simulator's default tier, from the same answer.

    Raises:
        VenueAnswerMalformedError: it is something else.
    """
    try:
        return FeeRates(
            maker_rate=Decimal(str(answer["maker_fee_rate"])),
            taker_rate=Decimal(str(answer["taker_fee_rate"])),
        )
    except (KeyError, InvalidOperation):
        raise VenueAnswerMalformedError("The simulator does not tell its fees") from None
