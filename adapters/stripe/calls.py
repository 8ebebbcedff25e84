"""The transport, and what each kind of failure means for a read and for a write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import stripe
import structlog

from domain.billing import (
    ProviderMisconfigured,
    ProviderOutcomeUnknown,
    ProviderRefused,
    ProviderUnavailable,
    RefusalReason,
)

TIMEOUT_SECONDS = 15.0
"""How long a request may take altogether."""

_CONFLICTS = frozenset({"idempotency_key_in_use", "lock_timeout"})
_NO_ANSWER = (aiohttp.ClientError, TimeoutError, stripe.APIConnectionError)
_log = structlog.get_logger("nija.stripe")


def make_transport() -> stripe.AIOHTTPClient:
    """Connections to Stripe; whoever makes it closes it."""
    return stripe.AIOHTTPClient(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))


def make_client(
    api_key: str, http: stripe.AIOHTTPClient, *, api_base: str | None = None
) -> stripe.StripeClient:
    """A client that sends each request once; repeating is the caller's decision."""
    if api_base is None:
        return stripe.StripeClient(api_key, http_client=http, max_network_retries=0)
    return stripe.StripeClient(
        api_key, http_client=http, max_network_retries=0, base_addresses={"api": api_base}
    )


@asynccontextmanager
async def reading() -> AsyncIterator[None]:
    """Translate the failures of a read.

    Raises:
        ProviderUnavailable, ProviderMisconfigured: instead of Stripe's own errors.
    """
    try:
        yield
    except (stripe.AuthenticationError, stripe.PermissionError) as failure:
        raise ProviderMisconfigured("Stripe does not accept our key") from failure
    except (stripe.StripeError, *_NO_ANSWER) as failure:
        raise ProviderUnavailable(_describe(failure)) from failure


@asynccontextmanager
async def writing(subject: RefusalReason = RefusalReason.OTHER) -> AsyncIterator[None]:
    """Translate the failures of a write, of which only some tell that nothing happened.

    Args:
        subject: what a request that Stripe calls invalid is to be blamed on.

    Raises:
        ProviderRefused, ProviderOutcomeUnknown, ProviderMisconfigured: instead of Stripe's own.
    """
    try:
        yield
    except stripe.CardError as failure:
        decline = failure.error.decline_code if failure.error else None
        raise ProviderRefused(
            RefusalReason.CARD_DECLINED,
            failure.user_message or "The card was declined",
            code=decline or failure.code or "",
        ) from failure
    except (stripe.AuthenticationError, stripe.PermissionError) as failure:
        raise ProviderMisconfigured("Stripe does not accept our key") from failure
    except stripe.IdempotencyError as failure:
        # An earlier run sent something else under this key, so there was an earlier run: look.
        raise ProviderOutcomeUnknown(_describe(failure)) from failure
    except stripe.InvalidRequestError as failure:
        if failure.code in _CONFLICTS:
            raise ProviderOutcomeUnknown(_describe(failure)) from failure
        _log.warning("stripe.refused", code=failure.code, param=failure.param)
        raise _invalid(subject, failure) from failure
    except (stripe.StripeError, *_NO_ANSWER) as failure:
        raise ProviderOutcomeUnknown(_describe(failure)) from failure


def _invalid(subject: RefusalReason, failure: stripe.InvalidRequestError) -> ProviderRefused:
    """Stripe's own sentence may name objects of the account; it goes to the log only."""
    message = (
        "This payment method cannot be used"
        if subject is RefusalReason.PAYMENT_METHOD
        else "The payment provider refused the request"
    )
    return ProviderRefused(subject, message, code=failure.code or "")


def _describe(failure: Exception) -> str:
    """What kind of failure it was; never its text, which may hold values."""
    status = getattr(failure, "http_status", None)
    return f"{type(failure).__name__} {status}" if status else type(failure).__name__
