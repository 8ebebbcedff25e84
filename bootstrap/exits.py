"""What an exits worker runs: the price watch, exit orders, and the poll that finds them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from temporalio.runtime import Runtime

from activities.exits import ExitActivities
from activities.markets import MarketActivities
from activities.orders import OrderActivities
from adapters.temporal.client import TemporalWorkflows
from bootstrap.core import Core, metrics_runtime, open_core, required
from bootstrap.readiness import Readiness, SoleLoop
from services.database import BRIEF_IDLE_TIMEOUT_MS
from services.markets.watch_keeping import WatchKeeping
from services.markets.watching import VenueWatching
from services.orders.placing import OrderPlacing
from services.orders.settling import OrderSettling
from services.session_lock import EXITS_LOCK, WATCH_LOCK, SessionLock
from services.trading.exit_dispatch import ExitDispatch
from services.trading.exiting import ExitService
from services.trading.prompt_exits import PromptExits
from settings import Settings

POLLING_SILENCE_SECONDS = 5
"""After which another exits worker polls in place of one that froze."""

WATCHING_SILENCE_SECONDS = BRIEF_IDLE_TIMEOUT_MS // 1_000
"""After which another exits worker watches prices in place of one that froze."""


@dataclass(frozen=True, slots=True)
class ExitsContainer:
    """Activities and the loops of an exits worker, each with its lock."""

    workflows: TemporalWorkflows
    exits: ExitActivities
    orders: OrderActivities
    markets: MarketActivities
    dispatch: ExitDispatch
    prompt: PromptExits
    polling: SessionLock
    watches: WatchKeeping
    watching: SessionLock
    readiness: Readiness


@asynccontextmanager
async def build_exits(settings: Settings) -> AsyncIterator[ExitsContainer]:
    """Everything an exits worker runs, on connections of its own."""
    runtime = metrics_runtime(settings.exits_metrics_port)
    async with open_core(
        settings, runtime, ping_first=False, pool_size=settings.exits_pool_size
    ) as core:
        yield assemble_exits(core, runtime)


def assemble_exits(core: Core, runtime: Runtime | None = None) -> ExitsContainer:
    """Wire an exits worker on open parts."""
    settings, database, venues, clock = core.settings, core.database, core.venues, core.clock
    settling = OrderSettling(
        database, venues, clock, grace=timedelta(seconds=settings.absence_grace_seconds)
    )
    exits, placing = ExitService(database, clock), OrderPlacing(database, venues, clock, settling)
    prompt = PromptExits(core.workflows, exits, placing, settling)
    watches = WatchKeeping(
        VenueWatching(
            database,
            venues,
            prompt,
            clock,
            interval_seconds=settings.watch_interval_seconds,
        ),
        venues,
        realm=core.realm,
    )
    dispatch = ExitDispatch(database, prompt, venues, realm=core.realm)
    url = required(settings.system_database_url, "NIJA_SYSTEM_DATABASE_URL")
    polling = SessionLock(url, EXITS_LOCK, "exits", silence_seconds=POLLING_SILENCE_SECONDS)
    watching = SessionLock(url, WATCH_LOCK, "watch", silence_seconds=WATCHING_SILENCE_SECONDS)
    return ExitsContainer(
        workflows=core.workflows,
        exits=ExitActivities(exits),
        orders=OrderActivities(placing, settling),
        markets=MarketActivities(watches),
        dispatch=dispatch,
        prompt=prompt,
        polling=polling,
        watches=watches,
        watching=watching,
        readiness=Readiness(
            runtime,
            core.workflows,
            {"poll": SoleLoop(polling, dispatch), "watch": SoleLoop(watching, watches)},
        ),
    )
