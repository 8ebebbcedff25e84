"""Storing what a venue's list says of markets, and how old the list is: for people to see."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from domain.markets import MarketStatus, VenueKey
from domain.ports import MarketData
from models.markets import MarketState, VenueState
from services.database import Database
from services.markets.wanted import WantedMarkets

NOTE_SECONDS = 30.0
UNLISTED = "The venue lists this market no more"
MALFORMED = "The venue's row of this market cannot be read; its last rules serve"

_log = structlog.get_logger("nija.markets")
_Said = tuple[str, str | None]


class MarketListing:
    """Notes changes of the markets of one venue; a look at them every half minute is enough."""

    def __init__(self, database: Database, key: VenueKey) -> None:
        self._database = database
        self._key = key
        self._noted_at: float | None = None

    async def note(self, market: MarketData, wanted: WantedMarkets, wall: datetime) -> None:
        """Store what the last good list says of the wanted markets, where that has changed."""
        now = asyncio.get_running_loop().time()
        if self._noted_at is not None and now - self._noted_at < NOTE_SECONDS:
            return
        age = market.rules_age_seconds()
        if age is None or not market.known_rules():
            return  # there is no list yet
        self._noted_at = now
        try:
            await self._store(market, _said(market, wanted), wall, wall - timedelta(seconds=age))
        except SQLAlchemyError:
            self._noted_at = None  # the next look tries again
            raise

    async def _store(
        self, market: MarketData, said: Mapping[str, _Said], wall: datetime, listed_at: datetime
    ) -> None:
        async with self._database.as_system_briefly() as session:
            rows = await session.exec(
                select(MarketState).where(
                    MarketState.venue == self._key.venue,
                    MarketState.realm == self._key.realm.value,
                    col(MarketState.symbol).in_(said),
                )
            )
            before: Mapping[str, _Said] = {it.symbol: (it.status, it.reason) for it in rows.all()}
            changed = {name: it for name, it in said.items() if before.get(name) != it}
            await session.exec(
                update(VenueState)
                .where(
                    col(VenueState.venue) == self._key.venue,
                    col(VenueState.realm) == self._key.realm.value,
                )
                .values(listed_at=listed_at, malformed=len(market.malformed_markets()))
            )
            if changed:
                values = [
                    {
                        "venue": self._key.venue,
                        "realm": self._key.realm.value,
                        "symbol": symbol,
                        "status": status,
                        "reason": reason,
                        "since": wall,
                    }
                    for symbol, (status, reason) in sorted(changed.items())
                ]
                states = insert(MarketState).values(values)
                await session.exec(
                    states.on_conflict_do_update(
                        index_elements=["venue", "realm", "symbol"],
                        set_={
                            name: states.excluded[name] for name in ("status", "reason", "since")
                        },
                    )
                )
        for symbol, (status, reason) in sorted(changed.items()):
            if status != MarketStatus.OPEN or symbol in before:
                _log.warning(
                    "market.status", venue=str(self._key), symbol=symbol, status=status, why=reason
                )


def _said(market: MarketData, wanted: WantedMarkets) -> dict[str, _Said]:
    rules, malformed = market.known_rules(), market.malformed_markets()
    said: dict[str, _Said] = {}
    for symbol in wanted.used:
        known = rules.get(symbol)
        if symbol in malformed:
            status = MarketStatus.HALTED if known is None else known.status
            said[symbol] = (status.value, MALFORMED)
        elif known is None:
            said[symbol] = (MarketStatus.HALTED.value, UNLISTED)
        else:
            reason = UNLISTED if known.is_unlisted else None
            said[symbol] = (known.status.value, reason)
    return said
