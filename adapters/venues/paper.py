"""The paper venue: orders of paper accounts, executed against the imitated venue's live order book.

It is a venue like any other: the same port, the same refusals, fees, precision and minimums as the
venue whose market data it uses. Its books are kept by a `PaperLedger`; it speaks no SQL and
remembers nothing itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from adapters.venues.order_rules import refusal_by_rules, refusal_by_shape
from domain.markets import FeeRates, MarketRules, MarketStatus, OrderBook
from domain.money import ZERO
from domain.orders import (
    Accepted,
    Balances,
    FillReport,
    OrderReport,
    OrderRequest,
    OrderType,
    PlaceOutcome,
    Refused,
    TimeInForce,
)
from domain.paper import Execution, execute, fill_reports, funds_needed, paper_order_id
from domain.ports import (
    AccountRef,
    KeyPermissions,
    MarketData,
    PaperLedger,
    VenueUnavailable,
)
from domain.requests import Purpose, purpose_of_requests, requests_for

CLOCK_SECONDS = 0.5
"""How long an order waits for the clock of a venue whose time is known otherwise."""

FEES_SECONDS = 0.5
"""How long an exit waits for the venue's fees where those paid before are known."""

_RATE_STEP = Decimal("1e-8")
"""What of a rate that is read back from a fill is more than the rounding of its fee."""

_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PaperFees:
    """Fee rates that replace the imitated venue's public ones; None keeps the venue's."""

    maker_rate: Decimal | None = None
    taker_rate: Decimal | None = None


class PaperAccount:
    """Implements `domain.ports.VenueAccount` for one paper account.

    Args:
        ref: whose account it is.
        market_data: the imitated venue.
        ledger: the durable books.
        fees: rates that replace the venue's.
    """

    def __init__(
        self,
        *,
        ref: AccountRef,
        market_data: MarketData,
        ledger: PaperLedger,
        fees: PaperFees | None = None,
    ) -> None:
        self._ref = ref
        self._market_data = market_data
        self._ledger = ledger
        self._fee_overrides = fees or PaperFees()

    @property
    def repeats_known_orders(self) -> bool:
        """A client order id that is known is answered with its order."""
        return True

    async def balances(self) -> Balances:
        """Every currency the account holds."""
        return await self._ledger.balances(self._ref)

    async def fees(self) -> FeeRates:
        """What this account pays: the venue's fees for a new account, unless they are set."""
        overrides = self._fee_overrides
        if overrides.maker_rate is not None and overrides.taker_rate is not None:
            return FeeRates(maker_rate=overrides.maker_rate, taker_rate=overrides.taker_rate)
        public = await self._public_fees()
        maker, taker = overrides.maker_rate, overrides.taker_rate
        return FeeRates(
            maker_rate=public.maker_rate if maker is None else maker,
            taker_rate=public.taker_rate if taker is None else taker,
        )

    async def place(self, request: OrderRequest) -> PlaceOutcome:
        """Execute an order once; a client order id that the ledger knows is that order.

        If the market cannot be seen, nothing was recorded, so that is a refusal. If the *ledger*
        fails, its exception goes through: the caller looks the order up, as after any send that
        did not come back.
        """
        known = await self._ledger.find(self._ref, client_order_id=request.client_order_id)
        if known is not None:
            return Accepted(known.venue_order_id)
        try:
            with requests_for(_purpose()):
                prepared = await self._prepare(request)
        except VenueUnavailable as failure:
            return Refused("market_data_unavailable", str(failure))
        return prepared if isinstance(prepared, Refused) else await self._record(request, *prepared)

    async def cancel(self, venue_order_id: str, symbol: str) -> PlaceOutcome:
        """Refused: every paper order has ended by the time its id is known."""
        known = await self._ledger.find(self._ref, venue_order_id=venue_order_id)
        if known is None:
            return Refused("unknown_order", "There is no such paper order")
        return Refused("order_not_open", "The paper order has ended already")

    async def order(self, venue_order_id: str, symbol: str) -> OrderReport | None:
        """One order by the paper venue's id."""
        return await self._ledger.find(self._ref, venue_order_id=venue_order_id)

    async def find_order(
        self, client_order_id: str, symbol: str, *, since: datetime
    ) -> OrderReport | None:
        """Look an order up by client order id; here *not listed* is *absent*."""
        return await self._ledger.find(self._ref, client_order_id=client_order_id)

    async def open_orders(self) -> Sequence[OrderReport]:
        """Every resting paper order."""
        return await self._ledger.open_orders(self._ref)

    async def fills(
        self, *, symbol: str | None = None, venue_order_id: str | None = None, since: datetime
    ) -> Sequence[FillReport]:
        """Executions since a venue time, oldest first."""
        return await self._ledger.fills(
            self._ref, symbol=symbol, venue_order_id=venue_order_id, since=since
        )

    async def permissions(self) -> KeyPermissions:
        """A paper account needs no keys; it holds nothing to withdraw."""
        return KeyPermissions(can_read=True, can_trade=True, can_withdraw=False)

    async def close(self) -> None:
        """Nothing to release: market data and ledger are shared."""

    async def _prepare(self, request: OrderRequest) -> Refused | tuple[Execution, datetime]:
        """Everything that decides about the order, from one look at the market.

        An exit waits for no list of markets, and one that misses its market refuses nothing: its
        size was made by the rules that its position keeps, and the order book is the market's.
        """
        if _is_of_exit():
            rules = self._market_data.known_rules().get(request.symbol)
        else:
            rules = (await self._market_data.rules()).get(request.symbol)
            if rules is None:
                return Refused("unknown_symbol", f"There is no market {request.symbol}")
        refusal = _refusal_by_kind(request)
        if refusal is None and rules is not None:
            refusal = refusal_by_rules(request, rules) or _refusal_by_status(request, rules)
        if refusal is not None:
            return refusal
        fees = await self.fees()
        book = await self._market_data.order_book(request.symbol)
        at = await self._time(book)
        execution = execute(request, book, fees)
        if isinstance(execution, Refused):
            return execution
        most = None if rules is None else rules.notional_max
        base, quote = _currencies(request)
        if most is not None and execution.notional > most:
            return Refused(
                "notional_maximum", f"The order is above the maximum of {most:f} {quote}"
            )
        funds = funds_needed(request, execution, fees, base=base, quote=quote)
        balance = (await self._ledger.balances(self._ref)).get(funds.currency)
        available = ZERO if balance is None else balance.available
        if available < funds.amount:
            return Refused("insufficient_funds", f"The order needs more {funds.currency}")
        return execution, at

    async def _public_fees(self) -> FeeRates:
        """The venue's fees; an exit, which waits for no table of fees, pays what was paid before.

        Raises:
            VenueUnavailable: they cannot be had, and nothing was paid before.
        """
        if not _is_of_exit():
            return await self._market_data.public_fees()
        try:
            async with asyncio.timeout(FEES_SECONDS):
                return await self._market_data.public_fees()
        except (TimeoutError, VenueUnavailable):
            return await self._paid_before() or await self._market_data.public_fees()

    async def _paid_before(self) -> FeeRates | None:
        fills = await self._ledger.fills(self._ref, symbol=None, venue_order_id=None, since=_EVER)
        if not fills:
            return None
        last = fills[-1]
        rate = (last.fee / (last.price * last.quantity)).quantize(_RATE_STEP)
        return FeeRates(maker_rate=rate, taker_rate=rate)

    async def _time(self, book: OrderBook) -> datetime:
        """The venue's clock, asked for a moment; else as it was last seen, else the book's time."""
        known = self._market_data.known_clock()
        otherwise = known.now if known is not None else book.at
        try:
            async with asyncio.timeout(None if otherwise is None else CLOCK_SECONDS):
                return (await self._market_data.clock()).now
        except (TimeoutError, VenueUnavailable):
            if otherwise is None:
                raise
            return otherwise

    async def _record(
        self, request: OrderRequest, execution: Execution, at: datetime
    ) -> PlaceOutcome:
        base, quote = _currencies(request)
        venue_order_id = paper_order_id(self._ref.account_id, request.client_order_id)
        recorded = await self._ledger.execute(
            self._ref,
            request,
            base=base,
            quote=quote,
            fills=fill_reports(
                request,
                execution,
                venue_order_id=venue_order_id,
                fee_currency=quote,
                at=at,
            ),
            state=execution.state.value,
            at=at,
        )
        return Accepted(recorded.venue_order_id) if isinstance(recorded, OrderReport) else recorded


