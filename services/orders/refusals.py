"""What refused sends tell of an order.

An exit may be sent more than once, always under its one client order id, and a send may be answered
after the next one has left. A refusal proves that its own send made no order and says nothing about
the others. So refused sends are counted: once every send was refused, nothing of the order can be
at the venue, and it ends as refused. Until then it is looked up as any order of unknown fate.
"""

from __future__ import annotations

from domain.orders import OrderState, Refused, Unknown
from models.trading import Order

UNANSWERED = "unknown"
"""Refusal code of a send that got no answer."""

ABSENT = "absent"
"""Refusal code of an order that the venue does not list, of which no send was judged."""

SOLD_MEANWHILE = "sold_meanwhile"
"""Refusal code of an exit that was not sent: an earlier one, taken for absent, filled after all."""

REPETITION_WITHHELD = "repetition_withheld"
"""Refusal code of an exit without an answer that is for more than is left by now. Where its first
send arrived a repetition would sell nothing; where it did not, too much. So it is not repeated."""

OUTCOME_UNKNOWN = "outcome_unknown"
"""Its connection was removed before the venue had said what became of it."""

NOT_JUDGED = frozenset(
    {"rate_limited", "sent_too_late", "not_sent", "keys_refused", "market_data_unavailable"}
)
"""Refusal codes of a send that was turned away before anybody looked at the order; a repetition
that ends so is made again."""

_OURS = NOT_JUDGED | {
    UNANSWERED,
    ABSENT,
    SOLD_MEANWHILE,
    REPETITION_WITHHELD,
    OUTCOME_UNKNOWN,
}

Refusal = tuple[str, str]
"""Code and reason."""


def is_judged(code: str | None) -> bool:
    """Whether a refusal code is what a venue says of the order: another send would meet with it."""
    return code is not None and code not in _OURS


def after_failed_send(
    order: Order, send: int, outcome: Refused | Unknown
) -> tuple[OrderState, Refusal] | None:
    """The state and the refusal that a send which was not accepted leaves its order.

    Once a venue has judged a send the order is not sent again, and the judgement stays with it
    whatever becomes of the other sends: the next exit is made in another form.

    Args:
        order: the row as it is now, locked, with this refusal counted.
        send: which of its sends it was, from 1.
        outcome: what the venue answered.

    Returns:
        None where it changes nothing: the order has ended, or was found at the venue, or another
        send will tell.
    """
    state = OrderState(order.state)
    if not (state.needs_lookup or state is OrderState.INTENDED):
        return None
    refusal = _said(outcome)
    says_more = is_judged(refusal[0]) or not is_judged(order.refusal_code)
    if not says_more:
        refusal = order.refusal_code or "", order.refusal_reason or ""
    if isinstance(outcome, Refused) and order.refused_sends == order.sends:
        return OrderState.REFUSED, refusal
    if send == order.sends and state.needs_lookup:
        return OrderState.UNKNOWN, refusal
    if not is_judged(refusal[0]):
        return None
    # A resend that has not left is withdrawn; one that is under way goes on being so.
    return OrderState.UNKNOWN if state is OrderState.INTENDED else state, refusal


def _said(outcome: Refused | Unknown) -> Refusal:
    match outcome:
        case Refused(code, reason):
            return code, reason
        case Unknown(reason):
            return UNANSWERED, reason
