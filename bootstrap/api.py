"""What an API process serves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from adapters.stripe.events import StripeEventVerifier
from adapters.temporal.client import TemporalWorkflows
from adapters.vault import Vault
from adapters.venues.registry import VenueRegistry
from bootstrap.core import required
from bootstrap.ground import Ground, open_ground
from bootstrap.people import identity_policy, paper_accounts
from domain.markets import VenueKey
from domain.ports import WallClock
from domain.valuation import Stablecoins
from services.account_views import AccountViews
from services.admin.assembly import Administration, assemble
from services.alerts.dispatching import AlertDispatch
from services.alerts.intake import AlertIntake
from services.alerts.keys import WebhookKeys
from services.alerts.views import AlertViews
from services.analytics.views import Analytics
from services.billing.inbox import EventInbox
from services.billing.subscriptions import Subscriptions
from services.billing.views import BillingViews
from services.bot_views import BotViews
from services.connections import Connections
from services.database import Database
from services.events.live import LiveEvents
from services.exports.links import LinkSigner
from services.exports.requests import Exports
from services.idempotency import IdempotencyKeys
from services.identity.identity import Identity
from services.limits.policy import AddressLimits
from services.notifying.assembly import Notifying
from services.paper_accounts import PAPER_VENUE, PaperAccounts
from services.reads import Reads
from services.trading.commands import TradingService
from services.user_settings import UserSettingsService
from settings import Settings


@dataclass(frozen=True, slots=True)
class ApiContainer:
    """The services behind the API; `api.kit.container.ApiServices` describes it."""

    settings: Settings
    clock: WallClock
    database: Database
    reads: Reads
    venues: VenueRegistry
    vault: Vault
    workflows: TemporalWorkflows
    identity: Identity
    idempotency: IdempotencyKeys
    user_settings: UserSettingsService
    connections: Connections
    paper: PaperAccounts
    views: AccountViews
    analytics: Analytics
    exports: Exports
    bot_views: BotViews
    trading: TradingService
    subscriptions: Subscriptions
    billing_views: BillingViews
    billing_inbox: EventInbox
    live: LiveEvents
    alert_intake: AlertIntake
    webhook_keys: WebhookKeys
    alert_views: AlertViews
    administration: Administration
    notifying: Notifying


CONNECTIONS_OF_A_USER = 3
"""Of the API's to write, and of those to read: calls of one user that wait for rows of theirs, or
read many, leave the rest to others."""

ALERT_CONNECTIONS = 4
"""Connections for alerts that leave positions."""


@asynccontextmanager
async def build_container(settings: Settings) -> AsyncIterator[ApiContainer]:
    """Everything the API serves."""
    async with open_ground(
        settings, None, ping_first=True, of_a_user=CONNECTIONS_OF_A_USER
    ) as ground:
        reads = Reads(
            required(settings.app_database_url, "NIJA_APP_DATABASE_URL"),
            ground.clock,
            pool_size=settings.database_pool_size,
            of_a_caller=CONNECTIONS_OF_A_USER,
            address_limits=_address_limits(settings),
        )
        await reads.open()
        container = _api(ground, reads)
        await container.alert_intake.open()
        try:
            async with container.live.running():
                yield container
        finally:
            container.identity.close()
            await container.alert_intake.close()
            await reads.close()


def _api(ground: Ground, reads: Reads) -> ApiContainer:
    settings, database, clock, venues = (
        ground.settings,
        ground.database,
        ground.clock,
        ground.venues,
    )
    secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
    paper = paper_accounts(settings, database, clock)
    trading = TradingService(
        database,
        venues,
        ground.workflows,
        clock,
        realm=ground.realm,
        needs_verified_email=settings.smtp_url is not None,
    )
    views = AccountViews(reads, realm=ground.realm)
    return ApiContainer(
        settings=settings,
        clock=clock,
        database=database,
        reads=reads,
        venues=venues,
        vault=ground.vault,
        workflows=ground.workflows,
        identity=Identity(
            database,
            reads,
            clock,
            paper,
            identity_policy(settings),
            ground.vault,
            ground.account_workflows,
            ground.workflows,
            jwt_secret=required(secret, "NIJA_JWT_SECRET"),
            base_url=settings.base_url,
        ),
        idempotency=IdempotencyKeys(database, clock),
        user_settings=UserSettingsService(
            database, reads, clock, venues, trading, venue=VenueKey(PAPER_VENUE, ground.realm)
        ),
        connections=Connections(
            database,
            reads,
            clock,
            venues,
            ground.vault,
            trading,
            realm=ground.realm,
            stablecoins=Stablecoins.parse(settings.stablecoins),
        ),
        paper=paper,
        views=views,
        analytics=Analytics(views),
        exports=_exports(ground, reads, views),
        bot_views=BotViews(reads, clock, realm=ground.realm),
        trading=trading,
        subscriptions=Subscriptions(database, ground.commands),
        billing_views=BillingViews(database, ground.provider, clock),
        alert_intake=_alert_intake(ground),
        webhook_keys=WebhookKeys(database, reads, clock),
        alert_views=AlertViews(reads),
        billing_inbox=EventInbox(database, _verifier(ground), ground.billing_workflows, clock),
        live=_live(ground, reads),
        administration=assemble(
            database, ground.workflows, ground.kill_switch_workflows, clock, realm=ground.realm
        ),
        notifying=ground.notifying,
    )


def _alert_intake(ground: Ground) -> AlertIntake:
    settings = ground.settings
    app_url = required(settings.app_database_url, "NIJA_APP_DATABASE_URL")
    system_url = required(settings.system_database_url, "NIJA_SYSTEM_DATABASE_URL")
    return AlertIntake(
        app_url,
        system_url,
        # Of its own: alerts that wait for rows must not keep people's calls waiting.
        Database(app_url, system_url, pool_size=ALERT_CONNECTIONS),
        ground.clock,
        AlertDispatch(ground.workflows, ground.alert_workflows),
        age_max=timedelta(seconds=settings.alert_age_seconds),
        a_minute=settings.alerts_per_minute or None,
    )


def _live(ground: Ground, reads: Reads) -> LiveEvents:
    url = required(ground.settings.system_database_url, "NIJA_SYSTEM_DATABASE_URL")
    is_limited = ground.settings.rate_limits != "off"
    return LiveEvents(url, reads, ground.clock, realm=ground.realm, is_limited=is_limited)


def _exports(ground: Ground, reads: Reads, views: AccountViews) -> Exports:
    secret = ground.settings.jwt_secret.get_secret_value() if ground.settings.jwt_secret else None
    return Exports(
        ground.database,
        reads,
        views,
        ground.store,
        ground.export_workflows,
        LinkSigner(required(secret, "NIJA_JWT_SECRET"), ground.settings.base_url),
        ground.clock,
    )


def _address_limits(settings: Settings) -> AddressLimits | None:
    if settings.rate_limits == "off":
        return None
    return AddressLimits(
        auth=settings.auth_calls_per_minute, public=settings.public_calls_per_minute
    )


def _verifier(ground: Ground) -> StripeEventVerifier | None:
    """Events are taken only where they can be verified and processed."""
    secret = ground.settings.stripe_webhook_secret
    if ground.provider is None or secret is None or not secret.get_secret_value().strip():
        return None
    return StripeEventVerifier(secret.get_secret_value())
