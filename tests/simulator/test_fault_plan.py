"""The plan of faults: filters, counts, chances and windows; the same seed, the same sequence."""

from typing import Any

import pytest

from simulator.faults.drawing import draw_faults
from simulator.faults.fault import Fault, fault_of, json_of
from simulator.faults.kinds import DEFINITIONS, BadFaultError, CallName, Kind
from simulator.faults.plan import FaultPlan, Situation, UnknownFaultError

HOUR_MS = 3_600_000


def situation(
    call: CallName = CallName.PLACE,
    now_ms: int = 1_000,
    account: str | None = "alice",
    products: tuple[str, ...] = ("BTC-USD",),
) -> Situation:
    return Situation(call, now_ms, account, products)


def sequence(plan: FaultPlan, number: int = 200) -> list[bool]:
    return [plan.transport(situation()) is not None for _ in range(number)]


@pytest.mark.parametrize(
    ("fields", "met", "not_met"),
    [
        ({"account": "alice"}, situation(), situation(account="bob")),
        ({"account": "alice"}, situation(), situation(account=None)),
        ({"product": "BTC-USD"}, situation(), situation(products=("ETH-USD",))),
        (
            {"product": "BTC-USD"},
            situation(products=("ETH-USD", "BTC-USD")),
            situation(products=()),
        ),
        ({"call": "place"}, situation(), situation(CallName.CANCEL)),
        ({"from_ms": 1_000}, situation(now_ms=1_000), situation(now_ms=999)),
        ({"until_ms": 1_000}, situation(now_ms=999), situation(now_ms=1_000)),
    ],
)
def test_filters_and_window(fields: dict[str, Any], met: Situation, not_met: Situation) -> None:
    plan = FaultPlan([fault_of({"kind": "reset"} | fields)])

    assert plan.transport(not_met) is None
    hit = plan.transport(met)

    assert hit is not None
    assert hit.kind is Kind.RESET
    [entry] = plan.entries
    assert (entry.asked, entry.hits, entry.hits_by_call) == (1, 1, {met.call.value: 1})


def test_count_and_skip() -> None:
    plan = FaultPlan([Fault(Kind.RESET, count=2, skip=1)])

    assert sequence(plan, 5) == [False, True, True, False, False]
    assert plan.entries[0].is_used_up


def test_probability_is_met_and_drawn_from_the_seed() -> None:
    fault = Fault(Kind.RESET, probability=0.25)
    first = sequence(FaultPlan([fault], seed=1), 2_000)

    assert 400 < sum(first) < 600
    assert sequence(FaultPlan([fault], seed=1), 2_000) == first
    assert sequence(FaultPlan([fault], seed=2), 2_000) != first


def test_one_fault_does_not_change_the_sequence_of_another() -> None:
    fault = Fault(Kind.RESET, probability=0.5)
    alone = FaultPlan([fault], seed=1)
    with_another = FaultPlan([fault, Fault(Kind.ORDER_STUCK, probability=0.5)], seed=1)
    for _ in range(7):
        with_another.order(situation())

    assert sequence(with_another) == sequence(alone)


def test_the_first_fault_decides_about_the_answer_and_order_faults_meet_together() -> None:
    plan = FaultPlan(
        [
            Fault(Kind.TIMEOUT, probability=0.0),
            Fault(Kind.RATE_LIMITED),
            Fault(Kind.RESET),
            Fault(Kind.PARTIAL_FILL, parameters={"share": 0.1}),
            Fault(Kind.PARTIAL_FILL, parameters={"share": 0.2}),
            Fault(Kind.FILLS_LATE),
        ]
    )

    hit = plan.transport(situation())
    orders = plan.order(situation())

    assert hit is not None
    assert hit.kind is Kind.RATE_LIMITED
    assert plan.entries[2].asked == 0
    assert [one.kind for one in orders] == [Kind.PARTIAL_FILL, Kind.FILLS_LATE]
    assert orders[0].number_of("share") == 0.1


def test_a_restored_plan_goes_on_where_the_stored_one_stood() -> None:
    faults = [Fault(Kind.RESET, probability=0.5, count=60), Fault(Kind.CLOCK)]
    plan = FaultPlan(faults, seed=5)
    expected = sequence(FaultPlan(faults, seed=5))
    begun = sequence(plan, 100)

    restored = FaultPlan()
    rows = [row for _, row in plan.take_changes() if row is not None]
    restored.restore(rows, seed=plan.seed, next_number=plan.next_number)

    assert begun + sequence(restored, 100) == expected
    assert restored.add(Fault(Kind.SLOW)).fault_id == "fault-3"


def test_a_stored_fault_that_is_refused_by_now_does_not_keep_the_venue_from_starting() -> None:
    plan = FaultPlan([Fault(Kind.RESET), Fault(Kind.SIGNATURE_CLOCK)])
    rows = [row for _, row in plan.take_changes() if row is not None]
    rows[1]["fault"]["account"] = "a"

    restored = FaultPlan()
    restored.restore(rows, seed=plan.seed, next_number=plan.next_number)

    assert [entry.fault.kind for entry in restored.entries] == [Kind.RESET]
    assert restored.take_changes() == [("fault-2", None)], "it is forgotten"


