"""Refusals that several services share, and what unanticipated failures of our dependencies mean.

Each class is one statement about the world with a kind and a stable code; which HTTP status and
wire code it becomes is each API dialect's own table. Messages are safe to show to the user who
caused them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from psycopg import Error as DriverError
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as EngineTimeout

from domain.errors import DomainError, ErrorKind
from domain.ports import VenueRefusedKeys, VenueUnavailable, WorkflowServiceUnavailable


class Refusal(DomainError):
    """A domain error that knows its usual sentence."""

    usual_message: ClassVar[str] = "The request was refused"

    def __init__(
        self, message: str | None = None, *, details: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message or self.usual_message, details=details)


# --- requests ------------------------------------------------------------------------------------


class InvalidRequest(Refusal):
    """A value has the right type but makes no sense here; `fields` names each one and says why."""

    kind = ErrorKind.INVALID
    code = "invalid_request"
    usual_message = "The request is not valid"

    def __init__(self, fields: Mapping[str, str], message: str | None = None) -> None:
        super().__init__(message, details={"fields": dict(fields)})


class IdempotencyConflict(Refusal):
    """The key belongs to another request, or to one that is still being carried out."""

    kind = ErrorKind.CONFLICT
    code = "idempotency_conflict"
    usual_message = "This Idempotency-Key was used for another request"


class RateLimited(Refusal):
    """More calls a minute than the plan, or the address, has."""

    kind = ErrorKind.RATE_LIMITED
    code = "rate_limited"
    usual_message = "Too many requests; wait for the seconds that Retry-After says"


class ObjectNotFound(Refusal):
    """There is no such object, or it is somebody else's: nobody can tell the two apart."""

    kind = ErrorKind.NOT_FOUND
    code = "object_not_found"
    usual_message = "Not found"


# --- people --------------------------------------------------------------------------------------


class InvalidEmail(Refusal):
    """The text is no email address."""

    kind = ErrorKind.INVALID
    code = "invalid_email"
    usual_message = "This is not a valid email address"


class WeakPassword(Refusal):
    """The password is too short, too long or too common."""

    kind = ErrorKind.INVALID
    code = "weak_password"
    usual_message = "The password is too weak"


class TermsNotAccepted(Refusal):
    """Registration without accepting the terms."""

    kind = ErrorKind.INVALID
    code = "terms_not_accepted"
    usual_message = "The terms of service must be accepted"


class EmailAlreadyExists(Refusal):
    """The address belongs to a user already."""

    kind = ErrorKind.CONFLICT
    code = "email_already_exists"
    usual_message = "This email address is already registered"


class InvalidCredentials(Refusal):
    """Email and password do not match, or the account is locked after too many failures."""

    kind = ErrorKind.UNAUTHENTICATED
    code = "invalid_credentials"
    usual_message = "Email or password is incorrect"


class TokenInvalid(Refusal):
    """The token is missing, malformed, forged, revoked, or of an ended session."""

    kind = ErrorKind.UNAUTHENTICATED
    code = "token_invalid"
    usual_message = "The token is missing or invalid"


class TokenExpired(Refusal):
    """The token was good once."""

    kind = ErrorKind.UNAUTHENTICATED
    code = "token_expired"
    usual_message = "The token has expired"


class NotAuthorized(Refusal):
    """The caller is known but may not do this."""

    kind = ErrorKind.FORBIDDEN
    code = "not_authorized"
    usual_message = "You are not authorized to do this"


class AccountDisabled(Refusal):
    """The user was disabled."""

    kind = ErrorKind.FORBIDDEN
    code = "account_disabled"
    usual_message = "This account is disabled"


class AccountSuspended(Refusal):
    """An administrator suspended the user."""

    kind = ErrorKind.FORBIDDEN
    code = "account_suspended"
    usual_message = "This account is suspended"


# --- trading -------------------------------------------------------------------------------------


class AlreadyRunning(Refusal):
    """The bot runs already."""

    kind = ErrorKind.CONFLICT
    code = "already_running"
    usual_message = "The trading bot is already running"


class NotRunning(Refusal):
    """The bot does not run."""

    kind = ErrorKind.INVALID
    code = "not_running"
    usual_message = "The trading bot is not running"


class NoBrokerConfigured(Refusal):
    """There is no usable connection or account for what was asked."""

    kind = ErrorKind.INVALID
    code = "no_broker_configured"
    usual_message = "No broker API keys are configured"


class SubscriptionRequired(Refusal):
    """The plan does not allow live trading."""

    kind = ErrorKind.PAYMENT_REQUIRED
    code = "subscription_required"
    usual_message = "Live trading requires a subscription"


