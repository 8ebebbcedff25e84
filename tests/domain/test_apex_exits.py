from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.markets import Candle, MarketRules
from domain.orders import Leg
from domain.positions import Direction
from domain.strategies.apex import (
    DEFAULT_CONFIG,
    Evaluation,
    ExitPlan,
    ExitReason,
    InvalidProtection,
    calls_for_exit,
    change_protection,
    exit_quantity,
    exit_triggers,
    on_bar_closed,
    on_entry_filled,
    on_exit_filled,
    on_target_filled,
    plan_exit,
)
from domain.triggers import TriggerBook, TriggerKind

AT = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
FEE = Decimal("0.002")
RULES = MarketRules(
    symbol="BTC-USD",
    base="BTC",
    quote="USD",
    quantity_step=Decimal("0.001"),
    price_step=Decimal("0.01"),
    quantity_min=Decimal("0.001"),
    notional_min=Decimal(1),
)


def protected(
    direction: Direction = Direction.LONG,
    *,
    price: str = "1000",
    quantity: str = "1",
    atr: str = "10",
    fee: Decimal = FEE,
    rules: MarketRules = RULES,
) -> ExitPlan:
    return plan_exit(
        direction=direction,
        entry_price=Decimal(price),
        quantity=Decimal(quantity),
        atr=Decimal(atr),
        filled_at=AT,
        round_trip_rate=fee,
        rules=rules,
    )


def steps(plan: ExitPlan) -> list[tuple[Leg, Decimal, Decimal]]:
    return [(target.leg, target.price, target.quantity) for target in plan.open_targets]


def bar(plan: ExitPlan, number: int, close: str, atr: str = "10") -> ExitPlan:
    return on_bar_closed(
        plan,
        close=Decimal(close),
        atr=Decimal(atr),
        closed_at=AT + number * timedelta(minutes=5),
        rules=RULES,
    )


def after_first_target(direction: Direction = Direction.LONG) -> ExitPlan:
    return on_target_filled(
        protected(direction), Leg.TARGET_1, remaining=Decimal("0.6"), rules=RULES
    )


def test_initial_protection_of_a_long() -> None:
    plan = protected()
    assert plan.stop == Decimal(985)
    assert steps(plan) == [
        (Leg.TARGET_1, Decimal(1015), Decimal("0.4")),
        (Leg.TARGET_2, Decimal(1030), Decimal("0.3")),
        (Leg.TARGET_3, Decimal(1045), Decimal("0.3")),
    ]
    assert plan.next_target is not None
    assert plan.next_target.price == Decimal(1015)
    assert plan.stop_reason is ExitReason.STOP_LOSS


def test_initial_protection_of_a_short() -> None:
    plan = protected(Direction.SHORT)
    assert plan.stop == Decimal(1015)
    assert [price for _, price, _ in steps(plan)] == [985, 970, 955]


def grown(plan: ExitPlan, price: str = "1010", quantity: str = "2") -> ExitPlan:
    return on_entry_filled(
        plan,
        entry_price=Decimal(price),
        quantity=Decimal(quantity),
        atr=Decimal(10),
        filled_at=AT + timedelta(minutes=7),
        rules=RULES,
    )


def test_a_further_fill_of_the_entry_moves_what_the_entry_had_given() -> None:
    plan, fresh = grown(protected()), protected(price="1010", quantity="2")
    assert plan == fresh


def test_a_further_fill_of_the_entry_keeps_a_stop_and_a_target_of_the_user() -> None:
    moved = change_protection(
        protected(),
        market_price=Decimal(1001),
        rules=RULES,
        remaining=Decimal(1),
        stop_loss=Decimal(999),
    )
    plan = grown(bar(moved, 1, "1020"))
    assert plan.stop == 999
    assert steps(plan) == steps(protected(price="1010", quantity="2"))
    assert plan.best_close == 1020
    assert plan.last_bar_closed_at == AT + timedelta(minutes=5)

    own_target = change_protection(
        protected(),
        market_price=Decimal(1001),
        rules=RULES,
        remaining=Decimal(1),
        take_profit=Decimal(1200),
    )
    plan = grown(own_target)
    assert plan.stop == protected(price="1010").stop
    assert steps(plan) == [(Leg.TARGET_3, Decimal(1200), Decimal(2))]


