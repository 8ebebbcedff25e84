"""The plan: all faults in force, and what happens to one call at one venue time.

Each fault draws from a sequence of its own (seed, number of the fault, number of the draw): the
same questions in the same order always meet the same faults, and adding one fault changes nothing
for the others.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from simulator.faults.fault import Fault, fault_of, json_of
from simulator.faults.index import FaultIndex
from simulator.faults.kinds import BadFaultError, CallName, Kind, Layer

_STEPS: Final = 2**53
logger = logging.getLogger(__name__)


class UnknownFaultError(LookupError):
    """No fault has that id."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is asked of the venue, when and by whom.

    Attributes:
        now_ms: Venue time.
        account: Account id; None for calls without a signature.
        products: The products concerned; empty when the call is about none in particular.
    """

    call: CallName
    now_ms: int
    account: str | None = None
    products: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A fault that acts.

    Attributes:
        number: Which draw of the fault it was; its own randomness follows from it.
    """

    fault_id: str
    fault: Fault
    number: int
    seed: str

    @property
    def kind(self) -> Kind:
        """The kind of the fault."""
        return self.fault.kind

    @property
    def is_applied(self) -> bool:
        """Whether the call that meets this transport fault takes effect all the same."""
        if self.kind in (Kind.CUT_OFF, Kind.SLOW):
            return True
        return self.fault.parameters.get("applied") is True

    def flag(self, name: str) -> bool:
        """Return a parameter that is true or false."""
        return self.fault.parameters[name] is True

    def text(self, name: str) -> str:
        """Return a parameter that is text or an amount."""
        return str(self.fault.parameters[name])

    def number_of(self, name: str) -> float:
        """Return a parameter that is a number."""
        value = self.fault.parameters[name]
        assert isinstance(value, int | float)
        return value

    def milliseconds(self, name: str = "seconds") -> int | None:
        """Return a duration; None is without end."""
        value = self.fault.parameters[name]
        assert value is None or isinstance(value, int | float)
        return None if value is None else round(value * 1000)

    def chance(self, *key: object) -> float:
        """Return a number in [0, 1) that is always the same for this hit and key."""
        return _uniform(self.seed, self.number, *key)

    def meets(self, *key: object) -> bool:
        """Whether the fault's share of things (candles) includes the one with this key.

        It depends on the fault alone, not on which question asks.
        """
        return _uniform(self.seed, "share", *key) < self.fault.probability


@dataclass(slots=True)
class Entry:
    """A fault in the plan and what it has done.

    Attributes:
        asked: Questions that matched its filters while it could act.
        hits: How often it acted.
    """

    fault_id: str
    fault: Fault
    number: int
    seed: str
    asked: int = 0
    hits: int = 0
    hits_by_call: dict[str, int] = field(default_factory=dict)

    @property
    def is_used_up(self) -> bool:
        """Whether it has acted as often as it may."""
        return self.fault.count is not None and self.hits >= self.fault.count

    def matches(self, situation: Situation) -> bool:
        """Whether the filters and the time window include this situation."""
        fault = self.fault
        calls = fault.definition.calls
        return (
            fault.account in (None, situation.account)
            and (fault.product is None or fault.product in situation.products)
            and fault.call in (None, situation.call)
            and (not calls or situation.call in calls)
            and (fault.from_ms is None or fault.from_ms <= situation.now_ms)
            and (fault.until_ms is None or situation.now_ms < fault.until_ms)
        )

    def ask(self, call: CallName) -> Hit | None:
        """Draw, and return the hit if the fault acts."""
        if self.is_used_up:
            return None
        self.asked += 1
        if self.asked <= self.fault.skip:
            return None
        is_drawn = self.fault.definition.layer is Layer.CANDLE or (
            _uniform(self.seed, "draw", self.asked) < self.fault.probability
        )
        if not is_drawn:
            return None
        self.hits += 1
        self.hits_by_call[call] = self.hits_by_call.get(call, 0) + 1
        return self.hit(self.asked)

    def row(self) -> dict[str, Any]:
        """Return the entry as a JSON object that `FaultPlan.restore` reads."""
        return {
            "id": self.fault_id,
            "number": self.number,
            "seed": self.seed,
            "fault": json_of(self.fault),
            "asked": self.asked,
            "hits": self.hits,
            "hits_by_call": self.hits_by_call,
        }

    def hit(self, number: int) -> Hit:
        """Return the hit of a draw that was made before."""
        return Hit(self.fault_id, self.fault, number, self.seed)


