"""The client of the NIJA API."""

from nija_sdk._stream import Event
from nija_sdk._tokens import Tokens
from nija_sdk._version import VERSION
from nija_sdk.client import AsyncNIJAClient, NIJAClient
from nija_sdk.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    NIJAError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    UnexpectedResponseError,
    ValidationError,
)

__version__ = VERSION

__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AsyncNIJAClient",
    "AuthenticationError",
    "BadRequestError",
    "ConflictError",
    "Event",
    "NIJAClient",
    "NIJAError",
    "NotFoundError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "RateLimitedError",
    "ServerError",
    "Tokens",
    "UnexpectedResponseError",
    "ValidationError",
    "__version__",
]
