"""What venues refuse by their published rules, checked here first: no request, no doubt."""

from __future__ import annotations

from domain.markets import MarketRules
from domain.money import ZERO
from domain.orders import OrderRequest, OrderType, Refused, TimeInForce


def refusal_by_rules(request: OrderRequest, rules: MarketRules) -> Refused | None:
    """The rule that an order breaks, or None.

    Neither `rules.active` nor `rules.status` is among them: they may be old, and a protective exit
    must be given its chance. The venue decides.
    """
    return (
        refusal_by_shape(request)
        or _quantity_refusal(request, rules)
        or _price_refusal(request, rules)
    )


def refusal_by_shape(request: OrderRequest) -> Refused | None:
    """What makes an order senseless at any venue, or None."""
    is_limit = request.type is OrderType.LIMIT
    if is_limit and request.limit_price is None:
        return Refused("price_missing", "A limit order needs a limit price")
    if request.post_only and not (is_limit and request.time_in_force is TimeInForce.GTC):
        return Refused("post_only_needs_gtc", "Only a resting limit order can be post-only")
    if not is_limit and request.time_in_force is not TimeInForce.IOC:
        return Refused("unsupported_time_in_force", "A market order is immediate or cancel")
    return None


def _quantity_refusal(request: OrderRequest, rules: MarketRules) -> Refused | None:
    if request.quantity <= ZERO or request.quantity % rules.quantity_step:
        step = f"{rules.quantity_step:f} {rules.base}"
        return Refused("quantity_precision", f"The quantity is not a positive multiple of {step}")
    if request.quantity < rules.quantity_min:
        least = f"{rules.quantity_min:f} {rules.base}"
        return Refused("quantity_minimum", f"The quantity is below the minimum of {least}")
    if rules.quantity_max is not None and request.quantity > rules.quantity_max:
        most = f"{rules.quantity_max:f} {rules.base}"
        return Refused("quantity_maximum", f"The quantity is above the maximum of {most}")
    return None


def _price_refusal(request: OrderRequest, rules: MarketRules) -> Refused | None:
    if request.type is not OrderType.LIMIT or request.limit_price is None:
        return None
    if request.limit_price <= ZERO or request.limit_price % rules.price_step:
        step = f"{rules.price_step:f} {rules.quote}"
        return Refused("price_precision", f"The price is not a positive multiple of {step}")
    if request.quantity * request.limit_price < rules.notional_min:
        least = f"{rules.notional_min:f} {rules.quote}"
        return Refused("notional_minimum", f"The order is below the minimum of {least}")
    if (
        rules.notional_max is not None
        and request.quantity * request.limit_price > rules.notional_max
    ):
        most = f"{rules.notional_max:f} {rules.quote}"
        return Refused("notional_maximum", f"The order is above the maximum of {most}")
    return None
