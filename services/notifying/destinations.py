"""Where a message goes: the user's own mailbox, and the channels that want news of its kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from domain.notifications import Category
from models.connections import UserSettings
from models.notifications import Message, MessageKind, NotificationChannel
from models.people import User, UserStatus

OWN_MAILBOX: UUID | None = None
"""The destination that is no channel."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """A user, and what they want to be told where."""

    user: User
    settings: UserSettings
    channels: Sequence[NotificationChannel]


def destinations(message: Message, wishes: Wishes, *, has_mail: bool) -> Iterator[UUID | None]:
    """Ids of the channels that get a message; None is the user's own mailbox.

    Account mails go to the own mailbox whatever the settings say, and nowhere else. A disabled
    user gets nothing else: they have left, or were shut out.
    """
    settings = wishes.settings
    category = Category(message.category)
    if category is Category.ACCOUNT:
        if has_mail:
            yield OWN_MAILBOX
        return
    if wishes.user.status == UserStatus.DISABLED or not _is_wanted(message, settings):
        return
    if has_mail and settings.email_enabled:
        yield OWN_MAILBOX
    for channel in wishes.channels:
        is_on = settings.email_enabled if channel.is_mail else settings.push_enabled
        if channel.enabled and is_on and category.value in channel.categories:
            yield channel.id


def _is_wanted(message: Message, settings: UserSettings) -> bool:
    if message.category == Category.TRADES:
        return settings.trade_notifications
    if message.kind == MessageKind.DAILY_SUMMARY:
        return settings.daily_summary
    if message.kind == MessageKind.WEEKLY_REPORT:
        return settings.weekly_report
    return True
