"""What every process of ours stands on: database, vault, venues, Temporal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from adapters.clock import SystemClock
from adapters.temporal.client import TemporalWorkflows
from adapters.vault import Vault
from adapters.venues.paper import PaperFees
from adapters.venues.registry import VenueRegistry
from domain.markets import Realm
from domain.ports import WallClock
from services.database import Database
from services.markets.request_budgets import RequestBudgets
from services.orders.row_locks import CONNECTIONS_MAX
from services.paper_ledger import PostgresPaperLedger
from services.stored_credentials import StoredCredentials
from settings import Settings


class MissingSetting(Exception):
    """A process was started without something only its supervisor or operator can give it."""


@dataclass(frozen=True, slots=True)
class Core:
    """The parts, each with connections of its own: no process shares a pool or a venue client."""

    settings: Settings
    realm: Realm
    clock: WallClock
    database: Database
    vault: Vault
    venues: VenueRegistry
    workflows: TemporalWorkflows


def required(value: str | None, name: str) -> str:
    """A setting that must be there.

    Raises:
        MissingSetting: it is not.
    """
    if not value:
        raise MissingSetting(f"{name} is not set; `nija up` sets it for its children")
    return value


@asynccontextmanager
async def open_core(
    settings: Settings,
    runtime: Runtime | None,
    *,
    ping_first: bool,
    pool_size: int,
    paper_at_once: int = CONNECTIONS_MAX,
    of_a_user: int | None = None,
) -> AsyncIterator[Core]:
    """Open the parts.

    Args:
        settings: of the installation.
        runtime: of Temporal's client.
        ping_first: as in `services.database`.
        pool_size: as in `services.database`.
        of_a_user: as in `services.database`.
        paper_at_once: how many transactions of paper accounts are carried out at the same time.
    """
    database = Database(
        required(settings.app_database_url, "NIJA_APP_DATABASE_URL"),
        required(settings.system_database_url, "NIJA_SYSTEM_DATABASE_URL"),
        pool_size=pool_size,
        ping_first=ping_first,
        of_a_user=of_a_user,
    )
    keys = settings.vault_keys.get_secret_value() if settings.vault_keys else None
    vault = Vault(required(keys, "NIJA_VAULT_KEYS"))
    venues = VenueRegistry(
        realm=Realm(settings.venues),
        simulator_url=settings.simulator_url,
        credentials=StoredCredentials(database, vault),
        ledger=PostgresPaperLedger(database, at_once=paper_at_once),
        paper_fees=PaperFees(
            maker_rate=settings.paper_maker_fee_rate, taker_rate=settings.paper_taker_fee_rate
        ),
        budget=RequestBudgets(database),
    )
    workflows = TemporalWorkflows(
        settings.temporal_address or f"127.0.0.1:{settings.temporal_port}",
        settings.temporal_namespace,
        settings.task_queue,
        runtime,
    )
    try:
        yield Core(
            settings, Realm(settings.venues), SystemClock(), database, vault, venues, workflows
        )
    finally:
        await venues.close()
        await database.close()


def metrics_runtime(metrics_port: int) -> Runtime | None:
    """The Temporal SDK's own metrics on a port of their own; none without a port."""
    if not metrics_port:
        return None
    address = f"127.0.0.1:{metrics_port}"
    return Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=address)))
