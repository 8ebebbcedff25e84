"""What open positions and accounts are worth at the last price, for those who subscribe.

Nobody commits these values for anybody: they carry no number, are never repeated, and a client that
is slow gets the newest instead of all. Prices are those the venue's watcher stored.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import structlog

from domain.markets import Realm
from domain.valuation import Stablecoins, markets_pricing, value
from services.account_views.positions import PositionView, total
from services.events.reading import EventsUnavailable, SystemReads

PRICE_SECONDS = 1.0
USERS_AT_ONCE = 50
"""After so many users the loop goes on with others: events go before prices."""

_QUOTES = """
SELECT s.venue, q.symbol, q.last, q.at
FROM venue_states s CROSS JOIN LATERAL current_quotes(s.venue, s.realm) q
WHERE s.realm = %(realm)s
"""
_STABLECOINS = "SELECT coin, currency FROM stablecoins ORDER BY rank"
_POSITIONS = """
SELECT p.user_id, p.account_id, p.id, p.symbol, p.side, p.entry_quantity, p.entry_notional,
       p.open_quantity, p.stop_loss, p.take_profit, p.opened_at, a.venue, a.mode,
       p.close_requested, p.exit_state, p.exit_due_at, p.exit_attempts, p.exit_error,
       p.exit_quantity, p.closed_elsewhere_quantity, p.written_off_quantity, p.realized_pnl, p.fees,
       coalesce(m.status, 'open') AS market_status
FROM positions p JOIN accounts a ON a.user_id = p.user_id AND a.id = p.account_id
LEFT JOIN market_states m ON m.venue = a.venue AND m.realm = a.realm AND m.symbol = p.symbol
WHERE p.user_id = ANY(%(users)s) AND p.state IN ('pending', 'open') AND p.open_quantity > 0
  AND a.realm = %(realm)s
ORDER BY p.opened_at, p.id
"""
_HOLDINGS = """
SELECT a.user_id, a.id AS account_id, a.venue, a.mode, a.currency, b.currency AS held, b.total,
       b.observed_at
FROM accounts a
JOIN balances b ON b.user_id = a.user_id AND b.account_id = a.id
WHERE a.user_id = ANY(%(users)s) AND b.total <> 0 AND a.realm = %(realm)s
ORDER BY a.created_at, a.id
"""

_log = structlog.get_logger("nija.events")


class Quote(NamedTuple):
    """A last price and its venue time."""

    last: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class PositionWorth:
    """An open position at a price; `at` is the price's venue time, None without a price."""

    view: PositionView
    mode: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class AccountWorth:
    """An account's cash and equity; `unpriced` is held, has no price and is left out."""

    account_id: UUID
    venue: str
    mode: str
    currency: str
    cash: Decimal
    equity: Decimal
    unpriced: tuple[str, ...]
    unrealized_pnl: Decimal | None
    at: datetime


class ValueSubscriber(Protocol):
    """Everybody in this process who wants one user's values. Must not block."""

    @property
    def wants_values(self) -> bool:
        """Whether anybody wants them at present."""
        ...

    def revalue(self, positions: Sequence[PositionWorth], accounts: Sequence[AccountWorth]) -> None:
        """Take the values that changed."""
        ...


_Market = tuple[str, str]


