"""Prices of what accounts hold, also where nobody trades: the watch asks for its markets only.

An account without a live run keeps its value, and money that comes in a coin which nobody held
before has one. These prices decide nothing: they are asked for by the main worker, many in one
request and none oftener than needed, so that no stop waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Quote, Realm, VenueClock, VenueKey
from domain.ports import MarketData, Venues, VenueUnavailable
from domain.valuation import PRICE_AGE_MAX, markets_pricing
from services.database import Database, all_rows
from services.isolation import isolated
from services.markets.seen import store_quotes
from services.valuing import stablecoins_in_force

FRESH = PRICE_AGE_MAX / 3
"""Venue time for which a price is not asked for again: it may fail to come twice."""

SILENT_SECONDS = 60.0
"""How long a market that gave no price is left alone."""

_HELD = text("""
SELECT DISTINCT b.currency, a.currency AS of_account
FROM accounts a JOIN balances b ON b.user_id = a.user_id AND b.account_id = a.id
WHERE a.venue = :venue AND a.realm = :realm AND b.total <> 0 AND b.currency <> a.currency
""")
_FRESH = text("""
SELECT q.symbol FROM venue_quotes q
WHERE q.venue = :venue AND q.realm = :realm AND q.epoch = :epoch AND q.at >= :since
""")

Holding = tuple[str, str]
"""A currency that is held, and the currency of the account that holds it."""


class HoldingPrices:
    """Keeps a price of whatever is held; the worker's sweeper calls it.

    Args:
        database: all users' rows.
        venues: the venues of this installation.
        realm: the kind of venue it trades at.
    """

    def __init__(self, database: Database, venues: Venues, *, realm: Realm) -> None:
        self._database = database
        self._venues = venues
        self._realm = realm
        self._silent_until: dict[VenueKey, Mapping[str, float]] = {}

    async def sweep(self) -> int:
        """Ask for the prices that are missing or getting old; answers how many came."""
        came = 0
        for venue in self._venues.supported():
            with isolated("holdings.not_priced", venue=venue):
                came += await self._price(VenueKey(venue, self._realm))
        return came

    async def _price(self, key: VenueKey) -> int:
        async with self._database.as_system() as session:
            held = await all_rows(session, _HELD.bindparams(venue=key.venue, realm=key.realm.value))
        if not held:
            return 0
        market, now = self._venues.market_data(key), asyncio.get_running_loop().time()
        known = self._silent_until.get(key, {})
        silent = {symbol: until for symbol, until in known.items() if now < until}
        holdings = [(row[0], row[1]) for row in held]
        try:
            asked, quotes = await ask_prices(self._database, market, holdings, but=silent)
        except VenueUnavailable:
            return 0
        silent |= {symbol: now + SILENT_SECONDS for symbol in asked if symbol not in quotes}
        self._silent_until[key] = silent
        return len(quotes)


async def ask_prices(
    database: Database,
    market: MarketData,
    holdings: Iterable[Holding],
    *,
    but: Iterable[str] = (),
) -> tuple[Sequence[str], Mapping[str, Quote]]:
    """Ask a venue for the prices of holdings that nobody asked for lately, and store them.

    Args:
        database: all users' rows.
        market: the venue.
        holdings: what is to have a price.
        but: markets that are not to be asked.

    Returns:
        The markets that were asked, and the quotes that came.

    Raises:
        VenueUnavailable: the venue does not tell its time.
    """
    clock = await market.clock()
    async with database.as_system() as session:
        coins = await stablecoins_in_force(session)
        wanted = {
            symbol for held, into in holdings for symbol in markets_pricing(held, into, coins)
        }
        wanted -= await _fresh(session, market.key, clock)
    listed = market.known_rules()
    asked = sorted(symbol for symbol in wanted.difference(but) if not listed or symbol in listed)
    if not asked:
        return (), {}
    quotes = await market.quotes(asked, at=clock.now)
    if quotes:
        async with database.as_system_briefly() as session:  # the watch stores the same rows
            await store_quotes(session, market.key, clock.epoch, quotes)
    return asked, quotes


async def _fresh(session: AsyncSession, key: VenueKey, clock: VenueClock) -> set[str]:
    rows = await all_rows(
        session,
        _FRESH.bindparams(
            venue=key.venue, realm=key.realm.value, epoch=clock.epoch, since=clock.now - FRESH
        ),
    )
    return {row[0] for row in rows}
