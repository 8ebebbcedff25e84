"""A venue at the port, told beforehand what to answer: the hand-written stand-in of engine tests.

It keeps true books of its own (orders, fills, balances), whatever it answers, so a test can compare
ours with what really happened. Nothing here repairs a caller's mistake: an order sent twice is
counted twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from adapters.venues.coinbase.keys import usable_keys
from adapters.venues.errors import VenueAnswerMalformedError
from domain.markets import (
    BookLevel,
    Candle,
    FeeRates,
    MarketRules,
    MarketStatus,
    OrderBook,
    Quote,
    Realm,
    Timeframe,
    VenueClock,
    VenueKey,
)
from domain.money import ZERO, floor_to_step
from domain.orders import (
    Accepted,
    Balances,
    CurrencyBalance,
    FillReport,
    Liquidity,
    OrderReport,
    OrderRequest,
    OrderState,
    OrderType,
    PlaceOutcome,
    Refused,
    Side,
    Unknown,
)
from domain.ports import (
    AccountRef,
    KeyPermissions,
    MarketData,
    VenueAccount,
    VenueCredentials,
    VenueRefusedKeys,
    VenueUnavailable,
)
from tests.support.crashes import CrashPlan

KEY = VenueKey("coinbase", Realm.SIMULATED)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TAKER = Decimal("0.001")
FEES = FeeRates(maker_rate=Decimal("0.0006"), taker_rate=TAKER)


class Answer(StrEnum):
    """What becomes of a send, and what its sender hears."""

    FILL = "fill"
    FILL_PART = "fill_part"
    FILL_NOTHING = "fill_nothing"
    REST = "rest"
    REFUSE = "refuse"
    TOO_SMALL = "too_small"
    RATE_LIMITED = "rate_limited"
    WRONG_TYPE = "wrong_type"
    FILL_BUT_TIME_OUT = "fill_but_time_out"
    TIME_OUT = "time_out"


_REFUSALS = {
    Answer.REFUSE: Refused("refused", "The venue says no"),
    Answer.TOO_SMALL: Refused("notional_minimum", "The order is below the minimum"),
    Answer.WRONG_TYPE: Refused("unsupported_order_type", "The market takes no such order"),
    Answer.RATE_LIMITED: Refused("rate_limited", "The venue asks for fewer requests"),
}


class Cancel(StrEnum):
    """What becomes of a cancellation, and what its sender hears."""

    END = "end"
    LATER = "later"
    """It is accepted, and the order stays open for now."""
    REFUSE = "refuse"
    TIME_OUT = "time_out"
    END_BUT_TIME_OUT = "end_but_time_out"


def market_rules(symbol: str) -> MarketRules:
    base, quote = symbol.split("-")
    return MarketRules(
        symbol=symbol,
        base=base,
        quote=quote,
        quantity_step=Decimal("0.0001"),
        price_step=Decimal("0.01"),
        quantity_min=Decimal("0.0001"),
        notional_min=Decimal(1),
    )


class FakeMarket:
    """Market data that a test writes.

    `down` names the questions that fail, `hanging` those whose answers come once `released` is set:
    `candles` for all markets, `candles:BTC-USD` for one.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self.now = NOON
        self.epoch = "epoch-1"
        self.settling = timedelta(0)
        self.down: set[str] = set()
        self.hanging: set[str] = set()
        self.released = asyncio.Event()
        self.rules_age = 0.0
        self.has_seen_clock = True
        self.clock_offset = timedelta(0)
        """How far the clock that the venue shows is ahead of what it stamps on orders."""
        self.malformed: dict[str, str] = {}
        self.quoted_at: datetime | None = None
        """Venue time that quotes carry; None for the present."""
        self.rules_by_symbol = {symbol: market_rules(symbol) for symbol in symbols}
        self.last: dict[str, Decimal] = dict.fromkeys(symbols, Decimal(100))
        self.minutes: dict[str, list[Candle]] = {symbol: [] for symbol in symbols}
        self.bars: dict[str, list[Candle]] = {symbol: [] for symbol in symbols}

    @property
    def key(self) -> VenueKey:
        return KEY

    async def clock(self) -> VenueClock:
        await self._meet("clock")
        return VenueClock(self.now + self.clock_offset, self.epoch)

    async def rules(self) -> Mapping[str, MarketRules]:
        await self._meet("rules")
        return self.rules_by_symbol

    def known_rules(self) -> Mapping[str, MarketRules]:
        return self.rules_by_symbol

    async def fresh_rules(self) -> Mapping[str, MarketRules]:
        return await self.rules()

    def rules_age_seconds(self) -> float | None:
        return self.rules_age

    def malformed_markets(self) -> Mapping[str, str]:
        return self.malformed

    def known_clock(self) -> VenueClock | None:
        shown = VenueClock(self.now + self.clock_offset, self.epoch)
        return shown if self.has_seen_clock else None

    async def public_fees(self) -> FeeRates:
        return FEES

    async def candles(
        self, symbol: str, timeframe: Timeframe, *, since: datetime, until: datetime
    ) -> Sequence[Candle]:
        await self._meet("candles", symbol)
        known = self.minutes if timeframe is Timeframe.M1 else self.bars
        if symbol not in known:
            raise VenueUnavailable(f"There is no market {symbol}")
        return [
            candle
            for candle in known[symbol]
            if since <= candle.opened_at and candle.opened_at + timeframe.length <= until
        ]

    async def last_bars(
        self, symbol: str, timeframe: Timeframe, *, count: int, until: datetime
    ) -> Sequence[Candle]:
        long_ago = datetime.min.replace(tzinfo=UTC)
        return list(await self.candles(symbol, timeframe, since=long_ago, until=until))[-count:]

    async def quote(self, symbol: str) -> Quote:
        await self._meet("quote", symbol)
        if symbol not in self.last:
            raise VenueUnavailable(f"There is no market {symbol}")
        last = self.last[symbol]
        return Quote(symbol, bid=last, ask=last, last=last, at=self.quoted_at or self.now)

    async def quotes(self, symbols: Sequence[str], *, at: datetime) -> Mapping[str, Quote]:
        found = {}
        for symbol in symbols:
            with suppress(VenueUnavailable, TimeoutError):
                async with asyncio.timeout(0.05):
                    found[symbol] = await self.quote(symbol)
        return found

    async def order_book(self, symbol: str) -> OrderBook:
        level = BookLevel(self.last[symbol], Decimal(10**6))
        return OrderBook(symbol, bids=(level,), asks=(level,))

    async def close(self) -> None:
        """Nothing to release."""

    def add_minute(self, symbol: str, *, low: str, high: str, close: str | None = None) -> None:
        """Let a minute pass in which the price was between two prices."""
        lowest, highest = Decimal(low), Decimal(high)
        last = Decimal(close) if close else lowest
        self.minutes[symbol].append(
            Candle(self.now, highest, highest, lowest, last, volume=Decimal(1))
        )
        self.last[symbol] = last
        self.now += Timeframe.M1.length

    async def _meet(self, question: str, symbol: str = "") -> None:
        if self.hanging & {question, f"{question}:{symbol}"}:
            await self.released.wait()
        if self.down & {question, f"{question}:{symbol}"}:
            raise VenueUnavailable(f"{question} gets no answer")


