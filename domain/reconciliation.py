"""What we believe and what the venue says, compared: (ours, venue) -> corrections.

Nothing here asks or writes; a caller asks the venue, calls these functions, and records what they
return in one transaction. They keep these invariants, each under a property test:

1. *Idempotent*: reconciling again after applying a correction finds nothing more to change.
2. *No invention*: every fill recorded is one that the venue listed for that order, once per fill
   id; quantities come from fills alone.
3. *No loss*: a fill that the venue lists for an order of ours is recorded whatever our row says,
   also for an order that we took for ended, refused or absent.
4. *No early end*: an order ends as filled or cancelled only when its recorded fills add up to what
   the venue says was filled. Until the missing ones are listed it stays unsettled.
5. *Not listed is not absent*: an order counts as absent only if its fate was unknown, the venue was
   asked for it and does not list it, and the grace has passed by the venue's clock since sending.
6. *Not ours*: an order or fill that is not ours leads to no correction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from domain.money import ZERO
from domain.orders import FillReport, OrderReport, OrderState, Side

_NEVER_THERE = frozenset(
    {OrderState.INTENDED, OrderState.REFUSED, OrderState.DENIED, OrderState.ABSENT}
)


@dataclass(frozen=True, slots=True)
class OurOrder:
    """An order row and the fills recorded for it.

    Attributes:
        sent_at: venue time at which sending began; None if it never did.
        fills: quantity by the venue's fill id.
    """

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    state: OrderState
    sent_at: datetime | None = None
    venue_order_id: str | None = None
    fills: Mapping[str, Decimal] | None = None

    @property
    def filled_quantity(self) -> Decimal:
        """What the recorded fills add up to."""
        return sum((self.fills or {}).values(), ZERO)


class Anomaly(StrEnum):
    """What people must be told about an order."""

    CAME_BACK = "came_back"
    """The venue has an order that we took for refused, denied, absent or never sent."""
    OVERFILLED = "overfilled"
    """More was filled than was ordered."""
    VANISHED = "vanished"
    """The venue had taken the order and does not list it any more."""
    DIFFERS = "differs"
    """The venue's order is for another market, side or quantity than ours."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What to write about one order.

    Attributes:
        state: the state from now on.
        new_fills: fills to record, oldest first.
        awaits_fills: the venue counts more fills than it lists; ask again.
        anomalies: what to tell people; an anomaly alone changes nothing in the books.
    """

    client_order_id: str
    state: OrderState
    venue_order_id: str | None
    new_fills: tuple[FillReport, ...] = ()
    awaits_fills: bool = False
    anomalies: frozenset[Anomaly] = frozenset()

    def changes(self, order: OurOrder) -> bool:
        """Whether it changes the books of the order."""
        return bool(
            self.new_fills
            or self.state is not order.state
            or self.venue_order_id != order.venue_order_id
        )

    def matters_to(self, order: OurOrder) -> bool:
        """Whether it changes the books, or tells something without changing them."""
        return self.changes(order) or self.awaits_fills or bool(self.anomalies)


@dataclass(frozen=True, slots=True)
class OpenOrders:
    """The venue's open orders, sorted by whose they are.

    Attributes:
        ours: report by client order id, for orders of ours.
        to_look_up: orders of ours that might live and are not among the open ones.
        foreign: everybody else's; never touched.
    """

    ours: Mapping[str, OrderReport]
    to_look_up: tuple[OurOrder, ...]
    foreign: tuple[OrderReport, ...]


class BalanceFinding(StrEnum):
    """How an observed balance compares with the books."""

    MATCHES = "matches"
    UNSETTLED = "unsettled"
    """Orders are on their way: a difference proves nothing yet."""
    INFLOW = "inflow"
    """More is there than our fills explain: a deposit, or trading that is not ours."""
    OUTFLOW = "outflow"
    """Less is there, but enough for our positions: a withdrawal, or trading that is not ours."""
    SHORTFALL = "shortfall"
    """Less is there than our positions hold: they cannot all be closed."""


@dataclass(frozen=True, slots=True)
class BalanceComparison:
    """One currency, expected and observed."""

    currency: str
    expected: Decimal
    observed: Decimal
    finding: BalanceFinding

    @property
    def difference(self) -> Decimal:
        """Observed minus expected: what flowed in from outside."""
        return self.observed - self.expected


def sort_open_orders(ours: Iterable[OurOrder], reports: Iterable[OrderReport]) -> OpenOrders:
    """Tell our orders among the venue's open ones from everybody else's.

    An order of ours that is open or of unknown fate and not in the list has to be looked up: a list
    of open orders says nothing about an order that is not in it.
    """
    by_client_id = {order.client_order_id: order for order in ours}
    by_venue_id = {
        order.venue_order_id: order
        for order in by_client_id.values()
        if order.venue_order_id is not None
    }
    listed: dict[str, OrderReport] = {}
    foreign: list[OrderReport] = []
    for report in reports:
        order = by_client_id.get(report.client_order_id or "") or by_venue_id.get(
            report.venue_order_id
        )
        if order is None:
            foreign.append(report)
        else:
            listed[order.client_order_id] = report
    to_look_up = tuple(
        order
        for order in by_client_id.values()
        if order.client_order_id not in listed
        and (order.state.needs_lookup or order.state is OrderState.OPEN)
    )
    return OpenOrders(ours=listed, to_look_up=to_look_up, foreign=tuple(foreign))


def settle(
    order: OurOrder,
    report: OrderReport | None,
    fills: Sequence[FillReport],
    *,
    now: datetime,
    grace: timedelta,
) -> Correction | None:
    """What to correct about one order, or None if nothing.

    Args:
        order: our row.
        report: the venue's order; None means that the venue was asked for it and does not list it.
        fills: fills that the venue lists; those of other orders are passed over.
        now: the venue's time when it was asked.
        grace: how long "not listed" is not yet "absent".
    """
    if report is None:
        return _settle_unlisted(order, fills, now=now, grace=grace)
    new_fills = _new_fills(order, report.venue_order_id, fills)
    filled = order.filled_quantity + sum((fill.quantity for fill in new_fills), ZERO)
    awaits_fills = filled < report.filled_quantity
    correction = Correction(
        client_order_id=order.client_order_id,
        state=_state(order, report, filled=filled, awaits_fills=awaits_fills),
        venue_order_id=report.venue_order_id,
        new_fills=new_fills,
        awaits_fills=awaits_fills,
        anomalies=_anomalies(order, report, filled),
    )
    return correction if correction.matters_to(order) else None


def apply(order: OurOrder, correction: Correction) -> OurOrder:
    """The order after a correction; what a caller's transaction must amount to."""
    recorded = dict(order.fills or {})
    recorded.update((fill.venue_fill_id, fill.quantity) for fill in correction.new_fills)
    return replace(
        order,
        state=correction.state,
        venue_order_id=correction.venue_order_id,
        fills=recorded,
    )


