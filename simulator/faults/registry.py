"""Which faults have met which orders; what must happen to those orders, and when."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from simulator.engine.values import Handling, Order, OrderStatus, TimeInForce
from simulator.faults.kinds import Kind
from simulator.faults.orders import OrderFaults, TimedHit
from simulator.faults.plan import FaultPlan, Hit

NO_FAULTS: Final = OrderFaults()
_TIMED: Final = (Kind.ORDER_STUCK, Kind.IOC_RESTS, Kind.CANCEL_LATE)


class OrderFaultRegistry:
    """The hits of every order that was met, by order id."""

    def __init__(self) -> None:
        self._orders: dict[str, OrderFaults] = {}
        self._open: set[str] = set()
        self._hiding: set[str] = set()
        self.changed: set[str] = set()

    def of(self, order_id: str) -> OrderFaults:
        """Return what acts on an order."""
        return self._orders.get(order_id, NO_FAULTS)

    def hidden(self, now_ms: int) -> Sequence[str]:
        """Return the orders that have traded and are shown as waiting."""
        self._hiding = {i for i in self._hiding if self.of(i).hides_execution(now_ms)}
        return sorted(self._hiding)

    def note(self, order_id: str, hits: Sequence[Hit], now_ms: int) -> None:
        """Remember hits that begin now."""
        if not hits:
            return
        begun = tuple(TimedHit(hit, now_ms) for hit in hits)
        self._take(order_id, OrderFaults((*self.of(order_id).hits, *begun)))
        self.changed.add(order_id)

    def lift(self, fault_ids: Sequence[str]) -> list[str]:
        """Forget the hits of lifted faults; return the orders whose late cancellation is due."""
        due: list[str] = []
        for order_id, faults in list(self._orders.items()):
            left = faults.without(fault_ids)
            if left != faults:
                self._orders[order_id] = left
                self.changed.add(order_id)
                if faults.find(Kind.CANCEL_LATE) and not left.find(Kind.CANCEL_LATE):
                    due.append(order_id)
        return due

    def forget(self, order_id: str) -> None:
        """Forget an order that was not accepted after all."""
        self._orders.pop(order_id, None)
        self._open.discard(order_id)
        self.changed.discard(order_id)

    def close(self, order_id: str) -> None:
        """Note that nothing can happen to an order any more."""
        self._open.discard(order_id)

    @property
    def open(self) -> Sequence[str]:
        """Orders to which something may still happen, in a fixed order."""
        return sorted(self._open)

    def next_due_ms(self, now_ms: int) -> int | None:
        """Return the next instant at which something happens to an order by itself."""
        return min((due for due in self._due_times() if due > now_ms), default=None)

    def take_rows(self) -> list[tuple[str, list[list[Any]]]]:
        """Return what has changed since the last call: (order, [fault id, draw, since])."""
        rows = [
            (order_id, [[t.hit.fault_id, t.hit.number, t.since_ms] for t in self.of(order_id).hits])
            for order_id in sorted(self.changed)
        ]
        self.changed.clear()
        return rows

    def restore(self, rows: Mapping[str, Sequence[Sequence[Any]]], plan: FaultPlan) -> None:
        """Take over stored hits; those of faults that are gone have ended."""
        for order_id, hits in rows.items():
            timed = tuple(
                TimedHit(entry.hit(number), since_ms)
                for fault_id, number, since_ms in hits
                if (entry := plan.entry(fault_id)) is not None
            )
            self._take(order_id, OrderFaults(timed))

    def _take(self, order_id: str, faults: OrderFaults) -> None:
        self._orders[order_id] = faults
        self._open.add(order_id)
        if faults.find(Kind.ORDER_STUCK):
            self._hiding.add(order_id)

    def _due_times(self) -> Iterator[int]:
        for order_id in self._open:
            for timed in self.of(order_id).hits:
                if timed.hit.kind in _TIMED and timed.until_ms is not None:
                    yield timed.until_ms


def handling_of(faults: OrderFaults, now_ms: int) -> Handling:
    """Return how an order is matched now."""
    return Handling(faults.share, faults.pieces, rests=faults.rests(now_ms))


def has_waited(order: Order, faults: OrderFaults, now_ms: int) -> bool:
    """Whether a parked order is to be matched now."""
    is_parked = not order.status.is_done and order.status is not OrderStatus.OPEN
    return is_parked and faults.parked_as(now_ms) is None


def has_rested(order: Order, faults: OrderFaults, now_ms: int) -> bool:
    """Whether an immediate order that was left open is to be cancelled now."""
    is_immediate = order.request.time_in_force is TimeInForce.IOC
    return is_immediate and order.status is OrderStatus.OPEN and not faults.rests(now_ms)
