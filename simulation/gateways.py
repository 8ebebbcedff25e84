"""The venue as the services see it: `domain.ports` over the engine, one set for each process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from adapters.venues.coinbase import parse
from adapters.venues.paper import PaperAccount
from domain.markets import (
    BookLevel,
    Candle,
    FeeRates,
    MarketRules,
    Mode,
    OrderBook,
    Quote,
    Realm,
    Timeframe,
    VenueClock,
    VenueKey,
)
from domain.money import ZERO
from domain.orders import (
    Balances,
    CurrencyBalance,
    FillReport,
    OrderReport,
    OrderRequest,
    PlaceOutcome,
    Unknown,
)
from domain.ports import (
    AccountRef,
    KeyPermissions,
    MarketData,
    PaperLedger,
    VenueAccount,
    VenueCredentials,
    VenueRefusedKeys,
    VenueUnavailable,
)
from simulation.processes import Process, outside
from simulation.venue import DEADLINE_SECONDS, Venue
from simulation.venue_faults import Delivery
from simulator.coinbase.wire import fill_json, order_json
from simulator.engine.rules import ProductRules
from simulator.engine.values import Order, Side
from simulator.store import Filter
from simulator.views import VenueView

VENUE = "coinbase"
KEY = VenueKey(VENUE, Realm.SIMULATED)
RULES_FRESH_SECONDS = 600.0
BOOK_LEVELS = 50
LISTED_MAX = 10_000
CANCELS_LOST = frozenset(
    {Delivery.LOST, Delivery.RESET_BEFORE, Delivery.SERVER_ERROR, Delivery.LIMITED}
)
LOOK_UP_MARGIN = timedelta(minutes=1)


class Gateways:
    """`domain.ports.Venues` of one process."""

    def __init__(self, venue: Venue, process: Process, ledger: PaperLedger) -> None:
        self._venue = venue
        self._process = process
        self._ledger = ledger
        self._market = Market(venue, process)
        self._accounts: dict[UUID, LiveAccount] = {}

    def supported(self) -> Mapping[str, str]:
        """The one venue."""
        return {VENUE: "Coinbase"}

    def market_data(self, key: VenueKey) -> MarketData:
        """Its market data."""
        assert key == KEY
        return self._market

    def usable_keys(self, key: VenueKey, credentials: VenueCredentials) -> VenueCredentials:
        """Nobody connects a broker during a run."""
        return credentials

    async def account(self, ref: AccountRef) -> VenueAccount:
        """An account's gateway."""
        if ref.mode is Mode.PAPER:
            return PaperAccount(ref=ref, market_data=self._market, ledger=self._ledger)
        if ref.account_id not in self._accounts:
            self._accounts[ref.account_id] = LiveAccount(
                self._venue, self._process, str(ref.account_id)
            )
        return self._accounts[ref.account_id]

    async def account_with(self, key: VenueKey, credentials: VenueCredentials) -> VenueAccount:
        """Unsupported: no broker is connected during a run."""
        raise LookupError("No broker is connected during a simulated run")

    async def close(self) -> None:
        """Nothing to release."""


