"""How long to wait before keys that a venue refuses are tried again."""

from __future__ import annotations

from datetime import datetime, timedelta

from models.trading import Order

DELAY_MIN, DELAY_MAX = timedelta(seconds=1), timedelta(minutes=5)


def delay_with_refused_keys(order: Order, now: datetime) -> float:
    """Seconds until an order is looked up again: a quarter of the time since it was sent.

    So the delays grow, whichever processes and runs of a workflow make the look-ups. Such keys are
    mostly refused until their user does something about it.
    """
    age = now - (order.sent_at or order.intended_at)
    return min(max(age / 4, DELAY_MIN), DELAY_MAX).total_seconds()
