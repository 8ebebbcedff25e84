"""Storing what a look at a venue saw: its clock, how far it was judged, and the quotes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Quote, VenueKey
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
    await store_quotes(session, key, seen.clock.epoch, seen.quotes)


async def store_quotes(
    session: AsyncSession, key: VenueKey, epoch: str, quotes: Mapping[str, Quote]
) -> None:
    """Keep quotes of an epoch of a venue as the last of their markets."""
    rows = [
        {
            "venue": key.venue,
            "realm": key.realm.value,
            "symbol": symbol,
            "epoch": epoch,
            "bid": quote.bid,
            "ask": quote.ask,
            "last": quote.last,
            "at": quote.at,
        }
        for symbol, quote in sorted(quotes.items())
    ]
    if not rows:
        return
    last = insert(VenueQuote).values(rows)
    await session.exec(
        last.on_conflict_do_update(
            index_elements=["venue", "realm", "symbol"],
            set_={name: last.excluded[name] for name in ("epoch", "bid", "ask", "last", "at")},
        )
    )