class Market:
    """`domain.ports.MarketData` over the engine's books and its feed."""

    def __init__(self, venue: Venue, process: Process) -> None:
        self._venue = venue
        self._process = process
        self._view = VenueView(venue.exchange)
        self._rules: tuple[float, Mapping[str, MarketRules]] | None = None
        self._seen_clock: tuple[VenueClock, float] | None = None

    @property
    def key(self) -> VenueKey:
        """Which venue it is."""
        return KEY

    @property
    def settling(self) -> timedelta:
        """Candles here are final at once."""
        return timedelta(0)

    async def clock(self) -> VenueClock:
        """The venue's own time."""
        await self._venue.answer(self._process, "clock")
        clock = VenueClock(self._venue.now, self._venue.exchange.epoch)
        self._seen_clock = (clock, asyncio.get_running_loop().time())
        return clock

    async def rules(self) -> Mapping[str, MarketRules]:
        """Every market; some minutes old at most, older while the venue gives none."""
        now = asyncio.get_running_loop().time()
        if self._rules is not None and now - self._rules[0] < RULES_FRESH_SECONDS:
            return self._rules[1]
        await self._venue.answer(self._process, "rules")
        found = {
            name: _market_rules(self._view.rules(name))
            for name in self._venue.exchange.market.rules
        }
        self._rules = (now, found)
        return found

    def known_rules(self) -> Mapping[str, MarketRules]:
        """What this process has seen of them."""
        return {} if self._rules is None else self._rules[1]

    async def fresh_rules(self) -> Mapping[str, MarketRules]:
        """Asked for now, else what is known."""
        before, self._rules = self._rules, None
        try:
            return await self.rules()
        except VenueUnavailable:
            self._rules = before
            return self.known_rules()

    def rules_age_seconds(self) -> float | None:
        """How old the last good list is."""
        if self._rules is None:
            return None
        return asyncio.get_running_loop().time() - self._rules[0]

    def malformed_markets(self) -> Mapping[str, str]:
        """None here."""
        return {}

    def known_clock(self) -> VenueClock | None:
        """The clock as last seen."""
        if self._seen_clock is None:
            return None
        clock, seen_at = self._seen_clock
        elapsed = timedelta(seconds=asyncio.get_running_loop().time() - seen_at)
        return VenueClock(clock.now + elapsed, clock.epoch)

    async def public_fees(self) -> FeeRates:
        """What a new account pays."""
        await self._venue.answer(self._process, "public_fees")
        return FeeRates(maker_rate=ZERO, taker_rate=ZERO)

    async def candles(
        self, symbol: str, timeframe: Timeframe, *, since: datetime, until: datetime
    ) -> Sequence[Candle]:
        """Closed candles, oldest first."""
        await self._venue.answer(self._process, "candles")
        return self._closed(symbol, timeframe, since, until)

    async def last_bars(
        self, symbol: str, timeframe: Timeframe, *, count: int, until: datetime
    ) -> Sequence[Candle]:
        """The last closed candles."""
        await self._venue.answer(self._process, "candles")
        since = timeframe.floor(until) - timeframe.length * count
        return self._closed(symbol, timeframe, since, until)[-count:]

    async def quote(self, symbol: str) -> Quote:
        """Best prices and the last one."""
        await self._venue.answer(self._process, "quote")
        quote = self._quote(symbol, self._venue.now)
        if quote is None:
            raise VenueUnavailable("One side of the book is empty")
        return quote

    async def quotes(self, symbols: Sequence[str], *, at: datetime) -> Mapping[str, Quote]:
        """Quotes of the markets that give one."""
        try:
            await self._venue.answer(self._process, "quote")
        except VenueUnavailable:
            return {}
        found = {symbol: self._quote(symbol, at) for symbol in symbols}
        return {symbol: quote for symbol, quote in found.items() if quote is not None}

    def _quote(self, symbol: str, at: datetime) -> Quote | None:
        book = self._venue.exchange.engine.books.get(symbol)
        if book is None:
            return None
        bid, ask = book.best_price(Side.BUY), book.best_price(Side.SELL)
        if bid is None or ask is None:
            return None
        return Quote(symbol, bid=bid, ask=ask, last=book.price, at=at)

    async def order_book(self, symbol: str) -> OrderBook:
        """The visible book."""
        await self._venue.answer(self._process, "order_book")
        book = self._venue.exchange.engine.books[symbol]
        bids, asks = (
            tuple(BookLevel(price, size) for price, size in book.depth(side, BOOK_LEVELS))
            for side in (Side.BUY, Side.SELL)
        )
        return OrderBook(symbol, bids=bids, asks=asks)

    async def close(self) -> None:
        """Nothing to release."""

    def _closed(
        self, symbol: str, timeframe: Timeframe, since: datetime, until: datetime
    ) -> Sequence[Candle]:
        last = timeframe.floor(min(until, self._venue.now)) - timeframe.length
        if last < since:
            return ()
        listed = self._view.candles(
            symbol,
            int(timeframe.length.total_seconds()) // 60,
            int(since.timestamp() * 1000),
            int(last.timestamp() * 1000),
        )
        start = datetime.fromtimestamp(0, until.tzinfo)
        return [
            Candle(
                start + timedelta(milliseconds=candle.open_ms),
                open=candle.open,
                high=candle.high,
                low=candle.low,
                close=candle.close,
                volume=candle.volume,
            )
            for candle in listed
        ]


