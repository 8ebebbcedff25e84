"""Watching a venue: judging prices against triggers, keeping quotes, announcing closed bars.

About once a second by the wall clock. The armed triggers are a sorted book in PostgreSQL (an index
on venue, symbol, direction and price), so a tick costs a few index look-ups however many stops sit
idle, and nothing is lost with the process. What fired and how far the watch has come commit
together; only then are the bots told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy import and_, or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import BotSignal, Nudge, WatchInput, WatchResult
from domain.markets import Candle, Quote, Realm, Timeframe, VenueClock, VenueKey
from domain.money import ZERO
from domain.ports import (
    MarketData,
    Venues,
    VenueUnavailable,
    WallClock,
    WorkflowService,
    WorkflowServiceUnavailable,
)
from domain.positions import PositionState
from domain.strategies.apex import BAR
from domain.triggers import Condition, TriggerBook
from domain.valuation import markets_pricing
from models.bots import Bot, BotRun, RunState
from models.connections import Account, UserSettings
from models.ledgers import Balance
from models.markets import VenueQuote, VenueState
from models.trading import Position, Trigger, TriggerState
from services.database import Database
from services.orders.protection import price_condition
from services.valuing import stablecoins_in_force

WATCH_LENGTH = timedelta(minutes=10)
TELLING_AT_ONCE = 50
CANDLES_BACK_MAX = timedelta(hours=5)
"""After a long outage only this much is judged candle by candle; the quote judges the rest."""

_log = structlog.get_logger("nija.watch")
BotId = tuple[UUID, UUID]
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a venue found."""

    clock: VenueClock
    quotes: Mapping[str, Quote]
    candles: Mapping[str, Sequence[Candle]]


