"""Bots are told of each closed bar, by the main worker: once, and whatever becomes of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlmodel import select

from domain.contracts.bots import BotSignal, Nudge, TradeSignal
from domain.markets import VenueKey
from models.bots import Bot
from services.trading import bar_announcing
from services.trading.bar_announcing import BarAnnouncing
from tests.support.engine import SCAN, Engine, FakeWorkflows, RunningBot
from tests.support.fake_venue import KEY

pytestmark = pytest.mark.integration


@pytest.fixture
async def told(alone: Engine) -> tuple[Engine, RunningBot]:
    """A bot that holds something and was told of the bar before."""
    bot = await alone.start_bot()
    await alone.open_position(bot)
    await look(alone)
    alone.workflows.told.clear()
    return alone, bot


async def look(engine: Engine) -> None:
    """The exits worker's look at the venue, and then the main worker's."""
    await engine.watching.look(KEY)
    await engine.bars.look(KEY)


async def pass_bar(engine: Engine) -> None:
    for _ in range(5):
        engine.venue.market.add_minute("BTC-USD", low="100", high="101", close="100")
    await engine.watching.look(KEY)


async def test_each_bar_is_announced_once(told: tuple[Engine, RunningBot]) -> None:
    engine, bot = told
    for _ in range(7):
        engine.venue.market.add_minute("BTC-USD", low="100", high="101", close="100")
        await look(engine)
        await look(engine)

    assert engine.workflows.told == [(bot.bot_id, BotSignal.BAR_CLOSED)]


async def test_the_watch_tells_bots_nothing(told: tuple[Engine, RunningBot]) -> None:
    engine, _bot = told

    await pass_bar(engine)

    assert engine.workflows.told == []


async def test_a_bar_is_announced_once_it_is_final(told: tuple[Engine, RunningBot]) -> None:
    engine, bot = told
    market = engine.venue.market
    market.settling = timedelta(seconds=5)
    for _ in range(5):
        market.add_minute("BTC-USD", low="100", high="101", close="100")
    await look(engine)
    unsettled = list(engine.workflows.told)
    market.now += timedelta(seconds=5)
    await look(engine)

    assert unsettled == []
    assert engine.workflows.told == [(bot.bot_id, BotSignal.BAR_CLOSED)]


async def test_a_new_epoch_has_bars_of_its_own(told: tuple[Engine, RunningBot]) -> None:
    engine, bot = told
    engine.venue.market.epoch = "epoch-2"

    await look(engine)
    await look(engine)

    assert engine.workflows.told == [(bot.bot_id, BotSignal.BAR_CLOSED)]


async def test_a_bar_waits_until_its_prices_were_judged(told: tuple[Engine, RunningBot]) -> None:
    engine, bot = told
    market = engine.venue.market
    market.hanging.add("candles")
    await pass_bar(engine)
    await engine.bars.look(KEY)
    unjudged = list(engine.workflows.told)

    market.hanging.clear()
    market.released.set()
    await look(engine)

    assert unjudged == []
    assert engine.workflows.told == [(bot.bot_id, BotSignal.BAR_CLOSED)]
    await engine.watching.close()


async def test_a_process_that_starts_tells_of_no_bar_again(
    told: tuple[Engine, RunningBot],
) -> None:
    engine, _bot = told
    await pass_bar(engine)
    await engine.bars.look(KEY)
    engine.workflows.told.clear()

    engine.wire()
    await look(engine)

    assert engine.workflows.told == []


class Frozen(FakeWorkflows):
    """Never takes a message."""

    async def signal_bot(
        self, user_id: UUID, bot_id: UUID, signal: BotSignal, message: Nudge | TradeSignal
    ) -> None:
        self.told.append((bot_id, signal))
        await asyncio.Event().wait()


async def test_what_a_process_that_died_on_the_way_has_not_told_is_told_by_the_next(
    told: tuple[Engine, RunningBot],
) -> None:
    engine, bot = told
    await pass_bar(engine)
    frozen = Frozen()
    dying = BarAnnouncing(engine.database, engine.venue, frozen, realm=KEY.realm, scan_length=SCAN)
    task = asyncio.create_task(dying.look(KEY))
    while not frozen.told:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    await engine.bars.look(KEY)

    assert engine.workflows.told == [(bot.bot_id, BotSignal.BAR_CLOSED)]


async def test_bots_that_could_not_be_told_are_told_once_they_can_be(
    told: tuple[Engine, RunningBot], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, bot = told
    monkeypatch.setattr(bar_announcing, "RETRY_SECONDS_FIRST", 0.05)
    engine.workflows.is_down = True
    await pass_bar(engine)
    await engine.bars.look(KEY)
    engine.workflows.is_down = False

    await engine.bars.look(KEY)
    too_soon = list(engine.workflows.told)
    await asyncio.sleep(0.06)
    await engine.bars.look(KEY)
    await engine.bars.look(KEY)

    assert too_soon == []
    assert engine.workflows.told == [(bot.bot_id, BotSignal.BAR_CLOSED)]


class Picky(FakeWorkflows):
    """Fails for one bot in a way that nobody expects."""

    odd: UUID | None = None

    async def signal_bot(
        self, user_id: UUID, bot_id: UUID, signal: BotSignal, message: Nudge | TradeSignal
    ) -> None:
        if bot_id == self.odd:
            raise KeyError(bot_id)
        await super().signal_bot(user_id, bot_id, signal, message)


async def test_a_bot_that_cannot_be_told_costs_no_other(told: tuple[Engine, RunningBot]) -> None:
    engine, bot = told
    other = await engine.start_bot()
    workflows = engine.workflows = Picky()
    workflows.odd = bot.bot_id
    engine.wire()
    await pass_bar(engine)

    await engine.bars.look(KEY)
    await engine.bars.look(KEY)

    assert workflows.told == [(other.bot_id, BotSignal.BAR_CLOSED)]


async def test_the_loop_goes_on_after_a_look_that_failed(
    told: tuple[Engine, RunningBot], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, bot = told
    monkeypatch.setattr(bar_announcing, "FAILED_SECONDS", 0.01)
    look_once, failures = engine.bars.look, 0

    async def fail_first(key: VenueKey) -> None:
        nonlocal failures
        if failures < 3:
            failures += 1
            raise KeyError(key)
        await look_once(key)

    monkeypatch.setattr(engine.bars, "look", fail_first)
    await pass_bar(engine)

    running = asyncio.create_task(engine.bars.run())
    try:
        async with asyncio.timeout(10):
            while not engine.workflows.told:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert failures == 3
    assert engine.workflows.told == [(bot.bot_id, BotSignal.BAR_CLOSED)]


async def test_between_bars_the_looks_of_the_watch_are_scans(
    told: tuple[Engine, RunningBot],
) -> None:
    engine, bot = told
    before = await engine.bot(bot)
    assert before.next_scan_at is None or before.next_scan_at > engine.venue.market.now
    await engine.hunt(bot)
    engine.venue.market.now += SCAN + timedelta(seconds=1)

    async with engine.database.as_system() as session:
        assert (await session.exec(select(Bot.id).with_for_update())).all()
        await look(engine)
        held = await engine.bot(bot)
    engine.venue.market.now += timedelta(seconds=1)
    await look(engine)

    row = await engine.bot(bot)
    assert held.last_scan_at != row.last_scan_at, "a bot whose row is locked is noted later"
    assert row.last_scan_at == engine.venue.market.now
    assert row.next_scan_at == engine.venue.market.now + SCAN
