"""Positions: an entry with its exits, as a fold over confirmed fills.

The fold takes the set of all fills of a position, in any order and with any repeats, and gives its
state. Nothing is ever added to a stored total, so nothing can be added twice.

P&L of the contracts: price P&L = side x quantity x (exit - entry); fees are separate; net = price
P&L - fees; percent is of the entry notional. A fee taken in the base currency is a disposal of that
quantity at the fill's price (for a short: an addition), so that net P&L of a flat position is
exactly the cash that came out of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from domain.money import ZERO, pct
from domain.orders import FillReport, Side


class Direction(StrEnum):
    """Which way a position earns."""

    LONG = "long"
    SHORT = "short"

    @property
    def sign(self) -> int:
        """+1 for long, -1 for short."""
        return 1 if self is Direction.LONG else -1

    @property
    def opposite(self) -> Direction:
        """The other direction."""
        return Direction.SHORT if self is Direction.LONG else Direction.LONG

    @property
    def entry_side(self) -> Side:
        """Side of the orders that add to the position."""
        return Side.BUY if self is Direction.LONG else Side.SELL

    @property
    def exit_side(self) -> Side:
        """Side of the orders that reduce the position."""
        return Side.SELL if self is Direction.LONG else Side.BUY


class PositionState(StrEnum):
    """Life of a position: pending -> open -> closed, or pending -> cancelled if nothing filled."""

    PENDING = "pending"
    OPEN = "open"
    CLOSED = "closed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class PositionFill:
    """One execution that belongs to a position.

    Attributes:
        fill_id: the venue's id; the identity of the fill.
        side: direction of the order.
        price: in the quote currency.
        quantity: in the base currency, before fees.
        fee: in `fee_currency`; negative for a rebate.
        fee_currency: quote, base, or a third currency.
        filled_at: venue time.
        fee_value: the fee in the quote currency; needed only for a third currency, None where it
            cannot be known.
    """

    fill_id: str
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_currency: str
    filled_at: datetime
    fee_value: Decimal | None = None

    @property
    def notional(self) -> Decimal:
        """Price times quantity, in the quote currency."""
        return self.price * self.quantity

    @classmethod
    def from_report(cls, report: FillReport, *, fee_value: Decimal | None = None) -> PositionFill:
        """A venue's report as a fill of a position."""
        return cls(
            fill_id=report.venue_fill_id,
            side=report.side,
            price=report.price,
            quantity=report.quantity,
            fee=report.fee,
            fee_currency=report.fee_currency,
            filled_at=report.filled_at,
            fee_value=fee_value,
        )


class ConflictingFill(ValueError):
    """Two different fills carry the same id: the venue's data or our storage is wrong."""