class VenueWatching:
    """Runs one venue's watch for a while; a lost worker's watch is taken over by another."""

    def __init__(
        self,
        database: Database,
        venues: Venues,
        workflows: WorkflowService,
        clock: WallClock,
        *,
        interval_seconds: float,
        scan_length: timedelta,
    ) -> None:
        self._database = database
        self._venues = venues
        self._workflows = workflows
        self._clock = clock
        self._interval = interval_seconds
        self._scan_length = scan_length
        # Markets whose candles could not be had, and from when on they are still to be judged.
        self._unjudged: dict[tuple[VenueKey, str], datetime] = {}

    async def watch(self, request: WatchInput) -> WatchResult:
        """Look again and again for some minutes; a look that fails is followed by another."""
        key = VenueKey(request.venue, Realm(request.realm))
        ends_at = self._clock.now() + WATCH_LENGTH
        looks = 0
        await self._wake_exits(await self._unanswered(key))
        while self._clock.now() < ends_at:
            started = asyncio.get_running_loop().time()
            try:
                await self.look(key)
            except (VenueUnavailable, SQLAlchemyError, OSError) as failure:
                _log.warning("watch.failed", venue=str(key), error=type(failure).__name__)
            looks += 1
            spent = asyncio.get_running_loop().time() - started
            await asyncio.sleep(max(self._interval - spent, self._interval / 10))
        return WatchResult(looks=looks)

    async def look(self, key: VenueKey) -> None:
        """Look once: fetch, judge and commit, then tell the bots.

        Raises:
            VenueUnavailable: nothing was judged; the next look judges the same candles.
        """
        market = self._venues.market_data(key)
        clock = await market.clock()
        state = await self._state(key)
        # A new epoch has a clock of its own; what the old one judged means nothing in it.
        is_same_market = state is not None and state.epoch == clock.epoch
        since = state.judged_until if state and is_same_market else None
        symbols = await self._symbols(key)
        look = await self._fetch(market, clock, symbols, since)
        fired = await self._commit(key, look)
        await self._wake_exits(fired)
        await self._note_scans(key, clock.now)
        if since is None or BAR.floor(since) < BAR.floor(clock.now):
            await self._tell(await self._bots(key), BotSignal.BAR_CLOSED, BAR.floor(clock.now))

    # --- fetching ---------------------------------------------------------------------------

    async def _fetch(
        self,
        market: MarketData,
        clock: VenueClock,
        symbols: Mapping[str, bool],
        since: datetime | None,
    ) -> Look:
        rules = await market.rules()
        known = sorted(symbol for symbol in symbols if symbol in rules)
        quotes, _silent = await _ask_each(known, market.quote)
        if known and not quotes:
            raise VenueUnavailable("No market of the venue gives a price")
        starts = self._starts(market.key, [name for name in known if symbols[name]], clock, since)

        async def candles_of(symbol: str) -> Sequence[Candle]:
            start = max(starts[symbol], clock.now - CANDLES_BACK_MAX)
            return await market.candles(symbol, Timeframe.M1, since=start, until=clock.now)

        candles, silent = await _ask_each(sorted(starts), candles_of)
        for symbol, start in starts.items():
            if symbol in silent:
                self._unjudged[market.key, symbol] = start
            else:
                self._unjudged.pop((market.key, symbol), None)
        return Look(clock, quotes, candles)

    def _starts(
        self, key: VenueKey, judged: Sequence[str], clock: VenueClock, since: datetime | None
    ) -> dict[str, datetime]:
        """From when on each symbol's candles have to be judged; only those that have new ones."""
        if since is None:
            self._unjudged.clear()
            return {}
        minute = Timeframe.M1
        has_new = minute.floor(since) < minute.floor(clock.now)
        starts = {symbol: self._unjudged.get((key, symbol)) for symbol in judged}
        return {
            symbol: start or minute.floor(since)
            for symbol, start in starts.items()
            if start is not None or has_new
        }

    async def _state(self, key: VenueKey) -> VenueState | None:
        async with self._database.as_system() as session:
            return (
                await session.exec(
                    select(VenueState).where(
                        VenueState.venue == key.venue, VenueState.realm == key.realm.value
                    )
                )
            ).one_or_none()

    async def _symbols(self, key: VenueKey) -> dict[str, bool]:
        """Symbols somebody trades or holds; the value says whether triggers wait for it."""
        async with self._database.as_system() as session:
            armed = await session.exec(
                select(col(Trigger.symbol))
                .where(
                    Trigger.venue == key.venue,
                    Trigger.realm == key.realm.value,
                    Trigger.state == TriggerState.ARMED.value,
                )
                .distinct()
            )
            symbols = dict.fromkeys(armed.all(), True)
            for symbol in await _watched_symbols(session, key):
                symbols.setdefault(symbol, False)
        return symbols

    # --- judging ----------------------------------------------------------------------------

    async def _commit(self, key: VenueKey, look: Look) -> set[BotId]:
        """Fire what was crossed and note how far this look came, together."""
        bots: set[BotId] = set()
        wall = self._clock.now()
        async with self._database.as_system() as session:
            for symbol, candles in sorted(look.candles.items()):
                for candle in candles:
                    closed_at = candle.opened_at + Timeframe.M1.length
                    bots |= await _fire(session, key, symbol, candle, closed_at)
            for symbol, quote in sorted(look.quotes.items()):
                bots |= await _fire(session, key, symbol, quote, look.clock.now)
            await _store_look(session, key, look, wall)
        return bots

    async def _note_scans(self, key: VenueKey, now: datetime) -> None:
        """Bots whose next scan is due had nothing new to look at: this look was their scan.

        A bar's close wakes a bot; between bars there is nothing that could change its mind, and
        waking hundreds of workflows to learn that would cost more than it tells. A transaction of
        its own: a bot that moves its stop holds its row and waits for the trigger.
        """
        running = select(BotRun.bot_id).where(
            BotRun.venue == key.venue,
            BotRun.realm == key.realm.value,
            BotRun.state == RunState.ENTERING.value,
        )
        async with self._database.as_system() as session:
            await session.exec(
                update(Bot)
                .where(col(Bot.id).in_(running), col(Bot.next_scan_at) <= now)
                .values(last_scan_at=now, next_scan_at=now + self._scan_length)
            )

    # --- telling ----------------------------------------------------------------------------

    async def _bots(self, key: VenueKey) -> set[BotId]:
        async with self._database.as_system() as session:
            rows = await session.exec(
                select(col(BotRun.user_id), col(BotRun.bot_id))
                .where(
                    BotRun.venue == key.venue,
                    BotRun.realm == key.realm.value,
                    BotRun.state != RunState.ENDED.value,
                )
                .distinct()
            )
            return set(rows.all())

    async def _unanswered(self, key: VenueKey) -> set[BotId]:
        """Bots with triggers that fired before; telling them may have been lost with a process."""
        async with self._database.as_system() as session:
            rows = await session.exec(
                select(col(Trigger.user_id), col(Trigger.bot_id))
                .where(
                    Trigger.venue == key.venue,
                    Trigger.realm == key.realm.value,
                    Trigger.state == TriggerState.FIRED.value,
                )
                .distinct()
            )
            return set(rows.all())

    async def _wake_exits(self, bots: set[BotId]) -> None:
        gate = asyncio.Semaphore(TELLING_AT_ONCE)

        async def wake(user_id: UUID, bot_id: UUID) -> None:
            async with gate:
                try:
                    await self._workflows.wake_exits(user_id, bot_id)
                except WorkflowServiceUnavailable:
                    # The rows say it too: the exits worker's poll wakes it.
                    _log.warning("watch.exits_not_woken", bot_id=str(bot_id))

        await asyncio.gather(*(wake(user_id, bot_id) for user_id, bot_id in sorted(bots)))

    async def _tell(self, bots: set[BotId], signal: BotSignal, at: datetime | None) -> None:
        gate = asyncio.Semaphore(TELLING_AT_ONCE)

        async def tell(user_id: UUID, bot_id: UUID) -> None:
            async with gate:
                try:
                    await self._workflows.signal_bot(user_id, bot_id, signal, Nudge(at=at))
                except WorkflowServiceUnavailable:
                    # The rows say it too: the sweeper wakes a bot that was not told.
                    _log.warning("watch.not_told", bot_id=str(bot_id), signal=signal.value)

        await asyncio.gather(*(tell(user_id, bot_id) for user_id, bot_id in sorted(bots)))


