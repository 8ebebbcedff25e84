"""How long stops and alerts waited while everything that an exit needs served."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from chaos.crossings import Crossing
from chaos.invariants import Violation
from chaos.records import Records, Row
from chaos.uptime import Span

STOP_SECONDS_MAX = 5.0
ALERT_STOPS = 6
"""An alert may wait for so many times as long as a stop."""

ALERT_SECONDS_MAX = ALERT_STOPS * STOP_SECONDS_MAX
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An exit of a position.

    Attributes:
        at: when the venue received it; where it never did, when it was about to be sent.
        is_at_venue: whether it did.
        sent_at, ended_at: from being marked as sent to its final state.
    """

    at: float
    is_at_venue: bool
    sent_at: float
    ended_at: float
    filled: Decimal


@dataclass(frozen=True, slots=True)
class StopDelay:
    """What became of a crossed stop.

    Attributes:
        seconds: the longest time without interruption in which everything served and no exit had
            been sent yet; 0 where one was on its way when the stop was crossed.
        lost_seconds: the same from an exit that was lost with the venue until one arrived; None
            where none was lost.
    """

    crossing: Crossing
    seconds: float
    lost_seconds: float | None


def stop_delays(
    records: Records, crossings: Iterable[Crossing], whole: Sequence[Span], ended_at: float
) -> list[StopDelay]:
    """Judge every crossing.

    Args:
        records: the books after everything has settled.
        crossings: seen from outside.
        whole: when everything served that an exit needs.
        ended_at: when watching ended.
    """
    attempts = _attempts(records)
    positions = {row["id"]: row for row in records.all("positions")}
    found = []
    for crossing in crossings:
        position = positions.get(crossing.position_id)
        if position is None:
            continue
        delay = _delay(crossing, position, attempts[crossing.position_id], whole, ended_at)
        if delay is not None:
            found.append(delay)
    return found


def late_stops(
    delays: Iterable[StopDelay], seconds_max: float = STOP_SECONDS_MAX
) -> list[Violation]:
    """Those that took too long."""
    return [
        Violation(
            "late stop",
            f"position {delay.crossing.position_id}: no exit for {delay.seconds:.1f} s after its"
            f" stop {delay.crossing.stop} was crossed at {delay.crossing.seen_at:.3f}",
        )
        for delay in delays
        if delay.seconds > seconds_max
    ]


def late_alerts(
    records: Records, whole: Sequence[Span], seconds_max: float = ALERT_SECONDS_MAX
) -> list[Violation]:
    """Alerts that waited for their decision although everything served."""
    found = []
    for alert in records.all("alerts"):
        ended_at = alert["decided_at"] or alert["finished_at"]
        if ended_at is None:
            continue  # reported as unsettled
        waited = _longest(whole, alert["received_at"].timestamp(), ended_at.timestamp())
        if waited > seconds_max:
            what = f"alert {alert['id']} ({alert['state']}) waited for {waited:.1f} s"
            found.append(Violation("late alert", what))
    return found


def _delay(
    crossing: Crossing,
    position: Row,
    attempts: Sequence[Attempt],
    whole: Sequence[Span],
    ended_at: float,
) -> StopDelay | None:
    began = crossing.seen_at
    sold = sum((one.filled for one in attempts if one.at <= began), _ZERO)
    if sold and sold >= position["exit_quantity"] and position["state"] == "closed":
        return None  # it had left before; the stop was not taken away yet
    if any(one.sent_at <= began <= one.ended_at for one in attempts):
        first = began  # one was on its way already
    else:
        first = min((one.at for one in attempts if one.at > began), default=ended_at)
    later = sorted((one.at, one.is_at_venue) for one in attempts if one.at > began)
    arrived = next((at for at, is_there in later if is_there), ended_at)
    is_there = any(one.is_at_venue and one.at <= began <= one.ended_at for one in attempts)
    lost = None if is_there or arrived == first else _longest(whole, first, arrived)
    return StopDelay(crossing, _longest(whole, began, first), lost)


def _longest(whole: Sequence[Span], began: float, ended: float) -> float:
    return max((span.within(began, ended) for span in whole), default=0.0)


def _attempts(records: Records) -> dict[UUID, list[Attempt]]:
    found: dict[UUID, list[Attempt]] = defaultdict(list)
    for account in records.accounts:
        received = {
            order["client_order_id"]: datetime.fromisoformat(order["received_at"]).timestamp()
            for order in (account.venue["orders"] if account.venue is not None else ())
        }
        for order in records.of(account, "orders"):
            if order["leg"] == "entry" or order["sent_at"] is None:
                continue
            sent_at = order["sent_at"].timestamp()
            at = received.get(order["client_order_id"])
            found[order["position_id"]].append(
                Attempt(
                    at=at or sent_at,
                    is_at_venue=at is not None or not account.is_live,
                    sent_at=sent_at,
                    ended_at=order["settled_at"].timestamp() if order["settled_at"] else sent_at,
                    filled=order["filled_quantity"],
                )
            )
    return found
