"""Finding the few faults of thousands that could act at an instant."""

from collections import Counter
from collections.abc import Iterator
from heapq import merge
from typing import Final, Generic, Protocol, TypeVar

from simulator.faults.fault import Fault
from simulator.faults.kinds import Kind, Layer

_BUCKET_MS: Final = 3_600_000
_MOST_BUCKETS: Final = 48


class Indexed(Protocol):
    """What is indexed: a fault with its place in the plan."""

    fault: Fault
    number: int


Item = TypeVar("Item", bound=Indexed)
_Bucket = tuple[Layer, int | None]


class FaultIndex(Generic[Item]):
    """Faults by layer and by the hours that their windows touch, in the order of the plan."""

    def __init__(self) -> None:
        self._buckets: dict[_Bucket, dict[int, Item]] = {}
        self._kinds: Counter[Kind] = Counter()

    def add(self, item: Item) -> None:
        """Index a fault; its place is behind all others."""
        self._kinds[item.fault.kind] += 1
        for bucket in _buckets_of(item.fault):
            self._buckets.setdefault(bucket, {})[item.number] = item

    def remove(self, item: Item) -> None:
        """Forget a fault."""
        self._kinds[item.fault.kind] -= 1
        for bucket in _buckets_of(item.fault):
            del self._buckets[bucket][item.number]

    def has(self, *kinds: Kind) -> bool:
        """Whether there is any fault of these kinds."""
        return any(self._kinds[kind] for kind in kinds)

    def candidates(self, layer: Layer, now_ms: int) -> Iterator[Item]:
        """Yield the faults of a layer that could act at an instant, in the order of the plan."""
        always = self._buckets.get((layer, None), {})
        hour = self._buckets.get((layer, now_ms // _BUCKET_MS), {})
        return merge(always.values(), hour.values(), key=lambda item: item.number)


def _buckets_of(fault: Fault) -> list[_Bucket]:
    layer = fault.definition.layer
    if fault.from_ms is None or fault.until_ms is None:
        return [(layer, None)]
    hours = range(fault.from_ms // _BUCKET_MS, (fault.until_ms - 1) // _BUCKET_MS + 1)
    return [(layer, hour) for hour in hours] if len(hours) <= _MOST_BUCKETS else [(layer, None)]
