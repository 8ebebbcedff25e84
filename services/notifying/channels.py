"""A user's channels: where else than to the own mailbox news goes.

The address of a channel holds its secrets. It is checked, sealed for its row, and never shown
again; what is shown is the service and a masked form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.notifications import (
    CHANNEL_CATEGORIES,
    ChannelAddress,
    ChannelRefused,
    Letter,
    Notifier,
    NotSent,
    Section,
)
from domain.ports import Vault, WallClock
from domain.principal import Principal
from models.columns import new_id
from models.notifications import NotificationChannel
from models.people import User
from services.audit import AuditEvent, record
from services.database import Database
from services.errors import InvalidRequest, ObjectNotFound
from services.notifying.errors import ChannelNameTaken, InvalidChannel, TooManyChannels
from services.notifying.planning import lock_preferences

CHANNELS_MAX = 10
NAME_LENGTH_MAX = 60

_log = structlog.get_logger("nija.notify")


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A channel as its owner sees it."""

    id: UUID
    name: str
    service: str
    address_masked: str
    categories: list[str]
    enabled: bool
    last_sent_at: datetime | None
    last_error: str | None
    last_error_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, row: NotificationChannel) -> ChannelView:
        """The view of a row."""
        return cls(
            id=row.id,
            name=row.name,
            service=row.service,
            address_masked=row.masked,
            categories=row.categories,
            enabled=row.enabled,
            last_sent_at=row.last_sent_at,
            last_error=row.last_error,
            last_error_at=row.last_error_at,
            created_at=row.created_at,
        )


@dataclass(frozen=True, slots=True)
class TestResult:
    """What became of a test notification."""

    sent: bool
    error: str | None


def open_url(vault: Vault, channel: NotificationChannel) -> str:
    """The address of a channel.

    Raises:
        NotSent: it cannot be opened any more.
    """
    try:
        return vault.open(channel.sealed, bound_to=_binding(channel.user_id, channel.id)).decode()
    except ValueError:
        raise NotSent("The stored address cannot be opened; please enter it again") from None


def _binding(user_id: UUID, channel_id: UUID) -> str:
    return f"channel:{user_id}:{channel_id}"


