from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.orders import FillReport, Liquidity, Side
from domain.positions import (
    ConflictingFill,
    Direction,
    Position,
    PositionFill,
    PositionState,
    fold_fills,
)

AT = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
LONG_ENTRY, LONG_EXIT = Side.BUY, Side.SELL


def fill(
    fill_id: str,
    side: Side,
    price: str,
    quantity: str,
    fee: str = "0",
    currency: str = "USD",
    *,
    minute: int = 0,
    fee_value: str | None = None,
) -> PositionFill:
    return PositionFill(
        fill_id=fill_id,
        side=side,
        price=Decimal(price),
        quantity=Decimal(quantity),
        fee=Decimal(fee),
        fee_currency=currency,
        filled_at=AT + timedelta(minutes=minute),
        fee_value=None if fee_value is None else Decimal(fee_value),
    )


def fold(
    *fills: PositionFill,
    direction: Direction = Direction.LONG,
    entry_final: bool = True,
    dust: str = "0",
) -> Position:
    return fold_fills(
        direction, fills, base="BTC", quote="USD", entry_final=entry_final, dust=Decimal(dust)
    )


def test_a_round_trip() -> None:
    position = fold(
        fill("1", LONG_ENTRY, "100", "1", "0.10"),
        fill("2", LONG_ENTRY, "102", "1", "0.10", minute=1),
        fill("3", LONG_EXIT, "110", "2", "0.22", minute=9),
    )
    assert position.state is PositionState.CLOSED
    assert position.average_entry_price == Decimal(101)
    assert position.average_exit_price == Decimal(110)
    assert position.price_pnl == Decimal(18)
    assert position.fees == Decimal("0.42")
    assert position.net_pnl == Decimal("17.58")
    assert position.net_pnl_pct == Decimal("17.58") / Decimal(202) * 100
    assert position.remaining_quantity == 0
    assert (position.opened_at, position.closed_at) == (AT, AT + timedelta(minutes=9))
    assert position.fill_count == 3


def test_a_short_earns_when_the_price_falls() -> None:
    position = fold(
        fill("1", Side.SELL, "100", "2", "0.2"),
        fill("2", Side.BUY, "90", "1", "0.1"),
        direction=Direction.SHORT,
    )
    assert position.state is PositionState.OPEN
    assert position.price_pnl == Decimal(10)
    assert position.net_pnl == Decimal("9.7")
    assert position.unrealized_pnl(Decimal(80)) == Decimal(20)
    assert position.unrealized_pnl_pct(Decimal(80)) == Decimal(20)
    assert position.open_notional == Decimal(100)


@pytest.mark.parametrize(
    ("fills", "entry_final", "state"),
    [
        ([], False, PositionState.PENDING),
        ([], True, PositionState.CANCELLED),
        ([fill("1", LONG_ENTRY, "100", "1")], False, PositionState.OPEN),
        ([fill("1", LONG_ENTRY, "100", "1")], True, PositionState.OPEN),
        (
            [fill("1", LONG_ENTRY, "100", "1"), fill("2", LONG_EXIT, "100", "1")],
            True,
            PositionState.CLOSED,
        ),
        # More of the entry may still come.
        (
            [fill("1", LONG_ENTRY, "100", "1"), fill("2", LONG_EXIT, "100", "1")],
            False,
            PositionState.OPEN,
        ),
        # An exit was heard of first.
        ([fill("2", LONG_EXIT, "100", "1")], True, PositionState.OPEN),
    ],
)
def test_states(fills: list[PositionFill], entry_final: bool, state: PositionState) -> None:
    assert fold(*fills, entry_final=entry_final).state is state


def test_an_empty_position_has_no_figures() -> None:
    position = fold(entry_final=False)
    assert position.average_entry_price is None
    assert position.average_exit_price is None
    assert position.net_pnl == 0
    assert position.net_pnl_pct == 0
    assert position.unrealized_pnl(Decimal(5)) == 0
    assert position.opened_at is None


