"""How old the venues' lists of markets are, as whoever operates the installation reads it."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlmodel import col, select

from models.markets import VenueState
from services.database import Database

OLD = timedelta(hours=4)


async def state_of_lists(database: Database, wall: datetime) -> str:
    """`ok`, or which venue's list of markets is how many hours old or has rows that are no use."""
    async with database.as_system() as session:
        states = (await session.exec(select(VenueState).order_by(col(VenueState.venue)))).all()
    found = []
    for state in states:
        if state.listed_at is not None and wall - state.listed_at > OLD:
            hours = (wall - state.listed_at) // timedelta(hours=1)
            found.append(f"{state.venue}: the list of markets is {hours} hours old")
        if state.malformed:
            found.append(f"{state.venue}: {state.malformed} markets cannot be read")
    return "; ".join(found) or "ok"
