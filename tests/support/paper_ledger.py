"""The books of paper accounts in memory: a hand-written stand-in at `domain.ports.PaperLedger`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from domain.money import ZERO
from domain.orders import (
    Balances,
    CurrencyBalance,
    FillReport,
    OrderReport,
    OrderRequest,
    OrderState,
    PlaceOutcome,
    Refused,
    Side,
)
from domain.paper import paper_order_id
from domain.ports import AccountRef
from domain.reconciliation import flows_of


class InMemoryPaperLedger:
    """Keeps what `execute` records; nothing else moves balances."""

    def __init__(self, opening: Mapping[str, Decimal]) -> None:
        self._opening = dict(opening)
        self._totals: dict[UUID, dict[str, Decimal]] = {}
        self._orders: dict[UUID, dict[str, OrderReport]] = {}
        self._fills: dict[UUID, list[FillReport]] = {}

    async def balances(self, ref: AccountRef) -> Balances:
        totals = self._totals.get(ref.account_id, self._opening)
        return {currency: CurrencyBalance(currency, total) for currency, total in totals.items()}

    async def find(
        self,
        ref: AccountRef,
        *,
        client_order_id: str | None = None,
        venue_order_id: str | None = None,
    ) -> OrderReport | None:
        for order in self._orders.get(ref.account_id, {}).values():
            if client_order_id == order.client_order_id or venue_order_id == order.venue_order_id:
                return order
        return None

    async def execute(
        self,
        ref: AccountRef,
        request: OrderRequest,
        *,
        base: str,
        quote: str,
        fills: Sequence[FillReport],
        state: str,
        at: datetime,
    ) -> OrderReport | PlaceOutcome:
        known = await self.find(ref, client_order_id=request.client_order_id)
        if known is not None:
            return known
        totals = dict(self._totals.get(ref.account_id, self._opening))
        for fill in fills:
            for currency, flow in flows_of(fill, base=base, quote=quote).items():
                totals[currency] = totals.get(currency, ZERO) + flow
        if any(total < ZERO for total in totals.values()):
            return Refused("insufficient_funds", "The account holds less than that")
        order = OrderReport(
            venue_order_id=paper_order_id(ref.account_id, request.client_order_id),
            client_order_id=request.client_order_id,
            symbol=request.symbol,
            side=Side(request.side),
            state=OrderState(state),
            quantity=request.quantity,
            filled_quantity=sum((fill.quantity for fill in fills), ZERO),
            created_at=at,
        )
        self._totals[ref.account_id] = totals
        self._orders.setdefault(ref.account_id, {})[request.client_order_id] = order
        self._fills.setdefault(ref.account_id, []).extend(fills)
        return order

    async def open_orders(self, ref: AccountRef) -> Sequence[OrderReport]:
        orders = self._orders.get(ref.account_id, {}).values()
        return [order for order in orders if order.state is OrderState.OPEN]

    async def fills(
        self,
        ref: AccountRef,
        *,
        symbol: str | None,
        venue_order_id: str | None,
        since: datetime,
    ) -> Sequence[FillReport]:
        return [
            fill
            for fill in self._fills.get(ref.account_id, [])
            if fill.filled_at >= since
            and symbol in {None, fill.symbol}
            and venue_order_id in {None, fill.venue_order_id}
        ]
