"""From settings to running objects: the only place that knows concrete classes.

Two containers: what a worker needs and what the API needs. Both are async context managers, so
that whatever they opened is closed again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from activities.accounts import AccountActivities
from activities.billing import BillingActivities
from activities.bots import BotActivities
from activities.export import ExportActivities
from activities.kill_switch import KillSwitchActivities
from activities.markets import MarketActivities
from activities.notify import NotifyActivities
from activities.orders import OrderActivities
from activities.signal import SignalActivities
from adapters.clock import SystemClock
from adapters.objects.disk import DiskStore
from adapters.stripe.events import StripeEventVerifier
from adapters.stripe.provider import StripeProvider
from adapters.temporal.accounts import TemporalAccounts
from adapters.temporal.alerts import TemporalAlerts
from adapters.temporal.billing import TemporalBilling
from adapters.temporal.client import TemporalWorkflows
from adapters.temporal.exports import TemporalExports
from adapters.temporal.kill_switches import TemporalKillSwitches
from adapters.vault import Vault
from adapters.venues.paper import PaperFees
from adapters.venues.registry import VenueRegistry
from bootstrap_notifying import open_delivery, open_notifying
from bootstrap_people import identity_policy, paper_accounts
from domain.exports import ObjectStore
from domain.markets import Realm, VenueKey
from domain.ports import WallClock
from services.account_views import AccountViews
from services.admin.assembly import Administration, assemble
from services.alerts.dispatching import AlertDispatch
from services.alerts.following import AlertFollowing
from services.alerts.intake import AlertIntake
from services.alerts.keys import WebhookKeys
from services.alerts.sweeping import AlertSweep
from services.alerts.views import AlertViews
from services.analytics.views import Analytics
from services.audit_chain import AuditSealing
from services.billing.commands import Commands
from services.billing.forgetting import BillingForgetting
from services.billing.inbox import EventHandling, EventInbox
from services.billing.refreshing import Refreshing
from services.billing.subscriptions import Subscriptions
from services.billing.sweeping import BillingSweep
from services.billing.tending import Tending
from services.billing.views import BillingViews
from services.bot_views import BotViews
from services.connections import Connections
from services.database import Database
from services.events.live import LiveEvents
from services.exports.links import LinkSigner
from services.exports.requests import Exports
from services.exports.sweeping import ExportSweep
from services.exports.writing import ExportWriting
from services.idempotency import IdempotencyKeys
from services.identity.erasing import DeletionSweep, Erasing
from services.identity.identity import Identity
from services.identity.mailed_links import MailedLinks
from services.limits.policy import AddressLimits
from services.limits.sweeping import LimitSweep
from services.markets.evaluating import EvaluationService
from services.markets.watching import VenueWatching
from services.notifying.assembly import Notifying
from services.notifying.pump import Pump
from services.orders.placing import OrderPlacing
from services.orders.reconciling import Reconciling
from services.orders.settling import OrderSettling
from services.paper_accounts import PAPER_VENUE, PaperAccounts
from services.paper_ledger import PostgresPaperLedger
from services.reads import Reads
from services.stored_credentials import StoredCredentials
from services.trading.commands import TradingService
from services.trading.guarding import GuardService
from services.trading.hunting import HuntService
from services.trading.kill_switch_rounds import KillSwitchRounds, KillSwitchSweep
from services.trading.signals import SignalHandling
from services.trading.sweeping import Sweeper
from services.user_settings import UserSettingsService
from settings import Settings

LAST_MAIL_PATIENCE = timedelta(minutes=5)
"""How long a deleted account waits until its owner was told by mail."""


class MissingSetting(Exception):
    """A process was started without something only its supervisor or operator can give it."""


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


@dataclass(frozen=True, slots=True)
class WorkerContainer:
    """Activities and the sweeper of a worker process."""

    workflows: TemporalWorkflows
    bots: BotActivities
    orders: OrderActivities
    markets: MarketActivities
    billing: BillingActivities
    signals: SignalActivities
    exports: ExportActivities
    accounts: AccountActivities
    kill_switch: KillSwitchActivities
    notify: NotifyActivities
    pump: Pump
    sweeper: Sweeper


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


def _required(value: str | None, name: str) -> str:
    if not value:
        raise MissingSetting(f"{name} is not set; `nija up` sets it for its children")
    return value


@asynccontextmanager
async def _ground(
    settings: Settings, runtime: Runtime | None, *, ping_first: bool
) -> AsyncIterator[Ground]:
    database = Database(
        _required(settings.app_database_url, "NIJA_APP_DATABASE_URL"),
        _required(settings.system_database_url, "NIJA_SYSTEM_DATABASE_URL"),
        pool_size=settings.database_pool_size,
        ping_first=ping_first,
    )
    keys = settings.vault_keys.get_secret_value() if settings.vault_keys else None
    vault = Vault(_required(keys, "NIJA_VAULT_KEYS"))
    venues = VenueRegistry(
        realm=Realm(settings.venues),
        simulator_url=settings.simulator_url,
        credentials=StoredCredentials(database, vault),
        ledger=PostgresPaperLedger(database),
        paper_fees=PaperFees(
            maker_rate=settings.paper_maker_fee_rate, taker_rate=settings.paper_taker_fee_rate
        ),
    )
    workflows = TemporalWorkflows(
        settings.temporal_address or f"127.0.0.1:{settings.temporal_port}",
        settings.temporal_namespace,
        settings.task_queue,
        runtime,
    )
    provider, clock = _provider(settings), SystemClock()
    links = MailedLinks(database, vault, clock, base_url=settings.base_url)
    try:
        async with open_notifying(settings, database, workflows, links, vault, clock) as notifying:
            yield Ground(
                settings,
                Realm(settings.venues),
                clock,
                database,
                vault,
                venues,
                workflows,
                provider,
                TemporalBilling(workflows, settings.task_queue),
                TemporalExports(workflows, settings.task_queue),
                DiskStore(settings.exports_folder),
                TemporalKillSwitches(workflows, settings.task_queue),
                links,
                notifying,
            )
    finally:
        if provider is not None:
            await provider.close()
        await venues.close()
        await database.close()


@asynccontextmanager
async def build_worker(settings: Settings) -> AsyncIterator[WorkerContainer]:
    """Everything a worker process runs."""
    runtime = _runtime(settings.worker_metrics_port)
    app_url = _required(settings.app_database_url, "NIJA_APP_DATABASE_URL")
    async with (
        _ground(settings, runtime, ping_first=False) as ground,
        open_delivery(ground.notifying, app_url, settings) as delivery,
    ):
        yield _worker(ground, *delivery)


def _provider(settings: Settings) -> StripeProvider | None:
    """Stripe, where a key is set."""
    key = settings.stripe_secret_key.get_secret_value() if settings.stripe_secret_key else ""
    return StripeProvider.connect(key, api_base=settings.stripe_api_base) if key else None


def _verifier(ground: Ground) -> StripeEventVerifier | None:
    """Events are taken only where they can be verified and processed."""
    secret = ground.settings.stripe_webhook_secret
    if ground.provider is None or secret is None or not secret.get_secret_value().strip():
        return None
    return StripeEventVerifier(secret.get_secret_value())


def _billing_activities(ground: Ground) -> BillingActivities:
    database, clock, refreshing = ground.database, ground.clock, ground.refreshing
    handling = None
    if ground.provider is not None and refreshing is not None:
        handling = EventHandling(
            database, ground.provider, refreshing, ground.billing_workflows, clock
        )
    return BillingActivities(Tending(database, ground.commands, refreshing, clock), handling)


def _erasing(ground: Ground) -> Erasing:
    """Deleting accounts: whatever keeps something of a user besides rows is asked to forget it."""
    billing = BillingForgetting(
        ground.database, ground.provider, ground.commands, ground.refreshing
    )
    return Erasing(
        ground.database,
        ground.clock,
        ground.workflows,
        (billing,),
        tell_patience=LAST_MAIL_PATIENCE if ground.settings.smtp_url else timedelta(0),
    )


def _runtime(metrics_port: int) -> Runtime | None:
    """The Temporal SDK's own metrics on a port of their own; none without a port."""
    if not metrics_port:
        return None
    address = f"127.0.0.1:{metrics_port}"
    return Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=address)))