def test_a_buy_fee_in_the_base_currency_reduces_what_is_held() -> None:
    position = fold(fill("1", LONG_ENTRY, "100", "1", "0.001", "BTC"))
    assert position.remaining_quantity == Decimal("0.999")
    assert position.fees == Decimal("0.1")
    assert position.entry_quantity == 1
    closed = fold(
        fill("1", LONG_ENTRY, "100", "1", "0.001", "BTC"),
        fill("2", LONG_EXIT, "110", "0.999"),
    )
    assert closed.state is PositionState.CLOSED
    assert closed.net_pnl == Decimal("0.999") * 110 - 100


def test_a_fee_in_a_third_currency_needs_a_value() -> None:
    unknown = fold(fill("1", LONG_ENTRY, "100", "1", "0.01", "BNB"))
    assert not unknown.fees_known
    assert unknown.net_pnl is None
    assert unknown.net_pnl_pct is None
    assert unknown.price_pnl == 0
    known = fold(fill("1", LONG_ENTRY, "100", "1", "0.01", "BNB", fee_value="6"))
    assert known.net_pnl == Decimal(-6)
    free = fold(fill("1", LONG_ENTRY, "100", "1", "0", "BNB"))
    assert free.net_pnl == 0


def test_a_fee_may_get_its_value_later() -> None:
    first = fill("1", LONG_ENTRY, "100", "1", "0.01", "BNB")
    valued = replace(first, fee_value=Decimal(6))
    assert fold(first, valued) == fold(valued, first) == fold(valued)


def test_a_rest_below_the_quantity_step_counts_as_flat() -> None:
    fills = (
        fill("1", LONG_ENTRY, "100", "1", "0.0005", "BTC"),
        fill("2", LONG_EXIT, "110", "0.999"),
    )
    assert fold(*fills).state is PositionState.OPEN
    closed = fold(*fills, dust="0.001")
    assert closed.state is PositionState.CLOSED
    assert closed.remaining_quantity == Decimal("0.0005")


def test_exits_beyond_what_is_held_are_a_surplus_and_no_profit_of_the_position() -> None:
    position = fold(
        fill("1", LONG_ENTRY, "100", "1"),
        fill("2", LONG_EXIT, "110", "0.8", "0.1"),
        fill("3", LONG_EXIT, "120", "0.8", "0.2"),
    )
    assert position.state is PositionState.CLOSED
    assert (position.exit_quantity, position.surplus_quantity) == (Decimal(1), Decimal("0.6"))
    assert position.exit_notional == Decimal("0.8") * 110 + Decimal("0.2") * 120
    assert position.price_pnl == Decimal(12)
    assert position.net_pnl == Decimal("11.7")
    assert position.remaining_quantity == position.open_notional == 0
    assert position.unrealized_pnl(Decimal(500)) == 0


@pytest.mark.parametrize(
    "other",
    [
        fill("1", LONG_ENTRY, "100", "2"),
        fill("1", LONG_EXIT, "100", "1"),
        fill("1", LONG_ENTRY, "100", "1", "0.1"),
    ],
)
def test_two_fills_of_one_id_conflict(other: PositionFill) -> None:
    known = fill("1", LONG_ENTRY, "100", "1")
    for pair in ((known, other), (other, known)):
        with pytest.raises(ConflictingFill):
            fold(*pair)


@pytest.mark.parametrize(("price", "quantity"), [("0", "1"), ("1", "0"), ("-1", "1")])
def test_a_fill_is_positive(price: str, quantity: str) -> None:
    with pytest.raises(ValueError, match="positive"):
        fold(fill("1", LONG_ENTRY, price, quantity))


