"""Firing the armed triggers that prices crossed: one query finds them, the domain judges them.

They are judged without a lock and fired by one statement: a process that freezes while it judges
holds no trigger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Candle, Quote, Timeframe, VenueClock, VenueKey
from domain.triggers import Condition, TriggerBook
from models.trading import Trigger
from services.database import Database, all_rows
from services.isolation import isolated
from services.orders.protection import price_condition

BotId = tuple[UUID, UUID]
# A third kind of candidate: it moved since, and may have been crossed at a price that it had then.
_CANDIDATES = text(
    """
    WITH prices AS MATERIALIZED (
        SELECT * FROM unnest(
            cast(:symbols AS text[]), cast(:lows AS numeric[]), cast(:highs AS numeric[]),
            cast(:sinces AS timestamptz[])
        ) AS seen (symbol, low, high, since)
    ), candidates AS (
        SELECT t.id FROM prices p JOIN triggers t ON t.symbol = p.symbol
        WHERE t.venue = :venue AND t.realm = :realm AND t.state = 'armed'
          AND t.direction = 'at_or_below' AND t.price >= p.low
        UNION
        SELECT t.id FROM prices p JOIN triggers t ON t.symbol = p.symbol
        WHERE t.venue = :venue AND t.realm = :realm AND t.state = 'armed'
          AND t.direction = 'at_or_above' AND t.price <= p.high
        UNION
        SELECT t.id FROM prices p JOIN triggers t ON t.symbol = p.symbol
        WHERE t.venue = :venue AND t.realm = :realm AND t.state = 'armed'
          AND t.moved_at > p.since
    )
    SELECT t.* FROM triggers t
    WHERE t.id IN (SELECT id FROM candidates) AND t.state = 'armed'
    ORDER BY t.id
    """
)
# One that was moved since it was judged has another `set_at`.
_FIRE = text(
    """
    WITH unchanged AS MATERIALIZED (
        SELECT t.id, f.at, f.price
        FROM unnest(
            cast(:ids AS uuid[]), cast(:set_ats AS timestamptz[]), cast(:ats AS timestamptz[]),
            cast(:prices AS numeric[])
        ) AS f (id, set_at, at, price)
        JOIN triggers t ON t.id = f.id
        WHERE t.state = 'armed' AND t.set_at IS NOT DISTINCT FROM f.set_at
        ORDER BY t.id
        FOR NO KEY UPDATE OF t SKIP LOCKED
    )
    UPDATE triggers t SET state = 'fired', fired_at = u.at, fired_price = u.price
    FROM unchanged u WHERE t.id = u.id
    RETURNING t.id
    """
)
_log = structlog.get_logger("nija.watch")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of the markets.

    Attributes:
        clock: the venue's clock, read before the quotes were asked for.
        asked_at: the database's time, read before the quotes were asked for.
        quotes: by symbol.
        candles: closed one-minute candles by symbol, oldest first.
    """

    clock: VenueClock
    asked_at: datetime
    quotes: Mapping[str, Quote]
    candles: Mapping[str, Sequence[Candle]]


@dataclass(frozen=True, slots=True)
class Firing:
    """What came of judging prices.

    Attributes:
        bots: whose triggers fired.
        left: markets with a trigger that was crossed and is still to be fired, because somebody has
            it locked or moved it: the same prices are to be judged again.
    """

    bots: frozenset[BotId]
    left: frozenset[str]


async def fire_crossed(database: Database, key: VenueKey, seen: Seen) -> Firing:
    """Fire what candles and then quotes cross, in a transaction of its own.

    Judging is repeatable: a candle that is judged again fires nothing that it did not fire before,
    unless it changed. A trigger that somebody else holds at this moment is left for the next time.
    """
    async with database.as_system() as session:
        rows = await _candidates(session, key, seen)
    crossed: list[_Crossed] = []
    for symbol, found in sorted(_by_symbol(rows).items()):
        crossed += _judge(found, seen, symbol)
    if not crossed:
        return Firing(frozenset(), frozenset())
    async with database.as_system_briefly() as session:
        fired = await _fire(session, crossed)
    for each in crossed:
        if each.row.id in fired:
            _log.info(
                "trigger.fired",
                bot_id=str(each.row.bot_id),
                symbol=each.row.symbol,
                leg=each.row.leg,
            )
    return Firing(
        frozenset((it.row.user_id, it.row.bot_id) for it in crossed if it.row.id in fired),
        frozenset(it.row.symbol for it in crossed if it.row.id not in fired),
    )


