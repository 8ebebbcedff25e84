"""Firing the armed triggers that prices crossed: one query finds them, the domain judges them."""

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
from models.trading import Trigger, TriggerState
from services.database import all_rows
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
    FOR UPDATE OF t SKIP LOCKED
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


async def fire_crossed(session: AsyncSession, key: VenueKey, seen: Seen) -> set[BotId]:
    """Fire what candles and then quotes cross, and say whose bots these triggers are.

    Judging is repeatable: a candle that is judged again fires nothing that it did not fire before,
    unless it changed. A trigger that somebody else holds at this moment is left for the next time.
    """
    rows = await _candidates(session, key, seen)
    bots: set[BotId] = set()
    for symbol, found in sorted(_by_symbol(rows).items()):
        bots |= _judge(found, seen, symbol)
    await session.flush()
    return bots


def _judge(rows: Sequence[Trigger], seen: Seen, symbol: str) -> set[BotId]:
    by_id = {str(row.id): row for row in rows}
    book = TriggerBook()
    for row in rows:
        book.put(price_condition(row))
    bots: set[BotId] = set()

    def fire(trigger_ids: Sequence[str], at: datetime, low: Decimal, high: Decimal) -> None:
        for trigger_id in trigger_ids:
            row = by_id[trigger_id]
            book.remove(trigger_id)
            row.state = TriggerState.FIRED
            row.fired_at = at
            row.fired_price = low if row.direction == Condition.AT_OR_BELOW else high
            bots.add((row.user_id, row.bot_id))
            _log.info("trigger.fired", bot_id=str(row.bot_id), symbol=symbol, leg=row.leg)

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
    return bots


def _put_as_known(book: TriggerBook, trigger_id: str, quote: Quote) -> None:
    trigger = book.get(trigger_id)
    if trigger is not None:
        book.put(replace(trigger, armed_at=min(trigger.armed_at, quote.at), past=()))


async def _candidates(session: AsyncSession, key: VenueKey, seen: Seen) -> Sequence[Trigger]:
    """Armed triggers that may have been crossed, locked, by one index look-up a market and side."""
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
