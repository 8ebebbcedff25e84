"""The invariants, one function each: our books against the venue's own, and against arithmetic."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from simulation.books import Books, Row
from simulation.users import SimulatedUser
from simulation.venue import Venue
from simulation.violations import Violation
from simulator.coinbase.wire import entry_id
from simulator.engine.values import Order

ZERO = Decimal(0)
REACHED = frozenset({"open", "filled", "cancelled"})
"""States of our orders that claim that the venue took them."""

# Written down a second time on purpose: were the product's to change, orders of before would not
# be recognised after an update.
_CLIENT_ORDER_NAMESPACE = uuid.UUID("6e1a7c0e-5d3b-5f0a-9c53-4f2b7c9d1e10")


def check_identity(books: Books) -> None:
    """The client order id is a function of what the order is for, a different one for each."""
    seen: dict[str, Row] = {}
    for order in books.orders:
        key = (order["account_id"], order["run_id"], order["cause"], order["leg"], order["attempt"])
        expected = str(uuid.uuid5(_CLIENT_ORDER_NAMESPACE, "|".join(map(str, key))))
        if order["client_order_id"] != expected:
            raise Violation("order_identity", f"{_name(order)} is not named after its intent")
        if expected in seen:
            raise Violation("order_identity", f"{_name(order)} has the name of another one")
        seen[expected] = order


def check_orders(books: Books, venue: Venue) -> None:
    """Every order at the venue is one of ours, stands as ours does, and the other way round."""
    ours: dict[str, dict[str, Row]] = defaultdict(dict)
    for order in books.orders:
        ours[str(order["account_id"])][order["client_order_id"]] = order
    for account in books.accounts:
        if account["mode"] != "live":
            continue
        account_id = str(account["id"])
        theirs = {
            it.request.client_order_id: it
            for it in venue.orders_of(account_id)
            if not it.request.client_order_id.startswith("manual")
        }
        for client_id, their in theirs.items():
            _check_order(ours[account_id].get(client_id), their)
        for client_id, our in ours[account_id].items():
            if our["state"] in REACHED and client_id not in theirs:
                raise Violation("order_lost", f"{_name(our)} was never at the venue")


def _check_order(our: Row | None, their: Order) -> None:
    what = f"{their.request.side} {their.request.base_size} {their.request.product_id}"
    if our is None:
        raise Violation("order_invented", f"the venue has {what}, we have no such intent")
    if our["state"] not in REACHED or our["venue_order_id"] != their.order_id:
        raise Violation(
            "order_lost",
            f"{_name(our)}: the venue has it {their.status}, filled {their.filled_size}",
        )
    if our["filled_quantity"] != their.filled_size:
        raise Violation(
            "order_differs",
            f"{_name(our)} filled {our['filled_quantity']}, at the venue {their.filled_size}",
        )
    is_whole = their.filled_size == their.request.base_size
    if (our["state"] == "filled") != is_whole:
        raise Violation("order_differs", f"{_name(our)}: at the venue it is {their.status}")


def check_fills(books: Books, venue: Venue) -> None:
    """Every execution is booked, once, with its price, quantity and fee."""
    for account in books.accounts:
        account_id = account["id"]
        ours = {it["venue_fill_id"]: it for it in books.fills if it["account_id"] == account_id}
        theirs = _their_fills(account, books, venue)
        if missing := sorted(theirs.keys() - ours.keys()):
            raise Violation("fill_lost", f"{len(missing)} fills of {account_id}: {missing[0]}")
        if invented := sorted(ours.keys() - theirs.keys()):
            raise Violation("fill_invented", f"{len(invented)} fills of {account_id}")
        for fill_id, our in ours.items():
            if (our["price"], our["quantity"], our["fee"]) != theirs[fill_id]:
                raise Violation("fill_differs", f"{fill_id}: {dict(our)} {theirs[fill_id]}")


def _their_fills(
    account: Row, books: Books, venue: Venue
) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    if account["mode"] == "live":
        account_id = str(account["id"])
        manual = {
            order.order_id
            for order in venue.orders_of(account_id)
            if order.request.client_order_id.startswith("manual")
        }
        return {
            entry_id(fill): (fill.price, fill.size, fill.fee)
            for fill in venue.fills_of(account_id)
            if fill.order_id not in manual
        }
    return {
        str(fill["id"]): (fill["price"], fill["quantity"], fill["fee"])
        for fill in books.paper_fills
        if fill["account_id"] == account["id"]
    }


def check_balances(books: Books, venue: Venue, users: Sequence[SimulatedUser]) -> None:
    """Each balance is the venue's, and what our fills do not explain are manual moves."""
    opening = {
        str(account_id): user.opening for user in users for account_id in user.account_ids.values()
    }
    for account in books.accounts:
        account_id = str(account["id"])
        ours = _sums(books.balances, account["id"], "total")
        theirs = _their_balances(account, books, venue)
        if ours != theirs:
            raise Violation("balance_differs", f"{account_id}: ours {ours}, theirs {theirs}")
        explained = defaultdict(lambda: ZERO, opening[account_id])
        for fill in books.fills:
            if fill["account_id"] == account["id"]:
                _move(explained, fill)
        moved = {
            currency: amount - explained[currency]
            for currency, amount in (dict.fromkeys(explained, ZERO) | theirs).items()
            if amount != explained[currency]
        }
        flows = _sums(books.flows, account["id"], "amount")
        if moved != flows:
            raise Violation("flows_differ", f"{account_id}: moved {moved}, noted {flows}")
        manual: dict[str, Decimal] = defaultdict(lambda: ZERO)
        for move in venue.manual_moves:
            if move.account_id == account_id:
                manual[move.currency] += move.amount
        if moved != _without_zeros(manual):
            raise Violation(
                "balance_differs", f"{account_id}: moved {moved}, manual {dict(manual)}"
            )


