"""What can go wrong, as exceptions.

`APIError` and its children are answers of the server; the others never got one, or not one that
can be understood. Messages and `repr` hold no tokens and no request bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class NIJAError(Exception):
    """Any failure of this package."""


class APIConnectionError(NIJAError):
    """No answer arrived. A write may have been carried out; its key makes a repeat safe."""


class APITimeoutError(APIConnectionError):
    """No answer arrived in time."""


class UnexpectedResponseError(NIJAError):
    """The answer is not what this version of the package knows."""


class APIError(NIJAError):
    """The server refused, or failed.

    Attributes:
        status: the HTTP status.
        code: for programs, such as `ALREADY_RUNNING`.
        message: for people.
        details: more, where there is more; `details["fields"]` names what is invalid.
        request_id: what to tell the operator of the server.
        retry_after: seconds to wait, where the server said so.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        details: Mapping[str, Any],
        request_id: str | None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.details = details
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        suffix = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.status} {self.code}: {self.message}{suffix}"


class BadRequestError(APIError):
    """400, 413 and other requests that cannot be carried out as they are."""


class AuthenticationError(APIError):
    """401: credentials or token are wrong, expired, or missing."""


class PaymentRequiredError(APIError):
    """402: the plan does not cover it, or a payment failed."""


class PermissionDeniedError(APIError):
    """403: not allowed, also for a plan's limits and the kill switch."""


class NotFoundError(APIError):
    """404: no such thing, or somebody else's."""


class ConflictError(APIError):
    """409: the state of things forbids it, such as `ALREADY_RUNNING`."""


class ValidationError(APIError):
    """422: `details["fields"]` says which fields are wrong, and why."""


class RateLimitedError(APIError):
    """429: too many calls; `retry_after` says how long to wait."""


class ServerError(APIError):
    """5xx: the server, or a broker behind it, failed."""


_SERVER_ERROR = 500
_BY_STATUS: Mapping[int, type[APIError]] = {
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: ValidationError,
    429: RateLimitedError,
}


def error_class(status: int) -> type[APIError]:
    """The exception for a status."""
    if status >= _SERVER_ERROR:
        return ServerError
    return _BY_STATUS.get(status, BadRequestError)
