"""What the faults in force mean for one call: the state of its product, its clock, its order."""

from collections.abc import Callable, Sequence

from simulator.engine.values import OrderRequest, TimeInForce
from simulator.faults.kinds import CallName, Kind
from simulator.faults.plan import FaultPlan, Hit, Situation
from simulator.faults.state import PRODUCT_KINDS, ProductState, clock_offset_ms


class Conditions:
    """Questions to a plan at the present venue time."""

    def __init__(self, plan: FaultPlan, now_ms: Callable[[], int]) -> None:
        self._plan = plan
        self._now_ms = now_ms

    def product(self, product_id: str, call: CallName, account_id: str | None) -> ProductState:
        """Return how a product is, as this call of this account meets it."""
        if not self._plan.has(*PRODUCT_KINDS):
            return ProductState()
        situation = Situation(call, self._now_ms(), account_id, (product_id,))
        return ProductState(self._plan.state(situation, *PRODUCT_KINDS))

    def balances_behind_ms(self, account_id: str) -> int:
        """Return how far behind the balances of an account are shown."""
        hit = self._state(CallName.BALANCES, account_id, Kind.BALANCES_LATE)
        return 0 if hit is None else hit.milliseconds() or 0

    def shown_ms(self, call: CallName, account_id: str | None = None) -> int:
        """Return the venue's clock as it shows itself: ahead, behind or jumping."""
        hit = self._state(call, account_id, Kind.CLOCK)
        return self._now_ms() + (0 if hit is None else clock_offset_ms(hit))

    def stamp_ms(self, account_id: str) -> int:
        """Return the time that an order accepted now carries."""
        hit = self._state(CallName.PLACE, account_id, Kind.CLOCK)
        is_off = hit is not None and hit.flag("stamps")
        return self._now_ms() + (clock_offset_ms(hit) if hit and is_off else 0)

    def signature_skew_ms(self, call: CallName) -> int:
        """Return how far the clock that judges signatures is off; it knows no account yet."""
        hit = self._state(call, None, Kind.SIGNATURE_CLOCK)
        return 0 if hit is None else clock_offset_ms(hit)

    def order(self, request: OrderRequest, account_id: str) -> Sequence[Hit]:
        """Return what becomes of an order that is being accepted."""
        products = (request.product_id,)
        situation = Situation(CallName.PLACE, self._now_ms(), account_id, products)
        is_immediate = request.time_in_force is TimeInForce.IOC
        return self._plan.order(situation, () if is_immediate else (Kind.IOC_RESTS,))

    def cancel(self, product_id: str, account_id: str) -> Hit | None:
        """Return what becomes of a cancellation."""
        situation = Situation(CallName.CANCEL, self._now_ms(), account_id, (product_id,))
        return self._plan.cancel(situation)

    def _state(self, call: CallName, account_id: str | None, kind: Kind) -> Hit | None:
        if not self._plan.has(kind):
            return None
        situation = Situation(call, self._now_ms(), account_id)
        return next(iter(self._plan.state(situation, kind)), None)