def _worker(ground: Ground, notify: NotifyActivities, pump: Pump) -> WorkerContainer:
    settings, database, venues, clock = (
        ground.settings,
        ground.database,
        ground.venues,
        ground.clock,
    )
    scan_length = timedelta(seconds=float(settings.scan_seconds))
    settling = OrderSettling(
        database, venues, clock, grace=timedelta(seconds=settings.absence_grace_seconds)
    )
    evaluations = EvaluationService(database, venues, clock)
    following = AlertFollowing(database, ground.workflows, clock)
    signals = SignalHandling(database, venues, evaluations, clock)
    return WorkerContainer(
        workflows=ground.workflows,
        bots=BotActivities(
            GuardService(database, clock),
            HuntService(database, venues, evaluations, signals, clock, scan_length=scan_length),
        ),
        orders=OrderActivities(OrderPlacing(database, venues, clock, settling), settling),
        markets=MarketActivities(
            VenueWatching(
                database,
                venues,
                ground.workflows,
                clock,
                interval_seconds=settings.watch_interval_seconds,
                scan_length=scan_length,
            )
        ),
        billing=_billing_activities(ground),
        exports=ExportActivities(ExportWriting(database, ground.store, clock)),
        signals=SignalActivities(following),
        accounts=AccountActivities(_erasing(ground)),
        kill_switch=KillSwitchActivities(KillSwitchRounds(database, ground.workflows, clock)),
        notify=notify,
        pump=pump,
        sweeper=Sweeper(
            database,
            ground.workflows,
            venues,
            Reconciling(
                database,
                venues,
                settling,
                clock,
                interval_seconds=settings.reconcile_interval_seconds,
            ),
            clock,
            realm=ground.realm,
            interval_seconds=settings.sweep_interval_seconds,
            chores=(
                AlertSweep(database, _alert_workflows(ground), following, clock),
                AuditSealing(database, clock),
                KillSwitchSweep(database, ground.kill_switch_workflows),
                BillingSweep(database, ground.billing_workflows, clock),
                DeletionSweep(database, ground.account_workflows, clock),
                LimitSweep(database, IdempotencyKeys(database, clock), clock),
                ExportSweep(database, ground.store, ground.export_workflows, clock),
            ),
        ),
    )


