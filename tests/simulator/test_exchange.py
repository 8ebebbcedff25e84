"""The venue in one process: durability and the clock, with the file reopened as after a kill."""

import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from simulator.config import read_config
from simulator.engine.values import (
    Order,
    OrderRefusedError,
    OrderRequest,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)
from simulator.exchange import Exchange, NotInStepModeError, OrderNotOpenError
from simulator.market.candles import MINUTE_MS
from simulator.store import Account, DatabaseInUseError, Filter, Store

ACCOUNT = Account("alice-id", "alice", "key", "hmac", "secret", "vip", ("view", "trade"), 0)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("NIJA_"):
            monkeypatch.delenv(name)


class Venue:
    """An exchange on a file, that can be dropped without closing as a kill would."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.faults: list[str] = []
        self.exchange = self._open(mode="step")
        self.exchange.open_account(ACCOUNT, {"USD": Decimal(10_000)})

    def _open(self, **settings: object) -> Exchange:
        config = read_config({"start": "2026-03-02T12:00:00Z", "symbols": "BTC-USD"} | settings)
        self._store = Store(self._path)
        return Exchange(config, self._store, lambda: self.faults.append("stopped"))

    def restart(self, **settings: object) -> Exchange:
        self._store.close()
        self.exchange = self._open(**settings)
        return self.exchange

    def close(self) -> None:
        self._store.close()

    def place(
        self,
        client_order_id: str,
        price: Decimal | None = None,
        size: str = "0.01",
        side: Side = Side.BUY,
    ) -> Order:
        request = OrderRequest(
            client_order_id,
            "BTC-USD",
            side,
            OrderType.MARKET if price is None else OrderType.LIMIT,
            TimeInForce.IOC if price is None else TimeInForce.GTC,
            base_size=Decimal(size),
            limit_price=price,
        )
        return self.exchange.place(ACCOUNT, request, "{}")

    @property
    def price(self) -> Decimal:
        return self.exchange.engine.books["BTC-USD"].price

    def below(self, share: str) -> Decimal:
        return (self.price * Decimal(share)).quantize(Decimal("0.01"))

    def state(self) -> object:
        store = self.exchange.store
        return (
            self.exchange.epoch,
            store.orders(Filter("alice-id")),
            store.fills(Filter("alice-id")),
            self.exchange.balances("alice-id"),
            sorted(self.exchange.engine.open_orders),
        )


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    made = Venue(tmp_path / "simulator.sqlite3")
    yield made
    made.close()


def test_same_client_order_id_is_the_same_order(venue: Venue) -> None:
    first = venue.place("once")
    again = venue.place("once", size="5")

    assert again.order_id == first.order_id
    assert len(venue.exchange.store.orders(Filter("alice-id"))) == 1
    assert venue.exchange.balances("alice-id")["BTC"].total == Decimal("0.01")


def test_same_client_order_id_after_a_kill_is_the_same_order(venue: Venue) -> None:
    first = venue.place("once")
    venue.restart()

    assert venue.place("once").order_id == first.order_id


def test_refused_order_leaves_its_client_order_id_free(venue: Venue) -> None:
    with pytest.raises(OrderRefusedError):
        venue.place("again", size="100")

    assert venue.place("again").status is OrderStatus.FILLED


def test_everything_survives_a_kill(venue: Venue) -> None:
    venue.place("bought")
    venue.place("resting", venue.below("0.9"))
    cancelled = venue.place("cancelled", venue.below("0.8"))
    venue.exchange.cancel(ACCOUNT, cancelled.order_id)
    venue.exchange.advance_minute()
    before, now_ms = venue.state(), venue.exchange.now_ms

    venue.restart()

    assert venue.state() == before
    assert venue.exchange.now_ms == now_ms
    assert len(venue.exchange.engine.open_orders) == 1


def test_consumed_liquidity_survives_a_kill(venue: Venue) -> None:
    venue.place("bought", size="0.05")
    depth = venue.exchange.engine.books["BTC-USD"].depth(Side.SELL, 3)

    venue.restart()

    assert venue.exchange.engine.books["BTC-USD"].depth(Side.SELL, 3) == depth


def test_new_orders_never_reuse_identities_after_a_kill(venue: Venue) -> None:
    first = venue.place("one")
    venue.restart()
    second = venue.place("two")

    assert second.order_id != first.order_id
    assert second.sequence > first.sequence
    trades = {fill.trade_id for fill in venue.exchange.store.fills(Filter("alice-id"))}
    assert len(trades) == 2


def test_running_clock_goes_on_from_its_lease_after_a_kill(venue: Venue) -> None:
    venue.exchange.set_clock("speed", 60.0)
    for _ in range(10):
        venue.exchange.run_for(0.5)
    now_ms = venue.exchange.now_ms
    assert now_ms % MINUTE_MS == 0
    venue.exchange.run_for(0.01)

    venue.restart()

    jump_ms = venue.exchange.now_ms - now_ms - 600
    assert 0 <= jump_ms <= 2 * 60 * 1000
    assert venue.exchange.clock.mode == "speed"


def test_orders_meet_the_ticks_that_the_lease_jumps_over(venue: Venue) -> None:
    venue.exchange.set_clock("speed", 100_000.0)
    order = venue.place("resting", venue.below("0.999"), size="0.001")

    venue.restart()

    stored = venue.exchange.store.find_order("alice-id", order.order_id)
    assert stored is not None
    low = min(
        candle.low
        for candle in venue.exchange.feed.candles(
            "BTC-USD", 1, order.created_ms, venue.exchange.now_ms, venue.exchange.now_ms
        )
    )
    assert order.request.limit_price is not None
    is_reached = low <= int(order.request.limit_price.scaleb(8))
    assert (stored.status is OrderStatus.FILLED) == is_reached
    assert is_reached  # the seed of this test makes the market fall that far


def test_clean_stop_gives_the_lease_back(venue: Venue) -> None:
    venue.exchange.set_clock("speed", 60.0)
    venue.exchange.run_for(0.5)
    now_ms = venue.exchange.now_ms
    venue.exchange.close()

    venue.restart()

    assert venue.exchange.now_ms == now_ms


def test_stopping_the_clock_completes_its_minute(venue: Venue) -> None:
    venue.exchange.set_clock("speed", 60.0)
    venue.exchange.run_for(0.25)
    venue.exchange.set_clock("step", None)

    assert venue.exchange.now_ms % MINUTE_MS == 0
    now_ms = venue.exchange.now_ms
    venue.exchange.run_for(1.0)
    assert venue.exchange.now_ms == now_ms


def test_running_clock_cannot_be_advanced(venue: Venue) -> None:
    venue.exchange.set_clock("speed", 1.0)

    with pytest.raises(NotInStepModeError):
        venue.exchange.advance_minute()


def test_suspended_process_does_not_catch_up(venue: Venue) -> None:
    venue.exchange.set_clock("speed", 1.0)
    now_ms = venue.exchange.now_ms

    venue.exchange.run_for(3600.0)

    assert venue.exchange.now_ms == now_ms + 1000


def test_another_market_is_another_epoch_and_voids_resting_orders(venue: Venue) -> None:
    epoch = venue.exchange.epoch
    venue.place("resting", venue.below("0.9"))

    venue.restart(seed=99)

    assert venue.exchange.epoch != epoch
    [order] = venue.exchange.store.orders(Filter("alice-id"))
    assert order.status is OrderStatus.CANCELLED
    assert order.cancel_reason == "The market started anew"
    assert venue.exchange.balances("alice-id")["USD"].available == 10_000


@pytest.mark.usefixtures("venue")
def test_file_in_use_cannot_be_opened_twice(tmp_path: Path) -> None:
    with pytest.raises(DatabaseInUseError):
        Store(tmp_path / "simulator.sqlite3", wait_seconds=0)


def test_cancelling_what_is_not_open(venue: Venue) -> None:
    done = venue.place("done")

    with pytest.raises(OrderNotOpenError) as filled:
        venue.exchange.cancel(ACCOUNT, done.order_id)
    with pytest.raises(OrderNotOpenError) as unknown:
        venue.exchange.cancel(ACCOUNT, "nothing")

    assert (filled.value.status, unknown.value.status) == ("FILLED", None)


def test_change_that_cannot_be_made_durable_stops_the_process(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(venue.exchange.store, "write", full_disk)

    with pytest.raises(OSError, match="disk full"):
        venue.place("lost")

    assert venue.faults == ["stopped"]
    monkeypatch.undo()
    assert venue.restart().store.orders(Filter("alice-id")) == []
