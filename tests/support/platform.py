"""The platform around a stepped market: database, Temporal, simulator and a worker's own code."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import worker
from adapters.clock import SystemClock
from adapters.embedded.postgres_roles import DatabaseUrls
from adapters.venues.coinbase import CoinbaseMarketData
from bootstrap import open_delivery
from bootstrap.core import open_core
from bootstrap.exits import assemble_exits
from bootstrap.ground import open_ground
from bootstrap.worker import assemble
from domain.markets import VenueKey
from domain.ports import Vault
from services.database import Database
from services.trading.commands import TradingService
from settings import Settings
from tests.support.caught_up import caught_up
from tests.support.simulator_process import Simulator

PROMPT_SECONDS = 2.0
VAULT_KEYS = f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}"


@dataclass(frozen=True, slots=True)
class Platform:
    """A running platform whose market advances when it is told to."""

    database: Database
    simulator: Simulator
    vault: Vault
    trading: TradingService
    market: CoinbaseMarketData

    async def now(self) -> datetime:
        return (await self.market.clock()).now

    async def advance(self, symbols: tuple[str, ...]) -> None:
        """Play one minute, and let everybody finish with it."""
        self.simulator.advance()
        await self.settle(symbols)

    async def settle(self, symbols: tuple[str, ...]) -> None:
        await caught_up(self.database, self.market, symbols, await self.now())


@asynccontextmanager
async def running(loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a loop beside the block."""
    task = asyncio.create_task(loop)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def stepped_platform(
    urls: DatabaseUrls, temporal_address: str, simulator: Simulator, **settings: object
) -> AsyncIterator[Platform]:
    """Run both workers in this process against fresh servers; everything ends with the block."""
    values = {
        "app_database_url": urls.app,
        "system_database_url": urls.system,
        "temporal_address": temporal_address,
        "simulator_url": simulator.url,
        "simulator_mode": "step",
        "vault_keys": VAULT_KEYS,
        "worker_metrics_port": 0,
        "watch_interval_seconds": 0.05,
        "data_dir": Path("/nonexistent"),
    }
    chosen = Settings.model_validate(values | settings)
    database = Database(urls.app, urls.system, pool_size=4)
    market = CoinbaseMarketData(simulator_url=simulator.url)
    try:
        async with (
            open_ground(chosen, None, ping_first=False) as ground,
            open_delivery(ground.notifying, urls.app, chosen) as delivery,
            open_core(chosen, None, ping_first=False, pool_size=chosen.exits_pool_size) as core,
        ):
            await ground.workflows.ensure_watch(VenueKey("coinbase", ground.realm))
            client = await ground.workflows.client()
            container, exits = assemble(ground, *delivery), assemble_exits(core)
            async with (
                worker._worker(client, chosen.task_queue, container),
                worker._exits_worker(client, chosen.task_queue, exits),
                running(exits.watches.run()),
                running(container.bars.run()),
            ):
                yield Platform(
                    database=database,
                    simulator=simulator,
                    vault=ground.vault,
                    trading=TradingService(
                        database, ground.venues, ground.workflows, SystemClock(), realm=ground.realm
                    ),
                    market=market,
                )
                await exits.prompt.close(PROMPT_SECONDS)
    finally:
        await market.close()
        await database.close()
