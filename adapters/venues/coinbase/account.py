"""One user's trading account at Coinbase or at the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import ccxt
import structlog

from adapters.venues.coinbase import outcomes, parse
from adapters.venues.coinbase.client import (
    DEADLINE_SECONDS,
    Answer,
    AnsweredError,
    Endpoint,
    MayLeave,
    Params,
    as_object,
    ask,
    private_client,
)
from adapters.venues.coinbase.market_data import CoinbaseMarketData
from adapters.venues.errors import VenueAnswerMalformedError
from adapters.venues.flight import SharedQuestion
from adapters.venues.order_rules import refusal_by_rules, refusal_by_shape
from domain.markets import FeeRates
from domain.money import ZERO
from domain.orders import (
    Balances,
    CurrencyBalance,
    FillReport,
    OrderReport,
    OrderRequest,
    OrderType,
    PlaceOutcome,
    Refused,
    TimeInForce,
    Unknown,
)
from domain.ports import (
    KeyPermissions,
    VenueCredentials,
    VenueRefusedKeys,
    VenueUnavailable,
)

PAGES_MAX = 200
FEES_FRESH_SECONDS = 300.0
PAGE_SIZE = 250
# An order may carry a time slightly before the one its sender read, and the list's filter is by
# that time.
LOOK_UP_MARGIN = timedelta(minutes=1)
_HTTP_NOT_FOUND = 404
_BY_RULES = frozenset(
    {
        "quantity_precision",
        "quantity_minimum",
        "notional_minimum",
        "quantity_maximum",
        "notional_maximum",
        "price_precision",
        "unsupported_order_type",
        "unknown_symbol",
        "order_entry_disabled",
    }
)
"""Refusals by something that the list of markets says: it has changed since it was read."""

_log = structlog.get_logger("nija.account")


class CoinbaseAccount:
    """Implements `domain.ports.VenueAccount`.

    A command is sent once: ccxt's retries are off and HTTP's do not apply to POST. If the task
    that sends it is cancelled, or dies of an exception, nobody can say what became of the order:
    its row stays *sending*, which is settled by looking it up, exactly as *unknown* is.

    Args:
        credentials: the user's keys.
        market_data: where the rules of markets come from; shared by all accounts.
        simulator_url: base address of the exchange simulator; None means the real Coinbase.
        may_leave: asked right before each request leaves; it raises where the keys may not be used
            any more.

    Raises:
        VenueRefusedKeys: the keys cannot sign a request.
    """

    def __init__(
        self,
        *,
        credentials: VenueCredentials,
        market_data: CoinbaseMarketData,
        simulator_url: str | None,
        may_leave: MayLeave | None = None,
    ) -> None:
        self._client = private_client(simulator_url, credentials, market_data.budget, may_leave)
        self._market_data = market_data
        self._fees_question = SharedQuestion(self._ask_fees, fresh_seconds=FEES_FRESH_SECONDS)

    @property
    def repeats_known_orders(self) -> bool:
        """A client order id that is known is answered with its order."""
        return True

    async def balances(self) -> Balances:
        """Every currency the account holds, with what open orders hold of it.

        A wallet that cannot be read costs its own currency only, as long as it says which.
        """
        balances: Balances = {}
        async for wallet in self._pages(
            self._client.v3_private_get_brokerage_accounts, {"limit": PAGE_SIZE}, "accounts"
        ):
            one = _balance(wallet)
            before = balances.get(one.currency, CurrencyBalance(one.currency, total=ZERO))
            balances[one.currency] = CurrencyBalance(
                one.currency,
                total=before.total + one.total,
                held=before.held + one.held,
                is_known=before.is_known and one.is_known,
            )
        return balances

    async def fees(self) -> FeeRates:
        """Fee rates of the account's own tier, at most some minutes old."""
        return await self._fees_question.answer()

    async def _ask_fees(self) -> FeeRates:
        return parse.parse_fees(
            await ask(
                self._client.v3_private_get_brokerage_transaction_summary, {"product_type": "SPOT"}
            )
        )

    async def place(self, request: OrderRequest) -> PlaceOutcome:
        """Send one order once, unless it breaks a published rule.

        Coinbase answers a client order id that it knows with the order it has, so a repetition
        makes no second one.
        """
        refusal = self._own_refusal(request)
        if refusal is not None:
            return refusal
        answer = await self._command(
            self._client.v3_private_post_brokerage_orders,
            {
                "client_order_id": request.client_order_id,
                "product_id": request.symbol,
                "side": request.side.value.upper(),
                "order_configuration": _configuration(request),
            },
        )
        outcome = outcomes.placed(answer) if isinstance(answer, dict) else answer
        if isinstance(outcome, Refused) and outcome.code in _BY_RULES:
            self._market_data.doubt_rules()
        return outcome

    async def cancel(self, venue_order_id: str, symbol: str) -> PlaceOutcome:
        """Ask to cancel. Accepted means the request was taken; the order's report tells the end."""
        answer = await self._command(
            self._client.v3_private_post_brokerage_orders_batch_cancel,
            {"order_ids": [venue_order_id]},
        )
        if isinstance(answer, dict):
            return outcomes.cancelled(answer, venue_order_id)
        return answer

    async def order(self, venue_order_id: str, symbol: str) -> OrderReport | None:
        """One order by the venue's id; None when the venue says it does not know it."""
        endpoint = self._client.v3_private_get_brokerage_orders_historical_order_id
        try:
            answer = await ask(endpoint, {"order_id": venue_order_id})
        except VenueUnavailable as failure:
            if _is_not_found(failure.__cause__):
                return None
            raise
        return parse.parse_order(parse.part(answer, "order"))

    async def find_order(
        self, client_order_id: str, symbol: str, *, since: datetime
    ) -> OrderReport | None:
        """Look an order up by client order id. None means *not listed*, not *absent*.

        Coinbase cannot be asked for a client order id: its orders of that market since then are
        listed and searched.
        """
        params: dict[str, object] = {
            "product_ids": symbol,
            "start_date": _timestamp(since - LOOK_UP_MARGIN),
            "limit": PAGE_SIZE,
        }
        endpoint = self._client.v3_private_get_brokerage_orders_historical_batch
        async with aclosing(self._pages(endpoint, params, "orders")) as orders:
            async for order in orders:
                if order.get("client_order_id") == client_order_id:
                    return parse.parse_order(order)
        return None

    async def open_orders(self) -> Sequence[OrderReport]:
        """Every resting spot order of the account, also those that are not ours."""
        endpoint = self._client.v3_private_get_brokerage_orders_historical_batch
        params: dict[str, object] = {"order_status": "OPEN", "limit": PAGE_SIZE}
        orders = [order async for order in self._pages(endpoint, params, "orders")]
        reports = [parse.parse_order(order) for order in orders if parse.is_spot(order)]
        return list({report.venue_order_id: report for report in reports}.values())

    async def fills(
        self, *, symbol: str | None = None, venue_order_id: str | None = None, since: datetime
    ) -> Sequence[FillReport]:
        """Spot executions since a venue time, oldest first, each once.

        The venue's filter is by the time of booking; what it lists is not filtered again by the
        time of trading, for a fill too many does no harm and a fill too few does. Of an order that
        is named every row must be readable; in a listing of everything, one that is not (a reversal
        of somebody else's trade, say) is left out.
        """
        params: dict[str, object] = {
            "start_sequence_timestamp": _timestamp(since),
            "limit": PAGE_SIZE,
        }
        if symbol is not None:
            params["product_ids"] = symbol
        if venue_order_id is not None:
            params["order_ids"] = venue_order_id
        endpoint = self._client.v3_private_get_brokerage_orders_historical_fills
        listed = [fill async for fill in self._pages(endpoint, params, "fills")]
        read = _fill if venue_order_id is None else _fill_or_fail
        fills = [fill for fill in map(read, listed) if fill is not None]
        unique = {
            fill.venue_fill_id: fill
            for fill in fills
            if symbol in {None, fill.symbol} and venue_order_id in {None, fill.venue_order_id}
        }
        # The listing is newest first: fills of the same instant keep their order when turned round.
        oldest_first = list(unique.values())[::-1]
        return sorted(oldest_first, key=lambda fill: fill.filled_at)

    async def permissions(self) -> KeyPermissions:
        """What the keys may do."""
        return parse.parse_permissions(
            await ask(self._client.v3_private_get_brokerage_key_permissions, {})
        )

    async def close(self) -> None:
        """Release connections."""
        await self._client.close()

    def _own_refusal(self, request: OrderRequest) -> Refused | None:
        """The rule that an order breaks, by the rules that are known without asking.

        An exit waits for no list of markets, and a market that is missing from one refuses nothing:
        the venue checks by its own rules. So it does with a repetition, which it may have taken
        under others.
        """
        if request.is_repetition:
            return refusal_by_shape(request)
        rules = self._market_data.known_rules().get(request.symbol)
        return refusal_by_shape(request) if rules is None else refusal_by_rules(request, rules)

    async def _command(self, endpoint: Endpoint, params: Params) -> Answer | PlaceOutcome:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return as_object(await endpoint(dict(params)))
        except TimeoutError:
            return Unknown("Coinbase did not answer in time")
        except VenueRefusedKeys as failure:
            return Refused("keys_refused", str(failure))
        except VenueAnswerMalformedError as failure:
            return Unknown(str(failure))
        except VenueUnavailable as failure:
            return Refused("not_sent", str(failure))  # it did not leave
        except (AnsweredError, ccxt.BaseError) as error:
            return outcomes.failed(error)

    async def _pages(
        self, endpoint: Endpoint, params: Params, name: str
    ) -> AsyncGenerator[parse.Json, None]:
        """Yield the items of all pages.

        Raises:
            VenueUnavailable: a page failed or there are too many; a part of a list is never taken
                for all of it.
        """
        cursor = ""
        for _ in range(PAGES_MAX):
            page = await ask(endpoint, {**params, "cursor": cursor} if cursor else params)
            for item in parse.items(page, name):
                yield item
            following = page.get("cursor") or ""
            # Fills come with a cursor only; orders and accounts also say whether more is to come.
            if not following or page.get("has_next") is False:
                return
            if following == cursor:
                raise VenueAnswerMalformedError("Coinbase's pages go in a circle")
            cursor = following
        raise VenueUnavailable(f"Coinbase lists more than {PAGES_MAX} pages of {name}")


