"""What the main worker runs: entries and all else but exits, the sweeper, the pump of notices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from temporalio.runtime import Runtime

from activities.accounts import AccountActivities
from activities.billing import BillingActivities
from activities.bots import BotActivities
from activities.export import ExportActivities
from activities.kill_switch import KillSwitchActivities
from activities.markets import MarketActivities
from activities.notify import NotifyActivities
from activities.orders import OrderActivities
from activities.signal import SignalActivities
from adapters.temporal.client import TemporalWorkflows
from bootstrap.core import metrics_runtime, required
from bootstrap.ground import Ground, open_ground
from bootstrap.notifying import open_delivery
from bootstrap.readiness import Readiness, SoleLoop
from domain.valuation import Stablecoins
from services.alerts.following import AlertFollowing
from services.alerts.sweeping import AlertSweep
from services.audit_chain import AuditSealing
from services.billing.contact import Contact
from services.billing.forgetting import BillingForgetting
from services.billing.inbox import EventHandling
from services.billing.sweeping import BillingSweep
from services.billing.tending import Tending
from services.exports.sweeping import ExportSweep
from services.exports.writing import ExportWriting
from services.idempotency import IdempotencyKeys
from services.identity.erasing import DeletionSweep, Erasing
from services.limits.sweeping import LimitSweep
from services.markets.evaluating import EvaluationService
from services.markets.halted import HaltedMarkets
from services.markets.holding_prices import HoldingPrices
from services.notifying.pump import Pump
from services.orders.flow_worth import FlowWorth
from services.orders.placing import OrderPlacing
from services.orders.reconciling import Reconciling
from services.orders.row_locks import UNBOUNDED
from services.orders.settling import OrderSettling
from services.retention import Retention
from services.session_lock import CHORES_LOCK, SessionLock
from services.trading.bar_announcing import BarAnnouncing
from services.trading.exits_alarm import ExitsAlarm
from services.trading.guarding import GuardService
from services.trading.hunting import HuntService
from services.trading.kill_switch_rounds import KillSwitchRounds, KillSwitchSweep
from services.trading.signals import SignalHandling
from services.trading.sweeping import Sweeper
from services.valuing import StablecoinList
from settings import Settings

LAST_MAIL_PATIENCE = timedelta(minutes=5)
"""How long a deleted account waits until its owner was told by mail."""


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
    bars: BarAnnouncing
    sweeper: Sweeper
    chores: SessionLock
    readiness: Readiness


@asynccontextmanager
async def build_worker(settings: Settings) -> AsyncIterator[WorkerContainer]:
    """Everything a worker process runs."""
    runtime = metrics_runtime(settings.worker_metrics_port)
    app_url = required(settings.app_database_url, "NIJA_APP_DATABASE_URL")
    async with (
        open_ground(settings, runtime, ping_first=False) as ground,
        open_delivery(ground.notifying, app_url, settings) as delivery,
    ):
        yield assemble(ground, *delivery, runtime)


def assemble(
    ground: Ground, notify: NotifyActivities, pump: Pump, runtime: Runtime | None = None
) -> WorkerContainer:
    """Wire a worker's activities on open ground."""
    settings, database, venues, clock = (
        ground.settings,
        ground.database,
        ground.venues,
        ground.clock,
    )
    scan_length = timedelta(seconds=float(settings.scan_seconds))
    settling = OrderSettling(
        database,
        venues,
        clock,
        grace=timedelta(seconds=settings.absence_grace_seconds),
        bookings_at_once=UNBOUNDED,
    )
    evaluations = EvaluationService(database, venues, clock)
    following = AlertFollowing(database, ground.workflows, clock)
    signals = SignalHandling(database, venues, evaluations, clock)
    sweeper = _sweeper(ground, settling, following)
    url = required(settings.system_database_url, "NIJA_SYSTEM_DATABASE_URL")
    chores = SessionLock(url, CHORES_LOCK, "chores")
    return WorkerContainer(
        workflows=ground.workflows,
        bots=BotActivities(
            GuardService(database, clock),
            HuntService(database, venues, evaluations, signals, clock, scan_length=scan_length),
            ground.workflows,
        ),
        orders=OrderActivities(OrderPlacing(database, venues, clock, settling), settling),
        markets=MarketActivities(None),
        billing=_billing_activities(ground),
        exports=ExportActivities(ExportWriting(database, ground.store, clock)),
        signals=SignalActivities(following),
        accounts=AccountActivities(_erasing(ground)),
        kill_switch=KillSwitchActivities(KillSwitchRounds(database, ground.workflows, clock)),
        notify=notify,
        pump=pump,
        bars=BarAnnouncing(
            database, venues, ground.workflows, realm=ground.realm, scan_length=scan_length
        ),
        sweeper=sweeper,
        chores=chores,
        readiness=Readiness(runtime, ground.workflows, {"chores": SoleLoop(chores, sweeper)}),
    )


def _sweeper(ground: Ground, settling: OrderSettling, following: AlertFollowing) -> Sweeper:
    settings, database, clock = ground.settings, ground.database, ground.clock
    reconciling = Reconciling(
        database,
        ground.venues,
        settling,
        clock,
        interval_seconds=settings.reconcile_interval_seconds,
    )
    return Sweeper(
        database,
        ground.workflows,
        ground.venues,
        reconciling,
        clock,
        realm=ground.realm,
        interval_seconds=settings.sweep_interval_seconds,
        chores=(
            AuditSealing(database, clock),
            AlertSweep(database, ground.workflows, ground.alert_workflows, following, clock),
            KillSwitchSweep(database, ground.kill_switch_workflows),
            BillingSweep(database, ground.billing_workflows, clock),
            DeletionSweep(database, ground.account_workflows, clock),
            LimitSweep(database, IdempotencyKeys(database, clock), clock),
            ExportSweep(database, ground.store, ground.export_workflows, clock),
            Retention(database, clock),
            ExitsAlarm(database),
            HaltedMarkets(database, clock),
            StablecoinList(database, Stablecoins.parse(settings.stablecoins)),
            HoldingPrices(database, ground.venues, realm=ground.realm),
            FlowWorth(database),
        ),
    )


def _billing_activities(ground: Ground) -> BillingActivities:
    database, clock, refreshing = ground.database, ground.clock, ground.refreshing
    handling, contact = None, None
    if ground.provider is not None and refreshing is not None:
        contact = Contact(database, ground.provider, clock)
        handling = EventHandling(
            database, ground.provider, refreshing, ground.billing_workflows, clock
        )
    tending = Tending(database, ground.commands, refreshing, clock, contact)
    return BillingActivities(tending, handling)


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
