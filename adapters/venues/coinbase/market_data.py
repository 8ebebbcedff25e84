"""Public data of Coinbase or of the simulator, fetched once and shared by all bots of a process."""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import structlog

from adapters.venues.candles import CandleSeries
from adapters.venues.coinbase import parse
from adapters.venues.coinbase.client import (
    DEADLINE_SECONDS,
    Answer,
    Params,
    ask,
    public_client,
)
from adapters.venues.errors import VenueRejectedQuestionError
from adapters.venues.flight import SharedQuestion
from adapters.venues.lane import QuestionLane
from adapters.venues.market_rules import ListedMarkets, MarketRulesCache
from adapters.venues.quote_board import QuoteBoard
from adapters.venues.simulator_clock import (
    parse_simulator_clock,
    parse_simulator_fees,
    parse_simulator_rate,
)
from domain.markets import (
    Candle,
    FeeRates,
    MarketRules,
    OrderBook,
    Quote,
    Realm,
    Timeframe,
    VenueClock,
    VenueKey,
)
from domain.ports import RequestBudget, VenueUnavailable

CANDLES_PER_PAGE = 300
CANDLES_PER_QUESTION_MAX = 50_000
LOOK_BACK_PAGES_MAX = 10
BOOK_LEVELS = 250
QUESTIONS_MAX = 2_000
SERIES_MAX = 1_000
CLOCK_SECONDS = 3.0
CLOCK_DOUBT_SECONDS = 5.0
"""How long nothing waits for a clock that gave no answer."""
TRADE_SECONDS = 1.5
CANDLE_QUESTIONS_AT_ONCE = 6
CANDLE_SECONDS = 3.0
REAL_CLOCK_FRESH_SECONDS = 10.0
REAL_QUOTE_FRESH_SECONDS = 0.25
REAL_SETTLING = timedelta(seconds=5)
FEES_FRESH_SECONDS = 60.0
FEES_SECONDS = 0.5
_Answer = TypeVar("_Answer")
_GRANULARITIES: Mapping[Timeframe, str] = {
    Timeframe.M1: "ONE_MINUTE",
    Timeframe.M5: "FIVE_MINUTE",
}


_log = structlog.get_logger("nija.market_data")


