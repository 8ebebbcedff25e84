"""What a worker and the API both stand on: database, venues, Temporal, vault."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from temporalio.runtime import Runtime

from adapters.stripe.provider import StripeProvider
from adapters.temporal.accounts import TemporalAccounts
from adapters.temporal.alerts import TemporalAlerts
from adapters.temporal.billing import TemporalBilling
from adapters.temporal.client import TemporalWorkflows
from adapters.temporal.exports import TemporalExports
from adapters.temporal.kill_switches import TemporalKillSwitches
from adapters.vault import Vault
from adapters.venues.registry import VenueRegistry
from bootstrap.core import open_core
from bootstrap.notifying import open_notifying
from bootstrap.objects import open_store
from domain.exports import ObjectStore
from domain.markets import Realm
from domain.ports import WallClock
from services.billing.commands import Commands
from services.billing.refreshing import Refreshing
from services.database import Database
from services.identity.mailed_links import MailedLinks
from services.notifying.assembly import Notifying
from services.orders.row_locks import UNBOUNDED
from settings import Settings


@dataclass(frozen=True, slots=True)
class Ground:
    """What both containers stand on."""

    settings: Settings
    realm: Realm
    clock: WallClock
    database: Database
    vault: Vault
    venues: VenueRegistry
    workflows: TemporalWorkflows
    provider: StripeProvider | None
    billing_workflows: TemporalBilling
    export_workflows: TemporalExports
    store: ObjectStore
    kill_switch_workflows: TemporalKillSwitches
    links: MailedLinks
    notifying: Notifying

    @property
    def account_workflows(self) -> TemporalAccounts:
        """The workflows that delete accounts."""
        return TemporalAccounts(self.workflows, self.settings.task_queue)

    @property
    def alert_workflows(self) -> TemporalAlerts:
        """The workflows that follow received alerts."""
        return TemporalAlerts(self.workflows, self.settings.task_queue)

    @property
    def refreshing(self) -> Refreshing | None:
        """Reading subscriptions; None without a payment provider."""
        if self.provider is None:
            return None
        return Refreshing(self.database, self.provider, self.clock)

    @property
    def commands(self) -> Commands | None:
        """Commands to the payment provider; None without one."""
        if self.provider is None or self.refreshing is None:
            return None
        return Commands(
            self.database, self.provider, self.billing_workflows, self.refreshing, self.clock
        )


@asynccontextmanager
async def open_ground(
    settings: Settings, runtime: Runtime | None, *, ping_first: bool, of_a_user: int | None = None
) -> AsyncIterator[Ground]:
    """Open what both kinds of process stand on; the options as in `services.database`."""
    provider = _provider(settings)
    try:
        async with open_core(
            settings,
            runtime,
            ping_first=ping_first,
            pool_size=settings.database_pool_size,
            paper_at_once=UNBOUNDED,
            of_a_user=of_a_user,
        ) as core:
            database, vault, workflows, clock = (
                core.database,
                core.vault,
                core.workflows,
                core.clock,
            )
            links = MailedLinks(database, vault, clock, base_url=settings.base_url)
            async with (
                open_store(settings) as store,
                open_notifying(settings, database, workflows, links, vault, clock) as notifying,
            ):
                yield Ground(
                    settings,
                    core.realm,
                    clock,
                    database,
                    vault,
                    core.venues,
                    workflows,
                    provider,
                    TemporalBilling(workflows, settings.task_queue),
                    TemporalExports(workflows, settings.task_queue),
                    store,
                    TemporalKillSwitches(workflows, settings.task_queue),
                    links,
                    notifying,
                )
    finally:
        if provider is not None:
            await provider.close()


def _provider(settings: Settings) -> StripeProvider | None:
    """Stripe, where a key is set."""
    key = settings.stripe_secret_key.get_secret_value() if settings.stripe_secret_key else ""
    return StripeProvider.connect(key, api_base=settings.stripe_api_base) if key else None
