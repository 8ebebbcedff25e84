"""Unsubscribing by a link in a mail, without logging in.

The link holds what to turn off and whose, sealed by the vault: nobody can make one for somebody
else, and it tells nothing to who sees it. It keeps working, since mails are kept for years.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from uuid import UUID

from sqlmodel import select

from domain.ports import Vault, WallClock
from models.connections import UserSettings
from services.audit import AuditEvent, record
from services.database import Database
from services.errors import ObjectNotFound

_BINDING = "unsubscribe"
SETTINGS = {
    "trade_notifications": "notifications about trades",
    "daily_summary": "daily summaries",
    "weekly_report": "weekly reports",
    "email_enabled": "mails but those about your account",
}
"""What a link may turn off, and how people call it."""


@dataclass(frozen=True, slots=True)
class Unsubscription:
    """What a link is about."""

    user_id: UUID
    setting: str

    @property
    def words(self) -> str:
        """What it ends, for people."""
        return SETTINGS[self.setting]


class Unsubscribing:
    """Makes links and follows them.

    Args:
        database: where settings live.
        vault: seals the links.
        clock: wall time.
        page_url: where links lead.
    """

    def __init__(
        self, database: Database, vault: Vault, clock: WallClock, *, page_url: str
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._page_url = page_url

    def url(self, user_id: UUID, setting: str) -> str:
        """The link that turns a setting of a user off."""
        sealed = self._vault.seal(f"{user_id.hex}:{setting}".encode(), bound_to=_BINDING)
        token = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
        return f"{self._page_url}?token={token}"

    def read(self, token: str) -> Unsubscription:
        """What a link is about; changes nothing.

        Raises:
            ObjectNotFound: it is none of ours.
        """
        try:
            sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            opened = self._vault.open(sealed, bound_to=_BINDING).decode()
        except (ValueError, binascii.Error):
            raise ObjectNotFound("This link does not work") from None
        owner, _, setting = opened.partition(":")
        if setting not in SETTINGS:
            raise ObjectNotFound("This link does not work")
        return Unsubscription(UUID(hex=owner), setting)

    async def follow(self, token: str) -> Unsubscription:
        """Turn off what a link is about; doing it again changes nothing.

        Raises:
            ObjectNotFound: the link is none of ours, or its user is gone.
        """
        found = self.read(token)
        async with self._database.for_user(found.user_id) as session:
            stored = (
                await session.exec(
                    select(UserSettings)
                    .where(UserSettings.user_id == found.user_id)
                    .with_for_update()
                )
            ).first()
            if stored is None:
                raise ObjectNotFound("This link does not work")
            if getattr(stored, found.setting):
                setattr(stored, found.setting, False)
                stored.updated_at = self._clock.now()
                session.add(stored)
                record(
                    session,
                    AuditEvent.SETTINGS_CHANGED,
                    user_id=found.user_id,
                    at=stored.updated_at,
                    meta={"fields": [found.setting], "by": "unsubscribe link"},
                )
        return found
