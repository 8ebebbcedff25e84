"""Refusals of alerts and of calls about their keys."""

from __future__ import annotations

from domain.errors import ErrorKind
from services.errors import Refusal

ALERT_BYTES_MAX = 16 * 1024
"""Charts send at most a quarter of it. Anybody can send one, and reading costs what it is long."""


class AlertTooLarge(Refusal):
    """The body is longer than any alert."""

    kind = ErrorKind.INVALID
    code = "payload_too_large"
    usual_message = f"An alert has at most {ALERT_BYTES_MAX // 1024} KiB"


class AlertMalformed(Refusal):
    """The body is no JSON object, whatever its content type says."""

    kind = ErrorKind.INVALID
    code = "malformed_alert"
    usual_message = "The body must be a JSON object"


class WebhookKeyInvalid(Refusal):
    """No key, or none that is good at present."""

    kind = ErrorKind.UNAUTHENTICATED
    code = "webhook_key_invalid"
    usual_message = "The webhook key is missing or invalid"


class WebhookNeedsPlan(Refusal):
    """The plan does not include alerts."""

    kind = ErrorKind.PAYMENT_REQUIRED
    code = "webhook_needs_plan"
    usual_message = "TradingView alerts need the pro plan or a higher one"
