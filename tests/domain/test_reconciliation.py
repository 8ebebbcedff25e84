"""The invariants of reconciliation, over arbitrary pairs of (ours, venue)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import ZERO
from domain.orders import FINAL_STATES, FillReport, Liquidity, OrderReport, OrderState, Side
from domain.reconciliation import (
    Anomaly,
    BalanceFinding,
    Correction,
    OurOrder,
    apply,
    compare_balance,
    flows_of,
    settle,
    sort_open_orders,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GRACE = timedelta(seconds=30)
VENUE_STATES = (
    OrderState.OPEN,
    OrderState.FILLED,
    OrderState.CANCELLED,
    OrderState.REFUSED,
    OrderState.UNKNOWN,
)


def fill(number: int, quantity: str = "1", order_id: str = "v1") -> FillReport:
    return FillReport(
        venue_fill_id=f"f{number}",
        venue_order_id=order_id,
        symbol="BTC-USD",
        side=Side.BUY,
        price=Decimal(100),
        quantity=Decimal(quantity),
        fee=Decimal("0.1"),
        fee_currency="USD",
        liquidity=Liquidity.TAKER,
        filled_at=NOW + timedelta(seconds=number),
    )


def ours(state: OrderState, **fields: object) -> OurOrder:
    order = OurOrder("c1", "BTC-USD", Side.BUY, Decimal(3), state, sent_at=NOW)
    for name, value in fields.items():
        object.__setattr__(order, name, value)
    return order


def reported(
    state: OrderState,
    filled: str = "0",
    client_order_id: str | None = "c1",
    venue_order_id: str = "v1",
) -> OrderReport:
    return OrderReport(
        venue_order_id, client_order_id, "BTC-USD", Side.BUY, state, Decimal(3), Decimal(filled)
    )


@st.composite
def situations(
    draw: st.DrawFn,
) -> tuple[OurOrder, OrderReport | None, list[FillReport], datetime]:
    numbers = draw(st.sets(st.integers(0, 4)))
    of_others = [fill(number, order_id="v2") for number in draw(st.sets(st.integers(5, 8)))]
    listed = [fill(number) for number in draw(st.permutations(sorted(numbers)))]
    recorded = {f"f{number}": Decimal(1) for number in draw(st.sets(st.integers(0, 4)))}
    is_known = draw(st.booleans()) or bool(recorded)
    order = OurOrder(
        client_order_id="c1",
        symbol="BTC-USD",
        side=Side.BUY,
        quantity=Decimal(3),
        state=draw(st.sampled_from(OrderState)),
        sent_at=draw(st.sampled_from([None, NOW])),
        venue_order_id="v1" if is_known else None,
        fills=recorded,
    )
    report = draw(
        st.none()
        | st.builds(
            reported,
            st.sampled_from(VENUE_STATES),
            st.integers(0, 5).map(str),
        )
    )
    return order, report, listed + of_others, NOW + draw(st.integers(0, 60)) * timedelta(seconds=1)


@given(situations())
def test_correcting_twice_is_correcting_once(
    situation: tuple[OurOrder, OrderReport | None, list[FillReport], datetime],
) -> None:
    order, report, fills, now = situation
    correction = settle(order, report, fills, now=now, grace=GRACE)
    if correction is None:
        return
    corrected = apply(order, correction)

    again = settle(corrected, report, fills, now=now, grace=GRACE)

    assert apply(corrected, correction) == corrected
    assert again is None or not again.changes(corrected)


@given(situations())
def test_fills_are_neither_lost_nor_invented(
    situation: tuple[OurOrder, OrderReport | None, list[FillReport], datetime],
) -> None:
    order, report, fills, now = situation
    correction = settle(order, report, fills, now=now, grace=GRACE)
    after = order if correction is None else apply(order, correction)

    listed = {f.venue_fill_id for f in fills if f.venue_order_id == "v1"}
    before = set(order.fills or {})
    if report is not None or order.venue_order_id is not None:
        assert set(after.fills or {}) == before | listed
    else:
        assert set(after.fills or {}) == before


@given(situations())
def test_an_order_ends_only_with_all_its_fills(
    situation: tuple[OurOrder, OrderReport | None, list[FillReport], datetime],
) -> None:
    order, report, fills, now = situation
    correction = settle(order, report, fills, now=now, grace=GRACE)
    if correction is None or report is None:
        return
    after = apply(order, correction)

    if correction.state in FINAL_STATES:
        assert after.filled_quantity >= report.filled_quantity
    assert correction.awaits_fills is (after.filled_quantity < report.filled_quantity)
    if after.filled_quantity > ZERO:
        assert correction.state is not OrderState.REFUSED


@given(situations())
def test_absent_needs_doubt_a_look_and_the_grace(
    situation: tuple[OurOrder, OrderReport | None, list[FillReport], datetime],
) -> None:
    order, report, fills, now = situation
    correction = settle(order, report, fills, now=now, grace=GRACE)

    if (
        correction is not None
        and correction.state is OrderState.ABSENT
        and order.state is not OrderState.ABSENT
    ):
        assert report is None
        assert order.state.needs_lookup
        assert order.venue_order_id is None
        assert order.sent_at is not None
        assert now - order.sent_at >= GRACE


@pytest.mark.parametrize(
    ("state", "seconds", "settled"),
    [
        (OrderState.UNKNOWN, 29, None),
        (OrderState.UNKNOWN, 30, OrderState.ABSENT),
        (OrderState.SENDING, 30, OrderState.ABSENT),
        (OrderState.INTENDED, 300, None),
        (OrderState.REFUSED, 300, None),
        (OrderState.FILLED, 300, None),
    ],
)
def test_not_listed(state: OrderState, seconds: int, settled: OrderState | None) -> None:
    now = NOW + timedelta(seconds=seconds)

    correction = settle(ours(state), None, [], now=now, grace=GRACE)

    assert (correction.state if correction else None) is settled


def test_taken_order_that_is_not_listed_has_vanished_and_stays_open() -> None:
    order = ours(OrderState.OPEN, venue_order_id="v1")

    correction = settle(order, None, [], now=NOW + timedelta(days=1), grace=GRACE)

    assert correction is not None
    assert correction.anomalies == {Anomaly.VANISHED}
    assert not correction.changes(order)


@pytest.mark.parametrize(
    "state", [OrderState.SENDING, OrderState.UNKNOWN, OrderState.INTENDED, OrderState.ABSENT]
)
def test_found_order_is_settled_with_its_fills(state: OrderState) -> None:
    fills = [fill(2), fill(0), fill(1)]

    correction = settle(ours(state), reported(OrderState.FILLED, "3"), fills, now=NOW, grace=GRACE)

    came_back = {OrderState.INTENDED, OrderState.ABSENT}
    assert correction == Correction(
        client_order_id="c1",
        state=OrderState.FILLED,
        venue_order_id="v1",
        new_fills=(fill(0), fill(1), fill(2)),
        anomalies=frozenset({Anomaly.CAME_BACK} if state in came_back else ()),
    )


def test_filled_order_whose_fills_are_not_listed_yet_stays_open() -> None:
    correction = settle(
        ours(OrderState.UNKNOWN), reported(OrderState.FILLED, "3"), [fill(0)], now=NOW, grace=GRACE
    )

    assert correction is not None
    assert (correction.state, correction.awaits_fills) == (OrderState.OPEN, True)


def test_late_fill_of_a_cancelled_order_is_recorded_without_alarm() -> None:
    order = ours(OrderState.CANCELLED, venue_order_id="v1", fills={"f0": Decimal(1)})

    correction = settle(
        order, reported(OrderState.CANCELLED, "2"), [fill(0), fill(1)], now=NOW, grace=GRACE
    )

    assert correction is not None
    assert correction.state is OrderState.CANCELLED
    assert correction.new_fills == (fill(1),)
    assert correction.anomalies == frozenset()


def test_order_we_took_for_ended_that_is_open_came_back() -> None:
    order = ours(OrderState.CANCELLED, venue_order_id="v1")

    correction = settle(order, reported(OrderState.OPEN), [], now=NOW, grace=GRACE)

    assert correction is not None
    assert correction.state is OrderState.OPEN
    assert correction.anomalies == {Anomaly.CAME_BACK}


@pytest.mark.parametrize(
    "state", [OrderState.REFUSED, OrderState.DENIED, OrderState.ABSENT, OrderState.INTENDED]
)
def test_an_order_that_the_venue_has_in_an_unknown_state_is_not_over(state: OrderState) -> None:
    taken = ours(state, venue_order_id="v1")

    correction = settle(taken, reported(OrderState.UNKNOWN), [], now=NOW, grace=GRACE)

    assert correction is not None
    assert correction.state is OrderState.UNKNOWN
    assert correction.anomalies == {Anomaly.CAME_BACK}


def test_too_much_and_different_are_told() -> None:
    order = ours(OrderState.OPEN, venue_order_id="v1", symbol="ETH-USD")
    fills = [fill(number) for number in range(4)]

    correction = settle(order, reported(OrderState.FILLED, "4"), fills, now=NOW, grace=GRACE)

    assert correction is not None
    assert correction.anomalies == {Anomaly.OVERFILLED, Anomaly.DIFFERS}
    assert len(correction.new_fills) == 4


def test_agreement_is_no_correction() -> None:
    order = ours(OrderState.OPEN, venue_order_id="v1")

    assert settle(order, reported(OrderState.OPEN), [], now=NOW, grace=GRACE) is None


def test_open_orders_are_told_apart() -> None:
    mine = ours(OrderState.OPEN, venue_order_id="v1")
    by_venue_id = ours(OrderState.OPEN, client_order_id="c2", venue_order_id="v2")
    unknown = ours(OrderState.UNKNOWN, client_order_id="c3")
    gone = ours(OrderState.OPEN, client_order_id="c4", venue_order_id="v4")
    ended = ours(OrderState.FILLED, client_order_id="c5", venue_order_id="v5")
    intended = ours(OrderState.INTENDED, client_order_id="c6")
    listed = [
        reported(OrderState.OPEN),
        reported(OrderState.OPEN, client_order_id=None, venue_order_id="v2"),
        reported(OrderState.OPEN, client_order_id="theirs", venue_order_id="v9"),
        reported(OrderState.OPEN, client_order_id=None, venue_order_id="v10"),
    ]

    view = sort_open_orders([mine, by_venue_id, unknown, gone, ended, intended], listed)

    assert view.ours == {"c1": listed[0], "c2": listed[1]}
    assert view.to_look_up == (unknown, gone)
    assert view.foreign == (listed[2], listed[3])


amounts = st.decimals(-1000, 1000, places=8, allow_nan=False, allow_infinity=False)


@given(amounts, st.lists(amounts, max_size=5), amounts, st.booleans())
def test_balance_difference_is_exact_and_unsettled_orders_excuse_it(
    opening: Decimal,
    flows: list[Decimal],
    observed: Decimal,
    unsettled: bool,
) -> None:
    comparison = compare_balance(
        "USD", opening=opening, flows=flows, observed=observed, has_unsettled_orders=unsettled
    )

    assert comparison.expected + comparison.difference == observed
    if comparison.difference == ZERO:
        assert comparison.finding is BalanceFinding.MATCHES
    elif unsettled:
        assert comparison.finding is BalanceFinding.UNSETTLED
    else:
        rebased = compare_balance("USD", opening=observed, flows=[], observed=observed)
        assert rebased.finding is BalanceFinding.MATCHES


@pytest.mark.parametrize(
    ("observed", "claimed", "finding"),
    [
        ("10", "4", BalanceFinding.MATCHES),
        ("11", "4", BalanceFinding.INFLOW),
        ("5", "4", BalanceFinding.OUTFLOW),
        ("3", "4", BalanceFinding.SHORTFALL),
    ],
)
def test_balance_findings(observed: str, claimed: str, finding: BalanceFinding) -> None:
    comparison = compare_balance(
        "BTC",
        opening=Decimal(8),
        flows=[Decimal(3), Decimal(-1)],
        observed=Decimal(observed),
        claimed=Decimal(claimed),
    )

    assert comparison.finding is finding


def test_flows_of_a_fill() -> None:
    assert flows_of(fill(0, "2"), base="BTC", quote="USD") == {
        "BTC": Decimal(2),
        "USD": Decimal("-200.1"),
    }