def test_a_target_nearer_than_the_fees_is_moved_out() -> None:
    # 2.5 x 0.8 % of 1000 = 20, farther than 1 R = 15.
    assert [price for _, price, _ in steps(protected(fee=Decimal("0.008")))] == [1020, 1030, 1045]


def test_targets_that_fees_bring_together_become_one() -> None:
    # 2.5 x 1.4 % of 1000 = 35: beyond 1 R and 2 R.
    assert steps(protected(fee=Decimal("0.014"))) == [
        (Leg.TARGET_2, Decimal(1035), Decimal("0.7")),
        (Leg.TARGET_3, Decimal(1045), Decimal("0.3")),
    ]
    assert steps(protected(fee=Decimal("0.02"))) == [
        (Leg.TARGET_3, Decimal(1050), Decimal(1)),
    ]


def test_the_last_target_takes_the_remainder_of_rounding() -> None:
    plan = protected(quantity="0.0109")
    assert plan.quantity == Decimal("0.010")
    assert [quantity for *_, quantity in steps(protected(quantity="0.0119"))] == [
        Decimal("0.004"),
        Decimal("0.003"),
        Decimal("0.004"),
    ]


@pytest.mark.parametrize(
    ("minimum", "expected"),
    [
        ("100", [(Leg.TARGET_1, "0.4"), (Leg.TARGET_2, "0.3"), (Leg.TARGET_3, "0.3")]),
        # 0.3 would be too small, and so would what the first two leave.
        ("350", [(Leg.TARGET_1, "0.4"), (Leg.TARGET_3, "0.6")]),
        # The first is too small alone; together with the second it leaves too little.
        ("450", [(Leg.TARGET_3, "1")]),
        # Even all of it is too small: still one exit, never none.
        ("2000", [(Leg.TARGET_3, "1")]),
    ],
)
def test_exits_too_small_for_the_venue_are_merged_forward(
    minimum: str, expected: list[tuple[Leg, str]]
) -> None:
    rules = replace(RULES, notional_min=Decimal(minimum))
    found = [(leg, quantity) for leg, _, quantity in steps(protected(rules=rules))]
    assert found == [(leg, Decimal(quantity)) for leg, quantity in expected]


def test_the_first_target_moves_the_stop_to_break_even_and_starts_the_trail() -> None:
    plan = after_first_target()
    assert plan.stop == Decimal(1002)
    assert plan.is_trailing
    assert plan.stop_reason is ExitReason.TRAILING_STOP
    assert [leg for leg, *_ in steps(plan)] == [Leg.TARGET_2, Leg.TARGET_3]
    assert after_first_target(Direction.SHORT).stop == Decimal(998)


def test_marking_a_target_twice_changes_nothing() -> None:
    plan = after_first_target()
    assert on_target_filled(plan, Leg.TARGET_1, remaining=Decimal("0.6"), rules=RULES) == plan


def test_all_targets_in_turn_leave_nothing() -> None:
    plan = protected()
    for leg, remaining in ((Leg.TARGET_1, "0.6"), (Leg.TARGET_2, "0.3"), (Leg.TARGET_3, "0")):
        plan = on_target_filled(plan, leg, remaining=Decimal(remaining), rules=RULES)
    assert plan.open_targets == ()
    assert plan.next_target is None


def test_a_first_target_filled_in_part_leaves_the_rest_to_the_last() -> None:
    plan = on_target_filled(protected(), Leg.TARGET_1, remaining=Decimal("0.9"), rules=RULES)
    assert [(leg, quantity) for leg, _, quantity in steps(plan)] == [
        (Leg.TARGET_2, Decimal("0.3")),
        (Leg.TARGET_3, Decimal("0.6")),
    ]


def test_a_last_target_filled_in_part_stays_open() -> None:
    plan = protected(rules=replace(RULES, notional_min=Decimal(450)))
    plan = on_target_filled(plan, Leg.TARGET_3, remaining=Decimal("0.2"), rules=RULES)
    assert steps(plan) == [(Leg.TARGET_3, Decimal(1045), Decimal("0.2"))]
    assert plan.stop == Decimal(1002)


def test_the_trail_follows_the_highest_close_and_never_loosens() -> None:
    plan = bar(after_first_target(), 1, "1020")
    assert plan.stop == Decimal(1005)
    assert bar(plan, 2, "1010").stop == Decimal(1005)
    assert bar(plan, 2, "1010", atr="4").stop == Decimal(1014)
    assert bar(plan, 2, "1020", atr="40").stop == Decimal(1005)


