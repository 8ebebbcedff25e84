"""Notifications: what is said, the port that says it, and the rules of when.

A notice is something that became true; a message is what is sent, one notice or several; a letter
is a message put into words for one receiver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from uuid import UUID

BURST_MAX = 5
"""Messages within a minute; what comes beyond is gathered into a digest."""
BURST_WINDOW = timedelta(minutes=1)
GIVE_UP_AFTER = timedelta(hours=24)
"""An attempt that is due later than this after the message was made is not made any more."""
LEASE = timedelta(seconds=90)
"""How long an attempt may take before it counts as lost; longer than any attempt can take."""
BACKOFF = (5, 15, 60, 300, 900, 3_600)
"""Seconds to the next attempt after the first, second, ... failure; the last one from then on."""


class Category(StrEnum):
    """News that a channel can be given or spared. Account mails are never spared anybody."""

    TRADES = "trades"
    ALERTS = "alerts"
    BILLING = "billing"
    REPORTS = "reports"
    ACCOUNT = "account"


CHANNEL_CATEGORIES = (Category.TRADES, Category.ALERTS, Category.BILLING, Category.REPORTS)


class Report(StrEnum):
    """What is sent on a schedule; the names are the settings'."""

    DAILY_SUMMARY = "daily_summary"
    WEEKLY_REPORT = "weekly_report"


def next_attempt(attempts: int, made_at: datetime, now: datetime) -> datetime | None:
    """When to try again after `attempts` failures; None when it is given up."""
    delay = BACKOFF[min(attempts, len(BACKOFF)) - 1]
    at = now + timedelta(seconds=delay)
    return at if at - made_at <= GIVE_UP_AFTER else None


@dataclass(frozen=True, slots=True)
class BurstPlan:
    """How new notices are sent: each by itself, or gathered into a digest sent at a time."""

    gathers: bool
    send_at: datetime


def plan_burst(fresh: int, sent: Sequence[datetime], now: datetime) -> BurstPlan:
    """Decide for notices that arrived together.

    Args:
        fresh: how many there are.
        sent: when messages were made within the last minute.
        now: wall time.
    """
    recent = [at for at in sent if at > now - BURST_WINDOW]
    if fresh + len(recent) <= BURST_MAX:
        return BurstPlan(gathers=False, send_at=now)
    if not recent:
        return BurstPlan(gathers=True, send_at=now)
    return BurstPlan(gathers=True, send_at=max(recent) + BURST_WINDOW)


@dataclass(frozen=True, slots=True)
class Section:
    """One piece of news: a headline, sentences, and figures with their names."""

    headline: str
    sentences: tuple[str, ...] = ()
    figures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Letter:
    """A message in words, for one receiver.

    Attributes:
        id: of the message; the same at every attempt, so that a receiver may drop a repetition.
        link: text and address of the one thing to do about it.
        curve: equity by day, drawn as a picture where the receiver can show one.
        unsubscribe_url: where one click ends mails of this kind; None where they cannot be ended.
        unsubscribe_from: what that ends, in words.
        is_about_account: it is an account mail, which cannot be turned off.
    """

    id: UUID
    made_at: datetime
    subject: str
    sections: tuple[Section, ...]
    is_urgent: bool = False
    link: tuple[str, str] | None = None
    curve: tuple[tuple[date, Decimal], ...] = ()
    unsubscribe_url: str | None = None
    unsubscribe_from: str = ""
    is_about_account: bool = False


@dataclass(frozen=True, slots=True)
class ChannelAddress:
    """What an address of a channel turned out to be; nothing of it is secret.

    Attributes:
        service: its name, as people know it.
        is_mail: whether it is a mailbox.
        masked: how the address may be shown.
    """

    service: str
    is_mail: bool
    masked: str


class ChannelRefused(ValueError):
    """The address is none that may be used; the message says why, without secrets of it."""


class NotSent(Exception):
    """An attempt failed, or its outcome is unknown. The message can be shown; it has no secrets."""


class ReceiverUnknown(NotSent):
    """There is no such receiver: what must not be tried again."""


class Notifier(Protocol):
    """Sends letters."""

    @property
    def has_mail(self) -> bool:
        """Whether mails can be sent to users' own addresses."""
        ...

    async def inspect(self, url: str) -> ChannelAddress:
        """Look at a channel's address without using it.

        Raises:
            ChannelRefused: it is malformed, of an unknown service, or names a private address.
        """
        ...

    async def send(self, url: str, letter: Letter) -> None:
        """Send a letter to a channel.

        Raises:
            NotSent: it failed or did not end in time.
        """
        ...

    async def mail(self, address: str, letter: Letter) -> None:
        """Mail a letter to a user's own address, by the operator's server.

        Raises:
            ReceiverUnknown: the server says for good that there is no such mailbox.
            NotSent: it failed or did not end in time, or there is no mail server.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReportTime:
    """When a report is due; `weekday` is 1 (Monday) to 7, None for every day.

    Where a change to summer time skips it, it is due as much later as clocks are put forward.
    """

    timezone: str
    hour: int
    minute: int
    weekday: int | None = None

    def __str__(self) -> str:
        """The form that tells two apart."""
        day = "" if self.weekday is None else f"{self.weekday} "
        return f"{day}{self.hour:02}:{self.minute:02} {self.timezone}"


class ReportTimeRefused(ValueError):
    """The workflow service does not understand a time, say its zone; asking again does not help."""


class NotificationWorkflows(Protocol):
    """The workflows of notifications.

    Raises:
        WorkflowServiceUnavailable: from every method; the rows tell the sweep what is missing.
    """

    async def wake_notifier(self, user_id: UUID) -> None:
        """Make sure that a user's delivery workflow runs, and looks."""
        ...

    async def schedule_report(self, user_id: UUID, report: Report, time: ReportTime) -> None:
        """Make or change a schedule; repeating it changes nothing.

        Raises:
            ReportTimeRefused: it cannot be made.
        """
        ...

    async def cancel_report(self, user_id: UUID, report: Report) -> None:
        """Take a schedule away; there need not be one."""
        ...


class MailedLinks(Protocol):
    """Makes the links of account mails; their secrets are in the mails and nowhere else."""

    async def url_for(self, link_id: UUID) -> str | None:
        """The link of a row that asked for one; None where it would be of no use any more."""
        ...