@dataclass(frozen=True, slots=True)
class Position:
    """What the fills of a position amount to.

    Attributes:
        direction: long or short.
        state: pending, open, closed or cancelled.
        entry_quantity: base currency bought (long) or sold (short), before fees.
        entry_notional: quote currency of the entries.
        exit_quantity: base currency of the exits, up to what was held.
        exit_notional: quote currency of the exits, up to what was held.
        surplus_quantity: base currency that exits sold (long) or bought (short) beyond what was
            held: an exit taken for lost filled after its replacement had. It traded the account's
            own currency and is no part of the position's price P&L; its fee is.
        gone_quantity: base currency that left by manual actions or was given up, at no known price;
            it is no part of the price P&L.
        fee_base_quantity: fees that were taken in the base currency, in the base currency.
        fee_base_notional: the same valued at the fills' prices, in the quote currency.
        fees: every fee that can be valued, in the quote currency.
        fees_known: false when a fee in a third currency has no value.
        opened_at: venue time of the first entry fill.
        closed_at: venue time of the last fill of a closed position.
        fill_count: how many distinct fills went in.
    """

    direction: Direction
    state: PositionState
    entry_quantity: Decimal
    entry_notional: Decimal
    exit_quantity: Decimal
    exit_notional: Decimal
    surplus_quantity: Decimal
    gone_quantity: Decimal
    fee_base_quantity: Decimal
    fee_base_notional: Decimal
    fees: Decimal
    fees_known: bool
    opened_at: datetime | None
    closed_at: datetime | None
    fill_count: int

    @property
    def remaining_quantity(self) -> Decimal:
        """Base currency still held (long) or owed (short)."""
        fees = self.fee_base_quantity * self.direction.sign
        return self.entry_quantity - self.exit_quantity - fees - self.gone_quantity

    @property
    def average_entry_price(self) -> Decimal | None:
        """Mean entry price weighted by quantity; None before the first entry fill."""
        return self.entry_notional / self.entry_quantity if self.entry_quantity else None

    @property
    def average_exit_price(self) -> Decimal | None:
        """Mean exit price weighted by quantity; None before the first exit fill."""
        return self.exit_notional / self.exit_quantity if self.exit_quantity else None

    @property
    def open_notional(self) -> Decimal:
        """What is still held or owed, at the average entry price, in the quote currency."""
        price = self.average_entry_price
        return ZERO if price is None else max(ZERO, self.remaining_quantity) * price

    @property
    def price_pnl(self) -> Decimal:
        """Realised price P&L in the quote currency, before fees."""
        entered, entered_notional = self.entry_quantity, self.entry_notional
        left, left_notional = self.exit_quantity, self.exit_notional
        if self.direction is Direction.LONG:
            left, left_notional = (
                left + self.fee_base_quantity,
                left_notional + self.fee_base_notional,
            )
        else:
            entered, entered_notional = (
                entered + self.fee_base_quantity,
                entered_notional + self.fee_base_notional,
            )
        if not entered:
            return ZERO
        # Flat needs no division by the entered quantity, and so stays exact.
        cost = entered_notional if left == entered else entered_notional * left / entered
        return (left_notional - cost) * self.direction.sign

    @property
    def net_pnl(self) -> Decimal | None:
        """Realised P&L after all fees so far; None while a fee cannot be valued."""
        return self.price_pnl - self.fees if self.fees_known else None

    @property
    def net_pnl_pct(self) -> Decimal | None:
        """Net P&L as percent of the entry notional."""
        net = self.net_pnl
        return None if net is None else pct(net, self.entry_notional)

    def unrealized_pnl(self, price: Decimal) -> Decimal:
        """Price P&L in the quote currency of what is open if it left at `price`, before fees."""
        entry = self.average_entry_price
        if entry is None:
            return ZERO
        return (price - entry) * max(ZERO, self.remaining_quantity) * self.direction.sign

    def unrealized_pnl_pct(self, price: Decimal) -> Decimal:
        """Unrealised P&L as percent of the entry notional of what is still open."""
        return pct(self.unrealized_pnl(price), self.open_notional)