def test_closes_before_the_first_target_count_for_the_trail() -> None:
    plan = bar(protected(), 1, "1040")
    assert plan.stop == Decimal(985)
    plan = on_target_filled(plan, Leg.TARGET_1, remaining=Decimal("0.6"), rules=RULES)
    assert bar(plan, 2, "1020").stop == Decimal(1025)


def test_a_bar_is_seen_once_and_never_from_before_the_entry() -> None:
    plan = after_first_target()
    assert bar(plan, 0, "2000") == plan
    assert bar(plan, -3, "2000") == plan
    once = bar(plan, 1, "1020")
    assert bar(once, 1, "2000") == once


def test_the_trail_of_a_short_is_mirrored() -> None:
    plan = bar(after_first_target(Direction.SHORT), 1, "980")
    assert plan.stop == Decimal(995)
    assert bar(plan, 2, "990").stop == Decimal(995)


def test_exit_quantities_never_exceed_what_remains() -> None:
    plan = protected()
    assert exit_quantity(plan, Leg.TARGET_1, Decimal(1), RULES) == Decimal("0.4")
    assert exit_quantity(plan, Leg.TARGET_1, Decimal("0.2"), RULES) == Decimal("0.2")
    assert exit_quantity(plan, Leg.TARGET_3, Decimal("0.7"), RULES) == Decimal("0.7")
    assert exit_quantity(plan, Leg.STOP, Decimal("0.7004"), RULES) == Decimal("0.7")
    assert exit_quantity(plan, Leg.FLATTEN, Decimal("-0.1"), RULES) == 0


def test_a_manual_partial_close_shrinks_the_targets() -> None:
    plan = on_exit_filled(protected(), remaining=Decimal("0.5"), rules=RULES)
    assert [quantity for *_, quantity in steps(plan)] == [Decimal("0.4"), Decimal("0.1")]
    assert on_exit_filled(plan, remaining=Decimal(0), rules=RULES).open_targets == ()


# -- a user's own protection --------------------------------------------------------------------


def changed(plan: ExitPlan, **prices: str) -> ExitPlan:
    return change_protection(
        plan,
        market_price=Decimal(1010),
        remaining=Decimal("0.6"),
        rules=RULES,
        **{name: Decimal(price) for name, price in prices.items()},
    )


def test_a_users_stop_is_set_and_trailing_goes_on_from_there() -> None:
    plan = changed(after_first_target(), stop_loss="990")
    assert plan.stop == Decimal(990)
    assert bar(plan, 1, "1010", atr="20").stop == Decimal(990)
    assert bar(plan, 1, "1010", atr="10").stop == Decimal(995)


def test_a_users_target_replaces_the_remaining_ones() -> None:
    plan = changed(after_first_target(), take_profit="1100")
    assert steps(plan) == [(Leg.TARGET_3, Decimal(1100), Decimal("0.6"))]
    assert plan.stop == Decimal(1002)
    assert changed(plan, take_profit="1100") == plan


@pytest.mark.parametrize(
    "prices", [{"stop_loss": "1010"}, {"stop_loss": "0"}, {"take_profit": "1010"}]
)
def test_protection_that_would_fire_at_once_is_refused(prices: dict[str, str]) -> None:
    with pytest.raises(InvalidProtection) as refused:
        changed(protected(), **prices)
    assert refused.value.details == {"fields": dict.fromkeys(prices, refused.value.message)}


def test_protection_of_a_short_is_mirrored() -> None:
    plan = changed(protected(Direction.SHORT), stop_loss="1050", take_profit="900")
    assert plan.stop == Decimal(1050)
    assert plan.next_target is not None
    assert plan.next_target.price == Decimal(900)
    with pytest.raises(InvalidProtection):
        changed(protected(Direction.SHORT), stop_loss="1009")


# -- reversal -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "side", "score", "leaves"),
    [
        (Direction.LONG, Direction.SHORT, 3, True),
        (Direction.LONG, Direction.SHORT, 2, False),
        (Direction.LONG, Direction.LONG, 5, False),
        (Direction.LONG, None, 0, False),
        (Direction.SHORT, Direction.LONG, 3, True),
    ],
)
def test_a_call_for_the_opposite_side_is_an_exit(
    held: Direction, side: Direction | None, score: int, leaves: bool
) -> None:
    calls = side if score >= 3 else None
    evaluation = cast("Evaluation", SimpleNamespace(calls_for=lambda _: calls))
    assert calls_for_exit(held, evaluation, 3) is leaves


