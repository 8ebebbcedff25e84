from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.markets import Candle, Quote
from domain.triggers import PAST_PRICES_MAX, Condition, PastPrice, Trigger, TriggerBook, TriggerKind

AT = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
BELOW, ABOVE = Condition.AT_OR_BELOW, Condition.AT_OR_ABOVE
STOP, TARGET, ALERT = TriggerKind.STOP, TriggerKind.TARGET, TriggerKind.ALERT


def trigger(
    name: str,
    price: str,
    condition: Condition = BELOW,
    kind: TriggerKind = STOP,
    *,
    minute: int = 0,
) -> Trigger:
    owner = name.partition(":")[0]
    armed_at = AT + timedelta(minutes=minute)
    return Trigger(name, owner, kind, condition, Decimal(price), armed_at)


def candle(low: str, high: str, *, minute: int = 0) -> Candle:
    lowest, highest = Decimal(low), Decimal(high)
    return Candle(AT + timedelta(minutes=minute), highest, highest, lowest, lowest, Decimal(1))


def quote_at(last: str, *, second: int) -> Quote:
    price = Decimal(last)
    return Quote("BTC-USD", price, price, price, AT + timedelta(seconds=second))


def book_of(*triggers: Trigger) -> TriggerBook:
    book = TriggerBook()
    for each in triggers:
        book.put(each)
    return book


def names(triggers: tuple[Trigger, ...]) -> list[str]:
    return [each.trigger_id for each in triggers]


LONG = (
    trigger("long:stop", "95"),
    trigger("long:t1", "105", ABOVE, TARGET),
    trigger("long:t2", "110", ABOVE, TARGET),
)
SHORT = (
    trigger("short:stop", "105", ABOVE),
    trigger("short:t1", "95", BELOW, TARGET),
    trigger("short:t2", "90", BELOW, TARGET),
)


@pytest.mark.parametrize(
    ("price", "fired"),
    [
        ("100", []),
        ("95", ["long:stop", "short:t1"]),
        ("105", ["long:t1", "short:stop"]),
        ("110", ["long:t1", "long:t2", "short:stop"]),
        ("80", ["long:stop", "short:t1", "short:t2"]),
    ],
)
def test_a_price_fires_what_it_touches(price: str, fired: list[str]) -> None:
    assert names(book_of(*LONG, *SHORT).judge_price(Decimal(price))) == fired


def test_a_stop_comes_before_targets_of_the_same_candle() -> None:
    book = book_of(*reversed(LONG + SHORT))
    assert names(book.judge_candle(candle("80", "120"))) == ["long:stop", "short:stop"]


def test_a_stop_silences_only_its_owner() -> None:
    book = book_of(*LONG, trigger("other:t1", "104", ABOVE, TARGET))
    assert names(book.judge_candle(candle("80", "120"))) == ["long:stop", "other:t1"]


def test_a_quote_counts_by_its_last_trade() -> None:
    quote = Quote("BTC-USD", Decimal(90), Decimal(120), Decimal(100), AT)
    assert book_of(*LONG).judge_quote(quote) == ()


def test_a_candle_older_than_a_trigger_does_not_fire_it() -> None:
    book = book_of(trigger("long:stop", "95", minute=1))
    assert book.judge_candle(candle("90", "100", minute=0)) == ()
    assert names(book.judge_candle(candle("90", "100", minute=1))) == ["long:stop"]


def test_during_a_move_both_prices_must_be_crossed() -> None:
    stop = trigger("long:stop", "95", minute=-10)
    book = book_of(stop.moved(Decimal(99), AT + timedelta(seconds=30)))
    # The minute of the move: 97 may be older than the new stop, 94 was beyond the old one too.
    assert book.judge_candle(candle("97", "100")) == ()
    assert names(book.judge_candle(candle("94", "100"))) == ["long:stop"]
    assert names(book.judge_candle(candle("97", "100", minute=1))) == ["long:stop"]
    assert names(book.judge_price(Decimal(97))) == ["long:stop"]


def test_during_a_widening_the_wider_price_counts() -> None:
    stop = trigger("long:stop", "95", minute=-10)
    book = book_of(stop.moved(Decimal(90), AT + timedelta(seconds=30)))
    assert book.judge_candle(candle("93", "100")) == ()


def test_two_moves_within_a_candle_are_judged_at_each_price_in_force() -> None:
    stop = trigger("long:stop", "99", minute=-10)
    down = stop.moved(Decimal(95), AT + timedelta(seconds=20))
    book = book_of(down.moved(Decimal(98), AT + timedelta(seconds=40)))

    assert book.judge_candle(candle("97", "100")) == (), "97 may be of the seconds at 95"
    assert names(book.judge_candle(candle("95", "100"))) == ["long:stop"]
    assert names(book.judge_candle(candle("98", "100", minute=1))) == ["long:stop"]


