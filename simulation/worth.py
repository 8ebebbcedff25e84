"""What accounts are worth and what trades made: the product's sums against sums made here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlmodel import select

from models.connections import Account
from services.analytics.recounting import count_differences
from services.trading.figures import live_positions, valuation
from simulation.books import Books
from simulation.database import SteppedDatabase
from simulation.users import SimulatedUser
from simulation.venue import Venue
from simulation.violations import Violation

ZERO = Decimal(0)


async def check_worth(
    database: SteppedDatabase, books: Books, venue: Venue, users: Sequence[SimulatedUser]
) -> None:
    """Equity and open profit equal what the venue's executions and manual moves come to.

    Raises:
        Violation: they do not.
    """
    prices = {symbol: book.price for symbol, book in venue.exchange.engine.books.items()}
    opening = {
        account_id: user.opening for user in users for account_id in user.account_ids.values()
    }
    for row in books.accounts:
        account_id = row["id"]
        async with database.as_system() as session:
            account = (await session.exec(select(Account).where(Account.id == account_id))).one()
            positions = await live_positions(session, account_id)
            found = await valuation(session, account, positions, prices)
            differences = await count_differences(session, account_id)
        if differences:
            raise Violation("rollups_differ", f"{differences} roll-ups of {account_id}")
        equity = _equity(books, venue, account_id, opening[account_id], prices)
        if found.worth.equity != equity:
            raise Violation(
                "equity_differs", f"{account_id}: {found.worth.equity}, recomputed {equity}"
            )
        profit = _open_profit(books, account_id, prices)
        if found.unrealized_pnl is None or not _is_close(found.unrealized_pnl, profit):
            raise Violation(
                "profit_differs", f"open of {account_id}: {found.unrealized_pnl}, {profit}"
            )


def _equity(
    books: Books,
    venue: Venue,
    account_id: object,
    opening: Mapping[str, Decimal],
    prices: Mapping[str, Decimal],
) -> Decimal:
    """From the opening balances, executions and manual moves alone; no balance is read."""
    held: dict[str, Decimal] = defaultdict(lambda: ZERO, opening)
    for fill in books.fills:
        if fill["account_id"] == account_id:
            base, quote = fill["symbol"].split("-")
            sign = 1 if fill["side"] == "buy" else -1
            held[base] += sign * fill["quantity"]
            held[quote] -= sign * fill["quantity"] * fill["price"] + fill["fee"]
    for move in venue.manual_moves:
        if move.account_id == str(account_id):
            held[move.currency] += move.amount
    return held["USD"] + sum(
        (amount * prices.get(f"{currency}-USD", ZERO) for currency, amount in held.items()), ZERO
    )


def _open_profit(books: Books, account_id: object, prices: Mapping[str, Decimal]) -> Decimal:
    total = ZERO
    for position in books.positions:
        if position["account_id"] != account_id or position["state"] != "open":
            continue
        fills = [it for it in books.fills if it["position_id"] == position["id"]]
        bought = [it for it in fills if it["side"] == "buy"]
        quantity = sum((it["quantity"] for it in bought), ZERO)
        paid = sum((it["quantity"] * it["price"] for it in bought), ZERO)
        sold = sum((it["quantity"] for it in fills if it["side"] == "sell"), ZERO)
        sold += position["closed_elsewhere_quantity"] + position["written_off_quantity"]
        total += (prices[position["symbol"]] - paid / quantity) * (quantity - sold)
    return total


def _is_close(one: Decimal, other: Decimal) -> bool:
    """Averages are rounded to the context's digits."""
    return abs(one - other) < Decimal("1e-12")
