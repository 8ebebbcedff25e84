"""What the answers to the sends of one order say together, in whatever order they come."""

from __future__ import annotations

from itertools import permutations, product
from uuid import uuid4

import pytest

from domain.orders import Leg, OrderState, OrderType, Refused, Side, Unknown
from models.trading import Order
from services.orders.refusals import after_failed_send, is_judged

JUDGED = Refused("unsupported_order_type", "The market takes no such order")
TURNED_AWAY = Refused("rate_limited", "The venue asks for fewer requests")
NO_ANSWER = Unknown("no answer")

Answer = Refused | Unknown

SENT_THRICE = [
    (answers, arrivals)
    for answers in product((JUDGED, TURNED_AWAY, NO_ANSWER), repeat=3)
    for arrivals in permutations((1, 2, 3))
]


def exit_order(*, sends: int, state: OrderState = OrderState.SENDING) -> Order:
    return Order(
        user_id=uuid4(),
        account_id=uuid4(),
        bot_id=uuid4(),
        run_id=uuid4(),
        position_id=uuid4(),
        cause="trigger:1",
        leg=Leg.STOP,
        client_order_id=str(uuid4()),
        symbol="BTC-USD",
        side=Side.SELL,
        type=OrderType.MARKET,
        sends=sends,
        state=state,
    )


def answer(order: Order, send: int, outcome: Answer) -> None:
    """Note the answer to one send in the row, as a booking does."""
    if isinstance(outcome, Refused):
        order.refused_sends += 1
    told = after_failed_send(order, send, outcome)
    if told is not None:
        order.state, (order.refusal_code, order.refusal_reason) = told


@pytest.mark.parametrize(("answers", "arrivals"), SENT_THRICE)
def test_an_order_is_refused_once_every_send_of_it_was(
    answers: tuple[Answer, ...], arrivals: tuple[int, ...]
) -> None:
    order = exit_order(sends=3)

    for number, send in enumerate(arrivals, start=1):
        answer(order, send, answers[send - 1])
        assert number == len(arrivals) or order.state != OrderState.REFUSED

    all_refused = NO_ANSWER not in answers
    assert order.state == (OrderState.REFUSED if all_refused else OrderState.UNKNOWN)
    assert is_judged(order.refusal_code) is (JUDGED in answers)


@pytest.mark.parametrize("late", [JUDGED, TURNED_AWAY, NO_ANSWER])
@pytest.mark.parametrize("state", [OrderState.OPEN, OrderState.FILLED, OrderState.ABSENT])
def test_a_late_answer_changes_nothing_of_what_was_found_at_the_venue(
    state: OrderState, late: Answer
) -> None:
    order = exit_order(sends=2, state=state)

    answer(order, 1, late)

    assert (order.state, order.refusal_code) == (state, None)


def test_a_judgement_withdraws_a_resend_that_has_not_left() -> None:
    order = exit_order(sends=2, state=OrderState.INTENDED)

    answer(order, 1, JUDGED)

    assert (order.state, order.refusal_code) == (OrderState.UNKNOWN, JUDGED.code)


@pytest.mark.parametrize("late", [TURNED_AWAY, NO_ANSWER])
def test_nothing_else_withdraws_it(late: Answer) -> None:
    order = exit_order(sends=2, state=OrderState.INTENDED)

    answer(order, 1, late)

    assert order.state == OrderState.INTENDED


@pytest.mark.parametrize("late", [JUDGED, TURNED_AWAY, NO_ANSWER])
def test_an_answer_to_an_earlier_send_ends_no_later_one(late: Answer) -> None:
    order = exit_order(sends=2)

    answer(order, 1, late)

    assert order.state == OrderState.SENDING
