"""What must be true when everything has settled, whatever was killed on the way.

Nothing doubled, nothing lost, nothing invented: order by order, fill by fill, balance by balance.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from chaos.commands import Ban
from chaos.records import Account, Records, Row, nonzero
from domain.orders import FINAL_STATES, OrderState

ENDS_WITHOUT_THE_VENUE = frozenset({OrderState.REFUSED, OrderState.DENIED, OrderState.ABSENT})
ENTRY_SECONDS_MAX = 5.0
"""How long after a stop an entry that left before it may still arrive at the exchange."""

_OPEN_ALERTS = frozenset({"processing", "accepted"})
_ACTED_ON = frozenset({"executed", "unfilled"})
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be.

    Attributes:
        kind: `doubled`, `lost`, `invented`, `books`, `late entry`, `late stop`, `late alert`,
            `equity`,
            `unsettled`, `refused`, `process`.
        what: one sentence with the ids to look for.
    """

    kind: str
    what: str

    def __str__(self) -> str:
        """For people."""
        return f"{self.kind}: {self.what}"


def violations(records: Records, bans: Sequence[Ban]) -> list[Violation]:
    """Everything that is wrong."""
    found: list[Violation] = []
    for account in records.accounts:
        found += _orders(records, account)
        found += _fills(records, account)
        found += _balances(records, account)
        found += _flows(records, account)
        found += _positions(records, account)
        found += _late_entries(records, account, bans)
    found += _alerts(records)
    return found


def _orders(records: Records, account: Account) -> Iterator[Violation]:
    ours = {order["client_order_id"]: order for order in records.of(account, "orders")}
    theirs = {order["client_order_id"]: order for order in _venue_orders(records, account)}
    for client_order_id, order in theirs.items():
        if client_order_id not in ours:
            yield Violation("lost", f"{account.id}: venue order {dict(order)} is not in our books")
    for client_order_id, order in ours.items():
        wrong = _compared(order, theirs.get(client_order_id))
        if wrong is not None:
            kind, what = wrong
            name = f"order {order['id']} ({order['leg']} {order['symbol']} {order['state']})"
            yield Violation(kind, f"{name} {what}")
    intents = Counter(
        (order["run_id"], order["cause"])
        for order in ours.values()
        if order["leg"] == "entry" and order["client_order_id"] in theirs
    )
    for intent, times in intents.items():
        if times > 1:
            yield Violation("doubled", f"{times} entries at the venue for {intent}")


def _compared(order: Row, at_venue: Row | None) -> tuple[str, str] | None:
    """What is wrong with an order of ours, if anything is: the kind, and what."""
    if order["state"] not in FINAL_STATES:
        return "unsettled", "has not ended"
    ends_without = order["state"] in ENDS_WITHOUT_THE_VENUE
    if at_venue is None:
        is_ours_alone = not ends_without or order["filled_quantity"]
        return ("invented", "is not at the venue") if is_ours_alone else None
    if ends_without:
        return "lost", f"is at the venue: {dict(at_venue)}"
    if order["filled_quantity"] != at_venue["filled"]:
        return "lost", f"{order['filled_quantity']} filled in our books: {dict(at_venue)}"
    if order["venue_order_id"] != at_venue["venue_order_id"]:
        return "doubled", f"is {at_venue['venue_order_id']} at the venue"
    return None


def _venue_orders(records: Records, account: Account) -> Iterable[Row]:
    if account.venue is None:
        return [
            {
                "client_order_id": row["client_order_id"],
                "venue_order_id": str(row["id"]),
                "filled": row["filled_quantity"],
            }
            for row in records.of(account, "paper_orders")
        ]
    return [
        {
            "client_order_id": order["client_order_id"],
            "venue_order_id": order["order_id"],
            "filled": Decimal(order["filled_size"]),
            "side": order["side"],
            "status": order["status"],
        }
        for order in account.venue["orders"]
    ]