class KillSwitchActive(Refusal):
    """A kill switch or the user's own emergency stop blocks entries."""

    kind = ErrorKind.FORBIDDEN
    code = "kill_switch_active"
    usual_message = "Trading is blocked by a kill switch"


class PositionNotFound(Refusal):
    """There is no such position, or it is somebody else's."""

    kind = ErrorKind.NOT_FOUND
    code = "position_not_found"
    usual_message = "Position not found"


class PositionCanBeSold(Refusal):
    """A position is written off only where it cannot be sold."""

    kind = ErrorKind.CONFLICT
    code = "position_can_be_sold"
    usual_message = "The position can still be sold; close it instead"


class PaperAccountInUse(Refusal):
    """A paper account is not reset under a bot that trades on it."""

    kind = ErrorKind.CONFLICT
    code = "paper_account_in_use"
    usual_message = "The paper account is in use; stop the bot and let it close its positions first"


# --- configuration -------------------------------------------------------------------------------


class InvalidSetting(Refusal):
    """There is no setting of that name."""

    kind = ErrorKind.INVALID
    code = "invalid_setting"
    usual_message = "Setting name not recognized"


class InvalidRiskLevel(Refusal):
    """Neither low, medium nor high."""

    kind = ErrorKind.INVALID
    code = "invalid_risk_level"
    usual_message = "The risk level must be low, medium or high"


class ExceedsTierLimit(Refusal):
    """The plan does not go that far."""

    kind = ErrorKind.LIMIT_REACHED
    code = "exceeds_tier_limit"
    usual_message = "This exceeds the limits of your plan"


class FeatureUnavailable(Refusal):
    """The switch exists, what it switches is not built yet."""

    kind = ErrorKind.UNAVAILABLE
    code = "feature_unavailable"
    usual_message = "This feature is not available yet"


class UnsupportedBroker(Refusal):
    """This installation does not trade at that venue."""

    kind = ErrorKind.INVALID
    code = "unsupported_broker"
    usual_message = "This broker is not supported"


class InvalidApiKey(Refusal):
    """The venue refused the keys, or the keys may do more or less than a bot's keys may."""

    kind = ErrorKind.INVALID
    code = "invalid_api_key"
    usual_message = "The broker refused these API keys"


class BrokerAlreadyConnected(Refusal):
    """There is a connection to that venue already."""

    kind = ErrorKind.CONFLICT
    code = "broker_already_connected"
    usual_message = "This broker is already connected"


# --- what we depend on ---------------------------------------------------------------------------


class VenueFailed(Refusal):
    """The venue gave no usable answer."""

    kind = ErrorKind.VENUE_FAILED
    code = "venue_failed"
    usual_message = "The broker did not answer"


class WorkflowUnavailable(Refusal):
    """The workflow service does not answer."""

    kind = ErrorKind.UNAVAILABLE
    code = "workflow_unavailable"
    usual_message = "The trading service is temporarily unavailable"


class DatabaseFailed(Refusal):
    """PostgreSQL does not answer, or refused what we sent."""

    kind = ErrorKind.DATABASE
    code = "database_failed"
    usual_message = "A database operation failed"


class DatabaseBusy(Refusal):
    """All connections were in use for as long as a call waits for one: nothing was begun."""

    kind = ErrorKind.UNAVAILABLE
    code = "database_busy"
    usual_message = "Too much is going on at the moment; wait for the seconds that Retry-After says"

    def __init__(self) -> None:
        super().__init__(details={"retry_after_seconds": BUSY_SECONDS})


BUSY_SECONDS = 2
"""When a call that found all connections in use is worth repeating."""

_MEANINGS: Mapping[type[Exception], Callable[[], DomainError]] = {
    VenueUnavailable: VenueFailed,
    VenueRefusedKeys: InvalidApiKey,
    WorkflowServiceUnavailable: WorkflowUnavailable,
    PoolTimeout: DatabaseBusy,
    TooManyRequests: DatabaseBusy,
    EngineTimeout: DatabaseBusy,
    PoolClosed: DatabaseFailed,
    DriverError: DatabaseFailed,
    SQLAlchemyError: DatabaseFailed,
}
"""By kind of failure; the first that fits counts."""


def explain(failure: BaseException) -> DomainError | None:
    """The domain error that a failure of a dependency amounts to; None for a defect of our own.

    Nothing of the failure's own text is kept: it may name hosts, statements or values.
    """
    if isinstance(failure, DomainError):
        return failure
    for kind, meaning in _MEANINGS.items():
        if isinstance(failure, kind):
            return meaning()
    return None
