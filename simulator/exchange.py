"""The venue: engine, market, clock and store put together; every change is durable on return.

Everything here runs in one thread without awaiting in between, so a request sees the venue at one
instant, and what a method returns has been committed. A fault between the two (a full disk, a
broken invariant) stops the process at once: memory is then ahead of the file, and a restart goes
on from the last commit.
"""

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, localcontext

from simulator.config import Mode, SimulatorConfig
from simulator.engine.accounts import Balance
from simulator.engine.book import Book, LadderSettings
from simulator.engine.engine import MatchingEngine
from simulator.engine.fees import FeeTier, fee_tier
from simulator.engine.values import Order, OrderRefusedError, OrderRequest
from simulator.exact import EXACT
from simulator.faults.conditions import Conditions
from simulator.faults.fault import Fault
from simulator.faults.kinds import CallName, Kind
from simulator.faults.plan import Entry, FaultPlan, Hit, UnknownFaultError
from simulator.faults.registry import OrderFaultRegistry, handling_of, has_rested, has_waited
from simulator.faults.state import ProductState
from simulator.market.candles import MINUTE_MS
from simulator.market.clock import VenueClock
from simulator.market.feed import MarketFeed
from simulator.market.market import Market, build_market
from simulator.store import Account, Store

logger = logging.getLogger(__name__)

_FAULT_EXIT_CODE = 70
_USER_CANCELLED = "User requested cancel"


class NotInStepModeError(Exception):
    """The clock runs by itself and cannot be advanced."""


class OrderNotOpenError(Exception):
    """The order is unknown to this account (no status) or no longer open (its status)."""

    def __init__(self, status: str | None) -> None:
        super().__init__(status or "unknown order")
        self.status = status


def _stop_at_once() -> None:
    logging.shutdown()
    os._exit(_FAULT_EXIT_CODE)