@dataclass
class VenueOrder:
    """An order in the venue's own books; `listed_from` is when look-ups begin to find it."""

    request: OrderRequest
    report: OrderReport
    fills: list[FillReport]
    listed_from: datetime
    fills_listed_from: datetime


@dataclass
class FakeAccount:
    """One account. `answers` are used up by sends in their order, then everything fills at once."""

    market: FakeMarket
    crash: CrashPlan
    totals: dict[str, Decimal]
    answers: deque[Answer] = field(default_factory=deque)
    sends: list[OrderRequest] = field(default_factory=list)
    orders: dict[str, VenueOrder] = field(default_factory=dict)
    fees_now: FeeRates = FEES
    is_down: bool = False
    meanwhile: Callable[[], Awaitable[None]] | None = None
    """What happens once, after an order was taken and before its sender hears of it."""
    refuses_keys: bool = False
    knows_nothing: bool = False
    repeats_known_orders: bool = False
    hangs_at_look_ups: bool = False
    limit_only: bool = False
    """Market orders are refused, whatever the market publishes."""
    checks_funds: bool = False
    checks_value: bool = False
    """Orders that are worth less than the market's minimum are refused."""
    quantity_max: Decimal | None = None
    """The most that an order may carry, whatever the market publishes."""
    held: dict[str, Decimal] = field(default_factory=dict)
    """What orders by hand hold of each currency; sales are limited to the rest."""
    unreadable: set[str] = field(default_factory=set)
    """Currencies whose row of the balances is malformed."""
    unreadable_orders: set[str] = field(default_factory=set)
    """Markets whose rows of orders are malformed."""
    look_ups: list[str] = field(default_factory=list)
    """Markets of the orders that were looked up, answered or not."""
    cancel_answers: deque[Cancel] = field(default_factory=deque)
    cancels: list[str] = field(default_factory=list)
    lists_fills_only: bool = False
    lists_no_fills: bool = False
    """The listing of executions alone gets no answer."""
    listing_delay: timedelta = timedelta(0)
    fills_delay: timedelta = timedelta(0)

    @property
    def fills_made(self) -> list[FillReport]:
        """Every execution there was."""
        return [fill for order in self.orders.values() for fill in order.fills]

    @property
    def _has_forgotten(self) -> bool:
        return self.knows_nothing or self.lists_fills_only

    def deposit(self, currency: str, amount: str) -> None:
        self.totals[currency] = self.totals.get(currency, ZERO) + Decimal(amount)

    async def balances(self) -> Balances:
        self._require()
        return {
            name: CurrencyBalance(name, ZERO, is_known=False)
            if name in self.unreadable
            else CurrencyBalance(name, total, self.held.get(name, ZERO))
            for name, total in self.totals.items()
        }

    async def fees(self) -> FeeRates:
        self._require()
        return self.fees_now

    async def place(self, request: OrderRequest) -> PlaceOutcome:
        await self.crash.step("before sending")
        answer = self.answers.popleft() if self.answers else Answer.FILL
        self.sends.append(request)
        outcome = self._take(request, answer)
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        await self.crash.step("after sending")
        return outcome

    async def cancel(self, venue_order_id: str, symbol: str) -> PlaceOutcome:
        await self.crash.step("before a cancellation")
        self.cancels.append(venue_order_id)
        answer = self.cancel_answers.popleft() if self.cancel_answers else Cancel.END
        for order in self.orders.values():
            if order.report.venue_order_id != venue_order_id:
                continue
            if order.report.state.is_final:
                return Refused("order_not_open", "The order has ended")
            if answer is Cancel.REFUSE:
                return Refused("cancel_refused", "The venue says no")
            if answer in {Cancel.END, Cancel.END_BUT_TIME_OUT}:
                order.report = replace(order.report, state=OrderState.CANCELLED)
            await self.crash.step("after a cancellation")
            if answer in {Cancel.TIME_OUT, Cancel.END_BUT_TIME_OUT}:
                return Unknown("no answer")
            return Accepted(venue_order_id)
        return Refused("unknown_order", "There is no such order")

    async def order(self, venue_order_id: str, symbol: str) -> OrderReport | None:
        self._require_readable(symbol)
        if self.hangs_at_look_ups:
            await asyncio.Event().wait()
        await self.crash.step("before a look-up")
        for order in self.orders.values():
            if order.report.venue_order_id == venue_order_id and not self._has_forgotten:
                return order.report
        return None

    async def find_order(
        self, client_order_id: str, symbol: str, *, since: datetime
    ) -> OrderReport | None:
        self._require_readable(symbol)
        if self.hangs_at_look_ups:
            await asyncio.Event().wait()
        await self.crash.step("before a look-up")
        order = self.orders.get(client_order_id)
        if order is None or order.listed_from > self.market.now or self._has_forgotten:
            return None
        assert order.report.created_at is not None
        return order.report if order.report.created_at >= since else None

    async def open_orders(self) -> Sequence[OrderReport]:
        return [
            order.report for order in self.orders.values() if order.report.state is OrderState.OPEN
        ]

    async def fills(
        self, *, symbol: str | None = None, venue_order_id: str | None = None, since: datetime
    ) -> Sequence[FillReport]:
        self._require()
        if self.lists_no_fills:
            raise VenueUnavailable("The listing of executions gets no answer")
        await self.crash.step("before reading fills")
        return [
            fill
            for order in self.orders.values()
            if order.fills_listed_from <= self.market.now and not self.knows_nothing
            for fill in order.fills
            if venue_order_id in {None, fill.venue_order_id} and fill.filled_at >= since
        ]

    async def permissions(self) -> KeyPermissions:
        return KeyPermissions(can_read=True, can_trade=True, can_withdraw=False)

    async def close(self) -> None:
        """Nothing to release."""

    def fill_resting(self, client_order_id: str) -> None:
        """Fill all that is left of a resting order."""
        order = self.orders[client_order_id]
        left = order.request.quantity - order.report.filled_quantity
        self._execute(order, left, OrderState.FILLED)

    def fill_part(self, client_order_id: str, quantity: Decimal) -> None:
        """Fill a part of a resting order, which goes on resting."""
        self._execute(self.orders[client_order_id], quantity, OrderState.OPEN)

    def _take(self, request: OrderRequest, answer: Answer) -> PlaceOutcome:
        if answer in _REFUSALS:
            return _REFUSALS[answer]
        if answer is Answer.TIME_OUT:
            return Unknown("no answer")
        known = self.orders.get(request.client_order_id)
        refusal = None if known is not None else self._refusal(request)
        if refusal is not None:
            return refusal
        if known is None:
            known = self._accept(request, answer)
        if answer is Answer.FILL_BUT_TIME_OUT:
            return Unknown("no answer")
        return Accepted(known.report.venue_order_id)

    def _refusal(self, request: OrderRequest) -> Refused | None:
        rules = self.market.rules_by_symbol[request.symbol]
        if request.quantity % rules.quantity_step:
            return Refused("quantity_precision", "The quantity is no multiple of the step")
        if request.limit_price is not None and request.limit_price % rules.price_step:
            return Refused("price_precision", "The price is no multiple of the step")
        is_limit_only = self.limit_only or rules.status is MarketStatus.LIMIT_ONLY
        if is_limit_only and request.type is OrderType.MARKET:
            return Refused("unsupported_order_type", "Orderbook is in limit only mode")
        most = self.quantity_max or rules.quantity_max
        if most is not None and request.quantity > most:
            return Refused("quantity_maximum", "Order size is too large")
        if not self._is_covered(request):
            return Refused("insufficient_funds", "The account holds too little")
        return self._refusal_by_minimums(request, rules)

    def _refusal_by_minimums(self, request: OrderRequest, rules: MarketRules) -> Refused | None:
        if request.quantity < rules.quantity_min:
            return Refused("quantity_minimum", "Order size is too small")
        value = request.quantity * self.market.last[request.symbol]
        if self.checks_value and value < rules.notional_min:
            return Refused("notional_minimum", "Order value is too small")
        return None

    def _is_covered(self, request: OrderRequest) -> bool:
        base = self.market.rules_by_symbol[request.symbol].base
        if request.side is Side.BUY or not (self.checks_funds or self.held):
            return True
        return self.totals.get(base, ZERO) - self.held.get(base, ZERO) >= request.quantity

    def _accept(self, request: OrderRequest, answer: Answer) -> VenueOrder:
        now = self.market.now
        order = VenueOrder(
            request,
            OrderReport(
                venue_order_id=f"venue-{request.client_order_id}",
                client_order_id=request.client_order_id,
                symbol=request.symbol,
                side=request.side,
                state=OrderState.OPEN,
                quantity=request.quantity,
                filled_quantity=ZERO,
                created_at=now,
            ),
            fills=[],
            listed_from=now + self.listing_delay,
            fills_listed_from=now + self.fills_delay,
        )
        self.orders[request.client_order_id] = order
        part = floor_to_step(request.quantity / 2, Decimal("0.0001"))
        match answer:
            case Answer.REST:
                pass
            case Answer.FILL_NOTHING:
                order.report = replace(order.report, state=OrderState.CANCELLED)
            case Answer.FILL_PART:
                self._execute(order, part, OrderState.CANCELLED)
            case _:
                # In two executions, as venues do.
                self._execute(order, part, OrderState.OPEN)
                self._execute(order, request.quantity - part, OrderState.FILLED)
        return order

    def _execute(self, order: VenueOrder, quantity: Decimal, state: OrderState) -> None:
        request, rules = order.request, self.market.rules_by_symbol[order.request.symbol]
        if quantity > ZERO:
            price = self.market.last[request.symbol]
            fill = FillReport(
                venue_fill_id=f"{order.report.venue_order_id}-{len(order.fills)}",
                venue_order_id=order.report.venue_order_id,
                symbol=request.symbol,
                side=request.side,
                price=price,
                quantity=quantity,
                fee=price * quantity * self.fees_now.taker_rate,
                fee_currency=rules.quote,
                liquidity=Liquidity.TAKER,
                filled_at=self.market.now,
            )
            order.fills.append(fill)
            sign = request.side.sign
            for currency, change in (
                (rules.base, quantity * sign),
                (rules.quote, -price * quantity * sign - fill.fee),
            ):
                self.totals[currency] = self.totals.get(currency, ZERO) + change
        filled = order.report.filled_quantity + quantity
        order.report = replace(order.report, state=state, filled_quantity=filled)

    def _require_readable(self, symbol: str) -> None:
        self.look_ups.append(symbol)
        self._require()
        if symbol in self.unreadable_orders:
            raise VenueAnswerMalformedError("The answer is not understood")

    def _require(self) -> None:
        if self.refuses_keys:
            raise VenueRefusedKeys("The keys are refused")
        if self.is_down:
            raise VenueUnavailable("The account gets no answer")


