from datetime import UTC, datetime, timedelta

from adapters.clock import SystemClock


def test_system_clock_tells_aware_utc() -> None:
    now = SystemClock().now()

    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)
