"""The exchange simulator's engine in this process, on virtual time, with a log of orders."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from adapters.venues.coinbase import outcomes
from domain.markets import FeeRates
from domain.orders import (
    Accepted,
    OrderRequest,
    OrderType,
    PlaceOutcome,
    Refused,
    Side,
    TimeInForce,
    Unknown,
)
from domain.ports import VenueUnavailable
from simulation.processes import Process
from simulation.trace import Trace
from simulation.venue_faults import Delivery, VenueFaults
from simulator.coinbase.errors import refused_order
from simulator.config import SimulatorConfig
from simulator.engine import values
from simulator.exchange import Exchange, OrderNotOpenError
from simulator.faults.fault import Fault
from simulator.faults.kinds import Kind
from simulator.manual_actions import ManualActions, NotEnoughFundsError
from simulator.market.market import build_market
from simulator.store import Account, Filter, Store

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""Wall time at the start of every run; a Monday."""

VENUE_AHEAD = timedelta(seconds=1, milliseconds=700)
"""How far the venue's clock is ahead of the wall's."""

SYMBOLS = ("BTC-USD", "DOGE-USD", "ETH-USD", "SOL-USD", "XRP-USD")
DEADLINE_SECONDS = 10.0
ALL_EVENTS = 1_000_000
_KINDS = {
    (OrderType.MARKET, TimeInForce.IOC): (values.OrderType.MARKET, values.TimeInForce.IOC),
    (OrderType.LIMIT, TimeInForce.IOC): (values.OrderType.LIMIT, values.TimeInForce.IOC),
    (OrderType.LIMIT, TimeInForce.FOK): (values.OrderType.LIMIT, values.TimeInForce.FOK),
    (OrderType.LIMIT, TimeInForce.GTC): (values.OrderType.LIMIT, values.TimeInForce.GTC),
}


@dataclass(frozen=True, slots=True)
class Sent:
    """An order that left a process towards the venue.

    Attributes:
        at: virtual seconds at which it left.
        number: which one of all that left.
    """

    at: float
    number: int
    account_id: str
    request: OrderRequest


@dataclass(frozen=True, slots=True)
class ManualMove:
    """What somebody else moved at the venue, by currency."""

    account_id: str
    currency: str
    amount: Decimal


