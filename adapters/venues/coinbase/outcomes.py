"""What became of a command: Coinbase's own proofs first, ccxt's classes second.

Coinbase answers an order with HTTP 200 and `success`; a refusal carries an `error_response` with a
code. ccxt looks for the code under a name that only previews use, so every refused order, even one
for want of funds, surfaces as a bare `ExchangeError`: by its class alone all of them would be
unknown. A 4xx with Coinbase's error object (`error`, `message`) comes from its gateway, before any
order is made; so do 401 and 429. A 5xx, a time-out, a broken connection or any other body proves
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from adapters.venues.coinbase.client import Answer, AnsweredError, HttpAnswer
from adapters.venues.coinbase.parse import is_name
from adapters.venues.errors import CommandMeaning, meaning_of
from domain.orders import Accepted, PlaceOutcome, Refused, Unknown

# Codes of ours for the refusals that callers treat alike at all venues; the rest keeps Coinbase's
# name in lower case.
_CODES: Mapping[str, str] = {
    "INSUFFICIENT_FUND": "insufficient_funds",
    "INSUFFICIENT_FUNDS": "insufficient_funds",
    "INVALID_LIMIT_PRICE_POST_ONLY": "post_only_would_cross",
    "INVALID_NO_LIQUIDITY": "no_liquidity",
    "INVALID_SIZE_PRECISION": "quantity_precision",
    "INVALID_PRICE_PRECISION": "price_precision",
    "INVALID_BASE_SIZE_TOO_SMALL": "quantity_minimum",
    "INVALID_QUOTE_SIZE_TOO_SMALL": "notional_minimum",
    "INVALID_BASE_SIZE_TOO_LARGE": "quantity_maximum",
    "INVALID_QUOTE_SIZE_TOO_LARGE": "notional_maximum",
    "UNSUPPORTED_ORDER_CONFIGURATION": "unsupported_order_type",
    "INVALID_ORDER_CONFIG": "unsupported_order_type",
    "INVALID_PRODUCT_ID": "unknown_symbol",
    "UNKNOWN_CANCEL_ORDER": "unknown_order",
    "INVALID_CANCEL_REQUEST": "order_not_open",
}
_PREVIEW = "PREVIEW_"
_ALREADY_CANCELLING = "DUPLICATE_CANCEL_REQUEST"
# "Unknown" as a reason is no proof of anything; a duplicate means that the order is there.
_NO_PROOF = frozenset({"", "UNKNOWN_FAILURE_REASON", "UNKNOWN_CANCEL_FAILURE_REASON"})
_HTTP_OK = 200
_HTTP_CLIENT_ERROR = range(400, 500)
_HTTP_UNAUTHORIZED = 401
_HTTP_FORBIDDEN = 403
_HTTP_TOO_MANY = 429
_HTTP_AMBIGUOUS = frozenset({408, 409, 425})
_CODE_MAX = 100
_REASON_MAX = 500
_REASON_FIELDS = ("new_order_failure_reason", "preview_failure_reason", "error")


def placed(answer: Answer) -> PlaceOutcome:
    """Read the answer to an order."""
    if answer.get("success") is not True:
        return _refusal_of_order(answer) or Unknown(
            "Coinbase's answer does not say what became of the order"
        )
    success = answer.get("success_response")
    order_id = success.get("order_id") if isinstance(success, dict) else None
    if is_name(order_id):
        return Accepted(order_id)
    return Unknown("Coinbase took the order without naming it")


def cancelled(answer: Answer, venue_order_id: str) -> PlaceOutcome:
    """Read the answer to a cancellation of one order."""
    results = answer.get("results")
    for result in results if isinstance(results, list) else []:
        if isinstance(result, dict) and result.get("order_id") == venue_order_id:
            reason = result.get("failure_reason")
            if result.get("success") is True or reason == _ALREADY_CANCELLING:
                return Accepted(venue_order_id)
            return _refusal(reason, "") or Unknown("Coinbase gives no reason")
    return Unknown("Coinbase's answer does not mention the order")


def failed(error: BaseException) -> PlaceOutcome:
    """Read what was raised instead of an answer."""
    if isinstance(error, AnsweredError):
        # ccxt made its class from this answer; whatever the answer does not prove, its name cannot.
        return _proven_refusal(error.answer) or Unknown(
            f"Coinbase answered {error.answer.status}: {type(error.error).__name__}"
        )
    return _by_class(error)


def _proven_refusal(answer: HttpAnswer) -> Refused | None:
    if answer.status == _HTTP_OK:
        return _refusal_of_order(answer.body)
    if answer.status == _HTTP_UNAUTHORIZED:
        return Refused("keys_refused", "Coinbase does not accept these keys")
    if answer.status == _HTTP_TOO_MANY:
        return Refused("rate_limited", "Coinbase asks for fewer requests")
    has_error_object = isinstance(answer.body.get("error"), str)
    if (
        answer.status not in _HTTP_CLIENT_ERROR
        or answer.status in _HTTP_AMBIGUOUS
        or not has_error_object
    ):
        return None
    if answer.status == _HTTP_FORBIDDEN:
        return Refused("keys_refused", "These keys may not do that")
    return _refusal(answer.body["error"], answer.body.get("message"))


def _refusal_of_order(body: Answer) -> Refused | None:
    response = body.get("error_response")
    if body.get("success") is not False or not isinstance(response, dict):
        return None
    codes = [response.get(name) for name in _REASON_FIELDS]
    code = next((code for code in codes if isinstance(code, str) and code not in _NO_PROOF), "")
    return _refusal(code, response.get("message") or response.get("error_details"))


def _refusal(code: object, message: object) -> Refused | None:
    if not isinstance(code, str) or code in _NO_PROOF or "DUPLICATE" in code:
        return None
    name = _line(code, _CODE_MAX).removeprefix(_PREVIEW)
    said = _line(message, _REASON_MAX) if isinstance(message, str) else ""
    reason = said or name.replace("_", " ").lower()
    return Refused(_CODES.get(name, name.lower()), f"Coinbase: {reason}")


def _line(text: str, characters: int) -> str:
    """What can be stored and shown of a text that anything behind the venue's API may have made."""
    found = "".join(it if it.isprintable() else " " for it in text[: characters + 1]).strip()
    return found if len(found) <= characters else f"{found[: characters - 1]}\u2026"


def _by_class(error: BaseException) -> PlaceOutcome:
    name = type(error).__name__
    match meaning_of(error).command:
        case CommandMeaning.REFUSED:
            return Refused(name.lower(), f"Coinbase refused: {name}")
        case CommandMeaning.ALREADY_THERE:
            return Unknown("Coinbase has an order with this id: look it up")
        case CommandMeaning.UNKNOWN:
            return Unknown(f"Coinbase: {name}")