def test_lifting() -> None:
    plan = FaultPlan([Fault(Kind.RESET), Fault(Kind.SLOW)])

    plan.remove("fault-1")

    hit = plan.transport(situation())
    assert hit is not None
    assert hit.kind is Kind.SLOW
    with pytest.raises(UnknownFaultError):
        plan.remove("fault-1")
    assert [entry.fault_id for entry in plan.clear()] == ["fault-2"]
    assert plan.transport(situation()) is None


def test_changes_are_taken_once() -> None:
    plan = FaultPlan([Fault(Kind.RESET, call=CallName.PLACE), Fault(Kind.SLOW, count=1)])
    assert [fault_id for fault_id, _ in plan.take_changes()] == ["fault-1", "fault-2"]
    plan.transport(situation(CallName.CANCEL))
    assert [fault_id for fault_id, _ in plan.take_changes()] == ["fault-2"]
    plan.transport(situation(CallName.CANCEL))
    assert plan.take_changes() == []
    plan.remove("fault-1")
    assert plan.take_changes() == [("fault-1", None)]


def test_windows_of_any_length_are_found_in_the_order_of_the_plan() -> None:
    windows = [(None, None), (HOUR_MS // 2, 5 * HOUR_MS), (0, 400 * HOUR_MS), (HOUR_MS, None)]
    plan = FaultPlan(
        [
            Fault(kind, from_ms=start, until_ms=end)
            for kind, (start, end) in zip(
                (Kind.FILLS_LATE, Kind.PARTIAL_FILL, Kind.ORDER_STUCK, Kind.FILLS_TWICE),
                windows,
                strict=True,
            )
        ]
    )

    def met(now_ms: int) -> list[int]:
        kinds = [entry.fault.kind for entry in plan.entries]
        return [kinds.index(hit.kind) for hit in plan.order(situation(now_ms=now_ms))]

    assert met(0) == [0, 2]
    assert met(HOUR_MS // 2) == [0, 1, 2]
    assert met(5 * HOUR_MS - 1) == [0, 1, 2, 3]
    assert met(5 * HOUR_MS) == [0, 2, 3]
    assert met(400 * HOUR_MS) == [0, 3]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "kind must be one of timeout, reset"),
        ({"kind": "earthquake"}, "kind must be one of"),
        ({"kind": "reset", "second": 1}, "reset has no field second; it has account, applied"),
        ({"kind": "reset", "call": "dance"}, "call must be one of place"),
        ({"kind": "partial_fill", "call": "cancel"}, "call of partial_fill must be one of place"),
        ({"kind": "reset", "count": 0}, "count must be a whole number from 1"),
        ({"kind": "reset", "count": True}, "count must be a whole number"),
        ({"kind": "reset", "probability": 1.5}, "probability must be from 0 to 1"),
        ({"kind": "reset", "probability": "1"}, "probability must be a number"),
        ({"kind": "reset", "from_ms": 5, "until_ms": 5}, "until_ms must be later"),
        ({"kind": "reset", "account": 3}, "account must be text"),
        ({"kind": "reset", "applied": "yes"}, "applied must be true or false"),
        ({"kind": "slow", "seconds": -1}, "seconds must be at least 0"),
        ({"kind": "slow", "seconds": float("nan")}, "seconds must be a finite number"),
        ({"kind": "slow", "seconds": "5"}, "seconds must be a number"),
        ({"kind": "slow", "seconds": None}, "seconds must be a number"),
        ({"kind": "server_error", "status": 404}, "status must be at least 500"),
        ({"kind": "server_error", "status": 500.5}, "status must be a whole number"),
        ({"kind": "order_stuck", "status": "LOST"}, "status must be one of PENDING"),
        ({"kind": "commission_late", "first": "0.1"}, "first must be at most 0"),
        ({"kind": "product_malformed", "field": "increment"}, "field must be one of base_increm"),
        ({"kind": "signature_clock", "account": "a"}, "signature_clock meets every account"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(source: dict[str, Any], message: str) -> None:
    with pytest.raises(BadFaultError, match=message):
        fault_of(source)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_defaults_and_survives_being_written(kind: Kind) -> None:
    fault = fault_of({"kind": kind.value})

    assert set(fault.parameters) == set(DEFINITIONS[kind].parameters)
    assert fault_of(json_of(fault)) == fault


def test_a_drawn_mix_follows_from_its_seed_and_ends_in_time() -> None:
    def mix(seed: int, intensity: float = 0.5, **fields: Any) -> list[Fault]:
        return draw_faults(
            seed,
            intensity,
            from_ms=0,
            until_ms=20 * HOUR_MS,
            products=["BTC-USD", "ETH-USD"],
            **fields,
        )

    assert mix(1) == mix(1) != mix(2)
    assert mix(1, intensity=0) == []
    everything = mix(3, intensity=1)
    assert {fault.kind for fault in everything} == set(Kind)
    assert all(
        0 <= (fault.from_ms or 0) < (fault.until_ms or 0) <= 20 * HOUR_MS for fault in everything
    )
    without_resets = mix(1, kinds=[kind for kind in Kind if kind is not Kind.RESET])
    assert without_resets == [fault for fault in mix(1) if fault.kind is not Kind.RESET]
    with pytest.raises(ValueError, match="intensity"):
        mix(1, intensity=1.5)
