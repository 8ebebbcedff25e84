"""The last prices there were of a venue's markets, however old."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import ColumnElement
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.connections import Account
from models.markets import VenueQuote, VenueState


async def last_known_prices(
    session: AsyncSession, account: Account, *conditions: ColumnElement[bool]
) -> dict[str, Decimal]:
    """Last prices of an account's venue by symbol, in the present epoch.

    Args:
        session: any transaction.
        account: whose venue.
        conditions: on `VenueQuote`, which markets.
    """
    rows = await session.exec(
        select(col(VenueQuote.symbol), col(VenueQuote.last))
        .join(
            VenueState,
            (col(VenueState.venue) == VenueQuote.venue)
            & (col(VenueState.realm) == VenueQuote.realm)
            & (col(VenueState.epoch) == VenueQuote.epoch),
        )
        .where(
            VenueQuote.venue == account.venue,
            VenueQuote.realm == account.realm,
            *conditions,
        )
    )
    return dict(rows.all())