class Channels:
    """Makes, changes, tests and removes channels."""

    def __init__(
        self, database: Database, notifier: Notifier, vault: Vault, clock: WallClock
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._vault = vault
        self._clock = clock

    async def list(self, principal: Principal) -> Sequence[ChannelView]:
        """Every channel, the oldest first."""
        async with self._database.for_user(principal.user_id) as session:
            rows = await session.exec(
                select(NotificationChannel)
                .where(NotificationChannel.user_id == principal.user_id)
                .order_by(col(NotificationChannel.created_at), col(NotificationChannel.id))
            )
            return [ChannelView.of(row) for row in rows.all()]

    async def add(
        self, principal: Principal, *, name: str, url: str, categories: Sequence[str] | None
    ) -> ChannelView:
        """Make a channel; without categories it gets news of every kind.

        Raises:
            InvalidChannel: the address is malformed, of no known service, or not allowed.
            InvalidRequest: the name or a category is wrong.
            TooManyChannels: there are ten already.
            ChannelNameTaken: another channel has that name.
        """
        shown_name = _checked_name(name)
        wanted = _checked_categories(categories)
        found = await self._inspect(url)
        channel_id = new_id()
        channel = NotificationChannel(
            id=channel_id,
            user_id=principal.user_id,
            name=shown_name,
            categories=wanted,
            created_at=self._clock.now(),
            **self._address(principal.user_id, channel_id, url, found),
        )
        try:
            async with self._database.for_user(principal.user_id) as session:
                await self._require_room(session, principal)
                session.add(channel)
                self._audit(session, AuditEvent.CHANNEL_ADDED, channel)
        except IntegrityError:
            raise ChannelNameTaken from None
        return ChannelView.of(channel)

    async def change(
        self, principal: Principal, channel_id: UUID, changes: Mapping[str, Any]
    ) -> ChannelView:
        """Change name, address, categories or whether it is on; what is left out stays.

        Raises:
            ObjectNotFound: there is no such channel of this user.
            InvalidChannel: the address is malformed, of no known service, or not allowed.
            InvalidRequest: the name or a category is wrong.
            ChannelNameTaken: another channel has that name.
        """
        values: dict[str, Any] = {}
        if "name" in changes:
            values["name"] = _checked_name(changes["name"])
        if "categories" in changes:
            values["categories"] = _checked_categories(changes["categories"])
        if "enabled" in changes:
            values["enabled"] = changes["enabled"]
        if "url" in changes:
            found = await self._inspect(changes["url"])
            values |= self._address(principal.user_id, channel_id, changes["url"], found)
            values |= {"last_error": None, "last_error_at": None}
        try:
            async with self._database.for_user(principal.user_id) as session:
                channel = await _get(session, channel_id, for_update=True)
                for attribute, value in values.items():
                    setattr(channel, attribute, value)
                session.add(channel)
                self._audit(session, AuditEvent.CHANNEL_CHANGED, channel, fields=sorted(changes))
        except IntegrityError:
            raise ChannelNameTaken from None
        return ChannelView.of(channel)

    async def remove(self, principal: Principal, channel_id: UUID) -> None:
        """Remove a channel, and what is still on its way to it.

        Raises:
            ObjectNotFound: there is no such channel of this user.
        """
        async with self._database.for_user(principal.user_id) as session:
            channel = await _get(session, channel_id, for_update=True)
            self._audit(session, AuditEvent.CHANNEL_REMOVED, channel)
            await session.delete(channel)

    async def test(self, principal: Principal, channel_id: UUID) -> TestResult:
        """Send a test notification, once, and tell what became of it.

        Raises:
            ObjectNotFound: there is no such channel of this user.
        """
        async with self._database.for_user(principal.user_id) as session:
            channel = await _get(session, channel_id)
        try:
            await self._notifier.send(
                open_url(self._vault, channel), _test_letter(channel.name, self._clock.now())
            )
        except NotSent as failure:
            return TestResult(sent=False, error=str(failure))
        return TestResult(sent=True, error=None)

    async def test_mail(self, principal: Principal) -> TestResult:
        """Mail a test notification to the user's own address, once it is known to be that."""
        async with self._database.for_user(principal.user_id) as session:
            user = await session.get_one(User, principal.user_id)
        if user.email_verified_at is None and self._notifier.has_mail:
            # Anybody can register anybody's address; nobody may have it mailed to at will.
            return TestResult(sent=False, error="Confirm your email address first")
        try:
            await self._notifier.mail(user.email, _test_letter("mail", self._clock.now()))
        except NotSent as failure:
            return TestResult(sent=False, error=str(failure))
        return TestResult(sent=True, error=None)

    async def _inspect(self, url: str) -> ChannelAddress:
        try:
            return await self._notifier.inspect(url)
        except ChannelRefused as refused:
            raise InvalidChannel(str(refused)) from None

    def _address(
        self, user_id: UUID, channel_id: UUID, url: str, found: ChannelAddress
    ) -> dict[str, Any]:
        bound_to = _binding(user_id, channel_id)
        return {
            "service": found.service,
            "is_mail": found.is_mail,
            "masked": found.masked,
            "sealed": self._vault.seal(url.encode(), bound_to=bound_to),
        }

    async def _require_room(self, session: AsyncSession, principal: Principal) -> None:
        # The row is what two requests at once would both have to hold.
        await lock_preferences(session, principal.user_id, self._clock.now())
        rows = await session.exec(
            select(NotificationChannel.id).where(NotificationChannel.user_id == principal.user_id)
        )
        if len(rows.all()) >= CHANNELS_MAX:
            raise TooManyChannels(details={"limit": CHANNELS_MAX})

    def _audit(
        self,
        session: AsyncSession,
        event: AuditEvent,
        channel: NotificationChannel,
        **meta: object,
    ) -> None:
        record(
            session,
            event,
            user_id=channel.user_id,
            at=self._clock.now(),
            meta={"channel_id": str(channel.id), "service": channel.service, **meta},
        )


async def _get(
    session: AsyncSession, channel_id: UUID, *, for_update: bool = False
) -> NotificationChannel:
    statement = select(NotificationChannel).where(NotificationChannel.id == channel_id)
    channel = (
        await session.exec(statement.with_for_update() if for_update else statement)
    ).one_or_none()
    if channel is None:
        raise ObjectNotFound("Notification channel not found")
    return channel


def _checked_name(name: str) -> str:
    shown = " ".join(name.split())
    if not 0 < len(shown) <= NAME_LENGTH_MAX:
        raise InvalidRequest({"name": f"1 to {NAME_LENGTH_MAX} characters"})
    return shown


def _checked_categories(categories: Sequence[str] | None) -> list[str]:
    known = [category.value for category in CHANNEL_CATEGORIES]
    if categories is None:
        return known
    unknown = set(categories) - set(known)
    if unknown or not categories:
        raise InvalidRequest({"categories": f"One or more of {', '.join(known)}"})
    return [category for category in known if category in categories]


def _test_letter(name: str, now: datetime) -> Letter:
    title = "A test notification from NIJA"
    sentence = f"If you read this, the channel {name!r} works."
    return Letter(new_id(), now, title, (Section(title, (sentence,)),))