@dataclass(frozen=True, slots=True)
class _Crossed:
    """A trigger to fire, the venue time of what crossed it, and the price."""

    row: Trigger
    at: datetime
    price: Decimal


def _judge(rows: Sequence[Trigger], seen: Seen, symbol: str) -> list[_Crossed]:
    by_id, book = {str(row.id): row for row in rows}, TriggerBook()
    for row in rows:
        with isolated("trigger.unreadable", trigger_id=row.id):
            book.put(price_condition(row))
    found: list[_Crossed] = []

    def fire(trigger_ids: Sequence[str], at: datetime, low: Decimal, high: Decimal) -> None:
        for trigger_id in trigger_ids:
            row = by_id[trigger_id]
            book.remove(trigger_id)
            price = low if row.direction == Condition.AT_OR_BELOW else high
            found.append(_Crossed(row, at, price))

    for candle in seen.candles.get(symbol, ()):
        fired = [trigger.trigger_id for trigger in book.judge_candle(candle)]
        fire(fired, candle.opened_at + Timeframe.M1.length, candle.low, candle.high)
    quote = seen.quotes.get(symbol)
    if quote is not None:
        if quote.at >= seen.clock.now:
            # The quote was asked for after these rows were written, so it is newer than they are,
            # also when the venue's clock went back since.
            for row in rows:
                if row.set_at is not None and row.set_at <= seen.asked_at:
                    _put_as_known(book, str(row.id), quote)
        fired = [trigger.trigger_id for trigger in book.judge_quote(quote)]
        fire(fired, seen.clock.now, quote.last, quote.last)
    return found


def _put_as_known(book: TriggerBook, trigger_id: str, quote: Quote) -> None:
    trigger = book.get(trigger_id)
    if trigger is not None:
        book.put(replace(trigger, armed_at=min(trigger.armed_at, quote.at), past=()))


async def _fire(session: AsyncSession, crossed: Sequence[_Crossed]) -> set[UUID]:
    """Fire what nobody has locked or changed since it was judged; which triggers these are."""
    fired = await all_rows(
        session,
        _FIRE.bindparams(
            ids=[each.row.id for each in crossed],
            set_ats=[each.row.set_at for each in crossed],
            ats=[each.at for each in crossed],
            prices=[each.price for each in crossed],
        ),
    )
    return {trigger_id for (trigger_id,) in fired}


async def _candidates(session: AsyncSession, key: VenueKey, seen: Seen) -> Sequence[Trigger]:
    """Armed triggers that may have been crossed, by one index look-up a market and side."""
    ranges = _ranges(seen)
    if not ranges:
        return ()
    crossed = select(Trigger).from_statement(
        _CANDIDATES.bindparams(
            venue=key.venue,
            realm=key.realm.value,
            symbols=[each.symbol for each in ranges],
            lows=[each.low for each in ranges],
            highs=[each.high for each in ranges],
            sinces=[each.since for each in ranges],
        )
    )
    return [row[0] for row in await all_rows(session, crossed)]


@dataclass(frozen=True, slots=True)
class _Range:
    """The prices seen in one market, and when the oldest candle among them opened."""

    symbol: str
    low: Decimal
    high: Decimal
    since: datetime


def _ranges(seen: Seen) -> list[_Range]:
    found = []
    for symbol in sorted({*seen.quotes, *seen.candles}):
        candles = seen.candles.get(symbol, ())
        quote = seen.quotes.get(symbol)
        prices = [candle.low for candle in candles] + [candle.high for candle in candles]
        if quote is not None:
            prices.append(quote.last)
        if prices:
            since = candles[0].opened_at if candles else seen.clock.now
            found.append(_Range(symbol, min(prices), max(prices), since))
    return found


def _by_symbol(rows: Sequence[Trigger]) -> Mapping[str, list[Trigger]]:
    found: dict[str, list[Trigger]] = {}
    for row in rows:
        found.setdefault(row.symbol, []).append(row)
    return found
