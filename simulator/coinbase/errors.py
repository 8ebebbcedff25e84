"""Failures in the shapes in which Coinbase reports them."""

from collections.abc import Mapping
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from simulator.engine.values import Refusal

_V2_PREFIX: Final = "/v2/"


class ApiError(Exception):
    """A request that is answered with an error status."""

    def __init__(
        self, status: int, error: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.headers = headers
        self.status = status
        self.error = error
        self.message = message


class UnauthorizedError(ApiError):
    """No valid signature, or none that allows this call."""

    def __init__(self, message: str) -> None:
        super().__init__(401, "authentication_error", message)


def invalid_argument(message: str) -> ApiError:
    """Return the answer to a request that makes no sense."""
    return ApiError(400, "INVALID_ARGUMENT", message)


def not_found(message: str) -> ApiError:
    """Return the answer to a request about something that is not there."""
    return ApiError(404, "NOT_FOUND", message)


def missing_scope() -> ApiError:
    """Return the answer to a key without the needed permission."""
    return ApiError(403, "PERMISSION_DENIED", "Missing required scopes")


def render_missing(request: Request, error: Exception) -> Response:
    """Return the response for a path or a method that is not there."""
    assert isinstance(error, HTTPException)
    return render(request, ApiError(error.status_code, "NOT_FOUND", error.detail))


def render(request: Request, error: Exception) -> Response:
    """Return the response for an ApiError, in the form of the API version asked."""
    assert isinstance(error, ApiError)
    if request.url.path.startswith(_V2_PREFIX):
        body = {"errors": [{"id": error.error.lower(), "message": error.message}]}
        return JSONResponse(body, error.status, error.headers)
    if isinstance(error, UnauthorizedError):
        return PlainTextResponse("Unauthorized\n", error.status)
    details = {
        "error": error.error,
        "code": error.status,
        "error_details": error.message,
        "message": error.message,
    }
    return JSONResponse(details, error.status, error.headers)


# refusal: (error, preview failure reason, message); clients classify by the second
_UNKNOWN: Final = "UNKNOWN_FAILURE_REASON"
_REFUSALS: Final[dict[Refusal, tuple[str, str, str]]] = {
    Refusal.UNKNOWN_PRODUCT: (
        "INVALID_PRODUCT_ID",
        "PREVIEW_INVALID_PRODUCT_ID",
        "Invalid product_id",
    ),
    Refusal.SIZE_PRECISION: (
        "INVALID_SIZE_PRECISION",
        "PREVIEW_INVALID_SIZE_PRECISION",
        "Too many decimals in order size",
    ),
    Refusal.QUOTE_SIZE_PRECISION: (
        "INVALID_SIZE_PRECISION",
        "PREVIEW_INVALID_QUOTE_SIZE_PRECISION",
        "Too many decimals in order amount",
    ),
    Refusal.PRICE_PRECISION: (
        "INVALID_PRICE_PRECISION",
        "PREVIEW_INVALID_PRICE_PRECISION",
        "Too many decimals in order price",
    ),
    Refusal.BASE_SIZE_TOO_SMALL: (
        _UNKNOWN,
        "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL",
        "Order size is too small",
    ),
    Refusal.BASE_SIZE_TOO_LARGE: (
        _UNKNOWN,
        "PREVIEW_INVALID_BASE_SIZE_TOO_LARGE",
        "Order size is too large",
    ),
    Refusal.QUOTE_SIZE_TOO_SMALL: (
        _UNKNOWN,
        "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL",
        "Order amount is too small",
    ),
    Refusal.QUOTE_SIZE_TOO_LARGE: (
        _UNKNOWN,
        "PREVIEW_INVALID_QUOTE_SIZE_TOO_LARGE",
        "Order amount is too large",
    ),
    Refusal.WOULD_CROSS: (
        "INVALID_LIMIT_PRICE_POST_ONLY",
        "PREVIEW_INVALID_LIMIT_PRICE_POST_ONLY",
        "Post only order would take liquidity",
    ),
    Refusal.NO_LIQUIDITY: (
        "INVALID_NO_LIQUIDITY",
        "PREVIEW_INVALID_NO_LIQUIDITY",
        "No liquidity for this order",
    ),
    Refusal.INSUFFICIENT_FUNDS: (
        "INSUFFICIENT_FUND",
        "PREVIEW_INSUFFICIENT_FUND",
        "Insufficient balance in source account",
    ),
    Refusal.UNSUPPORTED: (
        "UNSUPPORTED_ORDER_CONFIGURATION",
        "UNSUPPORTED_ORDER_CONFIGURATION",
        "Order configuration is not supported",
    ),
    Refusal.LIMIT_ONLY: (
        "UNSUPPORTED_ORDER_CONFIGURATION",
        "PREVIEW_INVALID_ORDER_CONFIG",
        "Orderbook is in limit only mode",
    ),
    Refusal.POST_ONLY: (
        "UNSUPPORTED_ORDER_CONFIGURATION",
        "PREVIEW_INVALID_ORDER_CONFIG",
        "Orderbook is in post only mode",
    ),
    Refusal.TRADING_DISABLED: (
        "ORDER_ENTRY_DISABLED",
        "UNKNOWN_PREVIEW_FAILURE_REASON",
        "Order entry is disabled for this product",
    ),
}


def refused_order(refusal: Refusal, configuration: Any) -> dict[str, Any]:
    """Return the body, sent with status 200, that says an order was not accepted."""
    error, preview, message = _REFUSALS[refusal]
    return {
        "success": False,
        "failure_reason": "UNKNOWN_FAILURE_REASON",
        "order_id": "",
        "error_response": {
            "error": error,
            "message": message,
            "error_details": "",
            "preview_failure_reason": preview,
            "new_order_failure_reason": error,
        },
        "order_configuration": configuration,
    }