def _move(balances: dict[str, Decimal], fill: Row) -> None:
    base, quote = fill["symbol"].split("-")
    sign = 1 if fill["side"] == "buy" else -1
    balances[base] += sign * fill["quantity"]
    balances[quote] -= sign * fill["quantity"] * fill["price"]
    balances[fill["fee_currency"]] -= fill["fee"]


def _their_balances(account: Row, books: Books, venue: Venue) -> dict[str, Decimal]:
    if account["mode"] == "paper":
        return _sums(books.paper_balances, account["id"], "total")
    held = venue.exchange.balances(str(account["id"]))
    return _without_zeros({currency: it.total for currency, it in held.items()})


def _sums(rows: Sequence[Row], account_id: Any, column: str) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for row in rows:
        if row["account_id"] == account_id:
            sums[row["currency"]] += row[column]
    return _without_zeros(sums)


def _without_zeros(amounts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {currency: amount for currency, amount in amounts.items() if amount}


def check_positions(books: Books) -> None:
    """Nothing is sold that was not bought, and what is open is what was bought and not sold."""
    for position in books.positions:
        fills = [it for it in books.fills if it["position_id"] == position["id"]]
        bought = sum((it["quantity"] for it in fills if it["side"] == "buy"), ZERO)
        sold = sum((it["quantity"] for it in fills if it["side"] == "sell"), ZERO)
        what = f"{position['symbol']} {position['id']} bought {bought}, sold {sold}"
        if sold > bought:
            raise Violation("oversold", what)
        if position["entry_quantity"] != bought or position["exit_quantity"] != sold:
            raise Violation("position_differs", f"{what}; booked as {dict(position)}")
        left = bought - sold - _gone(position)
        if position["state"] == "open" and position["open_quantity"] != left:
            raise Violation("position_differs", f"{what}; open {position['open_quantity']}")
        if position["state"] == "cancelled" and bought:
            raise Violation("position_differs", f"{what}; it is {position['state']}")


def check_shortfalls(books: Books, venue: Venue) -> None:
    """No more is closed elsewhere than users took; what is open is in the account."""
    taken = venue.taken()
    for account in books.accounts:
        if account["mode"] != "live":
            continue
        held = _their_balances(account, books, venue)
        positions = [it for it in books.positions if it["account_id"] == account["id"]]
        for symbol in {it["symbol"]: None for it in positions}:
            base = symbol.split("-")[0]
            of_coin = [it for it in positions if it["symbol"] == symbol]
            gone = sum((_gone(it) for it in of_coin), ZERO)
            by_users = taken.get((str(account["id"]), base), ZERO)
            what = f"{base} of {account['id']}"
            if gone > by_users:
                raise Violation(
                    "closed_elsewhere", f"{what}: {gone} closed elsewhere, {by_users} taken"
                )
            claimed = sum((it["open_quantity"] for it in of_coin if it["state"] == "open"), ZERO)
            if claimed > held.get(base, ZERO):
                raise Violation("shortfall", f"{what}: {claimed} open, {held.get(base)} held")


def _gone(position: Row) -> Decimal:
    """What left by a manual action or was written off."""
    gone: Decimal = position["closed_elsewhere_quantity"] + position["written_off_quantity"]
    return gone


def check_profits(books: Books) -> None:
    """What a closed position made is what its executions at the venue come to."""
    for position in books.positions:
        if position["state"] != "closed":
            continue
        fills = [it for it in books.fills if it["position_id"] == position["id"]]
        bought = sum((it["quantity"] for it in fills if it["side"] == "buy"), ZERO)
        sold = sum((it["quantity"] for it in fills if it["side"] == "sell"), ZERO)
        fees = sum((it["fee"] for it in fills), ZERO)
        if position["fees"] != fees:
            raise Violation("profit_differs", f"fees of {position['id']}: {fees}")
        if bought == sold:
            made = sum(
                (it["quantity"] * it["price"] * (-1 if it["side"] == "buy" else 1) for it in fills),
                ZERO,
            )
            if position["realized_pnl"] != made:
                raise Violation(
                    "profit_differs",
                    f"{position['id']} made {made}, booked {position['realized_pnl']}",
                )


def check_stops(books: Books, venue: Venue) -> None:
    """No open position stands beyond its stop, and each has one."""
    armed = {(it["position_id"], it["leg"]): it for it in books.triggers}
    for position in books.positions:
        if position["state"] != "open" or not position["open_quantity"]:
            continue
        stop = armed.get((position["id"], "stop"))
        price = venue.exchange.engine.books[position["symbol"]].price
        if stop is None:
            raise Violation("stop_missing", f"{position['symbol']} {position['id']} has no stop")
        if price < stop["price"] * Decimal("0.999"):
            raise Violation(
                "stop_ignored", f"{position['symbol']} at {price}, its stop {stop['price']}"
            )


def check_flat_exits(due: Sequence[Row]) -> None:
    """Every exit that is due is through."""
    for row in due:
        what = " ".join(f"{name}={value}" for name, value in row.items() if value is not None)
        raise Violation("exit_not_through", what)


def _name(order: Row) -> str:
    return (
        f"{order['leg']} {order['symbol']} attempt {order['attempt']} {order['client_order_id']}"
        f" of account {order['account_id']} ({order['state']}, {order['refusal_code']})"
    )