def _fills(records: Records, account: Account) -> Iterator[Violation]:
    ours = {
        row["venue_fill_id"]: (row["side"], row["price"], row["quantity"], row["fee"])
        for row in records.of(account, "fills")
    }
    theirs = dict(_venue_fills(records, account))
    for fill_id, fill in theirs.items():
        if fill_id not in ours:
            yield Violation("lost", f"{account.id}: fill {fill_id} {fill} is not in our books")
        elif ours[fill_id] != fill:
            yield Violation("books", f"{account.id}: fill {fill_id} is {fill}, not {ours[fill_id]}")
    for fill_id in ours.keys() - theirs.keys():
        yield Violation("invented", f"{account.id}: fill {fill_id} {ours[fill_id]} is not theirs")


_Fill = tuple[str, Decimal, Decimal, Decimal]


def _venue_fills(records: Records, account: Account) -> Iterator[tuple[str, _Fill]]:
    if account.venue is None:
        for row in records.of(account, "paper_fills"):
            yield str(row["id"]), (row["side"], row["price"], row["quantity"], row["fee"])
        return
    for fill in account.venue["fills"]:
        price, size, fee = (Decimal(fill[name]) for name in ("price", "size", "fee"))
        yield fill["entry_id"], (fill["side"].lower(), price, size, fee)


def _balances(records: Records, account: Account) -> Iterator[Violation]:
    ours = {row["currency"]: row["total"] for row in records.of(account, "balances")}
    if account.venue is None:
        theirs = {row["currency"]: row["total"] for row in records.of(account, "paper_balances")}
    else:
        theirs = {
            currency: Decimal(balance["total"])
            for currency, balance in account.venue["balances"].items()
        }
    if nonzero(ours) != nonzero(theirs):
        yield Violation("books", f"{account.id}: {nonzero(ours)} held, really {nonzero(theirs)}")


def _flows(records: Records, account: Account) -> Iterator[Violation]:
    """There were no deposits, withdrawals or trades by hand."""
    for flow in records.of(account, "flows"):
        if flow["kind"] not in {"opening", "reset"}:
            what = f"{flow['kind']} flow {flow['amount']} {flow['currency']}"
            yield Violation("invented", f"{account.id}: {what}")


def _positions(records: Records, account: Account) -> Iterator[Violation]:
    fills: dict[UUID, list[Row]] = defaultdict(list)
    for fill in records.of(account, "fills"):
        fills[fill["position_id"]].append(fill)
    stops = Counter(
        trigger["position_id"]
        for trigger in records.of(account, "triggers")
        if trigger["leg"] == "stop" and trigger["state"] in {"armed", "fired"}
    )
    for position in records.of(account, "positions"):
        name = f"position {position['id']} ({position['symbol']} {position['state']})"
        entered, left = _traded(fills[position["id"]])
        if left > entered or position["surplus_quantity"]:
            yield Violation("doubled", f"{name}: {left} left, {entered} entered")
        if position["closed_elsewhere_quantity"]:
            gone = position["closed_elsewhere_quantity"]
            yield Violation("invented", f"{name}: {gone} closed elsewhere")
        booked = (position["entry_quantity"], position["exit_quantity"])
        if booked != (entered, min(left, entered)):
            yield Violation("books", f"{name}: {booked} booked, {(entered, left)} filled")
        expected = 1 if position["state"] == "open" else 0
        if stops[position["id"]] != expected:
            yield Violation("books", f"{name} has {stops[position['id']]} stops")


def _traded(fills: Iterable[Row]) -> tuple[Decimal, Decimal]:
    entered, left = _ZERO, _ZERO
    for fill in fills:
        if fill["leg"] == "entry":
            entered += fill["quantity"]
        else:
            left += fill["quantity"]
    return entered, left


def _late_entries(records: Records, account: Account, bans: Sequence[Ban]) -> Iterator[Violation]:
    mine = [ban for ban in bans if ban.user_id == account.user_id]
    if not mine:
        return
    received = _received(account)
    for order in records.of(account, "orders"):
        if order["leg"] != "entry" or order["sent_at"] is None:
            continue
        for ban in mine:
            if ban.symbol not in {None, order["symbol"]}:
                continue
            sent_at = order["sent_at"].timestamp()
            arrived_at = received.get(order["client_order_id"], sent_at)
            is_late = _lies_in(sent_at, ban, ban.since)
            if is_late or _lies_in(arrived_at, ban, ban.since + ENTRY_SECONDS_MAX):
                yield Violation(
                    "late entry",
                    f"order {order['id']} was sent {sent_at - ban.since:.3f} s and arrived"
                    f" {arrived_at - ban.since:.3f} s after {ban.kind} was confirmed",
                )


