"""Which failures may be tried again, and when.

Repeated are only failures after which a repetition cannot do harm: nothing was sent; the server
said that it did nothing (429, 503, 504, or a gateway's 502); or the answer was lost and the call
either reads or carries an Idempotency-Key, under which the server acts once.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import httpx

from nija_sdk._calls import Call, has_envelope, retry_after

WAIT_SECONDS_MAX = 60.0
_FIRST_SECONDS = 0.25
_GROWN_SECONDS_MAX = 8.0
_DOUBLINGS_MAX = 10
_TOO_MANY = 429
_BAD_GATEWAY = 502
_UNAVAILABLE = frozenset({503, 504})
_CONFLICT = 409
_UNDER_WAY = "IDEMPOTENCY_CONFLICT"
# Raised before a byte of the request left.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a call is repeated after its first try."""

    retries: int

    def after_response(self, call: Call, response: httpx.Response, tried: int) -> float | None:
        """Seconds to wait before the next try; None when this answer is the last word."""
        if tried > self.retries or not self._may_repeat(call, response, tried):
            return None
        asked = retry_after(response)
        if asked is None:
            return backoff(tried)
        # Waiting longer than this is the caller's decision: the error says how long.
        return asked if asked <= WAIT_SECONDS_MAX else None

    def after_error(self, call: Call, error: httpx.RequestError, tried: int) -> float | None:
        """Seconds to wait before the next try; None when the error is the last word."""
        if tried > self.retries or not (_is_safe(call) or isinstance(error, _UNSENT)):
            return None
        return backoff(tried)

    def _may_repeat(self, call: Call, response: httpx.Response, tried: int) -> bool:
        status = response.status_code
        if status == _TOO_MANY:
            return True
        if not _is_safe(call):
            return False
        if status == _BAD_GATEWAY:
            return not has_envelope(response)
        if status == _CONFLICT and tried > 1:
            # An earlier try of ours is still being carried out; its answer will be ours.
            return _UNDER_WAY.encode() in response.content
        return status in _UNAVAILABLE


def _is_safe(call: Call) -> bool:
    return call.operation.is_read or call.operation.keyed


def backoff(tried: int) -> float:
    """Exponential with full jitter, so that many clients do not come back at once."""
    longest = min(_GROWN_SECONDS_MAX, _FIRST_SECONDS * 2 ** min(tried, _DOUBLINGS_MAX))
    return random.uniform(0, longest)  # noqa: S311 - spreading, not cryptography
