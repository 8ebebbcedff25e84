"""The NIJA error table: what each problem is called here, and its HTTP status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

from api.kit.problem import METHOD_NOT_ALLOWED, Problem, problem_of
from api.kit.rate_limits import count_refused
from api.nija.envelope import failure
from domain.errors import DomainError, ErrorKind


class WireError(NamedTuple):
    """An error code of this dialect and the status it comes with."""

    status: int
    code: str


BY_KIND: Mapping[ErrorKind, WireError] = {
    ErrorKind.INVALID: WireError(422, "VALIDATION_ERROR"),
    ErrorKind.UNAUTHENTICATED: WireError(401, "TOKEN_INVALID"),
    ErrorKind.PAYMENT_REQUIRED: WireError(402, "SUBSCRIPTION_REQUIRED"),
    ErrorKind.FORBIDDEN: WireError(403, "UNAUTHORIZED"),
    ErrorKind.NOT_FOUND: WireError(404, "NOT_FOUND"),
    ErrorKind.CONFLICT: WireError(409, "CONFLICT"),
    ErrorKind.LIMIT_REACHED: WireError(403, "EXCEEDS_TIER_LIMIT"),
    ErrorKind.RATE_LIMITED: WireError(429, "RATE_LIMITED"),
    ErrorKind.VENUE_FAILED: WireError(502, "BROKER_ERROR"),
    ErrorKind.UNAVAILABLE: WireError(503, "SERVICE_UNAVAILABLE"),
    ErrorKind.OUTCOME_UNKNOWN: WireError(202, "OUTCOME_UNKNOWN"),
    ErrorKind.DATABASE: WireError(500, "DATABASE_ERROR"),
    ErrorKind.INTERNAL: WireError(500, "INTERNAL_ERROR"),
}
"""Total: a test fails when a kind is missing."""

BY_CODE: Mapping[str, WireError] = {
    # requests
    "malformed_body": WireError(400, "MALFORMED_BODY"),
    "payload_too_large": WireError(413, "PAYLOAD_TOO_LARGE"),
    "method_not_allowed": WireError(405, "METHOD_NOT_ALLOWED"),
    "idempotency_conflict": WireError(409, "IDEMPOTENCY_CONFLICT"),
    # people
    "invalid_email": WireError(400, "INVALID_EMAIL"),
    "weak_password": WireError(400, "WEAK_PASSWORD"),
    "terms_not_accepted": WireError(400, "TERMS_NOT_ACCEPTED"),
    "email_already_exists": WireError(409, "EMAIL_ALREADY_EXISTS"),
    "invalid_credentials": WireError(401, "INVALID_CREDENTIALS"),
    "token_expired": WireError(401, "TOKEN_EXPIRED"),
    "otp_required": WireError(401, "OTP_REQUIRED"),
    "otp_invalid": WireError(401, "OTP_INVALID"),
    "otp_already_enabled": WireError(409, "OTP_ALREADY_ENABLED"),
    "otp_not_enabled": WireError(409, "OTP_NOT_ENABLED"),
    "email_not_verified": WireError(403, "EMAIL_NOT_VERIFIED"),
    "positions_open": WireError(409, "POSITIONS_OPEN"),
    "account_disabled": WireError(403, "ACCOUNT_DISABLED"),
    "account_suspended": WireError(403, "ACCOUNT_SUSPENDED"),
    # billing
    "billing_busy": WireError(409, "SUBSCRIPTION_BUSY"),
    "payment_failed": WireError(402, "PAYMENT_FAILED"),
    "invalid_signature": WireError(400, "INVALID_SIGNATURE"),
    "invalid_event": WireError(400, "MALFORMED_BODY"),
    # notifications
    "channel_name_taken": WireError(409, "CHANNEL_NAME_TAKEN"),
    # alerts
    "malformed_alert": WireError(400, "MALFORMED_BODY"),
    # live updates
    "resume_not_possible": WireError(409, "RESUME_NOT_POSSIBLE"),
    "already_subscribed": WireError(409, "ALREADY_SUBSCRIBED"),
    # trading
    "already_running": WireError(409, "ALREADY_RUNNING"),
    "paper_account_in_use": WireError(409, "ALREADY_RUNNING"),
    "not_running": WireError(400, "NOT_RUNNING"),
    "no_broker_configured": WireError(400, "NO_BROKER_CONFIGURED"),
    "kill_switch_active": WireError(403, "KILL_SWITCH_ACTIVE"),
    "position_can_be_sold": WireError(409, "POSITION_CAN_BE_SOLD"),
    "position_not_found": WireError(404, "POSITION_NOT_FOUND"),
    # configuration
    "invalid_setting": WireError(400, "INVALID_SETTING"),
    "invalid_risk_level": WireError(400, "INVALID_RISK_LEVEL"),
    "unsupported_broker": WireError(400, "UNSUPPORTED_BROKER"),
    "invalid_api_key": WireError(400, "INVALID_API_KEY"),
    "broker_already_connected": WireError(409, "BROKER_ALREADY_CONNECTED"),
}
"""What is called something else than its kind says."""

_UNAUTHENTICATED = 401
_BEARER = {"www-authenticate": "Bearer"}


def wire_error(kind: ErrorKind, code: str) -> WireError:
    """The entry of the table for a problem."""
    return BY_CODE.get(code) or BY_KIND[kind]


def render(problem: Problem) -> Response:
    """A problem in the NIJA envelope."""
    status, code = wire_error(problem.kind, problem.code)
    headers = {**problem.headers, **(_BEARER if status == _UNAUTHENTICATED else {})}
    if "retry_after_seconds" in problem.details:
        headers["retry-after"] = str(problem.details["retry_after_seconds"])
    return failure(status, code, problem.message, problem.details, headers)


def install(app: FastAPI) -> None:
    """Make every failure of an application answer in this dialect, unknown paths included."""
    for kind in (DomainError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _handle)


async def _handle(request: Request, error: Exception) -> Response:
    problem = problem_of(await count_refused(request, error))
    if problem.code == METHOD_NOT_ALLOWED:
        allowed = {"allow": ", ".join(allowed_methods(request))}
        problem = Problem(problem.kind, problem.code, problem.message, headers=allowed)
    return render(problem)


def allowed_methods(request: Request) -> list[str]:
    """Every method of this path; the framework names only those of the first route it meets."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.path is not None and compile_path(route.path)[0].match(path):
            methods |= route.methods or set()
    return sorted(methods)
