"""A forgotten password: a mailed link, then a new password.

Whoever asks learns nothing: the answer, and the work behind it, are the same whether or not
anybody has that address.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.ports import WallClock
from models.account_life import LinkPurpose
from services.alerts.keys import end_all_keys
from services.audit import AuditEvent, record
from services.database import Database
from services.errors import TokenInvalid
from services.identity.credentials import lock_user
from services.identity.emails import normalized_email
from services.identity.logins import set_password
from services.identity.mailed_links import MailedLinks
from services.identity.passwords import Passwords, check_strength
from services.notices import NoticeKind, tell

_LOCK_BY_EMAIL = text("SELECT id FROM users WHERE email = :email FOR NO KEY UPDATE")
_NOBODY_IS_TOLD = text("SELECT id FROM notices WHERE user_id IS NULL AND key = :key")


class PasswordResets:
    """Asks for a reset and carries it out.

    Args:
        database: where people live.
        clock: wall time.
        passwords: hashes new ones.
        links: makes and takes back what is mailed.
    """

    def __init__(
        self, database: Database, clock: WallClock, passwords: Passwords, links: MailedLinks
    ) -> None:
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._links = links

    async def request(self, email: str) -> None:
        """Mail a link to whoever has this address, unless one was mailed lately.

        Raises:
            InvalidEmail: this is no address.
        """
        address = normalized_email(email)
        async with self._database.as_system() as db:
            now = self._clock.now()
            found = await (await db.connection()).execute(_LOCK_BY_EMAIL, {"email": address})
            user_id: UUID | None = found.scalar_one_or_none()
            purpose = LinkPurpose.RESET_PASSWORD
            link_id = await self._links.issue(db, user_id, purpose, address, now)
            if user_id is not None and link_id is not None:
                await tell(
                    db,
                    user_id,
                    NoticeKind.RESET_PASSWORD,
                    str(link_id),
                    now=now,
                    facts={"link_id": str(link_id)},
                )
            else:
                await _as_much_work(db)
            record(db, AuditEvent.PASSWORD_RESET_REQUESTED, user_id=user_id, at=now)

    async def confirm(self, *, token: str, new_password: str) -> None:
        """Set a new password; end every session and webhook key. A second factor stays in force.

        Raises:
            TokenInvalid: not one of ours, used before, or replaced.
            TokenExpired: it is older than an hour.
            WeakPassword: the new one is too short or too common; the link stays good.
        """
        link, user = await self._links.look_up(token, LinkPurpose.RESET_PASSWORD)
        check_strength(new_password, email=user.email)
        new_hash = await self._passwords.hash(new_password)
        async with self._database.for_user(user.id) as db:
            now = self._clock.now()
            fresh = await lock_user(db, user.id)
            if fresh is None:
                raise TokenInvalid
            used = await self._links.use(db, link.id, now)
            if used.address == fresh.email and fresh.email_verified_at is None:
                fresh.email_verified_at = now  # the mail was read where it was sent
            # A key that a thief's session made would go on trading after the owner is back.
            facts = {"webhook_keys_ended": await end_all_keys(db, fresh.id, now)}
            event, kind = AuditEvent.PASSWORD_RESET, NoticeKind.PASSWORD_RESET
            await set_password(db, fresh, new_hash, now, event=event, kind=kind, facts=facts)


async def _as_much_work(db: AsyncSession) -> None:
    """A round trip in place of the one that leaves a notice: time must not tell."""
    await (await db.connection()).execute(_NOBODY_IS_TOLD, {"key": "nobody"})
