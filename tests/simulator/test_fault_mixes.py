"""Random mixes of all faults over random trading: accounts stay consistent, views catch up."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from simulator.config import SimulatorConfig
from simulator.engine.accounts import FEES_ACCOUNT, LIQUIDITY_ACCOUNT
from simulator.engine.values import (
    OrderRefusedError,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
)
from simulator.exchange import Exchange, OrderNotOpenError
from simulator.faults import draw_faults
from simulator.manual_actions import ManualActions, NotEnoughFundsError
from simulator.store import Account, Filter, Store
from simulator.views import VenueView

PRODUCTS = ("BTC-USD", "ETH-USD", "PEPE-USD")
ACCOUNTS = [
    Account(f"{name}-id", name, name, "hmac", "secret", tier, ("view", "trade"), 0)
    for name, tier in (("alice", "retail"), ("bob", "maker"))
]
DEPOSITS = {
    "USD": Decimal(200_000),
    "BTC": Decimal(2),
    "ETH": Decimal(20),
    "PEPE": Decimal(10) ** 9,
}
HOUR_MS = 3_600_000
STEPS = 250


class World:
    """One exchange under a mix of faults, with what was moved by hand."""

    def __init__(self, seed: int, path: Path) -> None:
        self.random = Random(f"world {seed}")
        self._path = path
        self.trace: list[Any] = []
        self.moved: dict[str, Decimal] = dict.fromkeys(DEPOSITS, Decimal(0))
        self._open()
        for account in ACCOUNTS:
            self.exchange.open_account(account, DEPOSITS)
        start_ms = self.exchange.now_ms
        self.end_ms = start_ms + HOUR_MS // 4
        self.exchange.faults.reseed(seed)
        for fault in draw_faults(
            seed,
            1,
            from_ms=start_ms,
            until_ms=self.end_ms,
            products=PRODUCTS,
            accounts=[account.account_id for account in ACCOUNTS],
        ):
            self.exchange.add_fault(fault)

    def _open(self) -> None:
        config = SimulatorConfig(
            seed=5,
            symbols=PRODUCTS,
            mode="step",
            start="2026-03-02T12:00:00Z",
            depth_usd=Decimal(3_000),
            market_data_dir=None,
        )
        self.store = Store(self._path)
        self.exchange = Exchange(config, self.store, lambda: pytest.fail("not durable"))

    def restart(self) -> None:
        self.store.close()
        self._open()

    def step(self, number: int) -> None:
        account = self.random.choice(ACCOUNTS)
        action = self.random.choices(
            (self.place, self.cancel, self.wait, self.move, self.observe, self.kill),
            (10, 4, 4, 1, 3, 0.3),
        )[0]
        action(account, number)

    def place(self, account: Account, number: int) -> None:
        product = self.random.choice(PRODUCTS)
        book = self.exchange.engine.books[product]
        is_market = self.random.random() < 0.5
        side = self.random.choice(tuple(Side))
        usd = Decimal(self.random.choice((5, 200, 9_000)))
        price = book.rules.price_down(book.price * Decimal(self.random.choice(("0.99", "1.01"))))
        by_amount = is_market and side is Side.BUY and self.random.random() < 0.5
        request = OrderRequest(
            f"client-{number // 2}",  # some ids are used twice
            product,
            side,
            OrderType.MARKET if is_market else OrderType.LIMIT,
            TimeInForce.IOC if is_market else self.random.choice(tuple(TimeInForce)),
            base_size=None if by_amount else book.rules.size_down(usd / book.price),
            quote_size=usd if by_amount else None,
            limit_price=None if is_market else price,
        )
        try:
            order = self.exchange.place(account, request, "{}")
            self.trace.append((order.order_id, str(order.status), str(order.filled_size)))
        except OrderRefusedError as refused:
            self.trace.append(refused.refusal)

    def cancel(self, account: Account, _: int) -> None:
        orders = self.store.orders(Filter(account.account_id, limit=5))
        if orders:
            try:
                self.exchange.cancel(account, self.random.choice(orders).order_id)
            except OrderNotOpenError as error:
                self.trace.append(error.status)

    def wait(self, _: Account, __: int) -> None:
        pause_ms = self.random.choice((500, 7_000, 60_000))
        self.exchange.advance_to(self.exchange.now_ms + pause_ms)

    def move(self, account: Account, _: int) -> None:
        currency = self.random.choice(tuple(DEPOSITS))
        amount = DEPOSITS[currency] / 50
        actions = ManualActions(self.exchange, account)
        if self.random.random() < 0.5:
            actions.deposit(currency, amount)
            self.moved[currency] += amount
            return
        try:
            actions.withdraw(currency, amount)
            self.moved[currency] -= amount
        except NotEnoughFundsError:
            self.trace.append("not enough")

    def observe(self, account: Account, _: int) -> None:
        view = VenueView(self.exchange, account)
        orders, _cursor = view.orders(Filter(account.account_id))
        fills, _cursor = view.fills(Filter(account.account_id))
        now_ms = self.exchange.now_ms
        candles = [view.candles(name, 5, now_ms - HOUR_MS, now_ms) for name in PRODUCTS]
        self.trace.append((orders, fills, candles, view.now_ms()))

    def kill(self, _: Account, __: int) -> None:
        self.restart()

    def check_money(self) -> None:
        totals = dict.fromkeys(DEPOSITS, Decimal(0))
        for owner in (*(one.account_id for one in ACCOUNTS), LIQUIDITY_ACCOUNT, FEES_ACCOUNT):
            for currency, balance in self.exchange.balances(owner).items():
                totals[currency] += balance.total
        expected = {name: 2 * amount + self.moved[name] for name, amount in DEPOSITS.items()}
        assert totals == expected

    def check_holds(self) -> None:
        for account in ACCOUNTS:
            holds = dict.fromkeys(DEPOSITS, Decimal(0))
            for order in self.store.orders(Filter(account.account_id, limit=-1)):
                base, quote = order.request.product_id.split("-")
                holds[quote if order.request.side is Side.BUY else base] += order.hold
                assert not order.status.is_done or order.hold == 0
            balances = self.exchange.balances(account.account_id)
            assert holds == {name: balances[name].held for name in DEPOSITS}

    def check_fills(self) -> None:
        for account in ACCOUNTS:
            fills = self.store.fills(Filter(account.account_id, limit=-1))
            for order in self.store.orders(Filter(account.account_id, limit=-1)):
                own = [fill for fill in fills if fill.order_id == order.order_id]
                assert sum(fill.size for fill in own) == order.filled_size
                assert sum(fill.size * fill.price for fill in own) == order.filled_value
                assert sum(fill.fee for fill in own) == order.fees
                assert len(own) == order.fill_count
                size = order.request.base_size
                assert size is None or order.filled_size <= size


@pytest.fixture(params=range(4))
def worlds(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[World]]:
    made = [World(request.param, tmp_path / f"{name}.sqlite3") for name in "ab"]
    yield made
    for world in made:
        world.store.close()


def test_money_orders_and_fills_stay_sound_and_views_catch_up(
    worlds: list[World],
) -> None:
    world = worlds[0]
    for number in range(STEPS):
        world.step(number)
        world.check_money()
    world.check_holds()
    world.check_fills()
    assert sum(entry.hits for entry in world.exchange.faults.entries) > STEPS / 10

    world.exchange.lift_all_faults()

    for account in ACCOUNTS:
        view = VenueView(world.exchange, account)
        everything = Filter(account.account_id, limit=10_000)
        assert view.orders(everything)[0] == world.store.orders(everything)
        assert view.fills(everything)[0] == world.store.fills(everything)
        assert all(
            order.request.time_in_force is TimeInForce.GTC
            for order in world.store.orders(everything)
            if not order.status.is_done
        )
    world.check_money()
    world.check_holds()
    world.check_fills()


def test_the_same_seed_makes_the_same_venue(worlds: list[World]) -> None:
    for world in worlds:
        world.store.remember({"epoch": "00000000-0000-0000-0000-000000000001"})
        world.restart()
        for number in range(STEPS // 2):
            world.step(number)
    one, other = (
        [re.sub("received_at='[^']*'", "", repr(item)) for item in world.trace] for world in worlds
    )
    assert one == other
    rows = [[entry.row() for entry in world.exchange.faults.entries] for world in worlds]
    assert rows[0] == rows[1]