async def _ask_each(
    symbols: Sequence[str], ask: Callable[[str], Awaitable[_Answer]]
) -> tuple[dict[str, _Answer], set[str]]:
    """Ask for every symbol; one market without an answer does not blind the watch of the others.

    Returns:
        The answers, and the symbols that gave none.
    """
    answers: dict[str, _Answer] = {}
    silent: set[str] = set()

    async def one(symbol: str) -> None:
        try:
            answers[symbol] = await ask(symbol)
        except VenueUnavailable:
            silent.add(symbol)

    await asyncio.gather(*(one(symbol) for symbol in symbols))
    if silent:
        _log.warning("watch.market_silent", symbols=sorted(silent))
    return answers, silent


async def _watched_symbols(session: AsyncSession, key: VenueKey) -> set[str]:
    live_runs = select(BotRun.user_id, BotRun.account_id).where(
        BotRun.venue == key.venue,
        BotRun.realm == key.realm.value,
        BotRun.state != RunState.ENDED.value,
    )
    runs = live_runs.subquery()
    symbols: set[str] = set()
    pairs = await session.exec(
        select(col(UserSettings.allowed_pairs)).where(
            col(UserSettings.user_id).in_(select(runs.c.user_id))
        )
    )
    for allowed in pairs.all():
        symbols.update(allowed)
    held = await session.exec(
        select(col(Position.symbol)).where(
            col(Position.account_id).in_(select(runs.c.account_id)),
            Position.state == PositionState.OPEN.value,
        )
    )
    symbols.update(held.all())
    owned = await session.exec(
        select(col(Balance.currency), col(Account.currency))
        .join(Account, col(Account.id) == Balance.account_id)
        .where(col(Balance.account_id).in_(select(runs.c.account_id)), Balance.total > ZERO)
        .distinct()
    )
    coins = await stablecoins_in_force(session)
    for currency, into in owned.all():
        symbols.update(markets_pricing(currency, into, coins))
    return symbols


async def _fire(
    session: AsyncSession, key: VenueKey, symbol: str, seen: Candle | Quote, at: datetime
) -> set[BotId]:
    """Fire what a candle or quote crosses; the index finds the candidates, the book judges them."""
    low, high = (seen.low, seen.high) if isinstance(seen, Candle) else (seen.last, seen.last)
    crossed = select(Trigger).where(
        Trigger.venue == key.venue,
        Trigger.realm == key.realm.value,
        Trigger.symbol == symbol,
        Trigger.state == TriggerState.ARMED.value,
        or_(
            and_(col(Trigger.direction) == Condition.AT_OR_BELOW, col(Trigger.price) >= low),
            and_(col(Trigger.direction) == Condition.AT_OR_ABOVE, col(Trigger.price) <= high),
        ),
    )
    # Locks in id order; a bot that moves its stop at this moment is waited for and read anew.
    found = (await session.exec(crossed.order_by(col(Trigger.id)).with_for_update())).all()
    rows = {str(row.id): row for row in found}
    book = TriggerBook()
    for row in rows.values():
        book.put(price_condition(row))
    judged = book.judge_candle(seen) if isinstance(seen, Candle) else book.judge_quote(seen)
    bots: set[BotId] = set()
    for trigger in judged:
        row = rows[trigger.trigger_id]
        row.state = TriggerState.FIRED
        row.fired_at = at
        row.fired_price = low if trigger.condition is Condition.AT_OR_BELOW else high
        session.add(row)
        bots.add((row.user_id, row.bot_id))
        _log.info("trigger.fired", bot_id=str(row.bot_id), symbol=symbol, leg=row.leg)
    await session.flush()
    return bots


async def _store_look(session: AsyncSession, key: VenueKey, look: Look, wall: datetime) -> None:
    state = insert(VenueState).values(
        venue=key.venue,
        realm=key.realm.value,
        epoch=look.clock.epoch,
        clock_at=look.clock.now,
        seen_at=wall,
        judged_until=look.clock.now,
        last_error=None,
    )
    await session.exec(
        state.on_conflict_do_update(
            index_elements=["venue", "realm"],
            set_={
                name: state.excluded[name]
                for name in ("epoch", "clock_at", "seen_at", "judged_until", "last_error")
            },
        )
    )
    rows = [
        {
            "venue": key.venue,
            "realm": key.realm.value,
            "symbol": symbol,
            "epoch": look.clock.epoch,
            "bid": quote.bid,
            "ask": quote.ask,
            "last": quote.last,
            "at": quote.at,
        }
        for symbol, quote in sorted(look.quotes.items())
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
