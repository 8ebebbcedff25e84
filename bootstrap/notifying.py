"""The part of `bootstrap` that is about notifications: settings to services, concrete classes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from activities.notify import NotifyActivities
from adapters.notify.notifier import AppriseNotifier, MailServer
from adapters.temporal.client import TemporalWorkflows
from adapters.temporal.notifications import TemporalNotifications
from domain.markets import Realm
from domain.notifications import MailedLinks
from domain.ports import Vault, WallClock
from services.account_views import AccountViews
from services.database import Database
from services.notifying.assembly import Notifying
from services.notifying.pump import Pump
from services.reads import Reads
from settings import Settings

REPORT_CONNECTIONS = 2


@asynccontextmanager
async def open_notifying(
    settings: Settings,
    database: Database,
    workflows: TemporalWorkflows,
    links: MailedLinks,
    vault: Vault,
    clock: WallClock,
) -> AsyncIterator[Notifying]:
    """The services of notifications on Apprise and Temporal.

    Raises:
        MalformedMailServer: the settings of the mail server are not understood.
    """
    server = None
    if settings.smtp_url is not None:
        server = MailServer.parse(settings.smtp_url.get_secret_value(), settings.mail_from)
    notifier = AppriseNotifier(server, private_allowed=settings.notify_private_addresses)
    try:
        yield Notifying(
            database=database,
            notifier=notifier,
            workflows=TemporalNotifications(workflows, settings.task_queue),
            links=links,
            vault=vault,
            clock=clock,
            base_url=settings.base_url,
        )
    finally:
        notifier.close()


@asynccontextmanager
async def open_delivery(
    notifying: Notifying, app_url: str, settings: Settings
) -> AsyncIterator[tuple[NotifyActivities, Pump]]:
    """What a worker runs of it; the reports read as the API does."""
    reads = Reads(app_url, notifying.clock, pool_size=REPORT_CONNECTIONS)
    await reads.open()
    try:
        views = AccountViews(reads, realm=Realm(settings.venues))
        yield (
            NotifyActivities(notifying.delivering, notifying.reports(views)),
            notifying.pump(interval_seconds=settings.notify_interval_seconds),
        )
    finally:
        await reads.close()