def _currencies(request: OrderRequest) -> tuple[str, str]:
    """Base and quote currency of an order's market."""
    base, _, quote = request.symbol.partition("-")
    return base, quote


def _refusal_by_kind(request: OrderRequest) -> Refused | None:
    # A resting order needs somebody who fills it later; limit orders that wait are rows of the
    # trigger table.
    if request.type is OrderType.LIMIT and request.time_in_force is TimeInForce.GTC:
        return Refused(
            "unsupported_time_in_force", "A paper order fills at once or not at all (IOC or FOK)"
        )
    return refusal_by_shape(request)


def _refusal_by_status(request: OrderRequest, rules: MarketRules) -> Refused | None:
    """What the imitated venue refuses while its market takes only some orders."""
    match rules.status:
        case MarketStatus.OPEN:
            return None
        case MarketStatus.LIMIT_ONLY if request.type is OrderType.LIMIT:
            return None
        case MarketStatus.LIMIT_ONLY:
            return Refused("unsupported_order_type", "The market takes limit orders only")
        case MarketStatus.POST_ONLY | MarketStatus.AUCTION:
            return Refused("unsupported_order_type", "The market takes resting limit orders only")
        case MarketStatus.CANCEL_ONLY | MarketStatus.HALTED:
            return Refused("trading_disabled", "The market takes no orders at present")


def _is_of_exit() -> bool:
    """Whether requests are made for an exit, or as `_purpose` says for one."""
    return purpose_of_requests() in {Purpose.EXIT, Purpose.LOOK_UP}


def _purpose() -> Purpose:
    """What the market is asked for: after the prices that stops, of real money too, wait for.

    A real exit is asked of its own account; a paper one looks at the market, with the public
    requests that all users share, and anybody can make many.
    """
    purpose = purpose_of_requests()
    return Purpose.LOOK_UP if purpose is Purpose.EXIT else purpose