# -- state and properties ------------------------------------------------------------------------


def test_a_plan_survives_json() -> None:
    plan = bar(after_first_target(), 1, "1020.5")
    record = json.loads(json.dumps(plan.to_record()))
    assert ExitPlan.from_record(record) == plan


prices = st.decimals(min_value="0.05", max_value=90_000, places=3)
rates = st.decimals(min_value="0.0001", max_value="0.3", places=4)
quantities = st.decimals(min_value="0.001", max_value=1000, places=3)
directions = st.sampled_from(Direction)


@given(
    direction=directions,
    price=prices,
    atr_rate=rates,
    quantity=quantities,
    fee=st.decimals(min_value=0, max_value="0.02", places=4),
    minimum=st.decimals(min_value=0, max_value=500, places=0),
)
def test_targets_are_monotone_tradable_and_close_everything(
    direction: Direction,
    price: Decimal,
    atr_rate: Decimal,
    quantity: Decimal,
    fee: Decimal,
    minimum: Decimal,
) -> None:
    rules = replace(RULES, notional_min=minimum)
    plan = plan_exit(
        direction=direction,
        entry_price=price,
        quantity=quantity,
        atr=price * atr_rate,
        filled_at=AT,
        round_trip_rate=fee,
        rules=rules,
    )
    targets = plan.open_targets
    assert sum(target.quantity for target in targets) == plan.quantity
    assert all(target.quantity > 0 for target in targets)
    distances = [(target.price - price) * direction.sign for target in targets]
    assert distances == sorted(set(distances))
    if direction is Direction.LONG:
        assert distances[0] >= max(price * atr_rate * Decimal("1.5"), price * fee * Decimal("2.5"))
    # A step too coarse for the distance keeps the stop on its side rather than its distance.
    assert (price - plan.stop) * direction.sign > 0 or plan.stop == rules.price_step
    left = plan.quantity
    if plan.quantity * min(plan.stop, *(target.price for target in targets)) < minimum:
        assert len(targets) == 1
        return
    for target in targets:
        left -= target.quantity
        assert target.quantity * target.price >= minimum
        assert left == 0 or left * plan.stop >= minimum or direction is Direction.SHORT


@given(
    direction=directions,
    closes=st.lists(st.decimals(min_value=900, max_value=1100, places=2), max_size=30),
    ranges=st.lists(st.decimals(min_value="0.5", max_value=60, places=2), min_size=30, max_size=30),
    first_target_at=st.integers(0, 30),
)
def test_a_stop_only_ever_tightens(
    direction: Direction, closes: list[Decimal], ranges: list[Decimal], first_target_at: int
) -> None:
    plan = protected(direction)
    for number, (close, atr) in enumerate(zip(closes, ranges, strict=False), start=1):
        before = plan.stop
        if number == first_target_at:
            plan = on_target_filled(plan, Leg.TARGET_1, remaining=Decimal("0.6"), rules=RULES)
        plan = bar(plan, number, str(close), str(atr))
        assert (plan.stop - before) * direction.sign >= 0
    if first_target_at == 0:
        assert plan.stop == protected(direction).stop


@given(direction=directions, atr=st.decimals(min_value="0.1", max_value=50, places=2), price=prices)
def test_a_price_beyond_the_stop_fires_the_stop_and_silences_the_targets(
    direction: Direction, atr: Decimal, price: Decimal
) -> None:
    plan = protected(direction, atr=str(atr))
    book = TriggerBook()
    for trigger in exit_triggers(plan, "position", AT):
        book.put(trigger)
    fired = book.judge_price(price)
    beyond_stop = (price - plan.stop) * direction.sign <= 0
    reached = [
        target for target in plan.open_targets if (price - target.price) * direction.sign >= 0
    ]
    if beyond_stop:
        assert [trigger.kind for trigger in fired] == [TriggerKind.STOP]
    else:
        assert [trigger.price for trigger in fired] == [target.price for target in reached]
    both = Candle(AT, price, Decimal(10**6), Decimal("0.01"), price, Decimal(1))
    assert [trigger.trigger_id for trigger in book.judge_candle(both)] == ["position:stop"]


def test_the_published_fractions_are_used() -> None:
    assert DEFAULT_CONFIG.target_fractions == (Decimal("0.4"), Decimal("0.3"), Decimal("0.3"))