@pytest.mark.parametrize(
    ("minute", "low", "fires"),
    [
        (0, "98", False),  # 97 was in force
        (0, "97", True),
        (1, "98.5", False),  # 97, then 99
        (1, "97", True),
        (2, "98.5", True),  # 99 all along
        (3, "98.5", False),  # 99, then 90
        (3, "90", True),
        (4, "91", False),
    ],
)
def test_a_candle_listed_late_is_judged_by_the_prices_of_its_own_minute(
    minute: int, low: str, fires: bool
) -> None:
    stop = trigger("long:stop", "97", minute=-10).moved(Decimal(99), AT + timedelta(seconds=90))
    book = book_of(stop.moved(Decimal(90), AT + timedelta(seconds=200)))

    fired = names(book.judge_candle(candle(low, "100", minute=minute)))

    assert fired == (["long:stop"] if fires else [])


def test_a_move_told_late_counts_from_the_move_before_it() -> None:
    stop = trigger("long:stop", "90", minute=-10).moved(Decimal(95), AT + timedelta(seconds=50))

    late = stop.moved(Decimal(97), AT)

    assert late.moved_at == AT + timedelta(seconds=50)
    assert set(late.prices_during(AT, AT + timedelta(minutes=1))) == {Decimal(90), Decimal(97)}


def test_many_moves_are_kept_within_bounds_and_protect_no_less_tightly_than_the_loosest() -> None:
    stop = trigger("long:stop", "50", minute=-10)
    for second, price in enumerate(range(51, 51 + 3 * PAST_PRICES_MAX)):
        stop = stop.moved(Decimal(price), AT + timedelta(milliseconds=second))

    assert len(stop.past) == PAST_PRICES_MAX
    assert min(stop.prices_during(AT, AT + timedelta(minutes=1))) == Decimal(50)


def test_a_quote_from_before_a_trigger_does_not_fire_it() -> None:
    book = book_of(trigger("long:stop", "95", minute=1))

    assert book.judge_quote(quote_at("90", second=59)) == ()
    assert names(book.judge_quote(quote_at("90", second=60))) == ["long:stop"]


def test_a_quote_from_before_a_move_must_cross_both_prices() -> None:
    stop = trigger("long:stop", "95", minute=-10)
    book = book_of(stop.moved(Decimal(99), AT + timedelta(seconds=30)))

    assert book.judge_quote(quote_at("97", second=29)) == ()
    assert names(book.judge_quote(quote_at("95", second=29))) == ["long:stop"]
    assert names(book.judge_quote(quote_at("97", second=30))) == ["long:stop"]


def test_moving_nowhere_is_no_move() -> None:
    stop = trigger("long:stop", "95")
    assert stop.moved(Decimal(95), AT) is stop


def test_putting_an_id_again_replaces_it() -> None:
    book = book_of(trigger("a", "95"), trigger("b", "95"))
    book.put(trigger("a", "50", ABOVE, ALERT))
    assert len(book) == 2
    assert names(book.judge_price(Decimal(95))) == ["a", "b"]
    assert names(book.judge_price(Decimal(40))) == ["b"]
    kept = book.get("a")
    assert kept is not None
    assert kept.kind is ALERT


def test_removing() -> None:
    book = book_of(*LONG, *SHORT)
    assert book.remove("long:t1") == LONG[1]
    assert book.remove("long:t1") is None
    assert set(book.remove_owner("long")) == {LONG[0], LONG[2]}
    assert book.remove_owner("long") == ()
    assert "long:stop" not in book
    assert set(book) == set(SHORT)
    assert names(book.judge_price(Decimal(80))) == ["short:t1", "short:t2"]


def test_a_price_is_positive_and_a_move_complete() -> None:
    with pytest.raises(ValueError, match="positive"):
        trigger("a", "0")
    past = (PastPrice(Decimal(2), AT), PastPrice(Decimal(3), AT - timedelta(seconds=1)))
    with pytest.raises(ValueError, match="order"):
        Trigger("a", "a", STOP, BELOW, Decimal(1), AT, past)


prices = st.decimals(min_value=1, max_value=20, places=0)
commands = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove"]),
        st.integers(0, 12),
        prices,
        st.sampled_from(Condition),
        st.sampled_from(TriggerKind),
    ),
    max_size=60,
)


@given(commands=commands, low=prices, height=st.integers(0, 10))
def test_the_book_finds_what_a_scan_finds(
    commands: list[tuple[str, int, Decimal, Condition, TriggerKind]], low: Decimal, height: int
) -> None:
    book, plain = TriggerBook(), dict[str, Trigger]()
    for action, number, price, condition, kind in commands:
        name = f"{number % 4}:{number}"
        if action == "put":
            put = trigger(name, str(price), condition, kind)
            book.put(put)
            plain[name] = put
        else:
            assert book.remove(name) == plain.pop(name, None)
    assert len(book) == len(plain)
    high = low + height
    crossed = book.crossed(low, high)
    assert len(crossed) == len(set(crossed))
    assert set(crossed) == {each for each in plain.values() if each.is_crossed(low, high)}
