"""Prices of what accounts hold, as the database has them, and which coins count at par.

The rule is `domain.valuation`; the SQL function `market_price` is the same rule for statements that
value many holdings at once, and for triggers. Both read the stablecoins from one table, which the
worker keeps equal to the setting.
"""

from __future__ import annotations

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.valuation import Stablecoins
from models.markets import Stablecoin
from services.database import Database


async def stablecoins_in_force(session: AsyncSession) -> Stablecoins:
    """The coins that count at par, the preferred first."""
    rows = await session.exec(
        select(col(Stablecoin.coin), col(Stablecoin.currency)).order_by(col(Stablecoin.rank))
    )
    return Stablecoins(tuple(rows.all()))


class StablecoinList:
    """Keeps the table of stablecoins equal to the setting.

    Args:
        database: where the table is.
        configured: the setting.
    """

    def __init__(self, database: Database, configured: Stablecoins) -> None:
        self._database = database
        self._configured = configured

    async def sweep(self) -> int:
        """Write the setting where the table differs; 1 if it did."""
        async with self._database.as_system() as session:
            if await stablecoins_in_force(session) == self._configured:
                return 0
            await session.exec(delete(Stablecoin))
            session.add_all(
                Stablecoin(coin=coin, currency=currency, rank=rank)
                for rank, (coin, currency) in enumerate(self._configured.pegs, start=1)
            )
        return 1