def flows_of(fill: FillReport, *, base: str, quote: str) -> dict[str, Decimal]:
    """What one fill moves of each currency: base, quote and the fee."""
    sign = fill.side.sign
    flows = {base: fill.quantity * sign, quote: -fill.price * fill.quantity * sign}
    flows[fill.fee_currency] = flows.get(fill.fee_currency, ZERO) - fill.fee
    return flows


def compare_balance(
    currency: str,
    *,
    opening: Decimal,
    flows: Iterable[Decimal],
    observed: Decimal,
    claimed: Decimal = ZERO,
    tolerance: Decimal = ZERO,
    has_unsettled_orders: bool = False,
) -> BalanceComparison:
    """Compare an observed total with the opening balance and the flows of our own fills since.

    Args:
        currency: which one.
        opening: total when the books of this account were opened or last agreed.
        flows: what our fills moved of this currency since then.
        observed: total as the venue tells it now, held parts included.
        claimed: what our open positions hold of it and must be able to sell.
        tolerance: difference that rounding explains.
        has_unsettled_orders: whether orders exist whose fills may not be recorded yet.
    """
    expected = opening + sum(flows, ZERO)
    difference = observed - expected
    if has_unsettled_orders and abs(difference) > tolerance:
        finding = BalanceFinding.UNSETTLED
    elif claimed > ZERO and not has_unsettled_orders and observed + tolerance < claimed:
        # Whether the books have agreed with the venue before or not: it cannot all be sold.
        finding = BalanceFinding.SHORTFALL
    elif abs(difference) <= tolerance:
        finding = BalanceFinding.MATCHES
    elif difference > ZERO:
        finding = BalanceFinding.INFLOW
    else:
        finding = BalanceFinding.OUTFLOW
    return BalanceComparison(currency, expected, observed, finding)


@dataclass(frozen=True, slots=True)
class Claim:
    """What one open position has to be able to sell of a currency."""

    position_id: UUID
    quantity: Decimal
    opened_at: datetime


