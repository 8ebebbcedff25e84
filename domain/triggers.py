"""Price conditions, and the book that finds the crossed ones.

A trigger is a price and a side of it: stops, targets, resting paper orders and alerts are all
that. A `TriggerBook` holds those of one symbol in two sorted lists, so judging a price costs O(log
n + k) for k crossed triggers however many are idle. Judging changes nothing: whoever acts on a
crossed trigger removes it once the fact is recorded.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from domain.markets import MINUTE, Candle, Quote
from domain.money import ZERO


class Condition(StrEnum):
    """On which side of its price a trigger fires; touching it is enough."""

    AT_OR_BELOW = "at_or_below"
    AT_OR_ABOVE = "at_or_above"


class TriggerKind(StrEnum):
    """What a trigger is for."""

    STOP = "stop"
    TARGET = "target"
    ORDER = "order"
    ALERT = "alert"


@dataclass(frozen=True, slots=True)
class PastPrice:
    """A price that a trigger had until a venue time."""

    price: Decimal
    until: datetime


PAST_PRICES_MAX = 32
"""Of more moves than this the two oldest are kept as one, by the price that is harder to cross."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One price condition.

    Prices are judged after the fact, so a trigger knows since when it holds and which prices it had
    before: a candle fires it only if it crosses every price that was in force during the candle,
    because nobody knows when within it the extreme was traded. So nothing old fires a tightened
    stop, the price a stop already had still protects, and a candle that is listed late or revised
    is judged by what was in force in its own minute, however often it is judged.

    Attributes:
        trigger_id: identity; putting the same id again replaces the trigger.
        owner_id: what it belongs to (a position, an order, an alert).
        kind: a stop silences its owner's targets when both are crossed at once.
        condition: at or below, at or above.
        price: in the quote currency.
        armed_at: venue time of the fact that created it. A candle that opened earlier does not fire
            it, nor does a quote from before it.
        past: the prices it had before its moves, oldest first.
    """

    trigger_id: str
    owner_id: str
    kind: TriggerKind
    condition: Condition
    price: Decimal
    armed_at: datetime
    past: tuple[PastPrice, ...] = ()

    def __post_init__(self) -> None:
        if self.price <= ZERO or any(past.price <= ZERO for past in self.past):
            raise ValueError("A trigger price must be positive")
        untils = [past.until for past in self.past]
        if untils != sorted(untils):
            raise ValueError("Past prices are in the order of their time")

    @property
    def moved_at(self) -> datetime | None:
        """Venue time of the latest move, None if it never moved."""
        return self.past[-1].until if self.past else None

    def moved(self, price: Decimal, at: datetime) -> Trigger:
        """The same trigger at another price since `at`, or since its last move if that is later."""
        if price == self.price:
            return self
        until = at if self.moved_at is None else max(at, self.moved_at)
        past = (*self.past, PastPrice(self.price, until))
        if len(past) > PAST_PRICES_MAX:
            hardest = min if self.condition is Condition.AT_OR_BELOW else max
            merged = PastPrice(hardest(past[0].price, past[1].price), past[1].until)
            past = (merged, *past[2:])
        return replace(self, price=price, past=past)

    def prices_during(self, since: datetime, until: datetime) -> tuple[Decimal, ...]:
        """Every price in force at some time of [since, until)."""
        found = []
        begun = None
        for past in self.past:
            if past.until > since and (begun is None or begun < min(until, past.until)):
                found.append(past.price)
            begun = past.until
        if begun is None or begun < until:
            found.append(self.price)
        return tuple(found)

    def is_crossed(self, low: Decimal, high: Decimal) -> bool:
        """Whether prices from `low` to `high` touch the present price."""
        return self._touches(self.price, low, high)

    def is_fired_by(self, candle: Candle, length: timedelta = MINUTE) -> bool:
        """Whether a closed candle fires it, going by what the candle can know of its price."""
        if candle.opened_at < self.armed_at:
            return False
        in_force = self.prices_during(candle.opened_at, candle.opened_at + length)
        return all(self._touches(price, candle.low, candle.high) for price in in_force)

    def is_fired_by_quote(self, quote: Quote) -> bool:
        """Whether a quote fires it: not one from before it, and at its price then and now."""
        if quote.at < self.armed_at or not self.is_crossed(quote.last, quote.last):
            return False
        then = next((past.price for past in self.past if quote.at < past.until), self.price)
        return self._touches(then, quote.last, quote.last)

    def _touches(self, price: Decimal, low: Decimal, high: Decimal) -> bool:
        return low <= price if self.condition is Condition.AT_OR_BELOW else high >= price


class TriggerBook:
    """The triggers of one symbol at one venue.

    Not safe for concurrent change; one watcher owns it.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Trigger] = {}
        self._by_owner: dict[str, dict[str, Trigger]] = {}
        self._below: list[tuple[Decimal, str]] = []
        self._above: list[tuple[Decimal, str]] = []
        self._moved: dict[str, Trigger] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, trigger_id: object) -> bool:
        return trigger_id in self._by_id

    def __iter__(self) -> Iterator[Trigger]:
        return iter(tuple(self._by_id.values()))

    def get(self, trigger_id: str) -> Trigger | None:
        """The trigger of an id."""
        return self._by_id.get(trigger_id)

    def put(self, trigger: Trigger) -> None:
        """Add a trigger, or replace the one of the same id."""
        if self._by_id.get(trigger.trigger_id) == trigger:
            return
        self.remove(trigger.trigger_id)
        self._by_id[trigger.trigger_id] = trigger
        self._by_owner.setdefault(trigger.owner_id, {})[trigger.trigger_id] = trigger
        insort(self._side(trigger.condition), (trigger.price, trigger.trigger_id))
        if trigger.past:
            self._moved[trigger.trigger_id] = trigger

    def remove(self, trigger_id: str) -> Trigger | None:
        """Take a trigger out; None if it is not there."""
        trigger = self._by_id.pop(trigger_id, None)
        if trigger is None:
            return None
        self._moved.pop(trigger_id, None)
        side = self._side(trigger.condition)
        del side[bisect_left(side, (trigger.price, trigger_id))]
        owned = self._by_owner[trigger.owner_id]
        del owned[trigger_id]
        if not owned:
            del self._by_owner[trigger.owner_id]
        return trigger

    def owned_by(self, owner_id: str) -> tuple[Trigger, ...]:
        """Everything that belongs to an owner."""
        return tuple(self._by_owner.get(owner_id, {}).values())

    def remove_owner(self, owner_id: str) -> tuple[Trigger, ...]:
        """Take out everything that belongs to an owner."""
        owned = self.owned_by(owner_id)
        for trigger in owned:
            self.remove(trigger.trigger_id)
        return owned

    def crossed(self, low: Decimal, high: Decimal) -> tuple[Trigger, ...]:
        """Every trigger that prices from `low` to `high` touch, in no order that means anything."""
        first_below = bisect_left(self._below, low, key=_price)
        last_above = bisect_right(self._above, high, key=_price)
        return tuple(
            self._by_id[trigger_id]
            for _, trigger_id in self._below[first_below:] + self._above[:last_above]
        )

    def judge_price(self, price: Decimal) -> tuple[Trigger, ...]:
        """What a single price fires, in the order to act on."""
        return _in_order(self.crossed(price, price))

    def judge_quote(self, quote: Quote) -> tuple[Trigger, ...]:
        """What a quote fires: the last trade counts, as it does in candles."""
        crossed = self.crossed(quote.last, quote.last)
        return _in_order(tuple(trigger for trigger in crossed if trigger.is_fired_by_quote(quote)))

    def judge_candle(self, candle: Candle, length: timedelta = MINUTE) -> tuple[Trigger, ...]:
        """What a closed candle fires, in the order to act on.

        Nobody knows which extreme came first, so the worse is assumed: a crossed stop silences the
        targets of its owner.
        """
        by_id = {trigger.trigger_id: trigger for trigger in self.crossed(candle.low, candle.high)}
        # Those that moved since may have been crossed at a price that they no longer have.
        by_id |= {
            trigger.trigger_id: trigger
            for trigger in self._moved.values()
            if trigger.moved_at is not None and trigger.moved_at > candle.opened_at
        }
        return _in_order(
            tuple(trigger for trigger in by_id.values() if trigger.is_fired_by(candle, length))
        )

    def _side(self, condition: Condition) -> list[tuple[Decimal, str]]:
        return self._below if condition is Condition.AT_OR_BELOW else self._above


def _price(entry: tuple[Decimal, str]) -> Decimal:
    return entry[0]


def _in_order(crossed: tuple[Trigger, ...]) -> tuple[Trigger, ...]:
    """Owner by owner; a stop without its targets, else in the order a moving price reaches them."""
    stopped = {trigger.owner_id for trigger in crossed if trigger.kind is TriggerKind.STOP}
    firing = (
        trigger
        for trigger in crossed
        if trigger.kind is not TriggerKind.TARGET or trigger.owner_id not in stopped
    )
    return tuple(sorted(firing, key=_rank))


def _rank(trigger: Trigger) -> tuple[str, bool, Decimal, str]:
    falling = trigger.condition is Condition.AT_OR_BELOW
    return (
        trigger.owner_id,
        trigger.kind is not TriggerKind.STOP,
        -trigger.price if falling else trigger.price,
        trigger.trigger_id,
    )
