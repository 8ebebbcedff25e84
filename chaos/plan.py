"""What is killed, and when: drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

TRADING = frozenset({"worker", "exits-worker"})
"""Processes that hold orders in flight; they die twice as often as the others."""

_PAIR_SHARE = 0.35
_CALM_SHARE = 0.08
_MOMENTS = (0.20, 0.20, 0.60)


class Moment(StrEnum):
    """When a strike comes."""

    ANY = "any"
    SENDING = "sending"
    """While an order is marked as being sent."""

    RECOVERING = "recovering"
    """Before everything serves again after the strike before."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One or two processes killed at once.

    Attributes:
        victims: their names.
        moment: what is waited for.
        pause_seconds: how long after that moment.
        is_calm_before: wait until everything has served for some seconds: only then can a bound
            that begins with a whole stack be judged.
    """

    victims: tuple[str, ...]
    moment: Moment
    pause_seconds: float
    is_calm_before: bool


def strikes(seed: int, kills: int, processes: Sequence[str]) -> Iterator[Strike]:
    """Strikes that kill exactly so many processes, each kind about equally often.

    Args:
        seed: decides everything.
        kills: how many processes die.
        processes: the names of those that may.
    """
    rng = Random(seed)
    deck: list[str] = []
    left, is_first = kills, True
    while left:
        wanted = 2 if left > 1 and rng.random() < _PAIR_SHARE else 1
        victims = _draw(rng, deck, processes, wanted)
        moment = rng.choices(list(Moment), _MOMENTS)[0]
        is_calm = rng.random() < _CALM_SHARE
        if is_first or is_calm:
            moment = rng.choice((Moment.ANY, Moment.SENDING))
        yield Strike(victims, moment, _pause(rng, moment), is_calm)
        left -= len(victims)
        is_first = False


def _draw(rng: Random, deck: list[str], processes: Sequence[str], wanted: int) -> tuple[str, ...]:
    """Take from a shuffled deck, so that chance spares none."""
    taken: list[str] = []
    while len(taken) < wanted:
        if not set(deck) - set(taken):
            fresh = [name for name in processes for _ in range(1 + (name in TRADING))]
            rng.shuffle(fresh)
            deck += fresh
        name = next(name for name in deck if name not in taken)
        deck.remove(name)
        taken.append(name)
    return tuple(taken)


def _pause(rng: Random, moment: Moment) -> float:
    match moment:
        case Moment.SENDING:
            return rng.uniform(0, 0.03)
        case Moment.RECOVERING:
            return rng.uniform(0.1, 1.5)
        case Moment.ANY:
            return rng.uniform(0, 1.5)
