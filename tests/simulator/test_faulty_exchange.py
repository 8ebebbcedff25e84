"""Faults of orders and listings, in process: what the venue does and shows, and that it lasts."""

import os
from collections.abc import Iterator
from dataclasses import replace
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

import pytest

from simulator.config import read_config
from simulator.engine.accounts import FEES_ACCOUNT, LIQUIDITY_ACCOUNT
from simulator.engine.values import (
    Fill,
    Order,
    OrderRefusedError,
    OrderRequest,
    OrderStatus,
    OrderType,
    Refusal,
    Side,
    TimeInForce,
)
from simulator.exchange import Exchange, OrderNotOpenError
from simulator.faults.fault import fault_of
from simulator.faults.kinds import CallName
from simulator.store import Account, Filter, Store
from simulator.views import VenueView

ACCOUNT = Account("alice-id", "alice", "key", "hmac", "secret", "vip", ("view", "trade"), 0)
SECOND_MS = 1_000


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("NIJA_"):
            monkeypatch.delenv(name)


class Venue:
    """An exchange on a file, which can be opened again as after a kill."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sent = 0
        self._open()
        self.exchange.open_account(ACCOUNT, {"USD": Decimal(10_000), "BTC": Decimal(1)})

    def _open(self) -> None:
        config = read_config(
            {"start": "2026-03-02T12:00:00Z", "symbols": "BTC-USD,ETH-USD", "mode": "step"}
        )
        self.store = Store(self._path)
        self.exchange = Exchange(config, self.store, lambda: pytest.fail("not durable"))
        self.view = VenueView(self.exchange, ACCOUNT)

    def restart(self) -> None:
        self.store.close()
        self._open()

    def fault(self, kind: str, **fields: Any) -> str:
        return self.exchange.add_fault(fault_of({"kind": kind} | fields)).fault_id

    def place(
        self,
        size: str = "0.01",
        price: Decimal | None = None,
        *,
        side: Side = Side.SELL,
        time_in_force: TimeInForce | None = None,
        client_order_id: str = "",
        amount: str | None = None,
    ) -> Order:
        self._sent += 1
        immediate = TimeInForce.IOC if price is None else TimeInForce.GTC
        request = OrderRequest(
            client_order_id or f"client-{self._sent}",
            "BTC-USD",
            side,
            OrderType.MARKET if price is None else OrderType.LIMIT,
            time_in_force or immediate,
            base_size=None if amount else Decimal(size),
            quote_size=Decimal(amount) if amount else None,
            limit_price=price,
        )
        return self.exchange.place(ACCOUNT, request, "{}")

    def wait(self, seconds: float) -> None:
        self.exchange.advance_to(self.exchange.now_ms + round(seconds * SECOND_MS))

    def order(self, order: Order) -> Order:
        shown = self.view.order(order.order_id)
        assert shown is not None
        return shown

    def orders(self, *statuses: str) -> list[str]:
        found, _ = self.view.orders(Filter(ACCOUNT.account_id, statuses=statuses))
        return [order.order_id for order in found]

    def fills(self) -> list[Fill]:
        return self.view.fills(Filter(ACCOUNT.account_id))[0]

    def sums(self) -> dict[str, Decimal]:
        totals: dict[str, Decimal] = {}
        for owner in (ACCOUNT.account_id, LIQUIDITY_ACCOUNT, FEES_ACCOUNT):
            for currency, balance in self.exchange.balances(owner).items():
                totals[currency] = totals.get(currency, Decimal(0)) + balance.total
        return totals

    @property
    def price(self) -> Decimal:
        return self.exchange.engine.books["BTC-USD"].price

    def held(self, currency: str) -> Decimal:
        return self.exchange.balances(ACCOUNT.account_id)[currency].held


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    venue = Venue(tmp_path / "simulator.sqlite3")
    yield venue
    held = venue.exchange.balances(ACCOUNT.account_id)
    assert venue.sums() == {"USD": Decimal(10_000), "BTC": Decimal(1)}
    assert all(balance.available >= 0 for balance in held.values())
    venue.store.close()


@pytest.mark.parametrize("status", ["PENDING", "QUEUED", "UNKNOWN_ORDER_STATUS"])
def test_stuck_order_waits_with_its_funds_held_and_then_trades(venue: Venue, status: str) -> None:
    venue.fault("order_stuck", status=status, seconds=30, count=1)

    order = venue.place("0.01")

    assert venue.order(order).status == status
    assert venue.held("BTC") == Decimal("0.01")
    assert venue.fills() == []
    venue.wait(29)
    assert venue.order(order).status == status
    venue.wait(1)
    assert venue.order(order).status is OrderStatus.FILLED
    assert venue.held("BTC") == 0
    [fill] = venue.fills()
    assert fill.time_ms == venue.exchange.now_ms


def test_stuck_order_can_be_cancelled(venue: Venue) -> None:
    venue.fault("order_stuck", seconds=None)
    order = venue.place("0.01")

    venue.exchange.cancel(ACCOUNT, order.order_id)

    assert venue.order(order).status is OrderStatus.CANCELLED
    assert venue.held("BTC") == 0
    venue.wait(600)
    assert venue.fills() == []


def test_stuck_order_stays_until_the_fault_is_lifted_over_a_restart(venue: Venue) -> None:
    fault_id = venue.fault("order_stuck", seconds=None, count=1)
    order = venue.place(amount="100", side=Side.BUY)
    venue.wait(3_600)

    venue.restart()

    assert venue.order(order).status is OrderStatus.PENDING
    assert venue.held("USD") == 100
    assert venue.exchange.faults.entries[0].hits == 1
    venue.exchange.lift_fault(fault_id)
    assert venue.order(order).status is OrderStatus.FILLED
    assert len(venue.fills()) == 1


def test_stuck_order_fails_when_it_can_no_longer_be_paid(venue: Venue) -> None:
    feed, now_ms = venue.exchange.feed, venue.exchange.now_ms
    dearer_s = next(
        seconds
        for seconds in range(60, 30 * 86_400, 60)
        if feed.last_tick("BTC-USD", now_ms + seconds * 1000).price > venue.price * Decimal("1.02")
    )
    venue.fault("order_stuck", seconds=dearer_s)
    size = (Decimal(9_900) / venue.price).quantize(Decimal("0.001"), ROUND_DOWN)
    order = venue.place(str(size), side=Side.BUY)
    assert venue.held("USD") > 9_800

    venue.wait(dearer_s)

    assert venue.order(order).status is OrderStatus.FAILED
    assert venue.fills() == []
    assert venue.held("USD") == 0


def test_order_that_has_traded_is_shown_as_waiting(venue: Venue) -> None:
    venue.fault("order_stuck", status="UNKNOWN_ORDER_STATUS", seconds=20, executed=True)

    order = venue.place("0.01")

    shown = venue.order(order)
    assert shown.status is OrderStatus.UNKNOWN
    assert shown.filled_size == 0
    assert venue.fills() == []
    assert venue.orders("FILLED") == []
    assert venue.orders("UNKNOWN_ORDER_STATUS") == [order.order_id]
    assert venue.exchange.balances(ACCOUNT.account_id)["BTC"].total == Decimal("0.99")
    with pytest.raises(OrderNotOpenError):
        venue.exchange.cancel(ACCOUNT, order.order_id)
    venue.wait(20)
    assert (venue.order(order).status, len(venue.fills())) == (OrderStatus.FILLED, 1)
    assert venue.orders("FILLED") == [order.order_id]


def test_partial_fill_of_a_market_order_cancels_the_rest(venue: Venue) -> None:
    venue.fault("partial_fill", share="0.25", count=1)

    order = venue.order(venue.place("0.01"))

    assert (order.status, order.filled_size) == (OrderStatus.CANCELLED, Decimal("0.0025"))
    assert venue.held("BTC") == 0
    assert venue.order(venue.place("0.01")).filled_size == Decimal("0.01")


def test_partial_fill_of_a_resting_order_leaves_the_rest_open(venue: Venue) -> None:
    venue.fault("partial_fill", share=0.5)
    price = (venue.price * Decimal("1.01")).quantize(Decimal("0.01"))

    order = venue.place("0.01", price, side=Side.BUY)

    assert venue.order(order).filled_size == Decimal("0.005")
    assert venue.orders("OPEN") == [order.order_id]


def test_fill_or_kill_is_never_filled_in_part(venue: Venue) -> None:
    venue.fault("partial_fill", share=0.5)
    price = (venue.price * Decimal("1.01")).quantize(Decimal("0.01"))

    order = venue.place("0.01", price, side=Side.BUY, time_in_force=TimeInForce.FOK)

    assert venue.order(order).filled_size == Decimal("0.01")


@pytest.mark.parametrize("is_limit", [False, True])
def test_immediate_order_rests_and_is_cancelled_in_time(venue: Venue, *, is_limit: bool) -> None:
    venue.fault("ioc_rests", seconds=30, share=0.5, count=1)
    price = (venue.price * Decimal("0.99")).quantize(Decimal("0.01")) if is_limit else None

    order = venue.place("0.01", price, time_in_force=TimeInForce.IOC)

    assert (venue.order(order).status, venue.order(order).filled_size) == (
        OrderStatus.OPEN,
        Decimal("0.005"),
    )
    assert venue.held("BTC") == Decimal("0.005")
    assert venue.orders("OPEN") == [order.order_id]
    venue.restart()
    assert venue.orders("OPEN") == [order.order_id]
    venue.wait(31)
    assert venue.order(order).status.is_done
    assert venue.held("BTC") == 0


def test_resting_immediate_order_is_cancelled_manually(venue: Venue) -> None:
    venue.fault("ioc_rests", seconds=None)
    order = venue.place("0.01")
    venue.wait(3_600)
    assert venue.order(order).status is OrderStatus.OPEN

    venue.exchange.cancel(ACCOUNT, order.order_id)

    assert venue.order(order).status is OrderStatus.CANCELLED
    assert venue.held("BTC") == 0


def test_cancellation_that_takes_effect_late_may_be_overtaken_by_the_fill(venue: Venue) -> None:
    venue.fault("order_stuck", seconds=10)
    venue.fault("cancel_late", seconds=20, count=1)
    overtaken = venue.place("0.01")
    venue.exchange.cancel(ACCOUNT, overtaken.order_id)
    venue.exchange.cancel(ACCOUNT, overtaken.order_id)  # asked again: nothing new happens

    venue.wait(15)

    assert venue.order(overtaken).status is OrderStatus.FILLED
    venue.fault("cancel_late", seconds=120)
    resting = venue.place("0.01", venue.price * 2)
    venue.wait(10)
    venue.exchange.cancel(ACCOUNT, resting.order_id)
    venue.restart()
    assert venue.order(resting).status is OrderStatus.OPEN
    venue.wait(120)
    assert venue.order(resting).status is OrderStatus.CANCELLED


def test_lifting_a_late_cancellation_completes_it(venue: Venue) -> None:
    fault_id = venue.fault("cancel_late", seconds=600)
    resting = venue.place("0.01", venue.price * 2)
    venue.exchange.cancel(ACCOUNT, resting.order_id)

    venue.exchange.lift_fault(fault_id)

    assert venue.order(resting).status is OrderStatus.CANCELLED


def test_listing_lags_an_accepted_order_and_its_client_id_is_known_all_the_same(
    venue: Venue,
) -> None:
    venue.fault("order_listed_late", seconds=10, count=1)

    order = venue.place("0.01", client_order_id="the-one")

    assert venue.orders() == []
    assert venue.view.order(order.order_id) is not None
    assert venue.place("0.01", client_order_id="the-one").order_id == order.order_id
    assert venue.orders() == []
    venue.wait(10)
    assert venue.orders() == [order.order_id]


def test_lagging_order_may_be_unknown_by_its_id_too(venue: Venue) -> None:
    venue.fault("order_listed_late", seconds=10, by_id=True)

    order = venue.place("0.01")

    assert venue.view.order(order.order_id) is None
    venue.wait(10)
    assert venue.view.order(order.order_id) is not None


def test_pages_go_on_behind_a_hidden_order(venue: Venue) -> None:
    first = venue.place("0.01")
    venue.fault("order_listed_late", seconds=10, count=1)
    venue.place("0.01")
    last = venue.place("0.01")
    seen: list[str] = []
    before: int | None = None
    for _ in range(3):
        page, before = venue.view.orders(Filter(ACCOUNT.account_id, limit=1, before=before))
        seen += [order.order_id for order in page]

    assert (seen, before) == ([last.order_id, first.order_id], None)


def test_fills_are_listed_late(venue: Venue) -> None:
    venue.fault("fills_late", seconds=10)

    order = venue.place("0.01")

    assert (venue.order(order).status, venue.fills()) == (OrderStatus.FILLED, [])
    venue.wait(10)
    assert len(venue.fills()) == 1


def test_fills_are_listed_in_pieces(venue: Venue) -> None:
    venue.fault("fills_in_pieces", pieces=3, seconds=10)

    order = venue.place("0.01")

    numbers = []
    for _ in range(4):
        numbers.append(len(venue.fills()))
        venue.wait(10)
    assert numbers == [1, 2, 3, 3]
    fills = venue.fills()
    assert len({fill.trade_id for fill in fills}) == 3
    assert sum(fill.size for fill in fills) == order.filled_size == Decimal("0.01")


def test_fills_are_listed_twice_with_one_id(venue: Venue) -> None:
    venue.fault("fills_twice", count=1)

    venue.place("0.01")
    venue.place("0.02")

    sizes = [str(fill.size) for fill in venue.fills()]
    assert sizes == ["0.02", "0.01", "0.01"]
    assert len({fill.trade_id for fill in venue.fills()}) == 2


def test_fills_are_listed_out_of_order_and_always_in_the_same(venue: Venue) -> None:
    venue.fault("fills_shuffled")
    for _ in range(8):
        venue.place("0.01")

    sequences = [fill.sequence for fill in venue.fills()]

    assert sequences != sorted(sequences, reverse=True)
    assert sorted(sequences) == sorted(set(sequences))
    assert [fill.sequence for fill in venue.fills()] == sequences


@pytest.mark.parametrize("first", ["0", "-0.5"])
def test_commission_is_settled_later_in_the_same_fill(venue: Venue, first: str) -> None:
    venue.fault("commission_late", seconds=10, first=first)
    order = venue.place("0.01")

    [early] = venue.fills()
    venue.wait(10)
    [settled] = venue.fills()

    assert early.fee == Decimal(first)
    assert settled.fee == order.fees > 0
    assert settled == replace(early, fee=settled.fee)


@pytest.mark.parametrize(
    ("mode", "market", "limit"),
    [
        ("limit_only", Refusal.LIMIT_ONLY, None),
        ("auction_mode", Refusal.LIMIT_ONLY, None),
        ("post_only", Refusal.POST_ONLY, Refusal.POST_ONLY),
        ("cancel_only", Refusal.TRADING_DISABLED, Refusal.TRADING_DISABLED),
        ("trading_disabled", Refusal.TRADING_DISABLED, Refusal.TRADING_DISABLED),
    ],
)
def test_modes_of_a_product(
    venue: Venue, mode: str, market: Refusal, limit: Refusal | None
) -> None:
    resting = venue.place("0.01", venue.price * 2)
    venue.fault("product_mode", mode=mode, product="BTC-USD")

    refusals: list[Refusal | None] = []
    for price in (None, venue.price * 3):
        try:
            venue.place("0.01", price)
            refusals.append(None)
        except OrderRefusedError as refused:
            refusals.append(refused.refusal)

    assert refusals == [market, limit]
    states = venue.view.product_ids(CallName.PRODUCTS)
    assert (states["BTC-USD"].modes, states["ETH-USD"].modes) == ([mode], [])
    venue.exchange.cancel(ACCOUNT, resting.order_id)


def test_nothing_trades_at_once_in_an_auction(venue: Venue) -> None:
    venue.fault("product_mode", mode="auction_mode", product="BTC-USD")
    price = (venue.price * Decimal("0.99")).quantize(Decimal("0.01"))

    immediate = venue.place("0.01", price, time_in_force=TimeInForce.IOC)
    resting = venue.place("0.01", price)
    with pytest.raises(OrderRefusedError, match="limit_only"):
        venue.place("0.01", price, time_in_force=TimeInForce.FOK)

    assert venue.fills() == []
    assert venue.order(immediate).status is OrderStatus.CANCELLED
    assert venue.order(resting).status is OrderStatus.OPEN
    venue.wait(600)
    assert venue.order(resting).status is OrderStatus.FILLED


def test_a_delisted_product_takes_no_order(venue: Venue) -> None:
    fault_id = venue.fault("product_delisted", form="absent", product="BTC-USD")
    with pytest.raises(OrderRefusedError, match="unknown_product"):
        venue.place("0.01")
    assert list(venue.view.product_ids(CallName.PRODUCTS)) == ["ETH-USD"]
    venue.exchange.lift_fault(fault_id)

    venue.fault("product_delisted", form="flagged", product="BTC-USD")

    with pytest.raises(OrderRefusedError, match="trading_disabled"):
        venue.place("0.01")
    assert list(venue.view.product_ids(CallName.PRODUCTS)) == ["BTC-USD", "ETH-USD"]


def test_changed_rules_are_shown_and_in_force(venue: Venue) -> None:
    venue.fault("product_rules", product="BTC-USD", base_increment="0.001", base_max_size="0.05")

    with pytest.raises(OrderRefusedError, match="size_precision"):
        venue.place("0.0015")
    with pytest.raises(OrderRefusedError, match="base_size_too_large"):
        venue.place("0.051")
    assert venue.view.rules("BTC-USD").base_max_size == Decimal("0.05")
    venue.place("0.05")


def test_clock_is_shown_ahead_behind_and_jumping(venue: Venue) -> None:
    true_ms = venue.exchange.now_ms
    ahead = venue.fault("clock", offset_seconds=90)
    assert venue.view.now_ms() == true_ms + 90_000
    assert venue.place("0.01").created_ms == true_ms + 90_000
    venue.exchange.lift_fault(ahead)
    venue.fault("clock", offset_seconds=-90, stamps=False, count=2)
    assert venue.view.now_ms() == true_ms - 90_000
    assert venue.place("0.01").created_ms == true_ms
    venue.fault("clock", jump_seconds=30)

    shown = [venue.view.now_ms() - true_ms for _ in range(50)]

    assert min(shown) < -10_000
    assert max(shown) > 10_000
    assert max(map(abs, shown)) <= 30_000


def candles(venue: Venue) -> list[Any]:
    end_ms = venue.exchange.now_ms
    return list(venue.view.candles("BTC-USD", 1, end_ms - 100 * 60_000, end_ms - 60_000))


def test_candles_late_missing_and_revised(venue: Venue) -> None:
    venue.wait(200 * 60)
    true = candles(venue)
    fault_id = venue.fault("candle_late", seconds=90)
    assert candles(venue) == true[:-2]
    venue.exchange.lift_fault(fault_id)
    fault_id = venue.fault("candle_missing", probability=0.3)
    listed = candles(venue)
    assert len(true) * 0.5 < len(listed) < len(true) * 0.9
    assert candles(venue) == listed, "a missing candle is missing at each question"
    venue.exchange.lift_fault(fault_id)
    venue.fault("candle_revised", seconds=150, percent="2")

    listed = candles(venue)

    assert listed[:-3] == true[:-3]
    for shown, final in zip(listed[-3:], true[-3:], strict=True):
        assert shown.close != final.close
        assert shown.low <= min(shown.open, shown.close)
        assert shown.high >= max(shown.open, shown.close)


@pytest.mark.parametrize(
    "form", ["low_zero", "high_below_low", "empty_cell", "not_a_number", "null_cell"]
)
def test_malformed_candles(venue: Venue, form: str) -> None:
    true = candles(venue)
    venue.fault("candle_malformed", form=form, probability=0.2)

    listed = candles(venue)

    bad = [candle for candle in listed if candle.malformed]
    assert 0 < len(bad) < len(listed) == len(true)
    assert [replace(candle, malformed={}) for candle in listed] == true


def test_hits_and_faults_survive_a_kill(venue: Venue) -> None:
    venue.fault("partial_fill", share=0.5, count=2, probability=0.5)
    for _ in range(3):
        venue.place("0.01")
    lifted = venue.fault("slow")
    venue.exchange.lift_fault(lifted)
    before = venue.exchange.faults.entries

    venue.restart()

    assert venue.exchange.faults.entries == before
    assert before[0].asked >= 2
    assert venue.fault("slow") == "fault-3"
