"""Everything about notifications, put together once for a process."""

from __future__ import annotations

from dataclasses import dataclass

from domain.notifications import MailedLinks, NotificationWorkflows, Notifier
from domain.ports import Vault, WallClock
from services.database import Database
from services.notifying.channels import Channels
from services.notifying.delivering import Delivering
from services.notifying.preferences import Preferences
from services.notifying.pump import Pump
from services.notifying.reports import Reports, ReportViews
from services.notifying.scheduling import Scheduling
from services.notifying.unsubscribing import Unsubscribing
from services.notifying.views import NotificationViews

UNSUBSCRIBE_PATH = "/unsubscribe"


@dataclass(frozen=True, slots=True)
class Notifying:
    """The services of notifications; which of them a process needs is its own business."""

    database: Database
    notifier: Notifier
    workflows: NotificationWorkflows
    links: MailedLinks
    vault: Vault
    clock: WallClock
    base_url: str

    @property
    def scheduling(self) -> Scheduling:
        """Makes schedules follow preferences."""
        return Scheduling(self.database, self.workflows, self.notifier, self.clock)

    @property
    def unsubscribing(self) -> Unsubscribing:
        """Makes and follows the links to get no more mails."""
        page_url = self.base_url + UNSUBSCRIBE_PATH
        return Unsubscribing(self.database, self.vault, self.clock, page_url=page_url)

    @property
    def channels(self) -> Channels:
        """A user's channels."""
        return Channels(self.database, self.notifier, self.vault, self.clock)

    @property
    def preferences(self) -> Preferences:
        """When a user gets reports."""
        return Preferences(self.database, self.scheduling, self.notifier, self.clock)

    @property
    def views(self) -> NotificationViews:
        """What a user was told."""
        return NotificationViews(self.database)

    @property
    def delivering(self) -> Delivering:
        """Delivers messages."""
        return Delivering(
            self.database, self.notifier, self.links, self.unsubscribing, self.vault, self.clock
        )

    def reports(self, views: ReportViews) -> Reports:
        """Makes reports from account views."""
        return Reports(self.database, views, self.workflows, self.clock)

    def pump(self, *, interval_seconds: float) -> Pump:
        """Finds what is to be delivered."""
        return Pump(
            self.database,
            self.workflows,
            self.scheduling,
            self.clock,
            interval_seconds=interval_seconds,
            has_mail=self.notifier.has_mail,
        )
