"""Refusal codes that tell in what form the next exit order has to be made."""

from __future__ import annotations

TOO_MUCH = frozenset({"quantity_maximum", "notional_maximum"})
"""Refusal codes of an order that is too large for one."""

WRONG_TYPE = "unsupported_order_type"
"""Refusal code of an order of a kind that the market does not take at present."""

FORM_REFUSED = TOO_MUCH | {WRONG_TYPE}
"""Refusal codes that later tries of the same exit remember."""
