"""What answers prove about a command."""

from typing import Any

import ccxt
import pytest

from adapters.venues.coinbase import outcomes
from adapters.venues.coinbase.client import AnsweredError, CoinbaseClient, HttpAnswer
from domain.orders import Accepted, Refused, Unknown

PLACED = {
    "success": True,
    "failure_reason": "UNKNOWN_FAILURE_REASON",
    "order_id": "o1",
    "success_response": {"order_id": "o1", "product_id": "BTC-USD", "client_order_id": "c1"},
}


def refusal(code: str, **extra: str) -> dict[str, Any]:
    return {
        "success": False,
        "failure_reason": "UNKNOWN_FAILURE_REASON",
        "order_id": "",
        "error_response": {"error": code, "message": "", "error_details": "", **extra},
        "order_configuration": {},
    }


def answered(status: int, body: dict[str, Any]) -> AnsweredError:
    return AnsweredError(ccxt.ExchangeError("x"), HttpAnswer(status, body))


def test_accepted_order_has_its_id() -> None:
    assert outcomes.placed(PLACED) == Accepted("o1")


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"success": True},
        {"success": True, "success_response": {"order_id": ""}},
        {"success": False},
        {"success": "true", "success_response": {"order_id": "o1"}},
        refusal("UNKNOWN_FAILURE_REASON"),
    ],
)
def test_unclear_answer_is_unknown(answer: dict[str, Any]) -> None:
    assert isinstance(outcomes.placed(answer), Unknown)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (refusal("INSUFFICIENT_FUND"), "insufficient_funds"),
        (refusal("X", preview_failure_reason="PREVIEW_INSUFFICIENT_FUND"), "insufficient_funds"),
        (refusal("INVALID_LIMIT_PRICE_POST_ONLY"), "post_only_would_cross"),
        (refusal("INELIGIBLE_PAIR"), "ineligible_pair"),
        (
            refusal(
                "UNKNOWN_FAILURE_REASON",
                preview_failure_reason="PREVIEW_INVALID_BASE_SIZE_TOO_SMALL",
            ),
            "quantity_minimum",
        ),
    ],
)
def test_error_response_proves_a_refusal(body: dict[str, Any], code: str) -> None:
    for outcome in (outcomes.failed(answered(200, body)), outcomes.placed(body)):
        assert isinstance(outcome, Refused)
        assert outcome.code == code


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"error": "INVALID_ARGUMENT", "message": "no"}, "invalid_argument"),
        (401, {}, "keys_refused"),
        (403, {"error": "PERMISSION_DENIED", "message": "no"}, "keys_refused"),
        (429, {}, "rate_limited"),
    ],
)
def test_gateway_refusals_are_before_any_order(
    status: int, body: dict[str, Any], code: str
) -> None:
    outcome = outcomes.failed(answered(status, body))

    assert isinstance(outcome, Refused)
    assert outcome.code == code


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {}),
        (403, {}),
        (404, {}),
        (408, {"error": "x"}),
        (409, {"error": "x"}),
        (500, {"error": "INTERNAL", "message": "x"}),
        (502, {}),
        (503, {"error": "UNAVAILABLE"}),
        (504, {}),
        (200, {}),
        (200, refusal("UNKNOWN_FAILURE_REASON")),
        (200, refusal("DUPLICATE_CLIENT_ORDER_ID")),
        (200, {"error": "unknown"}),
    ],
)
def test_everything_else_is_unknown(status: int, body: dict[str, Any]) -> None:
    assert isinstance(outcomes.failed(answered(status, body)), Unknown)


@pytest.mark.parametrize("error", [ccxt.RequestTimeout("x"), ccxt.ExchangeError("x"), OSError()])
def test_no_answer_is_unknown(error: Exception) -> None:
    assert isinstance(outcomes.failed(error), Unknown)


def test_cancellations() -> None:
    def result(**fields: object) -> dict[str, Any]:
        return {"results": [{"order_id": "o1", **fields}]}

    assert outcomes.cancelled(result(success=True), "o1") == Accepted("o1")
    again = result(success=False, failure_reason="DUPLICATE_CANCEL_REQUEST")
    assert outcomes.cancelled(again, "o1") == Accepted("o1")
    refused = outcomes.cancelled(result(success=False, failure_reason="UNKNOWN_CANCEL_ORDER"), "o1")
    assert isinstance(refused, Refused)
    unclear_answers: tuple[dict[str, Any], ...] = (
        {},
        {"results": []},
        result(success=False, failure_reason="UNKNOWN_CANCEL_FAILURE_REASON"),
        {"results": [{"order_id": "o2", "success": True}]},
    )
    for unclear in unclear_answers:
        assert isinstance(outcomes.cancelled(unclear, "o1"), Unknown)


async def test_client_keeps_status_and_body_with_the_error() -> None:
    client = CoinbaseClient({})
    body = refusal("INSUFFICIENT_FUND")

    with pytest.raises(AnsweredError) as of_body:
        client.handle_errors(200, "OK", "u", "POST", {}, "text", body, {}, "")
    with pytest.raises(AnsweredError) as of_status:
        client.handle_http_status_code(503, "no", "u", "GET", '{"error": "x"}')

    # What ccxt makes of it is why the class alone does not decide.
    assert type(of_body.value.error) is ccxt.ExchangeError
    assert of_body.value.answer == HttpAnswer(200, body)
    assert of_status.value.answer == HttpAnswer(503, {"error": "x"})
    await client.close()


@pytest.mark.parametrize("said", ["a\0b", "\ud800!", "two\nlines", "x" * 1_000_000])
def test_what_a_venue_says_is_cut_to_what_can_be_stored(said: str) -> None:
    by_message = outcomes.placed(refusal("INSUFFICIENT_FUND", message=said))
    by_code = outcomes.placed(refusal(said))

    assert isinstance(by_message, Refused)
    assert by_message.code == "insufficient_funds"
    assert isinstance(by_code, Refused)
    for text in (by_message.reason, by_code.code, by_code.reason):
        assert text.isprintable()
        assert len(text) < 600


@pytest.mark.parametrize("order_id", ["a\0b", "\ud800", "x" * 10_000])
def test_an_order_whose_id_cannot_be_stored_is_looked_up(order_id: str) -> None:
    answer = {**PLACED, "success_response": {"order_id": order_id}}

    assert isinstance(outcomes.placed(answer), Unknown)