def _alert_workflows(ground: Ground) -> TemporalAlerts:
    return TemporalAlerts(ground.workflows, ground.settings.task_queue)


def _alert_intake(ground: Ground) -> AlertIntake:
    settings = ground.settings
    return AlertIntake(
        _required(settings.app_database_url, "NIJA_APP_DATABASE_URL"),
        _required(settings.system_database_url, "NIJA_SYSTEM_DATABASE_URL"),
        ground.clock,
        AlertDispatch(ground.workflows, _alert_workflows(ground)),
        age_max=timedelta(seconds=settings.alert_age_seconds),
        a_minute=settings.alerts_per_minute or None,
    )


@asynccontextmanager
async def build_container(settings: Settings) -> AsyncIterator[ApiContainer]:
    """Everything the API serves."""
    async with _ground(settings, None, ping_first=True) as ground:
        reads = Reads(
            _required(settings.app_database_url, "NIJA_APP_DATABASE_URL"),
            ground.clock,
            pool_size=settings.database_pool_size,
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
            jwt_secret=_required(secret, "NIJA_JWT_SECRET"),
            base_url=settings.base_url,
        ),
        idempotency=IdempotencyKeys(database, clock),
        user_settings=UserSettingsService(
            database, reads, clock, venues, trading, venue=VenueKey(PAPER_VENUE, ground.realm)
        ),
        connections=Connections(
            database, reads, clock, venues, ground.vault, trading, realm=ground.realm
        ),
        paper=paper,
        views=views,
        analytics=Analytics(reads, views),
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


def _live(ground: Ground, reads: Reads) -> LiveEvents:
    url = _required(ground.settings.system_database_url, "NIJA_SYSTEM_DATABASE_URL")
    return LiveEvents(url, reads, ground.clock, realm=ground.realm)


def _exports(ground: Ground, reads: Reads, views: AccountViews) -> Exports:
    secret = ground.settings.jwt_secret.get_secret_value() if ground.settings.jwt_secret else None
    return Exports(
        ground.database,
        reads,
        views,
        ground.store,
        ground.export_workflows,
        LinkSigner(_required(secret, "NIJA_JWT_SECRET"), ground.settings.base_url),
        ground.clock,
    )


def _address_limits(settings: Settings) -> AddressLimits | None:
    if settings.rate_limits == "off":
        return None
    return AddressLimits(
        auth=settings.auth_calls_per_minute, public=settings.public_calls_per_minute
    )