@dataclass(slots=True)
class _Book:
    """What a user holds, and the prices it was last valued at."""

    positions: list[Mapping[str, Any]] = field(default_factory=list)
    holdings: dict[UUID, list[Mapping[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    valued_at: dict[_Market, Decimal | None] | None = None


class Prices:
    """Values the holdings of watching users whenever a price or a holding has changed.

    Args:
        reads: connections that see every user's rows.
        realm: the kind of venue this installation trades at.
    """

    def __init__(self, reads: SystemReads, *, realm: Realm) -> None:
        self._reads = reads
        self._realm = realm.value
        self._subscribers: dict[UUID, ValueSubscriber] = {}
        self._books: dict[UUID, _Book] = {}

    def subscribe(self, user_id: UUID, subscriber: ValueSubscriber) -> None:
        """Begin to value what a user holds."""
        self._subscribers[user_id] = subscriber

    def unsubscribe(self, user_id: UUID) -> None:
        """End it."""
        self._subscribers.pop(user_id, None)
        self._books.pop(user_id, None)

    def holdings_changed(self, user_id: UUID) -> None:
        """Read what the user holds anew, and tell all of its values."""
        self._books.pop(user_id, None)

    async def run(self, *, seconds: float = PRICE_SECONDS) -> None:
        """Value until cancelled; a database that is down is asked again after that time."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self._value_all()
            except EventsUnavailable as failure:
                _log.warning("events.no_prices", error=type(failure.__cause__).__name__)

    async def _value_all(self) -> None:
        """Value once."""
        subscribers = {
            user: subscriber
            for user, subscriber in self._subscribers.items()
            if subscriber.wants_values
        }
        if not subscribers:
            return
        rows = await self._reads.rows(_QUOTES, realm=self._realm)
        quotes = {(row["venue"], row["symbol"]): Quote(row["last"], row["at"]) for row in rows}
        pegs = await self._reads.rows(_STABLECOINS)
        coins = Stablecoins(tuple((row["coin"], row["currency"]) for row in pegs))
        await self._read_books([user for user in subscribers if user not in self._books])
        for number, (user, subscriber) in enumerate(subscribers.items(), start=1):
            # A book that a committed event dropped meanwhile is read the next time.
            if (book := self._books.get(user)) is not None:
                _try(user, book, quotes, coins, subscriber)
            if number % USERS_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _read_books(self, users: Sequence[UUID]) -> None:
        if not users:
            return
        books = {user: _Book() for user in users}
        self._books.update(books)  # dropped again if something is committed while we read
        try:
            positions = await self._reads.rows(_POSITIONS, users=list(users), realm=self._realm)
            holdings = await self._reads.rows(_HOLDINGS, users=list(users), realm=self._realm)
        except BaseException:
            for user in users:
                self._books.pop(user, None)
            raise
        for row in positions:
            books[row["user_id"]].positions.append(row)
        for row in holdings:
            books[row["user_id"]].holdings[row["account_id"]].append(row)


def _try(
    user: UUID,
    book: _Book,
    quotes: Mapping[_Market, Quote],
    coins: Stablecoins,
    subscriber: ValueSubscriber,
) -> None:
    """A boundary: whatever the rows of one user hold, the others are told of their values."""
    try:
        _value(book, quotes, coins, subscriber.revalue)
    except (ArithmeticError, LookupError, TypeError, ValueError) as failure:
        _log.exception("events.not_valued", user_id=str(user), error=type(failure).__name__)


def _value(
    book: _Book,
    quotes: Mapping[_Market, Quote],
    coins: Stablecoins,
    tell: Callable[[Sequence[PositionWorth], Sequence[AccountWorth]], None],
) -> None:
    prices = {
        market: (quote.last if (quote := quotes.get(market)) else None)
        for market in _markets(book, coins)
    }
    before, book.valued_at = book.valued_at, prices
    if prices == before:
        return
    changed = {
        market for market, last in prices.items() if before is None or before.get(market) != last
    }
    positions = [
        _position(row, quotes)
        for row in book.positions
        if before is None or (row["venue"], row["symbol"]) in changed
    ]
    accounts = [
        _account(rows, book.positions, quotes, coins)
        for rows in book.holdings.values()
        if before is None or any(not changed.isdisjoint(_pricing(row, coins)) for row in rows)
    ]
    tell(positions, accounts)


def _markets(book: _Book, coins: Stablecoins) -> set[_Market]:
    held = {
        market for rows in book.holdings.values() for row in rows for market in _pricing(row, coins)
    }
    return held | {(row["venue"], row["symbol"]) for row in book.positions}


def _pricing(holding: Mapping[str, Any], coins: Stablecoins) -> set[_Market]:
    """The markets whose prices a holding's value may depend on; none for cash."""
    symbols = markets_pricing(holding["held"], holding["currency"], coins)
    return {(holding["venue"], symbol) for symbol in symbols}


def _position(row: Mapping[str, Any], quotes: Mapping[_Market, Quote]) -> PositionWorth:
    quote = quotes.get((row["venue"], row["symbol"]))
    last = None if quote is None else quote.last
    return PositionWorth(
        PositionView.of({**row, "last": last}), row["mode"], None if quote is None else quote.at
    )


def _account(
    rows: Sequence[Mapping[str, Any]],
    positions: Sequence[Mapping[str, Any]],
    quotes: Mapping[_Market, Quote],
    coins: Stablecoins,
) -> AccountWorth:
    first = rows[0]
    own = [row for row in positions if row["account_id"] == first["account_id"]]
    used = {
        symbol: quote
        for row in rows
        for venue, symbol in _pricing(row, coins)
        if (quote := quotes.get((venue, symbol))) is not None
    }
    worth = value(
        {row["held"]: row["total"] for row in rows},
        first["currency"],
        {symbol: quote.last for symbol, quote in used.items()},
        coins,
    )
    return AccountWorth(
        account_id=first["account_id"],
        venue=first["venue"],
        mode=first["mode"],
        currency=first["currency"],
        cash=worth.cash,
        equity=worth.equity,
        unpriced=worth.unpriced,
        unrealized_pnl=total([_position(row, quotes).view.unrealized_pnl for row in own]),
        at=max([row["observed_at"] for row in rows] + [quote.at for quote in used.values()]),
    )