def _balance(wallet: parse.Json) -> CurrencyBalance:
    try:
        return parse.parse_balance(wallet)
    except VenueAnswerMalformedError as failure:
        currency = parse.text(wallet, "currency")
        _log.warning("account.wallet_malformed", currency=currency, why=str(failure))
        return CurrencyBalance(currency, total=ZERO, is_known=False)


def _fill_or_fail(row: parse.Json) -> FillReport | None:
    return parse.parse_fill(row) if parse.is_spot(row) else None


def _fill(row: parse.Json) -> FillReport | None:
    try:
        return _fill_or_fail(row)
    except VenueAnswerMalformedError as failure:
        _log.warning("account.fill_malformed", why=str(failure))
        return None


def _configuration(request: OrderRequest) -> dict[str, dict[str, object]]:
    size = {"base_size": _plain(request.quantity)}
    if request.type is OrderType.MARKET:
        return {"market_market_ioc": dict(size)}
    assert request.limit_price is not None, "the rules refuse a limit order without a price"
    limit: dict[str, object] = {**size, "limit_price": _plain(request.limit_price)}
    match request.time_in_force:
        case TimeInForce.IOC:
            return {"sor_limit_ioc": limit}
        case TimeInForce.FOK:
            return {"limit_limit_fok": limit}
        case TimeInForce.GTC:
            return {"limit_limit_gtc": {**limit, "post_only": request.post_only}}


def _plain(value: Decimal) -> str:
    """A decimal without an exponent, which Coinbase does not read, and without trailing zeros."""
    return f"{value.normalize():f}"


def _timestamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _is_not_found(cause: BaseException | None) -> bool:
    """Whether the venue said that it does not know the order.

    ccxt has no class for it: it looks for a text that its transpiler broke ("order with self
    orderID"), and raises the bare `ExchangeError`. Status 404 *and* Coinbase's own error object
    are needed: a bare 404 may be a proxy's.
    """
    if not isinstance(cause, AnsweredError) or cause.answer.status != _HTTP_NOT_FOUND:
        return False
    return isinstance(cause.answer.body.get("error"), str)
