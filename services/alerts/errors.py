"""Refusals of alerts and of calls about their keys."""

from __future__ import annotations

from domain.errors import ErrorKind
from services.errors import Refusal


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
