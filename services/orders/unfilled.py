"""Why an entry order bought nothing, in one code."""

from __future__ import annotations

from domain.orders import OrderState
from services.orders.refusals import OUTCOME_UNKNOWN

NO_LIQUIDITY = "no_liquidity_within_slippage_cap"
"""The venue took the order and found nobody to trade with up to its limit price."""

LOST = "never_arrived"
"""The venue never had the order, or does not know it any more."""


def unfilled_reason(state: str, refusal_code: str | None) -> str:
    """The reason of an entry order that ended without a fill; a refusal carries its own code."""
    match OrderState(state):
        case OrderState.REFUSED:
            return f"refused: {refusal_code or 'unknown'}"
        case OrderState.DENIED:
            return refusal_code or OrderState.DENIED.value
        case OrderState.ABSENT:
            return OUTCOME_UNKNOWN if refusal_code == OUTCOME_UNKNOWN else LOST
        case _:
            return NO_LIQUIDITY
