"""Which markets of a venue somebody needs the price of, the most urgent first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import MarketRules, VenueKey
from domain.valuation import markets_pricing
from services.database import all_rows
from services.valuing import stablecoins_in_force

_WANTED = text(
    """
    SELECT symbol, min(rank) AS rank FROM (
        SELECT symbol, 0 AS rank FROM triggers
        WHERE venue = :venue AND realm = :realm AND state = 'armed'
        UNION ALL
        SELECT p.symbol, 1 FROM positions p
        JOIN accounts a ON a.id = p.account_id
        WHERE a.venue = :venue AND a.realm = :realm AND p.state = 'open'
        UNION ALL
        SELECT jsonb_array_elements_text(u.allowed_pairs), 3 FROM user_settings u
        WHERE u.user_id IN (
            SELECT user_id FROM bot_runs
            WHERE venue = :venue AND realm = :realm AND state <> 'ended'
        )
    ) AS wanted
    GROUP BY symbol
    """
)
# Markets that only value what is held come last: nothing is decided by them alone.
_VALUED = 4
_OWNED = text(
    """
    SELECT DISTINCT b.currency, a.currency FROM balances b
    JOIN accounts a ON a.id = b.account_id
    WHERE b.total > 0 AND b.account_id IN (
        SELECT account_id FROM bot_runs
        WHERE venue = :venue AND realm = :realm AND state <> 'ended'
    )
    """
)


@dataclass(frozen=True, slots=True)
class WantedMarkets:
    """Markets to ask for.

    Attributes:
        armed: those whose triggers wait for prices.
        used: those that somebody holds a position in or trades, listed or not.
        all: every market, the armed first, then held ones, then what is only traded or valued.
    """

    armed: tuple[str, ...]
    used: tuple[str, ...]
    all: tuple[str, ...]


async def wanted_markets(
    session: AsyncSession, key: VenueKey, known: Mapping[str, MarketRules]
) -> WantedMarkets:
    """The markets of armed triggers, open positions, held currencies and live users' pairs.

    Where the venue's list is known, what it does not name is left out, except where a position or
    trigger depends on it: the list may be wrong or old.
    """
    of_venue = {"venue": key.venue, "realm": key.realm.value}
    ranks = dict(await all_rows(session, _WANTED.bindparams(**of_venue)))
    coins = await stablecoins_in_force(session)
    for currency, into in await all_rows(session, _OWNED.bindparams(**of_venue)):
        for symbol in markets_pricing(currency, into, coins):
            ranks.setdefault(symbol, _VALUED)
    rows = sorted(ranks.items(), key=lambda item: (item[1], item[0]))
    needed = [(symbol, rank) for symbol, rank in rows if rank <= 1 or not known or symbol in known]
    return WantedMarkets(
        armed=tuple(symbol for symbol, rank in needed if rank == 0),
        used=tuple(symbol for symbol, rank in rows if rank != _VALUED),
        all=tuple(symbol for symbol, _rank in needed),
    )
