"""Keeping venues watched: whatever breaks one watch off, it begins again, and no other ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from domain.contracts.bots import WatchInput
from domain.markets import Realm, VenueKey
from services.markets import watch_keeping, watching
from services.markets.watch_keeping import WatchKeeping
from tests.support.engine import Engine
from tests.support.fake_venue import KEY

pytestmark = pytest.mark.integration

OTHER = VenueKey("other", Realm.SIMULATED)


class TwoVenues:
    """Which venues there are."""

    def supported(self) -> Mapping[str, str]:
        return {KEY.venue: "One", OTHER.venue: "Other"}


class Watching:
    """One venue's watch breaks off at once, for a reason that nobody thought of."""

    def __init__(self) -> None:
        self.begun: Counter[VenueKey] = Counter()
        self.ended: Counter[VenueKey] = Counter()

    async def watch(self, key: VenueKey) -> None:
        self.begun[key] += 1
        if key == OTHER:
            raise KeyError(key)
        try:
            await asyncio.Event().wait()
        finally:
            self.ended[key] += 1


@asynccontextmanager
async def running(keeping: WatchKeeping) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(keeping.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(is_so: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_a_watch_that_breaks_off_begins_again_and_ends_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_keeping, "RESTART_SECONDS", 0.01)
    watches = Watching()
    keeping = WatchKeeping(watches, TwoVenues(), realm=Realm.SIMULATED)  # type: ignore[arg-type]

    async with running(keeping) as task:
        await until(lambda: watches.begun[OTHER] >= 3, 5)
        assert not task.done()
        assert (watches.begun[KEY], watches.ended[KEY]) == (1, 0)

    assert watches.ended[KEY] == 1, "cancelled with the loop"


async def test_a_look_that_hangs_is_given_up(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS_MAX", 0.05)

    async def hang(_key: VenueKey) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(alone.watching, "look", hang)
    monkeypatch.setattr(alone.watching, "_interval", 0.01)

    async with running(WatchKeeping(alone.watching, alone.venue, realm=Realm.SIMULATED)):
        await until(lambda: alone.watching.looks(KEY) >= 3, 5)


async def test_what_follows_a_watch_tells_how_often_it_looked(
    alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone.watching, "_interval", 0.01)
    monkeypatch.setattr(watch_keeping, "FOLLOW_LENGTH", watch_keeping.FOLLOW_LENGTH / 600)
    keeping = WatchKeeping(alone.watching, alone.venue, realm=Realm.SIMULATED)
    request = WatchInput(venue=KEY.venue, realm=KEY.realm.value)

    unwatched = await keeping.follow(request)
    async with running(keeping):
        watched = await keeping.follow(request)

    assert unwatched.looks == 0
    assert watched.looks > 0


async def test_the_end_of_one_watch_leaves_what_another_is_at(alone: Engine) -> None:
    await alone.watching.look(KEY)
    going_on = asyncio.create_task(alone.watching._beside(KEY, asyncio.sleep(1.0)))
    other = asyncio.create_task(alone.watching.watch(OTHER))
    await asyncio.sleep(0.1)

    other.cancel()
    await asyncio.gather(other, return_exceptions=True)

    assert KEY in alone.watching._candles
    assert len(alone.watching._background[KEY]) == 1
    await going_on
    await alone.watching.close()
