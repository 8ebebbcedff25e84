"""Each invariant finds what it is for, and nothing in books that agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from chaos.commands import Ban
from chaos.crossings import Crossing
from chaos.delays import (
    ALERT_SECONDS_MAX,
    STOP_SECONDS_MAX,
    late_alerts,
    late_stops,
    stop_delays,
)
from chaos.invariants import (
    ENTRY_SECONDS_MAX,
    equities,
    lost_alerts,
    not_flat,
    unclosed,
    violations,
)
from chaos.records import Account, Records, Row
from chaos.uptime import Span

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
PRICE, QUANTITY, FEE = Decimal(50_000), Decimal("0.02"), Decimal("0.6")


@dataclass
class Made:
    """Books of one live account that agree: bought, and half of it sold."""

    user_id: UUID = field(default_factory=uuid4)
    account_id: UUID = field(default_factory=uuid4)
    position_id: UUID = field(default_factory=uuid4)
    trigger_id: UUID = field(default_factory=uuid4)
    alert_id: UUID = field(default_factory=uuid4)
    tables: dict[str, list[dict[str, Any]]] = field(init=False)
    venue: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.venue = {"orders": [], "fills": [], "balances": {}}
        names = (
            "orders fills positions triggers balances flows paper_orders paper_fills"
            " paper_balances alerts decisions"
        )
        self.tables = {name: [] for name in names.split()}
        self.order("entry", "buy", QUANTITY, NOW)
        self.order("target:1", "sell", QUANTITY / 2, NOW + timedelta(seconds=60))
        self.row(
            "positions",
            id=self.position_id,
            symbol="BTC-USD",
            state="open",
            entry_quantity=QUANTITY,
            exit_quantity=QUANTITY / 2,
            surplus_quantity=Decimal(0),
            closed_elsewhere_quantity=Decimal(0),
        )
        self.row(
            "triggers", id=self.trigger_id, position_id=self.position_id, leg="stop", state="armed"
        )
        self.row(
            "alerts",
            id=self.alert_id,
            reference="chaos-1",
            action="buy",
            trade_id=self.alert_id,
            duplicate_of=None,
            state="executed",
            received_at=NOW,
            decided_at=NOW,
            finished_at=NOW,
        )
        self.row("decisions", cause=f"signal:{self.alert_id}", action="enter")
        self.balance("USD", Decimal(9_498))
        self.balance("BTC", QUANTITY / 2)

    def row(self, table: str, **values: Any) -> None:
        self.tables[table].append({"account_id": self.account_id, **values})

    def order(self, leg: str, side: str, quantity: Decimal, at: datetime) -> None:
        order_id = uuid4()
        client, venue, fill = (f"{kind}-{order_id}" for kind in ("client", "venue", "fill"))
        self.row(
            "orders",
            id=order_id,
            run_id=self.account_id,
            position_id=self.position_id,
            cause=f"signal:{self.alert_id}",
            leg=leg,
            symbol="BTC-USD",
            state="filled",
            client_order_id=client,
            venue_order_id=venue,
            filled_quantity=quantity,
            sent_at=at,
            settled_at=at + timedelta(seconds=1),
        )
        self.row(
            "fills",
            position_id=self.position_id,
            venue_fill_id=fill,
            leg=leg,
            side=side,
            price=PRICE,
            quantity=quantity,
            fee=FEE,
        )
        self.venue["orders"].append(
            {
                "client_order_id": client,
                "order_id": venue,
                "filled_size": str(quantity),
                "side": side.upper(),
                "status": "FILLED",
                "received_at": (at + timedelta(milliseconds=20)).isoformat(),
            }
        )
        self.venue["fills"].append(
            {
                "entry_id": fill,
                "side": side.upper(),
                "price": str(PRICE),
                "size": str(quantity),
                "fee": str(FEE),
            }
        )

    def balance(self, currency: str, total: Decimal) -> None:
        self.row("balances", currency=currency, total=total)
        self.venue["balances"][currency] = {"total": str(total)}

    def records(self) -> Records:
        account = Account(self.account_id, self.user_id, "USD", self.venue)
        rows: dict[str, list[Row]] = {name: [*rows] for name, rows in self.tables.items()}
        return Records([account], rows)

    def kinds(self, bans: list[Ban] | None = None) -> set[str]:
        return {found.kind for found in violations(self.records(), bans or [])}


@pytest.fixture
def made() -> Made:
    return Made()


def test_books_that_agree_are_in_order(made: Made) -> None:
    assert violations(made.records(), []) == []


def _venue_has_one_more_order(made: Made) -> None:
    made.venue["orders"].append({**made.venue["orders"][0], "client_order_id": "another"})


def _venue_has_one_more_fill(made: Made) -> None:
    made.venue["fills"].append({**made.venue["fills"][0], "entry_id": "another"})


def _venue_filled_more(made: Made) -> None:
    made.venue["orders"][1]["filled_size"] = str(QUANTITY)


def _order_is_taken_for_absent(made: Made) -> None:
    made.tables["orders"][1] |= {"state": "absent", "filled_quantity": Decimal(0)}


def _venue_forgot_an_order(made: Made) -> None:
    made.venue["orders"].pop()


def _venue_forgot_a_fill(made: Made) -> None:
    made.venue["fills"].pop()


def _money_from_nowhere(made: Made) -> None:
    made.row("flows", kind="external", amount=Decimal(5), currency="USD")


def _a_trade_by_hand_that_was_none(made: Made) -> None:
    made.row("flows", kind="external_trade", amount=Decimal(-1), currency="BTC")


def _a_shortfall_that_was_none(made: Made) -> None:
    made.tables["positions"][0]["closed_elsewhere_quantity"] = QUANTITY


def _entered_twice(made: Made) -> None:
    made.order("entry", "buy", QUANTITY, NOW)


def _sold_twice(made: Made) -> None:
    made.order("close", "sell", QUANTITY, NOW)


def _found_under_another_id(made: Made) -> None:
    made.tables["orders"][0]["venue_order_id"] = "the first of two"


def _another_price(made: Made) -> None:
    made.tables["fills"][0]["price"] = PRICE + 1


def _another_balance(made: Made) -> None:
    made.tables["balances"][0]["total"] += Decimal("0.00000001")


def _another_quantity(made: Made) -> None:
    made.tables["positions"][0]["entry_quantity"] = QUANTITY * 2


def _no_stop(made: Made) -> None:
    made.tables["triggers"].clear()


def _two_stops(made: Made) -> None:
    made.tables["triggers"] *= 2


def _an_open_order(made: Made) -> None:
    made.tables["orders"][0]["state"] = "open"


def _an_undecided_alert(made: Made) -> None:
    made.tables["alerts"][0]["state"] = "processing"


def test_an_alert_that_has_another_ones_outcome_needs_no_end_of_its_own(made: Made) -> None:
    (first,) = made.tables["alerts"]
    joined = {**first, "id": uuid4(), "state": "accepted", "duplicate_of": first["id"]}
    made.tables["alerts"].append(joined)

    assert made.kinds() == set()


def _a_decision_too_many(made: Made) -> None:
    made.tables["decisions"] *= 2


def _executed_without_a_decision(made: Made) -> None:
    made.tables["decisions"].clear()


@pytest.mark.parametrize(
    ("kind", "break_it"),
    [
        ("lost", _venue_has_one_more_order),
        ("lost", _venue_has_one_more_fill),
        ("lost", _venue_filled_more),
        ("lost", _order_is_taken_for_absent),
        ("lost", _executed_without_a_decision),
        ("invented", _venue_forgot_an_order),
        ("invented", _venue_forgot_a_fill),
        ("invented", _money_from_nowhere),
        ("invented", _a_trade_by_hand_that_was_none),
        ("invented", _a_shortfall_that_was_none),
        ("doubled", _entered_twice),
        ("doubled", _sold_twice),
        ("doubled", _found_under_another_id),
        ("doubled", _a_decision_too_many),
        ("books", _another_price),
        ("books", _another_balance),
        ("books", _another_quantity),
        ("books", _no_stop),
        ("books", _two_stops),
        ("unsettled", _an_open_order),
        ("unsettled", _an_undecided_alert),
    ],
)
def test_what_is_wrong_is_found(made: Made, kind: str, break_it: Callable[[Made], None]) -> None:
    break_it(made)

    assert kind in made.kinds()


def _ban(made: Made, *, since: float, until: float | None = None, symbol: str | None = None) -> Ban:
    at = NOW.timestamp()
    return Ban(made.user_id, "stopped", at + since, symbol, None if until is None else at + until)


@pytest.mark.parametrize(
    ("is_late", "since", "until", "symbol"),
    [
        (True, -1.0, None, None),
        (True, -1.0, None, "BTC-USD"),
        (True, -1.0, 1.0, None),
        (False, 1.0, None, None),
        (False, -1.0, None, "ETH-USD"),
        (False, -2.0, -1.0, None),
    ],
)
def test_an_entry_sent_under_a_ban_is_found(
    made: Made, *, is_late: bool, since: float, until: float | None, symbol: str | None
) -> None:
    ban = _ban(made, since=since, until=until, symbol=symbol)

    assert ("late entry" in made.kinds([ban])) is is_late


def test_an_entry_that_left_before_a_stop_may_arrive_only_soon_after_it(made: Made) -> None:
    order = made.venue["orders"][0]
    ban = _ban(made, since=0.5)
    for seconds, is_late in ((ENTRY_SECONDS_MAX, False), (ENTRY_SECONDS_MAX + 1, True)):
        order["received_at"] = (NOW + timedelta(seconds=seconds)).isoformat()

        assert ("late entry" in made.kinds([ban])) is is_late


def test_exits_are_never_late_entries(made: Made) -> None:
    assert made.kinds([_ban(made, since=30.0)]) == set()


def test_an_acknowledged_alert_is_stored_once(made: Made) -> None:
    assert lost_alerts(made.records(), ["chaos-1"]) == []
    assert [one.kind for one in lost_alerts(made.records(), ["chaos-2"])] == ["lost"]
    made.tables["alerts"] *= 2
    assert [one.kind for one in lost_alerts(made.records(), ["chaos-1"])] == ["doubled"]


@pytest.mark.parametrize(("trade_id", "kinds"), [(uuid4(), []), (None, ["doubled"])])
def test_an_exit_may_be_stored_again_for_another_position(
    made: Made, trade_id: UUID | None, kinds: list[str]
) -> None:
    (first,) = made.tables["alerts"]
    first["action"] = "close"
    made.tables["alerts"].append({**first, "trade_id": trade_id or first["trade_id"]})

    assert [one.kind for one in lost_alerts(made.records(), ["chaos-1"])] == kinds


def test_a_confirmed_closing_closes(made: Made) -> None:
    wire_id = f"pos_{made.position_id.hex}"

    assert [one.kind for one in unclosed(made.records(), [wire_id])] == ["lost"]
    assert [one.kind for one in not_flat(made.records())] == ["lost"]
    made.tables["positions"][0]["state"] = "closed"
    assert unclosed(made.records(), [wire_id]) == []
    assert not_flat(made.records()) == []


def test_equity_is_what_is_held_at_the_last_price(made: Made) -> None:
    prices = {"BTC-USD": Decimal(60_000)}
    expected = 9_498 + 600

    assert equities(made.records(), {made.account_id: expected}, prices) == []
    assert equities(made.records(), {made.account_id: expected + 1}, prices) != []
    assert equities(made.records(), {made.account_id: None}, prices) != []


def _crossed(made: Made, seconds: float) -> list[Crossing]:
    at = NOW.timestamp() + seconds
    return [Crossing(made.trigger_id, made.position_id, "BTC-USD", PRICE, PRICE, at)]


def test_a_stop_is_judged_by_the_longest_time_in_which_everything_served(made: Made) -> None:
    at = NOW.timestamp()
    crossings = _crossed(made, 50.0)  # the exit arrives at 60.02
    whole = [Span(at, at + 51), Span(at + 53, at + 56), Span(at + 59, at + 100)]

    (delay,) = stop_delays(made.records(), crossings, whole, at + 100)

    assert delay.seconds == pytest.approx(3.0)
    assert delay.lost_seconds is None
    assert late_stops([delay]) == []


def test_a_stop_without_an_exit_is_late(made: Made) -> None:
    at = NOW.timestamp()
    crossings = _crossed(made, 70.0)  # after the only exit

    (delay,) = stop_delays(made.records(), crossings, [Span(at, at + 100)], at + 100)

    assert delay.seconds == pytest.approx(30.0)
    assert delay.seconds > STOP_SECONDS_MAX
    assert [one.kind for one in late_stops([delay])] == ["late stop"]


def test_an_exit_that_was_lost_with_the_venue_is_counted_apart(made: Made) -> None:
    at = NOW.timestamp()
    made.order("close", "sell", QUANTITY / 2, NOW + timedelta(seconds=75))
    made.venue["orders"][1]["client_order_id"] = "never came"
    crossings = _crossed(made, 58.0)

    (delay,) = stop_delays(made.records(), crossings, [Span(at, at + 100)], at + 100)

    assert delay.seconds == pytest.approx(2.0)
    assert delay.lost_seconds == pytest.approx(15.02)


def test_an_exit_on_its_way_when_its_stop_is_crossed_is_in_time(made: Made) -> None:
    at = NOW.timestamp()
    made.order("close", "sell", QUANTITY / 2, NOW + timedelta(seconds=75))
    made.venue["orders"][1]["client_order_id"] = "never came"
    crossings = _crossed(made, 60.5)  # between its sending and its end

    (delay,) = stop_delays(made.records(), crossings, [Span(at, at + 100)], at + 100)

    assert delay.seconds == 0
    assert delay.lost_seconds == pytest.approx(14.52)


def test_a_position_that_had_left_before_is_not_judged(made: Made) -> None:
    at = NOW.timestamp()
    made.tables["positions"][0] |= {"state": "closed", "exit_quantity": QUANTITY / 2}

    assert stop_delays(made.records(), _crossed(made, 70.0), [Span(at, at + 100)], at + 100) == []


def test_an_alert_may_wait_for_its_decision_only_while_something_is_down(made: Made) -> None:
    at = NOW.timestamp()
    made.tables["alerts"][0]["decided_at"] = NOW + timedelta(seconds=ALERT_SECONDS_MAX + 10)

    assert late_alerts(made.records(), [Span(at, at + 20), Span(at + 22, at + 100)]) == []
    assert [one.kind for one in late_alerts(made.records(), [Span(at, at + 100)])] == ["late alert"]
