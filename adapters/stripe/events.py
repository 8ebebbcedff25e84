"""domain.billing.EventVerifier on Stripe's signature scheme."""

from __future__ import annotations

from typing import Any

import orjson
import stripe

from adapters.stripe.parse import moment
from domain.billing import ForgedEvent, MalformedEvent, ProviderEvent

AGE_SECONDS_MAX = 300


class StripeEventVerifier:
    """Verifies the raw body with the endpoint's signing secret.

    Args:
        secret: `whsec_...`. An empty one would verify against an empty key, which anyone can forge.

    Raises:
        ValueError: the secret is empty.
    """

    def __init__(self, secret: str) -> None:
        if not secret.strip():
            raise ValueError("The webhook's signing secret is empty")
        self._secret = secret

    def verify(self, body: bytes, signature: str | None) -> ProviderEvent:
        """Check the signature first, then read the ids."""
        try:
            stripe.WebhookSignature.verify_header(body, signature, self._secret, AGE_SECONDS_MAX)
        except (stripe.SignatureVerificationError, UnicodeDecodeError) as failure:
            raise ForgedEvent from failure
        try:
            event: dict[str, Any] = orjson.loads(body)
            subject: dict[str, Any] = event["data"]["object"]
            customer = subject.get("customer")
            return ProviderEvent(
                id=str(event["id"]),
                type=str(event["type"]),
                created_at=moment(int(event["created"])),
                object_id=subject.get("id"),
                customer_id=customer if isinstance(customer, str) else None,
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as failure:
            raise MalformedEvent from failure