class FaultPlan:
    """The faults in force; asked once for each thing that could go wrong."""

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int | str = 0) -> None:
        """Make a plan.

        Args:
            faults: What is in force from the beginning.
            seed: What every draw follows from.
        """
        self.seed = str(seed)
        self._entries: dict[str, Entry] = {}
        self._index: FaultIndex[Entry] = FaultIndex()
        self._next = 1
        self.changed: set[str] = set()
        """Ids of faults that a restart must find otherwise than they were stored."""
        for fault in faults:
            self.add(fault)

    @property
    def entries(self) -> Sequence[Entry]:
        """All faults in the order in which they were added."""
        return tuple(self._entries.values())

    def reseed(self, seed: int | str) -> None:
        """Take another seed for the faults that are added from now on."""
        self.seed = str(seed)

    def add(self, fault: Fault) -> Entry:
        """Put a fault in force."""
        entry = Entry(f"fault-{self._next}", fault, self._next, f"{self.seed}:{self._next}")
        self._next += 1
        self._put(entry)
        self.changed.add(entry.fault_id)
        return entry

    def remove(self, fault_id: str) -> Entry:
        """Lift a fault, with everything it still does to orders it has met.

        Raises:
            UnknownFaultError: There is none with that id.
        """
        entry = self._entries.pop(fault_id, None)
        if entry is None:
            raise UnknownFaultError(fault_id)
        self._index.remove(entry)
        self.changed.add(fault_id)
        return entry

    def clear(self) -> Sequence[Entry]:
        """Lift all faults."""
        return [self.remove(fault_id) for fault_id in list(self._entries)]

    def entry(self, fault_id: str) -> Entry | None:
        """Return a fault that is in force."""
        return self._entries.get(fault_id)

    def transport(self, situation: Situation, without: Collection[Kind] = ()) -> Hit | None:
        """Return what the client sees of a call instead of a plain answer.

        Args:
            situation: The call.
            without: Kinds that cannot meet this call, and are not asked.
        """
        for entry in self._matching(situation, Layer.TRANSPORT):
            if entry.fault.kind not in without and (hit := self._ask(entry, situation)):
                return hit
        return None

    def order(self, situation: Situation, without: Collection[Kind] = ()) -> tuple[Hit, ...]:
        """Return what happens to an order that is being accepted: at most one hit a kind.

        Args:
            situation: The order's call.
            without: Kinds that cannot meet this order, and are not asked.
        """
        kinds = [kind for kind in Kind if kind not in without]
        return self._one_a_kind(situation, Layer.ORDER, kinds)

    def cancel(self, situation: Situation) -> Hit | None:
        """Return what happens to a cancellation."""
        return next(iter(self._one_a_kind(situation, Layer.CANCEL)), None)

    def candles(self, situation: Situation) -> tuple[Hit, ...]:
        """Return the faults of a candle answer; each decides with `Hit.meets` on each candle."""
        matching = self._matching(situation, Layer.CANDLE)
        return tuple(hit for entry in matching if (hit := self._ask(entry, situation)))

    def state(self, situation: Situation, *kinds: Kind) -> tuple[Hit, ...]:
        """Return how the venue is or shows itself: at most one hit of each of these kinds."""
        return self._one_a_kind(situation, Layer.STATE, kinds)

    def has(self, *kinds: Kind) -> bool:
        """Whether any fault of these kinds is in the plan at all; spares the questions."""
        return self._index.has(*kinds)

    @property
    def next_number(self) -> int:
        """The place of the next fault."""
        return self._next

    def take_changes(self) -> list[tuple[str, dict[str, Any] | None]]:
        """Return what has changed since the last call: (fault id, row; None when it is lifted)."""
        entries = [(fault_id, self._entries.get(fault_id)) for fault_id in sorted(self.changed)]
        self.changed.clear()
        return [(fault_id, entry.row() if entry else None) for fault_id, entry in entries]

    def restore(self, rows: Iterable[Mapping[str, Any]], *, seed: str, next_number: int) -> None:
        """Take over stored faults; one that this version refuses is forgotten."""
        self.seed, self._next = seed, next_number
        for row in sorted(rows, key=lambda row: row["number"]):
            try:
                fault = fault_of(row["fault"])
            except BadFaultError as refused:
                logger.warning("the stored fault %s is forgotten: %s", row["id"], refused)
                self.changed.add(row["id"])
                continue
            self._put(
                Entry(
                    fault_id=row["id"],
                    fault=fault,
                    number=row["number"],
                    seed=row["seed"],
                    asked=row["asked"],
                    hits=row["hits"],
                    hits_by_call=dict(row["hits_by_call"]),
                )
            )

    def _put(self, entry: Entry) -> None:
        self._entries[entry.fault_id] = entry
        self._index.add(entry)

    def _one_a_kind(
        self, situation: Situation, layer: Layer, kinds: Collection[Kind] = ()
    ) -> tuple[Hit, ...]:
        found: dict[Kind, Hit] = {}
        for entry in self._matching(situation, layer, kinds):
            if entry.fault.kind not in found and (hit := self._ask(entry, situation)):
                found[hit.kind] = hit
        return tuple(found.values())

    def _matching(
        self, situation: Situation, layer: Layer, kinds: Collection[Kind] = ()
    ) -> list[Entry]:
        return [
            entry
            for entry in self._index.candidates(layer, situation.now_ms)
            if (not kinds or entry.fault.kind in kinds) and entry.matches(situation)
        ]

    def _ask(self, entry: Entry, situation: Situation) -> Hit | None:
        if entry.is_used_up:
            return None
        self.changed.add(entry.fault_id)
        return entry.ask(situation.call)


def _uniform(*key: object) -> float:
    digest = sha256(":".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % _STEPS / _STEPS