class Exchange:
    """One running market with its clients."""

    def __init__(
        self,
        config: SimulatorConfig,
        store: Store,
        on_fault: Callable[[], None] = _stop_at_once,
    ) -> None:
        remembered = store.venue()
        self.market: Market = build_market(config, remembered)
        self.store = store
        self.accounts: dict[str, Account] = {}
        self._by_api_key: dict[str, Account] = {}
        self._tiers: dict[str, FeeTier] = {}
        self._on_fault = on_fault
        self._is_changing = False
        self.default_tier = fee_tier(config.fee_tier).name
        is_new = remembered.get("identity") != self.market.identity or (
            remembered.get("start_ms") != str(self.market.start_ms)
        )
        self.epoch = str(uuid.uuid4()) if is_new else remembered["epoch"]
        self.clock = _clock(config, self.market, {} if is_new else remembered)
        self.engine = self._build_engine(config)
        self.faults = FaultPlan(seed=self.market.seed)
        self.conditions = Conditions(self.faults, lambda: self.now_ms)
        self.order_faults = OrderFaultRegistry()
        self._restore_faults()
        self._restore_clients()
        if is_new:
            self._start_anew()
        else:
            self._resume()

    @property
    def feed(self) -> MarketFeed:
        """The market's prices; ask with `now_ms`."""
        return self.market.feed

    @property
    def now_ms(self) -> int:
        """Venue time in UTC milliseconds."""
        return self.clock.now_ms

    def book(self, product_id: str) -> Book | None:
        """Return a product's order book."""
        return self.engine.books.get(product_id)

    def account_by_key(self, api_key: str) -> Account | None:
        """Return the client an API key belongs to."""
        return self._by_api_key.get(api_key)

    def find_accounts(self, account_id: str | None, api_key: str | None) -> list[Account]:
        """Return the clients with this id or key, all when neither is given."""
        return [
            account
            for account in self.accounts.values()
            if account_id in (None, account.account_id) and api_key in (None, account.api_key)
        ]

    def tier_of(self, account: Account) -> FeeTier:
        """Return a client's fee tier."""
        return self._tiers[account.account_id]

    def balances(self, account_id: str) -> Mapping[str, Balance]:
        """Return the balances of an account by currency."""
        return self.engine.ledger.balances(account_id)

    def open_account(self, account: Account, balances: Mapping[str, Decimal]) -> None:
        """Take on a client with its deposits."""
        with self.durable():
            self._admit(account)
            for currency, amount in balances.items():
                self.engine.ledger.add(account.account_id, currency, amount)
            self.store.add_account(account)

    def add_fault(self, fault: Fault) -> Entry:
        """Put a fault in force."""
        with self.durable(always=True):
            return self.faults.add(fault)

    def lift_fault(self, fault_id: str) -> Entry:
        """Lift a fault, with all that it still does to orders.

        Raises:
            UnknownFaultError: There is none with that id.
        """
        if self.faults.entry(fault_id) is None:
            raise UnknownFaultError(fault_id)
        with self.durable(always=True):
            entry = self.faults.remove(fault_id)
            self._lift([entry])
        return entry

    def lift_all_faults(self) -> Sequence[Entry]:
        """Lift every fault, with all that it still does to orders."""
        with self.durable(always=True):
            entries = self.faults.clear()
            self._lift(entries)
        return entries

    def save_faults(self) -> None:
        """Make durable how often faults have acted, if that has changed."""
        if self.faults.changed:
            with self.durable():
                pass

    def place(
        self,
        account: Account,
        request: OrderRequest,
        configuration: str,
        *,
        is_manual: bool = False,
    ) -> Order:
        """Place an order; the same client order id again returns the first order untouched.

        The faults in force are met here: the order may be refused by what its product takes at
        present, wait unmatched, trade in part only or stay open; see `docs/simulator.md`. Of an
        manual order, only what its product takes is judged.

        Raises:
            OrderRefusedError: Nothing has changed, and the client order id is still free.
        """
        known = self.store.find_client_order(account.account_id, request.client_order_id)
        if known is not None:
            return known
        account_id = account.account_id
        state = self.conditions.product(request.product_id, CallName.PLACE, account_id)
        state.check(request)
        hits = () if is_manual else self.conditions.order(request, account_id)
        sequence = self.engine.next_sequence()
        order = Order(
            order_id=self._new_id("order", sequence),
            account_id=account_id,
            request=request,
            sequence=sequence,
            created_ms=self.now_ms if is_manual else self.conditions.stamp_ms(account_id),
            received_at=datetime.now(UTC).isoformat(),
            configuration=configuration,
        )
        with self.durable():
            self._accept(order, hits, state)
        return order

    def cancel(self, account: Account, order_id: str, *, is_manual: bool = False) -> None:
        """Cancel an order that is not done; a fault may let it live on for a while.

        Raises:
            OrderNotOpenError: There is nothing to cancel.
        """
        order = self.engine.find_open(order_id)
        if order is None or order.account_id != account.account_id:
            done = self.store.find_order(account.account_id, order_id)
            raise OrderNotOpenError(done.status if done else None)
        product_id = order.request.product_id
        with self.durable():
            if self.order_faults.of(order_id).find(Kind.CANCEL_LATE):
                return  # It is being cancelled already.
            late = None if is_manual else self.conditions.cancel(product_id, account.account_id)
            if late is not None:
                self.order_faults.note(order_id, [late], self.now_ms)
            else:
                self.engine.cancel(order, _USER_CANCELLED)

    def advance_minute(self) -> None:
        """Play one minute of a clock that stands still.

        Raises:
            NotInStepModeError: The clock runs by itself.
        """
        if self.clock.mode != "step":
            raise NotInStepModeError("the clock runs by itself; switch to step mode first")
        with self.durable():
            self._play(self.now_ms + MINUTE_MS)

    def advance_to(self, until_ms: int) -> None:
        """Play a clock that stands still up to an instant, which need not end a minute.

        A restart goes on from the end of that minute.

        Raises:
            NotInStepModeError: The clock runs by itself.
        """
        if self.clock.mode != "step":
            raise NotInStepModeError("the clock runs by itself; switch to step mode first")
        if until_ms > self.now_ms:
            with self.durable():
                self._play(until_ms)

    def run_for(self, elapsed_seconds: float) -> None:
        """Let a running clock move on by this much wall time."""
        target = self.clock.target_after(elapsed_seconds)
        if target > self.now_ms:
            with self.durable(always=target > self.clock.lease_ms):
                self._play(target)

    def set_clock(self, mode: Mode | None, speed: float | None) -> None:
        """Switch mode or speed; a clock that is stopped first runs to the end of its minute."""
        with self.durable(always=True):
            self.clock.mode = mode or self.clock.mode
            self.clock.speed = speed or self.clock.speed
            if self.clock.mode == "step":
                self._play(self.clock.minute_end())
            self.clock.lease_ms = self.now_ms
            self._remember_pace()

    @contextmanager
    def durable(self, *, always: bool = False) -> Iterator[None]:
        """Commit what happens inside together with the clock; stop the process if that fails.

        Blocks may be nested: all of it is committed with the outermost one.
        """
        if self._is_changing:
            yield
            return
        self._is_changing = True
        try:
            with localcontext(EXACT), self.store.transaction():
                yield
                changes = self.engine.take_changes()
                self.store.write(changes)
                if changes or always or self.clock.mode == "step":
                    self._remember_clock()
                self._write_faults()
        except (OrderRefusedError, OrderNotOpenError):
            raise  # Nothing has changed.
        except Exception:
            logger.critical("a change could not be made durable; stopping", exc_info=True)
            self._on_fault()
            raise
        finally:
            self._is_changing = False

    def close(self) -> None:
        """Give up the unused rest of the clock's lease and close the file."""
        self.save_faults()
        with self.store.transaction():
            self.store.remember({"now_ms": self.now_ms, "lease_ms": self.now_ms})
        self.store.close()

    def _build_engine(self, config: SimulatorConfig) -> MatchingEngine:
        ladder = LadderSettings(
            spread_bps=config.spread_bps,
            spacing_bps=config.level_spacing_bps,
            levels=config.levels,
            depth_quote=config.depth_usd,
        )
        return MatchingEngine(
            books=[Book(rules, ladder) for rules in self.market.rules.values()],
            tiers=self._tiers,
            new_trade_id=lambda sequence: self._new_id("trade", sequence),
            sequence=self.store.last_sequence(),
        )

    def _restore_clients(self) -> None:
        for account in self.store.accounts():
            self._admit(account)
        for account_id, currency, balance in self.store.balances():
            self.engine.ledger.restore(account_id, currency, balance)

    def _restore_faults(self) -> None:
        remembered = self.store.venue()
        self.faults.restore(
            self.store.faults(),
            seed=remembered.get("fault_seed", self.faults.seed),
            next_number=int(remembered.get("next_fault", 1)),
        )
        self.order_faults.restore(self.store.order_faults(), self.faults)

    def _accept(self, order: Order, hits: Sequence[Hit], state: ProductState) -> None:
        book = self.engine.books.get(order.request.product_id)
        rules = None if book is None else state.rules(book.rules)
        self.order_faults.note(order.order_id, hits, self.now_ms)
        faults = self.order_faults.of(order.order_id)
        try:
            if status := faults.parked_as(self.now_ms):
                self.engine.park(order, status, rules)
            else:
                handling = handling_of(faults, self.now_ms)
                if state.is_in_auction:
                    handling = replace(handling, share=Decimal(0))
                self.engine.submit(order, self.now_ms, handling, rules)
        except OrderRefusedError:
            self.order_faults.forget(order.order_id)
            raise

    def _lift(self, entries: Sequence[Entry]) -> None:
        for order_id in self.order_faults.lift([entry.fault_id for entry in entries]):
            if order := self.engine.find_open(order_id):
                self.engine.cancel(order, _USER_CANCELLED)
        self._run_due()

    def _run_due(self) -> None:
        """Let happen what faults have put off until now."""
        for order_id in self.order_faults.open:
            order = self.engine.find_open(order_id)
            if order is None:
                self.order_faults.close(order_id)
                continue
            faults = self.order_faults.of(order_id)
            is_cancelled = faults.find(Kind.CANCEL_LATE) is not None
            if is_cancelled and faults.lasting(Kind.CANCEL_LATE, self.now_ms) is None:
                self.engine.cancel(order, _USER_CANCELLED)
            elif has_waited(order, faults, self.now_ms):
                self.engine.release(order, self.now_ms, handling_of(faults, self.now_ms))
            elif has_rested(order, faults, self.now_ms):
                self.engine.cancel(order, "Not fully fillable at once")

    def _admit(self, account: Account) -> None:
        self.accounts[account.account_id] = account
        self._by_api_key[account.api_key] = account
        self._tiers[account.account_id] = fee_tier(account.fee_tier)

    def _start_anew(self) -> None:
        """Begin a new epoch: clients keep their balances, orders of the old market are void."""
        with self.durable(always=True):
            for order in self.store.open_orders():
                self.engine.void(order, "The market started anew")
            self._quote_all()
            self.store.remember(
                {
                    "epoch": self.epoch,
                    "identity": self.market.identity,
                    "source": self.market.source,
                    "seed": self.market.seed,
                    "start_ms": self.market.start_ms,
                }
            )
            self._remember_pace()

    def _resume(self) -> None:
        """Go on from the last commit: play the ticks up to the lease, then from there."""
        for order in self.store.open_orders():
            self.engine.restore(order)
        self._quote_all()
        for product_id, book in self.engine.books.items():
            for fill in self.store.ladder_fills(product_id, book.quote_ms):
                book.consume(fill.side.opposite, fill.price, fill.size)
        with self.durable(always=True):
            self._play(self.clock.lease_ms)
            if self.clock.mode == "step":
                self._play(self.clock.minute_end())
            self._remember_pace()

    def _quote_all(self) -> None:
        for product_id, book in self.engine.books.items():
            tick = self.feed.last_tick(product_id, self.now_ms)
            book.quote(tick.price, tick.time_ms, self.engine.next_sequence())

    def _play(self, until_ms: int) -> None:
        """Move the clock, showing the engine every tick its resting orders could meet."""
        while self.now_ms < until_ms:
            after_ms = self.now_ms
            boundary = (after_ms // MINUTE_MS + 1) * MINUTE_MS
            # Nothing rests: only where the market stands at the end matters.
            next_ms = min(until_ms, boundary) if self.engine.open_orders else until_ms
            due_ms = self.order_faults.next_due_ms(after_ms)
            next_ms = next_ms if due_ms is None else min(next_ms, due_ms)
            ticks = [
                (tick.time_ms, product_id, tick)
                for product_id, book in self.engine.books.items()
                if book.has_resting_orders
                for tick in self.feed.ticks(product_id, after_ms, next_ms)
            ]
            for time_ms, product_id, tick in sorted(ticks):
                self.engine.tick(product_id, tick.price, tick.volume, time_ms)
            self._quote_idle(next_ms)
            self.clock.now_ms = next_ms
            self._run_due()

    def _quote_idle(self, now_ms: int) -> None:
        for product_id, book in self.engine.books.items():
            if not book.has_resting_orders:
                tick = self.feed.last_tick(product_id, now_ms)
                if tick.time_ms > book.quote_ms:
                    self.engine.tick(product_id, tick.price, Decimal(0), tick.time_ms)

    def _write_faults(self) -> None:
        if changes := self.faults.take_changes():
            plan = self.faults
            self.store.remember({"fault_seed": plan.seed, "next_fault": plan.next_number})
            self.store.save_faults(changes)
        self.store.save_order_faults(self.order_faults.take_rows())

    def _remember_clock(self) -> None:
        if self.now_ms >= self.clock.lease_ms:
            self.clock.lease_ms = self.clock.lease_for(self.now_ms)
        self.store.remember({"now_ms": self.now_ms, "lease_ms": self.clock.lease_ms})

    def _remember_pace(self) -> None:
        self.store.remember({"mode": self.clock.mode, "speed": self.clock.speed})

    def _new_id(self, kind: str, sequence: int) -> str:
        return str(uuid.uuid5(uuid.UUID(self.epoch), f"{kind}:{sequence}"))


def _clock(config: SimulatorConfig, market: Market, remembered: Mapping[str, str]) -> VenueClock:
    now_ms = int(remembered.get("now_ms", market.start_ms))
    stored_mode: Mode = "step" if remembered.get("mode") == "step" else "speed"
    return VenueClock(
        now_ms=now_ms,
        lease_ms=int(remembered.get("lease_ms", now_ms)),
        mode=config.mode or stored_mode,
        speed=config.speed or float(remembered.get("speed", 1.0)),
    )