class LiveAccount:
    """`domain.ports.VenueAccount` over the engine."""

    def __init__(self, venue: Venue, process: Process, account_id: str) -> None:
        self._venue = venue
        self._process = process
        self._account_id = account_id
        self._view = VenueView(venue.exchange, venue.exchange.accounts[account_id])

    @property
    def repeats_known_orders(self) -> bool:
        """As Coinbase does."""
        return True

    async def balances(self) -> Balances:
        """What the account holds."""
        await self._ask("balances")
        return {
            currency: CurrencyBalance(currency, balance.total, balance.held)
            for currency, balance in self._venue.exchange.balances(self._account_id).items()
        }

    async def fees(self) -> FeeRates:
        """What it pays."""
        await self._ask("fees")
        return self._venue.fees_of(self._account_id)

    async def place(self, request: OrderRequest) -> PlaceOutcome:
        """Send one order; from here on it is under way whatever happens to us."""
        self._process.require_alive()
        self._venue.leaves(self._account_id, request)
        under_way = outside(self._venue.deliver(self._account_id, request))
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                outcome: PlaceOutcome = await asyncio.shield(under_way)
        except TimeoutError:
            outcome = Unknown("no answer in time")
        self._process.require_alive()
        return outcome

    async def cancel(self, venue_order_id: str, symbol: str) -> PlaceOutcome:
        """Ask to cancel."""
        self._process.require_alive()
        faults = self._venue.faults
        delivery = faults.delivery()
        await asyncio.sleep(faults.latency())
        self._process.require_alive()
        if delivery in CANCELS_LOST:
            return Unknown("no answer")
        outcome = self._venue.cancel(self._account_id, venue_order_id)
        return Unknown("no answer") if delivery is Delivery.ANSWER_LOST else outcome

    async def order(self, venue_order_id: str, symbol: str) -> OrderReport | None:
        """One order by the venue's id."""
        await self._ask("order")
        found = self._view.order(venue_order_id)
        return None if found is None else self._report(found)

    async def find_order(
        self, client_order_id: str, symbol: str, *, since: datetime
    ) -> OrderReport | None:
        """One order by ours, in the list of a market's orders."""
        await self._ask("find_order")
        since_ms = int((since - LOOK_UP_MARGIN).timestamp() * 1000)
        filter_ = Filter(
            self._account_id, product_ids=(symbol,), start_ms=since_ms, limit=LISTED_MAX
        )
        for order in self._view.orders(filter_)[0]:
            if order.request.client_order_id == client_order_id:
                return self._report(order)
        return None

    async def open_orders(self) -> Sequence[OrderReport]:
        """Every resting order."""
        await self._ask("find_order")
        return [self._report(order) for order in self._view.open_orders()]

    async def fills(
        self, *, symbol: str | None = None, venue_order_id: str | None = None, since: datetime
    ) -> Sequence[FillReport]:
        """Executions since a venue time, as far as they are listed by now; some of them twice."""
        await self._ask("fills")
        filter_ = Filter(
            self._account_id,
            product_ids=() if symbol is None else (symbol,),
            order_ids=() if venue_order_id is None else (venue_order_id,),
            start_ms=int(since.timestamp() * 1000),
            limit=LISTED_MAX,
        )
        listed = self._view.fills(filter_)[0]
        reports = [parse.parse_fill(fill_json(fill, size_in_quote=False)) for fill in listed]
        oldest_first = reports[::-1]
        return sorted(oldest_first, key=lambda report: report.filled_at)

    async def permissions(self) -> KeyPermissions:
        """What the keys may do."""
        return KeyPermissions(can_read=True, can_trade=True, can_withdraw=False)

    async def close(self) -> None:
        """Nothing to release."""

    async def _ask(self, call: str) -> None:
        await self._venue.answer(self._process, call)
        now = asyncio.get_running_loop().time()
        if self._venue.faults.keys_refused_until.get(self._account_id, 0.0) > now:
            raise VenueRefusedKeys("The venue does not accept these keys")

    def _report(self, order: Order) -> OrderReport:
        is_cancelling = self._view.is_cancelling(order)
        return parse.parse_order(order_json(order, is_cancelling=is_cancelling))


def _market_rules(rules: ProductRules) -> MarketRules:
    return MarketRules(
        symbol=rules.product_id,
        base=rules.base,
        quote=rules.quote,
        quantity_step=rules.base_increment,
        price_step=rules.price_increment,
        quantity_min=rules.base_min_size,
        notional_min=rules.quote_min_size,
        quantity_max=rules.base_max_size,
        notional_max=rules.quote_max_size,
    )
