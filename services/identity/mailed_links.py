"""Links that are mailed: each works once, for one purpose, for a while.

The row says what a link is for; the secret in the link is made when it is sent, by sealing the
row's id with the vault. So nobody who reads the database, a notice, a log or a workflow's history
can make or use a link, and old keys of the vault's ring keep opening what they sealed.
"""

from __future__ import annotations

import base64
import binascii
import math
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.ports import Vault, WallClock
from models.account_life import LinkPurpose, MailedLink
from models.columns import new_id
from models.people import User
from services.database import Database
from services.errors import RateLimited, TokenExpired, TokenInvalid

GOOD_FOR = {
    LinkPurpose.VERIFY_EMAIL: timedelta(hours=24),
    LinkPurpose.RESET_PASSWORD: timedelta(hours=1),
    LinkPurpose.CHANGE_EMAIL: timedelta(hours=24),
}
"""How long a link works."""

DELAY = timedelta(seconds=60)
"""Between two mails of one purpose to one user."""

WINDOW = timedelta(hours=1)
MAILS_MAX = 5
"""Mails of one purpose to one user within the window."""

LINKS_PATH = "/links"
TOKEN_LENGTH_MAX = 512

# One statement, so that a user nobody has (a null id) costs the same as one somebody has.
_ISSUE = text("""
INSERT INTO mailed_links (id, user_id, purpose, address, created_at, expires_at)
SELECT :id, u.id, CAST(:purpose AS text), CAST(:address AS text), :now, :expires_at
FROM users u
WHERE u.id = CAST(:user_id AS uuid) AND NOT EXISTS (
    SELECT 1 FROM mailed_links l
    WHERE l.user_id = u.id AND l.purpose = CAST(:purpose AS text) AND l.created_at > :lately
) AND (
    SELECT count(*) FROM mailed_links l
    WHERE l.user_id = u.id AND l.purpose = CAST(:purpose AS text) AND l.created_at > :window_began
) < :mails_max
RETURNING id
""")
_FREE_AT = text("""
SELECT greatest(
    max(created_at) + :delay,
    CASE WHEN count(*) >= :mails_max THEN min(created_at) + :window END
)
FROM mailed_links WHERE user_id = :user_id AND purpose = :purpose AND created_at > :window_began
""")


class MailedLinks:
    """Issues, renders and takes back mailed links.

    Args:
        database: where they live.
        vault: makes and opens their secrets.
        clock: wall time.
        base_url: where users reach this server; links begin with it.
    """

    def __init__(
        self, database: Database, vault: Vault, clock: WallClock, *, base_url: str
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._base_url = base_url.rstrip("/")

    async def url_for(self, link_id: UUID) -> str | None:
        """The link to put into a mail; None where it would be of no use any more.

        The secret stands behind a `#`, which no server and no log ever sees.
        """
        async with self._database.as_system() as db:
            link = await db.get(MailedLink, link_id)
        if link is None or not _is_open(link) or link.expires_at <= self._clock.now():
            return None
        return f"{self._base_url}{LINKS_PATH}/{link.purpose}#{self._token(link)}"

    async def issue(
        self,
        db: AsyncSession,
        user_id: UUID | None,
        purpose: LinkPurpose,
        address: str,
        now: datetime,
    ) -> UUID | None:
        """Make a link in the caller's transaction, which holds the user's row locked.

        Returns:
            Its id; None where so many were mailed lately that there is no new one, or no user.
        """
        connection = await db.connection()
        made = await connection.execute(
            _ISSUE,
            {
                "id": new_id(),
                "user_id": user_id,
                "purpose": purpose.value,
                "address": address,
                "now": now,
                "expires_at": now + GOOD_FOR[purpose],
                "lately": now - DELAY,
                "window_began": now - WINDOW,
                "mails_max": MAILS_MAX,
            },
        )
        link_id: UUID | None = made.scalar_one_or_none()
        return link_id

    async def refusal(
        self, db: AsyncSession, user_id: UUID, purpose: LinkPurpose, now: datetime
    ) -> RateLimited:
        """What to say to a user for whom `issue` made no link: when it will make another one."""
        connection = await db.connection()
        found = await connection.execute(
            _FREE_AT,
            {
                "user_id": user_id,
                "purpose": purpose.value,
                "delay": DELAY,
                "window": WINDOW,
                "window_began": now - WINDOW,
                "mails_max": MAILS_MAX,
            },
        )
        free_at: datetime | None = found.scalar_one()
        wait = 1 if free_at is None else max(1, math.ceil((free_at - now).total_seconds()))
        return RateLimited(
            "A mail was sent already; look for it, or try again later",
            details={"retry_after_seconds": wait},
        )

    async def look_up(self, token: str, purpose: LinkPurpose) -> tuple[MailedLink, User]:
        """Whom a token is of; uses nothing up.

        Raises:
            TokenInvalid: not one of ours, used before, or replaced by a later event.
            TokenExpired: it was good once.
        """
        link_id = self._open(token, purpose)
        async with self._database.as_system() as db:
            link = await db.get(MailedLink, link_id)
            user = None if link is None else await db.get(User, link.user_id)
        if link is None or user is None or not _is_open(link):
            raise TokenInvalid
        if link.expires_at <= self._clock.now():
            raise TokenExpired
        return link, user

    async def use(self, db: AsyncSession, link_id: UUID, now: datetime) -> MailedLink:
        """Use a link up in the caller's transaction, which holds the user's row locked.

        Raises:
            TokenInvalid: somebody was faster.
            TokenExpired: it ran out in between.
        """
        link = (
            await db.exec(
                select(MailedLink)
                .where(MailedLink.id == link_id)
                .execution_options(populate_existing=True)
            )
        ).one_or_none()
        if link is None or not _is_open(link):
            raise TokenInvalid
        if link.expires_at <= now:
            raise TokenExpired
        link.used_at = now
        db.add(link)
        return link

    def _token(self, link: MailedLink) -> str:
        sealed = self._vault.seal(link.id.bytes, bound_to=_binding(LinkPurpose(link.purpose)))
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def _open(self, token: str, purpose: LinkPurpose) -> UUID:
        if len(token) > TOKEN_LENGTH_MAX or not token.isascii():
            raise TokenInvalid
        try:
            sealed = base64.b64decode(
                token + "=" * (-len(token) % 4), altchars=b"-_", validate=True
            )
            return UUID(bytes=self._vault.open(sealed, bound_to=_binding(purpose)))
        except (binascii.Error, ValueError):  # the vault's own error is a ValueError
            raise TokenInvalid from None


async def void_links(
    db: AsyncSession, user_id: UUID, now: datetime, *purposes: LinkPurpose
) -> None:
    """Take back the open links of these purposes (all where none is named)."""
    wanted = purposes or tuple(LinkPurpose)
    await db.exec(
        update(MailedLink)
        .where(
            col(MailedLink.user_id) == user_id,
            col(MailedLink.purpose).in_([purpose.value for purpose in wanted]),
            col(MailedLink.used_at).is_(None),
            col(MailedLink.voided_at).is_(None),
        )
        .values(voided_at=now)
    )


def _is_open(link: MailedLink) -> bool:
    return link.used_at is None and link.voided_at is None


def _binding(purpose: LinkPurpose) -> str:
    return f"mailed-link:{purpose.value}"
