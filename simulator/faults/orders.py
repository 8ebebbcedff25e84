"""What the faults that met one order do to it: pure functions of venue time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from simulator.engine.values import ZERO, Fill, Order, OrderStatus
from simulator.faults.kinds import Kind
from simulator.faults.plan import Hit


@dataclass(frozen=True, slots=True)
class TimedHit:
    """A hit and the venue time at which it began."""

    hit: Hit
    since_ms: int

    @property
    def until_ms(self) -> int | None:
        """When it ends by itself; None for never."""
        duration = self.hit.milliseconds()
        return None if duration is None else self.since_ms + duration


@dataclass(frozen=True, slots=True)
class OrderFaults:
    """All hits of one order; without any, it is treated as usual."""

    hits: tuple[TimedHit, ...] = ()

    def find(self, kind: Kind) -> TimedHit | None:
        """Return the hit of a kind."""
        return next((timed for timed in self.hits if timed.hit.kind is kind), None)

    def lasting(self, kind: Kind, now_ms: int) -> Hit | None:
        """Return the hit of a kind that has a duration, while that lasts."""
        timed = self.find(kind)
        if timed is None or (timed.until_ms is not None and timed.until_ms <= now_ms):
            return None
        return timed.hit

    def with_hit(self, hit: Hit, since_ms: int) -> "OrderFaults":
        """Return these and one more."""
        return OrderFaults((*self.hits, TimedHit(hit, since_ms)))

    def without(self, fault_ids: Iterable[str]) -> "OrderFaults":
        """Return these without the hits of faults that were lifted."""
        lifted = set(fault_ids)
        return OrderFaults(tuple(t for t in self.hits if t.hit.fault_id not in lifted))

    @property
    def share(self) -> Decimal:
        """How much of what could trade at once does trade."""
        shares = [
            Decimal(str(timed.hit.number_of("share")))
            for kind in (Kind.PARTIAL_FILL, Kind.IOC_RESTS)
            if (timed := self.find(kind))
        ]
        return min(shares, default=Decimal(1))

    @property
    def pieces(self) -> int:
        """Into how many fills each trade is cut."""
        timed = self.find(Kind.FILLS_IN_PIECES)
        return round(timed.hit.number_of("pieces")) if timed else 1

    def parked_as(self, now_ms: int) -> OrderStatus | None:
        """Return the status in which the order waits instead of being matched."""
        hit = self.lasting(Kind.ORDER_STUCK, now_ms)
        return None if hit is None or hit.flag("executed") else OrderStatus(hit.text("status"))

    def rests(self, now_ms: int) -> bool:
        """Whether what could not trade at once stays open although the order says otherwise."""
        return self.lasting(Kind.IOC_RESTS, now_ms) is not None

    def is_listed(self, now_ms: int, *, by_id: bool) -> bool:
        """Whether the order is shown, in the list or to a question for its id."""
        hit = self.lasting(Kind.ORDER_LISTED_LATE, now_ms)
        return hit is None or (by_id and not hit.flag("by_id"))

    def hides_execution(self, now_ms: int) -> Hit | None:
        """Return the hit that shows a traded order as one that waits."""
        hit = self.lasting(Kind.ORDER_STUCK, now_ms)
        return hit if hit is not None and hit.flag("executed") else None


def shown_order(order: Order, faults: OrderFaults, now_ms: int) -> Order:
    """Return an order as the venue shows it."""
    if hit := faults.hides_execution(now_ms):
        return replace(
            order,
            status=OrderStatus(hit.text("status")),
            filled_size=ZERO,
            filled_value=ZERO,
            fees=ZERO,
            fill_count=0,
            last_fill_ms=None,
            cancel_reason="",
        )
    return order


def shown_fill(fill: Fill, position: int, faults: OrderFaults, now_ms: int) -> Sequence[Fill]:
    """Return a fill as the venue lists it: not yet, once, or twice.

    Args:
        fill: The fill as it was.
        position: How many fills of the same order came before it.
        faults: The order's.
        now_ms: Venue time.
    """
    if faults.hides_execution(now_ms):
        return ()
    delay = 0
    if late := faults.find(Kind.FILLS_LATE):
        delay += late.hit.milliseconds() or 0
    if pieces := faults.find(Kind.FILLS_IN_PIECES):
        delay += position * (pieces.hit.milliseconds() or 0)
    if fill.time_ms + delay > now_ms:
        return ()
    if commission := faults.find(Kind.COMMISSION_LATE):
        settled_ms = fill.time_ms + delay + (commission.hit.milliseconds() or 0)
        if settled_ms > now_ms:
            fill = replace(fill, fee=Decimal(commission.hit.text("first")))
    return (fill, fill) if faults.find(Kind.FILLS_TWICE) else (fill,)


def shuffle_key(fill: Fill, place: int, faults: OrderFaults) -> tuple[float, int]:
    """Return where a fill stands in a listing; shuffled ones stand anywhere, always the same."""
    timed = faults.find(Kind.FILLS_SHUFFLED)
    # The others keep their places among themselves.
    return (timed.hit.chance(fill.trade_id), 0) if timed else (0.5, place)
