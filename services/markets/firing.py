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
from models.trading import Trigger
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
_FIRE = text(
    """
    UPDATE triggers t SET state = 'fired', fired_at = f.at, fired_price = f.price
    FROM unnest(
        cast(:ids AS uuid[]), cast(:ats AS timestamptz[]), cast(:prices AS numeric[])
    ) AS f (id, at, price)
    WHERE t.id = f.id
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


async def fire_crossed(session: AsyncSession, key: VenueKey, seen: Seen) -> set[BotId]:
    """Fire what candles and then quotes cross, and say whose bots these triggers are.

    Judging is repeatable: a candle that is judged again fires nothing that it did not fire before,
    unless it changed. A trigger that somebody else holds at this moment is left for the next time.
    """
    rows = await _candidates(session, key, seen)
    fired: list[_Fired] = []
    for symbol, found in sorted(_by_symbol(rows).items()):
        fired += _judge(found, seen, symbol)
    if fired:
        await all_rows(
            session,
            _FIRE.bindparams(
                ids=[each.row.id for each in fired],
                ats=[each.at for each in fired],
                prices=[each.price for each in fired],
            ),
        )
    for each in fired:
        _log.info(
            "trigger.fired",
            bot_id=str(each.row.bot_id),
            symbol=each.row.symbol,
            leg=each.row.leg,
        )
    return {(each.row.user_id, each.row.bot_id) for each in fired}


@dataclass(frozen=True, slots=True)
class _Fired:
    """A trigger that fired, the venue time of what fired it, and the price."""

    row: Trigger
    at: datetime
    price: Decimal


def _judge(rows: Sequence[Trigger], seen: Seen, symbol: str) -> list[_Fired]:
    by_id = {str(row.id): row for row in rows}
    book = TriggerBook()
    for row in rows:
        book.put(price_condition(row))
    found: list[_Fired] = []

    def fire(trigger_ids: Sequence[str], at: datetime, low: Decimal, high: Decimal) -> None:
        for trigger_id in trigger_ids:
            row = by_id[trigger_id]
            book.remove(trigger_id)
            price = low if row.direction == Condition.AT_OR_BELOW else high
            found.append(_Fired(row, at, price))

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
