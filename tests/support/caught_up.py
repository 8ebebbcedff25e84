"""Whether watcher and bots have done all that a standing venue clock leaves them to do.

In step mode a market stands still until it is advanced. What a run does is the same every time only
if each minute is finished before the next begins: every price judged, every bar decided on, every
order settled, and all of that looked at once more by the watcher, because a stop that was armed or
moved meanwhile may be crossed by the standing price.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from domain.ports import MarketData
from domain.strategies.apex import BAR
from services.database import Database

LOOK_SECONDS = 0.01
PATIENCE_SECONDS = 20.0

_STANDING = """
SELECT
  (SELECT clock_at FROM venue_states) AS clock_at,
  (SELECT seen_at FROM venue_states) AS seen_at,
  now() AS wall,
  (SELECT count(*) FROM bots WHERE state = 'starting' OR seen_revision < revision) AS untold,
  (SELECT count(*) FROM triggers WHERE state = 'fired') AS fired,
  (SELECT count(*) FROM positions WHERE state IN ('pending', 'open')
     AND close_requested IS NOT NULL) AS leaving,
  (SELECT count(*) FROM orders WHERE state NOT IN
     ('filled', 'cancelled', 'refused', 'denied', 'absent')) AS live_orders,
  (SELECT coalesce(jsonb_agg(last_bars), '[]') FROM bot_runs WHERE state = 'entering') AS last_bars
"""


class NeverQuiet(AssertionError):
    """Something is still to be done after all this time."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand; `unfinished` names what is still to be done."""

    seen_at: datetime | None
    wall: datetime
    unfinished: tuple[str, ...]


async def caught_up(
    database: Database, market: MarketData, symbols: tuple[str, ...], now: datetime
) -> None:
    """Wait until nothing is left to do at venue time `now`.

    Raises:
        NeverQuiet: it does not end; the message says what is left.
    """
    newest = {symbol: await _newest_bar(market, symbol, now) for symbol in symbols}
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    quiet_since: datetime | None = None
    while True:
        standing = await _standing(database, newest, now)
        if standing.unfinished:
            quiet_since = None
        elif quiet_since is None:
            quiet_since = standing.wall
        elif standing.seen_at is not None and standing.seen_at > quiet_since:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise NeverQuiet(f"at {now}: {standing.unfinished or 'no further look'}")
        await asyncio.sleep(LOOK_SECONDS)


async def _newest_bar(market: MarketData, symbol: str, now: datetime) -> datetime:
    (bar,) = await market.last_bars(symbol, BAR, count=1, until=now)
    return bar.opened_at


async def _standing(database: Database, newest: Mapping[str, datetime], now: datetime) -> Standing:
    async with database.as_system() as session:
        connection = await session.connection()
        row: dict[str, Any] = dict((await connection.execute(text(_STANDING))).mappings().one())
    unfinished = [name for name in ("untold", "fired", "leaving", "live_orders") if row[name]]
    if row["clock_at"] != now:
        unfinished.append("judging")
    for bars in row["last_bars"]:
        behind = [
            symbol
            for symbol, opened_at in newest.items()
            if symbol not in bars or datetime.fromisoformat(bars[symbol]) < opened_at
        ]
        unfinished += [f"bar of {symbol}" for symbol in behind]
    return Standing(row["seen_at"], row["wall"], tuple(unfinished))
