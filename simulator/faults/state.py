"""How a product is or shows itself under faults: rules, trading modes, malformed rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from simulator.engine.rules import ProductRules
from simulator.engine.values import (
    OrderRefusedError,
    OrderRequest,
    OrderType,
    Refusal,
    TimeInForce,
)
from simulator.faults.kinds import Kind
from simulator.faults.plan import Hit

_MALFORMED: Final[dict[str, Any]] = {
    "empty": "",
    "null": None,
    "zero": "0",
    "negative": "-1",
    "not_a_number": "n/a",
}
# mode: the refusal of what it does not take
_NO_ORDERS: Final = ("cancel_only", "trading_disabled")
PRODUCT_KINDS: Final = (
    Kind.PRODUCT_MALFORMED,
    Kind.PRODUCT_DELISTED,
    Kind.PRODUCT_MODE,
    Kind.PRODUCT_RULES,
)


def clock_offset_ms(hit: Hit) -> int:
    """Return how far the clock is ahead (or, below zero, behind) when this hit shows it."""
    jumps = "jump_seconds" in hit.fault.parameters
    jump = hit.number_of("jump_seconds") * (2 * hit.chance("jump") - 1) if jumps else 0
    return round((hit.number_of("offset_seconds") + jump) * 1000)


@dataclass(frozen=True, slots=True)
class ProductState:
    """One product as it is at an instant."""

    hits: tuple[Hit, ...] = ()

    @property
    def modes(self) -> Sequence[str]:
        """Which of the venue's flags are set."""
        modes = [hit.text("mode") for hit in self._of(Kind.PRODUCT_MODE)]
        return [*modes, *(["is_disabled", "trading_disabled"] if self.is_delisted else [])]

    @property
    def is_in_auction(self) -> bool:
        """Whether orders are collected, and nothing trades at once."""
        return "auction_mode" in self.modes

    @property
    def is_delisted(self) -> bool:
        """Whether it trades no more."""
        return any(self._of(Kind.PRODUCT_DELISTED))

    @property
    def is_absent(self) -> bool:
        """Whether the venue does not even show it any more."""
        return any(hit.text("form") == "absent" for hit in self._of(Kind.PRODUCT_DELISTED))

    def rules(self, rules: ProductRules) -> ProductRules:
        """Return the rules in force."""
        for hit in self._of(Kind.PRODUCT_RULES):
            changed = {
                name: Decimal(str(value))
                for name, value in hit.fault.parameters.items()
                if value is not None
            }
            rules = replace(rules, **changed)  # type: ignore[arg-type]  # all of these are amounts
        return rules

    def check(self, request: OrderRequest) -> None:
        """Refuse what the product does not take at present.

        Raises:
            OrderRefusedError: With the reason.
        """
        modes = self.modes
        if self.is_absent:
            raise OrderRefusedError(Refusal.UNKNOWN_PRODUCT)
        if any(mode in _NO_ORDERS for mode in modes):
            raise OrderRefusedError(Refusal.TRADING_DISABLED)
        is_market = request.type is OrderType.MARKET
        is_all_or_nothing = request.time_in_force is TimeInForce.FOK
        if is_market and "limit_only" in modes:
            raise OrderRefusedError(Refusal.LIMIT_ONLY)
        if (is_market or is_all_or_nothing) and self.is_in_auction:
            raise OrderRefusedError(Refusal.LIMIT_ONLY)
        if "post_only" in modes and not request.post_only:
            raise OrderRefusedError(Refusal.POST_ONLY)

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a product's row as the list shows it."""
        shown = {**row, **dict.fromkeys(self.modes, True)}
        if self.is_delisted:
            shown["status"] = "delisted"
        for hit in self._of(Kind.PRODUCT_MALFORMED):
            name, form = hit.text("field"), hit.text("form")
            if form == "missing":
                shown.pop(name, None)
            else:
                shown[name] = _MALFORMED[form]
        return shown

    def _of(self, kind: Kind) -> Iterable[Hit]:
        return (hit for hit in self.hits if hit.kind is kind)