class FakeVenue:
    """Implements `domain.ports.Venues` with one market and an account for each account id."""

    def __init__(self, *symbols: str) -> None:
        self.market = FakeMarket(symbols or ("BTC-USD", "ETH-USD"))
        self.crash = CrashPlan()
        self.accounts: dict[UUID, FakeAccount] = {}
        self.refuses_keys = False

    def open(self, account_id: UUID, **totals: str) -> FakeAccount:
        held = {name: Decimal(amount) for name, amount in totals.items()} or {
            "USD": Decimal(10_000)
        }
        self.accounts[account_id] = FakeAccount(self.market, self.crash, held)
        return self.accounts[account_id]

    def supported(self) -> Mapping[str, str]:
        return {"coinbase": "Coinbase"}

    def market_data(self, key: VenueKey) -> MarketData:
        assert key == KEY
        return self.market

    async def account(self, ref: AccountRef) -> VenueAccount:
        if self.refuses_keys:
            raise VenueRefusedKeys("The keys are refused")
        return self.accounts[ref.account_id]

    def usable_keys(self, key: VenueKey, credentials: VenueCredentials) -> VenueCredentials:
        return usable_keys(credentials)

    async def account_with(self, key: VenueKey, credentials: VenueCredentials) -> VenueAccount:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to release."""