def _received(account: Account) -> Mapping[str, float]:
    if account.venue is None:
        return {}
    return {
        order["client_order_id"]: datetime.fromisoformat(order["received_at"]).timestamp()
        for order in account.venue["orders"]
    }


def _lies_in(at: float, ban: Ban, since: float) -> bool:
    return since < at and (ban.until is None or at < ban.until)


def _alerts(records: Records) -> Iterator[Violation]:
    entries = Counter(order["cause"] for order in records.all("orders") if order["leg"] == "entry")
    decisions = Counter(decision["cause"] for decision in records.all("decisions"))
    for alert in records.all("alerts"):
        name, cause = f"alert {alert['id']} ({alert['state']})", f"signal:{alert['id']}"
        # One that asks for what another one asks for has the outcome of that.
        if alert["state"] in _OPEN_ALERTS and alert["duplicate_of"] is None:
            yield Violation("unsettled", f"{name} has not ended")
        if entries[cause] > 1 or decisions[cause] > 1:
            yield Violation(
                "doubled", f"{name}: {entries[cause]} entries, {decisions[cause]} decisions"
            )
        if alert["state"] in _ACTED_ON and not decisions[cause]:
            yield Violation("lost", f"{name} was acted on without a decision")


def lost_alerts(records: Records, acknowledged: Iterable[str]) -> list[Violation]:
    """Alerts that were acknowledged and are not stored, or more than once.

    One that leaves positions may be stored again for another position than before: an exit whose
    first came to nothing is no repeat.
    """
    stored: dict[str, list[Row]] = defaultdict(list)
    for alert in records.all("alerts"):
        if alert["state"] != "duplicate":
            stored[alert["reference"]].append(alert)
    return [
        Violation(
            "doubled" if stored[reference] else "lost",
            f"alert {reference} is stored {len(stored[reference])} times",
        )
        for reference in acknowledged
        if not _is_stored_once(stored[reference])
    ]


def _is_stored_once(alerts: Sequence[Row]) -> bool:
    if not alerts or alerts[0]["action"] == "buy":
        return len(alerts) == 1
    # One that found nothing to close has no trade, and repeats none.
    return len({alert["trade_id"] or alert["id"] for alert in alerts}) == len(alerts)


def unclosed(records: Records, closes: Iterable[str]) -> list[Violation]:
    """Positions whose closing was confirmed and that are not closed."""
    states = {f"pos_{row['id'].hex}": row["state"] for row in records.all("positions")}
    return [
        Violation("lost", f"the confirmed closing of {position_id}: {states.get(position_id)}")
        for position_id in set(closes)
        if states.get(position_id) != "closed"
    ]


def not_flat(records: Records) -> list[Violation]:
    """After everything was to be closed: what is still held."""
    return [
        Violation("lost", f"position {row['id']} is still {row['state']} after it was to leave")
        for row in records.all("positions")
        if row["state"] in {"pending", "open"}
    ]


def equities(
    records: Records, shown: Mapping[UUID, Any], prices: Mapping[str, Decimal]
) -> list[Violation]:
    """The equity that the API shows of each account against a recomputation.

    Args:
        records: the exchange's and the paper ledger's balances in it.
        shown: by account id, what the API said.
        prices: the last trade by symbol; the market stands still.
    """
    found = []
    for account in records.accounts:
        if account.id not in shown:
            continue
        if account.venue is None:
            held = {row["currency"]: row["total"] for row in records.of(account, "paper_balances")}
        else:
            held = {
                currency: Decimal(balance["total"])
                for currency, balance in account.venue["balances"].items()
            }
        expected = sum(
            (
                total * (1 if code == account.currency else prices[f"{code}-{account.currency}"])
                for code, total in nonzero(held).items()
            ),
            _ZERO,
        )
        if shown[account.id] is None or abs(Decimal(str(shown[account.id])) - expected) > _CENT:
            found.append(
                Violation("equity", f"{account.id}: {shown[account.id]} shown, {expected} held")
            )
    return found


_CENT = Decimal("0.01")