class Venue:
    """One exchange for a whole run; it outlives every process of ours.

    Args:
        seed: of its market.
        folder: where its file goes.
        faults: what it does wrong.
        trace: told of every order.
        random_: decides what the market is like.
    """

    def __init__(
        self, seed: int, folder: Path, faults: VenueFaults, trace: Trace, random_: random.Random
    ) -> None:
        self.faults = faults
        self.sent: list[Sent] = []
        self.manual_moves: list[ManualMove] = []
        self.on_leaving: Callable[[Sent], None] = lambda _sent: None
        self._trace = trace
        self._store = Store(folder / "venue.sqlite3")
        config = SimulatorConfig(
            database=folder / "venue.sqlite3",
            market_data_dir=None,
            symbols=SYMBOLS,
            seed=seed,
            mode="speed",
            speed=1.0,
            start=START + VENUE_AHEAD,
            depth_usd=Decimal(random_.choice((150, 800, 50_000))),
            levels=20,
        )
        self._remember_epoch(config, seed)
        self.exchange = Exchange(config, self._store, on_fault=_fail)
        self.exchange.faults.reseed(seed)

    def misbehave(self) -> None:
        """Begin to treat some orders badly."""
        self.faults.is_behaving = False
        for fault in self.faults.order_faults():
            self.exchange.add_fault(fault)

    def behave(self) -> None:
        """Behave from now on; what was done to orders ends by itself within a minute."""
        self.faults.behave()
        self.exchange.faults.clear()

    def shrink_largest_order(self, symbol: str, value: Decimal, seconds: float) -> None:
        """Take no larger orders of a market than that for a while; its rules say so."""
        self.catch_up()
        book = self.exchange.engine.books[symbol]
        most = max(book.rules.size_down(value / book.price), book.rules.base_min_size)
        self.exchange.add_fault(
            Fault(
                kind=Kind.PRODUCT_RULES,
                product=symbol,
                until_ms=self.exchange.now_ms + int(seconds * 1000),
                parameters={"base_max_size": f"{most:f}"},
            )
        )
        self._trace.add("venue", f"no order of {symbol} above {most:f} for {seconds:.0f} s")

    def _remember_epoch(self, config: SimulatorConfig, seed: int) -> None:
        """Have the exchange go on with an epoch that is made of the seed, not of chance."""
        market = build_market(config, {})
        epoch = uuid.uuid5(uuid.NAMESPACE_OID, f"simulation:{seed}")
        with self._store.transaction():
            self._store.remember(
                {
                    "epoch": epoch,
                    "identity": market.identity,
                    "source": market.source,
                    "seed": market.seed,
                    "start_ms": market.start_ms,
                    "now_ms": market.start_ms,
                    "lease_ms": market.start_ms,
                }
            )

    def close(self) -> None:
        """Close its file."""
        self._store.close()

    # --- time -------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The venue's own time."""
        self.catch_up()
        return _moment(self.exchange.now_ms)

    def catch_up(self) -> None:
        """Play the market up to the present."""
        market_start = self.exchange.market.start_ms
        due = market_start + int(asyncio.get_running_loop().time() * 1000)
        while (behind := due - self.exchange.now_ms) > 0:
            self.exchange.run_for(min(behind, 1000) / 1000)
            if self.exchange.now_ms < due and due - self.exchange.now_ms == behind:
                break

    # --- clients ----------------------------------------------------------------------------

    def open_account(self, account_id: str, balances: dict[str, Decimal], tier: str) -> None:
        """Take on a client."""
        account = Account(
            account_id=account_id,
            name=account_id,
            api_key=account_id,
            key_type="hmac",
            verifier="",
            fee_tier=tier,
            permissions=("view", "trade"),
            created_ms=self.exchange.now_ms,
        )
        self.exchange.open_account(account, balances)

    def fees_of(self, account_id: str) -> FeeRates:
        """The rates an account pays."""
        tier = self.exchange.tier_of(self.exchange.accounts[account_id])
        return FeeRates(maker_rate=tier.maker, taker_rate=tier.taker)

    # --- questions --------------------------------------------------------------------------

    async def answer(self, process: Process, call: str) -> None:
        """Let a question travel; return when the venue may be read, or fail.

        Raises:
            VenueUnavailable: no answer.
        """
        process.require_alive()
        loop, faults = asyncio.get_running_loop(), self.faults
        pause = faults.latency() + faults.question_pause()
        if faults.is_out(call, loop.time()) or faults.question_fails():
            await asyncio.sleep(faults.random.choice((pause, DEADLINE_SECONDS)))
            process.require_alive()
            self._trace.add(process.name, f"venue {call}: no answer")
            raise VenueUnavailable(f"{call} did not answer")
        await asyncio.sleep(pause)
        process.require_alive()
        self.catch_up()

    # --- orders -----------------------------------------------------------------------------

    def leaves(self, account_id: str, request: OrderRequest) -> None:
        """Note an order that leaves a process now."""
        now = asyncio.get_running_loop().time()
        sent = Sent(now, len(self.sent), account_id, request)
        self.sent.append(sent)
        self.on_leaving(sent)

    async def deliver(self, account_id: str, request: OrderRequest) -> PlaceOutcome:
        """Carry an order to the engine and its answer back, as delivery will have it.

        Runs outside the process that sent it: what has left arrives, whoever dies.
        """
        faults, loop = self.faults, asyncio.get_running_loop()
        delivery = faults.delivery()
        await asyncio.sleep(faults.latency())
        if faults.is_out("place", loop.time()):
            delivery = Delivery.SERVER_ERROR
            faults.in_flight += 1
        if faults.keys_refused_until.get(account_id, 0.0) > loop.time():
            return Refused("keys_refused", "The venue does not accept these keys")
        match delivery:
            case Delivery.LOST:
                self._trace.add("venue", f"order {request.client_order_id} {delivery}")
                await asyncio.sleep(10 * DEADLINE_SECONDS)
                return Unknown("it never arrived")
            case Delivery.LIMITED:
                return Refused("rate_limited", "Fewer requests, please")
            case Delivery.RESET_BEFORE | Delivery.SERVER_ERROR:
                self._trace.add("venue", f"order {request.client_order_id} {delivery}")
                return Unknown(f"{delivery}")
            case Delivery.LATE:
                await asyncio.sleep(faults.seconds_late())
        outcome = self._take(account_id, request, delivery)
        match delivery:
            case Delivery.ANSWER_LOST:
                await asyncio.sleep(10 * DEADLINE_SECONDS)
            case Delivery.RESET:
                return Unknown(f"{delivery}")
            case Delivery.SLOW_ANSWER:
                await asyncio.sleep(faults.seconds_late())
        await asyncio.sleep(faults.latency())
        return outcome

    def _take(self, account_id: str, request: OrderRequest, delivery: Delivery) -> PlaceOutcome:
        self.catch_up()
        exchange = self.exchange
        account = exchange.accounts[account_id]
        configuration = _configuration(request)
        known = exchange.store.find_client_order(account_id, request.client_order_id)
        try:
            order = exchange.place(account, _engine_request(request), json.dumps(configuration))
        except values.OrderRefusedError as refused:
            self._trace.add("venue", f"order {request.client_order_id} refused {refused}")
            return outcomes.placed(refused_order(refused.refusal, configuration))
        if known is None:
            self.faults.in_flight += len(exchange.order_faults.of(order.order_id).hits)
        self._trace.add(
            "venue",
            f"order {request.client_order_id} {request.side} {request.quantity:f}"
            f" {request.symbol} {order.status} filled {order.filled_size:f} {delivery}"
            f"{' again' if known else ''}",
        )
        return Accepted(order.order_id)

    def cancel(self, account_id: str, order_id: str) -> PlaceOutcome:
        """Cancel at the engine."""
        self.catch_up()
        try:
            self.exchange.cancel(self.exchange.accounts[account_id], order_id)
        except OrderNotOpenError as failure:
            code = "order_not_open" if failure.status else "unknown_order"
            return Refused(code, "There is nothing to cancel")
        return Accepted(order_id)

    def orders_of(self, account_id: str, since_ms: int | None = None) -> list[values.Order]:
        """An account's orders, newest first."""
        filter_ = Filter(account_id, start_ms=since_ms, limit=ALL_EVENTS)
        return self.exchange.store.orders(filter_)

    def fills_of(self, account_id: str, order_id: str | None = None) -> list[values.Fill]:
        """An account's fills, oldest first."""
        order_ids = () if order_id is None else (order_id,)
        filter_ = Filter(account_id, order_ids=order_ids, limit=ALL_EVENTS)
        return self.exchange.store.fills(filter_)[::-1]

    # --- what users do at the venue themselves -----------------------------------------------

    def taken(self) -> dict[tuple[str, str], Decimal]:
        """How much of each coin users have taken out of each account."""
        sums: dict[tuple[str, str], Decimal] = {}
        for move in self.manual_moves:
            if move.amount < 0 and move.currency != "USD":
                key = (move.account_id, move.currency)
                sums[key] = sums.get(key, Decimal(0)) - move.amount
        return sums

    def move(self, account_id: str, currency: str, amount: Decimal) -> bool:
        """Deposit or withdraw; False where there is not enough."""
        self.catch_up()
        actions = ManualActions(self.exchange, self.exchange.accounts[account_id])
        try:
            if amount > 0:
                actions.deposit(currency, amount)
            else:
                actions.withdraw(currency, -amount)
        except NotEnoughFundsError:
            return False
        self.manual_moves.append(ManualMove(account_id, currency, amount))
        self._trace.add("manual", f"move {account_id} {amount:f} {currency}")
        return True

    def trade(self, account_id: str, request: OrderRequest) -> bool:
        """Trade at the venue without us; False where it is refused."""
        self.catch_up()
        before = {
            currency: balance.total
            for currency, balance in self.exchange.balances(account_id).items()
        }
        try:
            actions = ManualActions(self.exchange, self.exchange.accounts[account_id])
            actions.place(_engine_request(request), json.dumps(_configuration(request)))
        except values.OrderRefusedError:
            return False
        for currency, balance in sorted(self.exchange.balances(account_id).items()):
            if moved := balance.total - before.get(currency, Decimal(0)):
                self.manual_moves.append(ManualMove(account_id, currency, moved))
        self._trace.add(
            "manual", f"{request.side} {account_id} {request.quantity:f} {request.symbol}"
        )
        return True


def _fail() -> None:
    """The engine could not keep an invariant of its own; what it raised goes on."""


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)


def _engine_request(request: OrderRequest) -> values.OrderRequest:
    type_, time_in_force = _KINDS[request.type, request.time_in_force]
    return values.OrderRequest(
        client_order_id=request.client_order_id,
        product_id=request.symbol,
        side=values.Side.BUY if request.side is Side.BUY else values.Side.SELL,
        type=type_,
        time_in_force=time_in_force,
        base_size=request.quantity,
        limit_price=request.limit_price,
        post_only=request.post_only,
    )


def _configuration(request: OrderRequest) -> dict[str, dict[str, str]]:
    """As the venue shows it; what reads it looks for the size only."""
    return {"order": {"base_size": f"{request.quantity:f}"}}
