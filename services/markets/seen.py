"""Storing what a look at a venue saw: its clock, how far it was judged, and the quotes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import VenueKey
from models.markets import VenueQuote, VenueState
from services.markets.firing import Seen


async def store_seen(
    session: AsyncSession,
    key: VenueKey,
    seen: Seen,
    *,
    wall: datetime,
    judged_until: datetime | None,
    error: str | None,
) -> None:
    """Keep a look's clock and quotes; `judged_until` None leaves how far the watch has come."""
    values = {
        "epoch": seen.clock.epoch,
        "clock_at": seen.clock.now,
        "seen_at": wall,
        "last_error": error,
    }
    if judged_until is not None:
        values["judged_until"] = judged_until
    state = insert(VenueState).values(venue=key.venue, realm=key.realm.value, **values)
    await session.exec(state.on_conflict_do_update(index_elements=["venue", "realm"], set_=values))
    rows = [
        {
            "venue": key.venue,
            "realm": key.realm.value,
            "symbol": symbol,
            "epoch": seen.clock.epoch,
            "bid": quote.bid,
            "ask": quote.ask,
            "last": quote.last,
            "at": quote.at,
        }
        for symbol, quote in sorted(seen.quotes.items())
    ]
    if rows:
        quotes = insert(VenueQuote).values(rows)
        await session.exec(
            quotes.on_conflict_do_update(
                index_elements=["venue", "realm", "symbol"],
                set_={
                    name: quotes.excluded[name] for name in ("epoch", "bid", "ask", "last", "at")
                },
            )
        )