def fold_fills(
    direction: Direction,
    fills: Iterable[PositionFill],
    *,
    base: str,
    quote: str,
    entry_final: bool,
    dust: Decimal = ZERO,
    gone: Decimal = ZERO,
) -> Position:
    """Fold the fills of a position into its state.

    Args:
        direction: long or short.
        fills: every fill of the position's orders; order and repeats do not matter.
        base: base currency of the market.
        quote: quote currency of the market.
        entry_final: whether nothing more can come from the entry orders.
        dust: a remaining quantity below this can never be traded (the market's quantity step) and
            counts as flat; it stays in the account's balance and out of this position's P&L.
        gone: what was found to have left without an order of ours. Exits that turn up later explain
            as much of it as they sold.

    Raises:
        ConflictingFill: one id, two different fills.
        ValueError: a quantity or price that is not positive.
    """
    distinct = _distinct(fills)
    entries = [fill for fill in distinct if fill.side is direction.entry_side]
    exits = [fill for fill in distinct if fill.side is direction.exit_side]
    in_base = [fill for fill in distinct if fill.fee_currency == base]
    fee_values = [_fee_value(fill, base=base, quote=quote) for fill in distinct]
    entry_quantity = sum((fill.quantity for fill in entries), ZERO)
    fee_base_quantity = sum((fill.fee for fill in in_base), ZERO)
    held = max(ZERO, entry_quantity - fee_base_quantity * direction.sign)
    exit_quantity, exit_notional, surplus_quantity = _exited(exits, held)
    position = Position(
        direction=direction,
        state=PositionState.PENDING,
        entry_quantity=entry_quantity,
        entry_notional=sum((fill.notional for fill in entries), ZERO),
        exit_quantity=exit_quantity,
        exit_notional=exit_notional,
        surplus_quantity=surplus_quantity,
        gone_quantity=min(gone, held - exit_quantity),
        fee_base_quantity=fee_base_quantity,
        fee_base_notional=sum((fill.fee * fill.price for fill in in_base), ZERO),
        fees=sum((value for value in fee_values if value is not None), ZERO),
        fees_known=None not in fee_values,
        opened_at=min((fill.filled_at for fill in entries), default=None),
        closed_at=None,
        fill_count=len(distinct),
    )
    state = _state(position, entry_final=entry_final, dust=dust)
    closed_at = None
    if state is PositionState.CLOSED:
        closed_at = max(fill.filled_at for fill in distinct)
    return replace(position, state=state, closed_at=closed_at)


def _exited(exits: list[PositionFill], held: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """Quantity and notional of the exits up to what was held, and the quantity beyond it.

    The earliest fills come first: what left when nothing was held any more is the surplus.
    """
    quantity = sum((fill.quantity for fill in exits), ZERO)
    if quantity <= held:
        return quantity, sum((fill.notional for fill in exits), ZERO), ZERO
    left, notional = held, ZERO
    for fill in sorted(exits, key=lambda fill: (fill.filled_at, fill.fill_id)):
        taken = min(fill.quantity, left)
        notional += taken * fill.price
        left -= taken
    return held, notional, quantity - held


def _distinct(fills: Iterable[PositionFill]) -> list[PositionFill]:
    by_id: dict[str, PositionFill] = {}
    for fill in fills:
        if fill.quantity <= ZERO or fill.price <= ZERO:
            raise ValueError(f"Fill {fill.fill_id} needs a positive price and quantity")
        known = by_id.get(fill.fill_id)
        by_id[fill.fill_id] = fill if known is None else _same(known, fill)
    # Decimal sums round at 28 digits, so the order of addition is fixed too.
    return [by_id[fill_id] for fill_id in sorted(by_id)]


def _same(known: PositionFill, repeat: PositionFill) -> PositionFill:
    """The better informed of two reports of one fill: a fee may have got its value later."""
    values = {known.fee_value, repeat.fee_value} - {None}
    if len(values) > 1 or replace(known, fee_value=None) != replace(repeat, fee_value=None):
        raise ConflictingFill(f"Two different fills have the id {known.fill_id}")
    return repeat if known.fee_value is None else known


def _fee_value(fill: PositionFill, *, base: str, quote: str) -> Decimal | None:
    if fill.fee_currency == quote or not fill.fee:
        return fill.fee
    if fill.fee_currency == base:
        return fill.fee * fill.price
    return fill.fee_value


def _state(position: Position, *, entry_final: bool, dust: Decimal) -> PositionState:
    if not position.fill_count:
        return PositionState.CANCELLED if entry_final else PositionState.PENDING
    remaining = position.remaining_quantity
    # Exits without an entry are a fact only reconciliation can explain, so they do not close
    # anything.
    is_flat = position.entry_quantity > ZERO and (remaining <= ZERO or remaining < dust)
    return PositionState.CLOSED if is_flat and entry_final else PositionState.OPEN
