"""Timeouts and retries, by name. Nothing in a workflow spells one out."""

from __future__ import annotations

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy

# A run continues as new after about this many events: replaying a bot then costs some ten
# milliseconds, so hundreds of bots come back in seconds after a worker was lost.
HISTORY_EVENTS_MAX = 150

SILENCE_MAX = timedelta(seconds=150)
"""A bot that hears nothing (no watcher) looks for itself this often, by the wall clock."""

HUNT_PATIENCE = timedelta(seconds=5)
"""How long a run that wants to end waits for a hunt before it leaves it to the next run."""

UNSETTLED_PAUSE = timedelta(seconds=1)
"""Between two looks of the guard at an order whose outcome is still open."""

HEARTBEAT_TIMEOUT = timedelta(seconds=5)

ORDER_HEARTBEAT_TIMEOUT = timedelta(seconds=4)
WATCH_HEARTBEAT_TIMEOUT = timedelta(seconds=3)
"""How soon after a worker died another goes on with its orders, and with watching prices."""


class ActivityOptions(TypedDict):
    """The options every activity call here sets."""

    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy


class LocalActivityOptions(TypedDict):
    """The options every local activity call here sets."""

    start_to_close_timeout: timedelta
    retry_policy: RetryPolicy


_KEEP_TRYING = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=5),
    maximum_attempts=0,  # unlimited: what it decides must not be lost while a server is down
)

GUARD = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=30),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=_KEEP_TRYING,
)
HUNT = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=60),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=_KEEP_TRYING,
)
PLACE = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=25),
    heartbeat_timeout=ORDER_HEARTBEAT_TIMEOUT,
    # Once. What became of a send that failed is settled by looking it up, never by sending again.
    retry_policy=RetryPolicy(maximum_attempts=1),
)
SETTLE = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=25),
    heartbeat_timeout=ORDER_HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=250),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(seconds=5),
        maximum_attempts=4,  # then the guard lists the order again
    ),
)
EXPORT = ActivityOptions(
    start_to_close_timeout=timedelta(minutes=15),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=500),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(seconds=30),
        maximum_attempts=12,  # some minutes; then the user is told that it failed
    ),
)
LOOK = LocalActivityOptions(
    start_to_close_timeout=timedelta(seconds=15),
    retry_policy=_KEEP_TRYING,
)
EXITS = LocalActivityOptions(
    # Short of the time that a run's workflow task may take, so that a hanging database is asked
    # anew and not held on to.
    start_to_close_timeout=timedelta(seconds=10),
    retry_policy=_KEEP_TRYING,
)
WATCH = ActivityOptions(
    start_to_close_timeout=timedelta(minutes=15),
    heartbeat_timeout=WATCH_HEARTBEAT_TIMEOUT,
    retry_policy=_KEEP_TRYING,
)
KILL_SWITCH = ActivityOptions(
    start_to_close_timeout=timedelta(seconds=60),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=_KEEP_TRYING,
)
