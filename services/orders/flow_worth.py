"""What money that came or went was worth in the account's currency.

A trigger notes it with each flow, at the price of that moment. What has none then is worth the
first price there is a moment later; after that nobody knows what it was worth when it came, so it
stays out of returns, deposits and withdrawals, which name it.
"""

from __future__ import annotations

from sqlalchemy import text

from domain.valuation import PRICE_AGE_MAX
from services.database import Database

_VALUE = text("""
UPDATE flows f
SET value = f.amount * m.price
FROM flows unvalued
JOIN accounts a ON a.user_id = unvalued.user_id AND a.id = unvalued.account_id
JOIN venue_states s ON s.venue = a.venue AND s.realm = a.realm
CROSS JOIN LATERAL market_price(a.venue, a.realm, unvalued.currency, a.currency) m
WHERE unvalued.value IS NULL AND unvalued.at >= s.clock_at - :recent AND m.price IS NOT NULL
  AND f.id = unvalued.id
""")


class FlowWorth:
    """Values flows that had no price when they were noted; the worker's sweeper calls it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sweep(self) -> int:
        """Value what came or went a moment ago and has a price by now; how much that was.

        A price counts for `PRICE_AGE_MAX` of the venue's clock, whether it is that old or that new.
        """
        async with self._database.as_system() as session:
            connection = await session.connection()
            valued = await connection.execute(_VALUE, {"recent": PRICE_AGE_MAX})
        return valued.rowcount
