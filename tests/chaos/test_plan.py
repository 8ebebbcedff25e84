"""The plan of a run: exact, fair, and the same for the same seed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from chaos.plan import Moment, strikes

PROCESSES = ("api", "exits-worker", "postgres", "simulator", "temporal", "worker")


def test_a_seed_gives_the_same_strikes_again_and_another_one_others() -> None:
    assert [*strikes(7, 50, PROCESSES)] == [*strikes(7, 50, PROCESSES)]
    assert [*strikes(7, 50, PROCESSES)] != [*strikes(8, 50, PROCESSES)]


def test_exactly_so_many_processes_die() -> None:
    for kills in (1, 2, 12, 500):
        assert sum(len(strike.victims) for strike in strikes(3, kills, PROCESSES)) == kills


def test_twelve_kills_meet_every_process() -> None:
    for seed in range(50):
        met = {name for strike in strikes(seed, 12, PROCESSES) for name in strike.victims}

        assert met == set(PROCESSES)


def test_what_sends_orders_dies_twice_as_often_as_anything_else() -> None:
    counts = Counter(name for strike in strikes(5, 800, PROCESSES) for name in strike.victims)

    assert {name: round(count / 100) for name, count in counts.items()} == {
        name: 2 if name in {"worker", "exits-worker"} else 1 for name in PROCESSES
    }


def test_no_strike_kills_a_process_twice() -> None:
    assert all(
        len(set(strike.victims)) == len(strike.victims) for strike in strikes(11, 500, PROCESSES)
    )


def test_every_moment_and_calm_comes() -> None:
    planned = [*strikes(2, 200, PROCESSES)]

    assert {strike.moment for strike in planned} == set(Moment)
    assert any(strike.is_calm_before for strike in planned)
    assert planned[0].moment is not Moment.RECOVERING
    assert any(
        len(first.victims) == 1 and second.moment is Moment.RECOVERING
        for first, second in pairwise(planned)
    )