class CoinbaseMarketData:
    """Implements `domain.ports.MarketData`.

    In the simulated realm only what cannot change is answered from memory (settled candles,
    rules): a replay may be advanced between two calls, and what a bot sees must not depend on who
    asked shortly before.

    Args:
        simulator_url: base address of the exchange simulator; None means the real Coinbase.
        budget: what all processes together may ask of the real venue.
    """

    def __init__(self, *, simulator_url: str | None, budget: RequestBudget | None = None) -> None:
        is_real = simulator_url is None
        self._key = VenueKey("coinbase", Realm.REAL if is_real else Realm.SIMULATED)
        self._simulator_url = None if simulator_url is None else simulator_url.rstrip("/")
        # Two lanes with a rate limit each: what an exit waits for is never behind a scan's history.
        self._prompt = public_client(self._simulator_url, budget)
        self._bulk = public_client(self._simulator_url, budget)
        self.budget = budget
        self._settling = REAL_SETTLING if is_real else timedelta(0)
        self._quote_fresh_seconds = REAL_QUOTE_FRESH_SECONDS if is_real else 0.0
        # The real clock is asked now and then, and goes on by this machine's in between.
        self._clock_question = SharedQuestion(
            self._ask_clock, fresh_seconds=REAL_CLOCK_FRESH_SECONDS if is_real else 0.0
        )
        self._fees_question = SharedQuestion(
            self._ask_simulator_fees, fresh_seconds=FEES_FRESH_SECONDS
        )
        self._last_fees: FeeRates | None = None
        self._rules = MarketRulesCache(self._key, self._ask_rules)
        self._last_clock: tuple[VenueClock, float] | None = None
        self._clock_rate = 1.0 if is_real else 0.0
        self._clock_doubted_until = 0.0
        self._clock_refresh: asyncio.Task[None] | None = None
        self._board = QuoteBoard(self._key, self._ask_last_prices, self._ask_quote)
        self._quote_questions: OrderedDict[str, SharedQuestion[Quote]] = OrderedDict()
        self._trade_questions: OrderedDict[str, SharedQuestion[datetime]] = OrderedDict()
        self._book_questions: OrderedDict[str, SharedQuestion[OrderBook]] = OrderedDict()
        self._series: OrderedDict[tuple[str, Timeframe], CandleSeries] = OrderedDict()
        self._candle_lane = QuestionLane("candles", at_once=CANDLE_QUESTIONS_AT_ONCE)
        self._epoch: str | None = None

    @property
    def key(self) -> VenueKey:
        """Which venue and realm this is."""
        return self._key

    @property
    def settling(self) -> timedelta:
        """How long after its close a candle may still appear or change."""
        return self._settling

    async def clock(self) -> VenueClock:
        """The venue's own time and epoch; a new epoch empties the memory of candles.

        The real venue's goes on by this machine's clock, and is asked now and then beside the work.
        """
        known = self.known_clock()
        if known is not None and self._key.realm is Realm.REAL:
            # Nobody waits for a clock that can be reckoned; it is asked beside the work.
            if self._clock_refresh is None or self._clock_refresh.done():
                self._clock_refresh = asyncio.create_task(self._refresh_clock())
            return known
        clock, _seen_at = self._last_clock = await self._clock_question.answer()
        if self._epoch != clock.epoch:
            self._epoch = clock.epoch
            self._series.clear()
        return clock

    async def rules(self) -> Mapping[str, MarketRules]:
        """Spot markets by symbol: the last good list, which is refreshed beside the work.

        Raises:
            VenueUnavailable: this process never had an answer, and none came within a bound.
        """
        return await self._rules.rules()

    def known_rules(self) -> Mapping[str, MarketRules]:
        """The last good rules, or nothing; never waits for the venue."""
        return self._rules.known()

    async def fresh_rules(self) -> Mapping[str, MarketRules]:
        """Rules of a few seconds ago where the venue answers at once, else the last good ones.

        Raises:
            VenueUnavailable: as `rules`.
        """
        return await self._rules.fresh()

    def doubt_rules(self) -> None:
        """An order that keeps the rules we know was refused by them: they are read anew."""
        self._rules.doubt()

    def rules_age_seconds(self) -> float | None:
        """Seconds since the list of markets was last read, None before it was first asked for."""
        return self._rules.age_seconds()

    def malformed_markets(self) -> Mapping[str, str]:
        """Rows of the last list that could not be read, and why, by symbol."""
        return self._rules.malformed

    def known_clock(self) -> VenueClock | None:
        """The last seen clock, gone on by this machine's; None before it was ever seen.

        A replay goes on at its own speed, and stands where it is moved in steps.
        """
        if self._last_clock is None:
            return None
        clock, seen_at = self._last_clock
        elapsed = (asyncio.get_running_loop().time() - seen_at) * self._clock_rate
        return VenueClock(now=clock.now + timedelta(seconds=elapsed), epoch=clock.epoch)

    async def public_fees(self) -> FeeRates:
        """Fees of a new account at this venue; what paper accounts pay.

        Those seen before serve where the venue does not answer within a moment: no exit waits for a
        table of fees.
        """
        if self._simulator_url is not None:
            try:
                async with asyncio.timeout(None if self._last_fees is None else FEES_SECONDS):
                    self._last_fees = await self._fees_question.answer()
            except (TimeoutError, VenueUnavailable):
                if self._last_fees is None:
                    raise
            return self._last_fees
        # Coinbase publishes no fees by API without keys; ccxt carries the lowest tier's.
        trading = self._prompt.fees["trading"]
        return FeeRates(maker_rate=Decimal(trading["maker"]), taker_rate=Decimal(trading["taker"]))

    async def candles(
        self, symbol: str, timeframe: Timeframe, *, since: datetime, until: datetime
    ) -> Sequence[Candle]:
        """Closed candles with since <= opened_at and close <= until, oldest first, each once.

        Without an answer of the clock those that had closed at the market's latest trade.
        """
        first = _ceil(since, timeframe)
        last = timeframe.floor(until)
        if last <= first:
            return ()
        series = self._series_of(symbol, timeframe)
        known = series.settled(first, last)
        if known is not None:
            return known
        now = await self._certain_time(symbol)
        closed = min(last, timeframe.floor(now - self._settling))
        if closed <= first:
            return ()
        # The clock may just have told of a new epoch, with its own candles.
        return await self._series_of(symbol, timeframe).between(first, closed, now)

    async def last_bars(
        self, symbol: str, timeframe: Timeframe, *, count: int, until: datetime
    ) -> Sequence[Candle]:
        """The last `count` existing closed candles up to `until`.

        Walks back through holes, `LOOK_BACK_PAGES_MAX` pages of them at most.
        """
        last = timeframe.floor(until)
        since = last - timeframe.length * count
        candles = await self.candles(symbol, timeframe, since=since, until=last)
        for _ in range(LOOK_BACK_PAGES_MAX):
            if len(candles) >= count:
                break
            since -= timeframe.length * CANDLES_PER_PAGE
            candles = await self.candles(symbol, timeframe, since=since, until=last)
        return candles[-count:] if count > 0 else ()

    async def quote(self, symbol: str) -> Quote:
        """Best bid, best ask, last; needs no list of markets, and no clock."""
        question = _kept(
            self._quote_questions,
            symbol,
            lambda: SharedQuestion(
                lambda: self._ask_quote_now(symbol), fresh_seconds=self._quote_fresh_seconds
            ),
        )
        return await question.answer()

    async def quotes(self, symbols: Sequence[str], *, at: datetime) -> Mapping[str, Quote]:
        """Quotes of many markets within `quote_board.BUDGET_SECONDS`; those without are left out.

        Args:
            symbols: the markets, the most urgent first.
            at: a venue time before the call.
        """
        return await self._board.quotes(symbols, at)

    async def order_book(self, symbol: str) -> OrderBook:
        """The visible order book, never an older one than the call."""
        question = _kept(
            self._book_questions,
            symbol,
            lambda: SharedQuestion(lambda: self._ask_order_book(symbol)),
        )
        try:
            return await question.answer()
        except VenueRejectedQuestionError:
            self._rules.doubt()  # the market may be gone
            raise

    async def close(self) -> None:
        """Release connections."""
        if self._clock_refresh is not None:
            self._clock_refresh.cancel()
        await self._clock_question.close()
        await self._rules.close()
        await self._board.close()
        for series in self._series.values():
            await series.close()
        questions: tuple[Mapping[str, SharedQuestion[Any]], ...] = (
            self._quote_questions,
            self._trade_questions,
            self._book_questions,
        )
        for kept in questions:
            for question in kept.values():
                await question.close()
        await self._prompt.close()
        await self._bulk.close()

    def _series_of(self, symbol: str, timeframe: Timeframe) -> CandleSeries:
        key = (symbol, timeframe)
        if key not in self._series:
            self._series[key] = CandleSeries(
                timeframe,
                lambda since, until: self._ask_candles(symbol, timeframe, since, until),
            )
        self._series.move_to_end(key)
        if len(self._series) > SERIES_MAX:
            self._series.popitem(last=False)
        return self._series[key]

    async def _refresh_clock(self) -> None:
        with suppress(VenueUnavailable):
            self._last_clock = await self._clock_question.answer()

    async def _clock_if_told(self) -> VenueClock | None:
        """The venue's clock; None where it gives no answer, or gave none a moment ago."""
        is_reckoned = self._key.realm is Realm.REAL and self._last_clock is not None
        if not is_reckoned and asyncio.get_running_loop().time() < self._clock_doubted_until:
            return None
        try:
            return await self.clock()
        except VenueUnavailable:
            return None

    async def _certain_time(self, symbol: str) -> datetime:
        """A venue time that has passed for certain: the clock's, else that of the latest trade.

        A clock that goes on by this machine's is none: the replay may have stopped meanwhile, and
        what is still being formed would be taken for closed.
        """
        clock = await self._clock_if_told()
        if clock is not None:
            return clock.now
        question = _kept(
            self._trade_questions, symbol, lambda: SharedQuestion(lambda: self._ask_traded(symbol))
        )
        return await question.answer()

    async def _ask_traded(self, symbol: str) -> datetime:
        return parse.parse_traded_at(await self._ask_ticker(symbol, TRADE_SECONDS), symbol)

    async def _ask_clock(self) -> tuple[VenueClock, float]:
        try:
            answer = await self._ask_time()
        except VenueUnavailable:
            self._clock_doubted_until = asyncio.get_running_loop().time() + CLOCK_DOUBT_SECONDS
            raise
        self._clock_doubted_until = 0.0
        return answer

    async def _ask_time(self) -> tuple[VenueClock, float]:
        if self._simulator_url is not None:
            answer = await self._ask_simulator()
            told = parse_simulator_clock(answer)
            self._clock_rate = parse_simulator_rate(answer)
            return told, asyncio.get_running_loop().time()
        answer = await ask(self._prompt.v3_public_get_brokerage_time, {}, seconds=CLOCK_SECONDS)
        now = parse.parse_time(answer)
        # Counting from the answer's arrival keeps the time told behind the venue's, never ahead of
        # it.
        return VenueClock(now=now, epoch="real"), asyncio.get_running_loop().time()

    async def _ask_simulator(self) -> Mapping[str, object]:
        answer: Mapping[str, object] = await ask(
            lambda _: self._prompt.fetch(f"{self._simulator_url}/control/clock"),
            {},
            seconds=CLOCK_SECONDS,
        )
        return answer

    async def _ask_simulator_fees(self) -> FeeRates:
        return parse_simulator_fees(await self._ask_simulator())

    async def _ask_rules(self) -> ListedMarkets:
        return parse.parse_markets(
            await ask(self._bulk.v3_public_get_brokerage_market_products, {"product_type": "SPOT"})
        )

    async def _ask_quote_now(self, symbol: str) -> Quote:
        clock = await self._clock_if_told() or self.known_clock()
        return await self._ask_quote(symbol, clock.now if clock else None, DEADLINE_SECONDS)

    async def _ask_quote(self, symbol: str, at: datetime | None, seconds: float) -> Quote:
        return parse.parse_quote(await self._ask_ticker(symbol, seconds), symbol, at)

    async def _ask_ticker(self, symbol: str, seconds: float) -> Answer:
        return await ask(
            self._prompt.v3_public_get_brokerage_market_products_product_id_ticker,
            {"product_id": symbol, "limit": 1},
            seconds=seconds,
        )

    async def _ask_last_prices(
        self, symbols: Sequence[str], seconds: float
    ) -> Mapping[str, Decimal]:
        answer = await ask(
            self._prompt.v3_public_get_brokerage_market_products,
            {"product_ids": list(symbols)},
            seconds=seconds,
        )
        return parse.parse_last_prices(answer)

    async def _ask_order_book(self, symbol: str) -> OrderBook:
        answer = await ask(
            self._prompt.v3_public_get_brokerage_market_product_book,
            {"product_id": symbol, "limit": BOOK_LEVELS},
        )
        return parse.parse_order_book(answer, symbol)

    async def _ask_candles(
        self, symbol: str, timeframe: Timeframe, since: datetime, until: datetime
    ) -> Sequence[Candle]:
        if until - since > timeframe.length * CANDLES_PER_QUESTION_MAX:
            raise ValueError("That is a question for the candle store, not for a venue")
        candles: list[Candle] = []
        page = timeframe.length * CANDLES_PER_PAGE
        while since < until:
            page_until = min(since + page, until)
            params: Params = {
                "product_id": symbol,
                "granularity": _GRANULARITIES[timeframe],
                # Coinbase counts both ends in.
                "start": str(int(since.timestamp())),
                "end": str(int(page_until.timestamp()) - 1),
            }
            page_question = functools.partial(self._ask_page, params)
            answer = await self._candle_lane.ask(page_question, about=symbol)
            page_of, dropped = parse.parse_candles(answer, timeframe.length)
            if dropped:
                _log.warning("candles.malformed", symbol=symbol, reasons=sorted(set(dropped)))
            candles.extend(page_of)
            since = page_until
        return candles

    async def _ask_page(self, params: Params) -> Answer:
        endpoint = self._bulk.v3_public_get_brokerage_market_products_product_id_candles
        return await ask(endpoint, params, seconds=CANDLE_SECONDS)


def _kept(
    memory: OrderedDict[str, SharedQuestion[_Answer]],
    symbol: str,
    make: Callable[[], SharedQuestion[_Answer]],
) -> SharedQuestion[_Answer]:
    """The shared question about a market; those least used are forgotten, so names fill nothing."""
    if symbol not in memory:
        memory[symbol] = make()
    memory.move_to_end(symbol)
    if len(memory) > QUESTIONS_MAX:
        memory.popitem(last=False)
    return memory[symbol]


def _ceil(at: datetime, timeframe: Timeframe) -> datetime:
    floor = timeframe.floor(at)
    return floor if floor == at else floor + timeframe.length
