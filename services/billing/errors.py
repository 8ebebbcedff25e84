"""Refusals of billing."""

from __future__ import annotations

from domain.errors import ErrorKind
from services.errors import Refusal


class BillingUnavailable(Refusal):
    """Payments cannot be made: no key is set, or the provider does not answer. Nothing happened."""

    kind = ErrorKind.UNAVAILABLE
    code = "billing_unavailable"
    usual_message = "The payment provider does not answer at present; nothing was charged"


class BillingNotSetUp(Refusal):
    """This server has no payment provider."""

    kind = ErrorKind.UNAVAILABLE
    code = "billing_not_set_up"
    usual_message = (
        "Payments are not set up on this server (NIJA_STRIPE_SECRET_KEY is not set). "
        "Plans, trial and limits work without them"
    )


class BillingOutcomeUnknown(Refusal):
    """The provider was asked and did not answer; the command is followed until it is known."""

    kind = ErrorKind.UNAVAILABLE
    code = "billing_outcome_unknown"
    usual_message = (
        "The payment provider has not confirmed this yet. It is being looked up; "
        "asking again is safe and never charges twice"
    )


class BillingBusy(Refusal):
    """Another change of the same subscription is being carried out."""

    kind = ErrorKind.CONFLICT
    code = "billing_busy"
    usual_message = "Another change of this subscription is in progress"


class PaymentFailed(Refusal):
    """The card was declined; nothing changed."""

    kind = ErrorKind.PAYMENT_REQUIRED
    code = "payment_failed"
    usual_message = "The payment was declined"


class NoSubscription(Refusal):
    """There is nothing to change, cancel or pay."""

    kind = ErrorKind.NOT_FOUND
    code = "subscription_not_found"
    usual_message = "There is no paid subscription"


class WebhookClosed(Refusal):
    """No signing secret is set, so nobody can prove to be the provider."""

    kind = ErrorKind.UNAVAILABLE
    code = "webhook_closed"
    usual_message = "Stripe webhooks are not set up on this server"


class WebhookForged(Refusal):
    """The signature does not belong to the body."""

    kind = ErrorKind.INVALID
    code = "invalid_signature"
    usual_message = "The Stripe-Signature header does not match the body"


class WebhookMalformed(Refusal):
    """Signed by the provider, and yet no event that we can read."""

    kind = ErrorKind.INVALID
    code = "invalid_event"
    usual_message = "The body is not a Stripe event"