def test_a_venue_report_becomes_a_fill() -> None:
    report = FillReport(
        venue_fill_id="f1",
        venue_order_id="o1",
        symbol="BTC-USD",
        side=Side.BUY,
        price=Decimal(100),
        quantity=Decimal(1),
        fee=Decimal("0.1"),
        fee_currency="USD",
        liquidity=Liquidity.TAKER,
        filled_at=AT,
    )
    assert PositionFill.from_report(report) == fill("f1", Side.BUY, "100", "1", "0.1")


# -- properties -----------------------------------------------------------------------------------

prices = st.decimals(min_value="0.01", max_value=100_000, places=2)
quantities = st.decimals(min_value="0.00000001", max_value=1000, places=8)


@st.composite
def fills_of_a_position(draw: st.DrawFn) -> list[PositionFill]:
    drawn = []
    for number in range(draw(st.integers(0, 8))):
        quantity, price = draw(quantities), draw(prices)
        currency = draw(st.sampled_from(["USD", "BTC", "BNB"]))
        fee = quantity * Decimal("0.001") * (1 if currency == "BTC" else price)
        drawn.append(
            PositionFill(
                fill_id=str(number),
                side=draw(st.sampled_from(Side)),
                price=price,
                quantity=quantity,
                fee=fee,
                fee_currency=currency,
                filled_at=AT + timedelta(seconds=draw(st.integers(0, 1000))),
                fee_value=draw(st.none() | st.just(fee)) if currency == "BNB" else None,
            )
        )
    return drawn


@given(
    fills=fills_of_a_position(),
    direction=st.sampled_from(Direction),
    entry_final=st.booleans(),
    data=st.data(),
)
def test_order_and_repeats_do_not_matter(
    fills: list[PositionFill], direction: Direction, entry_final: bool, data: st.DataObject
) -> None:
    expected = fold(*fills, direction=direction, entry_final=entry_final)
    repeats = data.draw(st.lists(st.sampled_from(fills), max_size=5)) if fills else []
    shuffled = data.draw(st.permutations(fills + repeats))
    assert fold(*shuffled, direction=direction, entry_final=entry_final) == expected


@given(
    direction=st.sampled_from(Direction),
    entries=st.lists(
        st.tuples(prices, quantities, st.sampled_from(["USD", "BTC"])), min_size=1, max_size=5
    ),
    exit_price=prices,
    shares=st.lists(st.integers(1, 100), max_size=3),
)
def test_net_pnl_of_a_flat_position_is_the_cash_it_made(
    direction: Direction,
    entries: list[tuple[Decimal, Decimal, str]],
    exit_price: Decimal,
    shares: list[int],
) -> None:
    fills: list[PositionFill] = []
    cash = base = Decimal(0)

    def trade(side: Side, price: Decimal, quantity: Decimal, currency: str) -> None:
        nonlocal cash, base
        fee = (quantity * (price if currency == "USD" else 1) * Decimal("0.001")).quantize(
            Decimal("1e-12")
        )
        fills.append(PositionFill(str(len(fills)), side, price, quantity, fee, currency, AT))
        cash -= side.sign * price * quantity + (fee if currency == "USD" else 0)
        base += side.sign * quantity - (fee if currency == "BTC" else 0)

    for price, quantity, currency in entries:
        trade(direction.entry_side, price, quantity, currency)
    for share in shares:
        trade(
            direction.exit_side,
            exit_price + share,
            (abs(base) * share / 400).quantize(Decimal("1e-12")) + Decimal("1e-12"),
            "USD",
        )
    if base * direction.sign > 0:
        trade(direction.exit_side, exit_price, abs(base), "USD")
    position = fold(*fills, direction=direction)
    assert position.remaining_quantity == max(Decimal(0), base * direction.sign)
    assert position.surplus_quantity == max(Decimal(0), -base * direction.sign)
    if base == 0:
        assert position.state is PositionState.CLOSED
        assert position.net_pnl is not None
        assert position.net_pnl == pytest.approx(cash, abs=Decimal("1e-10"))