def share_shortfall(missing: Decimal, claims: Iterable[Claim]) -> dict[UUID, Decimal]:
    """Which positions a shortfall takes what from: the newest first.

    So an older position keeps what it holds as long as anything is left of a newer one, whoever
    sold; the sum is what is missing, or all that is claimed.
    """
    shares: dict[UUID, Decimal] = {}
    newest_first = sorted(
        claims, key=lambda claim: (claim.opened_at, claim.position_id), reverse=True
    )
    for claim in newest_first:
        share = min(missing, claim.quantity)
        if share > ZERO:
            shares[claim.position_id] = share
            missing -= share
    return shares


EXTERNAL_TRADE_TOLERANCE = Decimal("0.1")
"""How far the proceeds of a manual trade may be from its value at the price last seen, as a
fraction: fees, slippage, and what the price did since."""


def external_trades(
    differences: Mapping[str, Decimal], prices: Mapping[str, Decimal], quote: str
) -> frozenset[str]:
    """Which unexplained differences are the two sides of trades that were not ours.

    A base currency that went and a quote currency that came for about its value (or the other way
    round) is a trade: no money came in or went out.

    Args:
        differences: observed minus expected, by currency.
        prices: last price of base currencies, in the quote currency.
        quote: what they are traded against.

    Returns:
        The currencies whose whole difference a trade explains; empty if none is.
    """
    received = differences.get(quote, ZERO)
    if not received:
        return frozenset()
    values = {
        currency: -difference * prices[currency]
        for currency, difference in differences.items()
        if currency != quote and currency in prices and (difference < ZERO) is (received > ZERO)
    }
    for traded in (tuple(values), *((currency,) for currency in sorted(values))):
        worth = sum((values[currency] for currency in traded), ZERO)
        if worth and abs(received - worth) <= abs(worth) * EXTERNAL_TRADE_TOLERANCE:
            return frozenset({quote, *traded})
    return frozenset()


def _settle_unlisted(
    order: OurOrder, fills: Sequence[FillReport], *, now: datetime, grace: timedelta
) -> Correction | None:
    new_fills = _new_fills(order, order.venue_order_id, fills)
    is_known_there = order.venue_order_id is not None
    is_absent = (
        order.state.needs_lookup
        and not is_known_there
        and order.sent_at is not None
        and now - order.sent_at >= grace
    )
    correction = Correction(
        client_order_id=order.client_order_id,
        state=OrderState.ABSENT if is_absent else order.state,
        venue_order_id=order.venue_order_id,
        new_fills=new_fills,
        anomalies=frozenset(
            {Anomaly.VANISHED} if is_known_there and not order.state.is_final else ()
        ),
    )
    return correction if correction.matters_to(order) else None


def _state(
    order: OurOrder, report: OrderReport, *, filled: Decimal, awaits_fills: bool
) -> OrderState:
    if awaits_fills:
        return OrderState.OPEN
    if filled >= order.quantity:
        return OrderState.FILLED
    if report.state is OrderState.UNKNOWN:
        # The venue has the order and does not say how it stands: what it said before holds. Our own
        # word that it never had it does not.
        is_new = order.venue_order_id is None or order.state in _NEVER_THERE
        return OrderState.UNKNOWN if is_new else order.state
    if report.state is OrderState.FILLED or (report.state is OrderState.REFUSED and filled):
        # It ended with less than was ordered; the rest will not come.
        return OrderState.CANCELLED
    return report.state


def _new_fills(
    order: OurOrder, venue_order_id: str | None, fills: Sequence[FillReport]
) -> tuple[FillReport, ...]:
    if venue_order_id is None:
        return ()
    recorded = order.fills or {}
    unique = {
        fill.venue_fill_id: fill
        for fill in fills
        if fill.venue_order_id == venue_order_id and fill.venue_fill_id not in recorded
    }
    return tuple(sorted(unique.values(), key=lambda fill: (fill.filled_at, fill.venue_fill_id)))


def _anomalies(order: OurOrder, report: OrderReport, filled: Decimal) -> frozenset[Anomaly]:
    is_over = order.state.is_final or order.state is OrderState.INTENDED
    has_ended_as_told = order.state in {OrderState.FILLED, OrderState.CANCELLED, report.state}
    differs = (order.symbol, order.side) != (report.symbol, report.side) or (
        report.quantity is not None and report.quantity != order.quantity
    )
    judged = {
        Anomaly.CAME_BACK: is_over
        and not (has_ended_as_told and report.state.is_final)
        and report.state is not OrderState.REFUSED,
        Anomaly.OVERFILLED: filled > order.quantity,
        Anomaly.DIFFERS: differs,
    }
    return frozenset(anomaly for anomaly, is_so in judged.items() if is_so)
