"""Email addresses: proving that one is the user's own, and changing it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.ports import WallClock
from domain.principal import Principal
from models.account_life import LinkPurpose
from models.people import User
from services.audit import AuditEvent, record
from services.billing.contact import announce_change
from services.database import Database
from services.errors import EmailAlreadyExists, InvalidRequest, TokenInvalid
from services.identity.credentials import Credentials, lock_user
from services.identity.emails import normalized_email
from services.identity.mailed_links import MailedLinks, void_links
from services.notices import NoticeKind, tell


class EmailVerification:
    """Verifies the address of a user.

    Args:
        database: where people live.
        clock: wall time.
        links: makes and takes back what is mailed.
    """

    def __init__(self, database: Database, clock: WallClock, links: MailedLinks) -> None:
        self._database = database
        self._clock = clock
        self._links = links

    async def resend(self, principal: Principal) -> bool:
        """Mail another link; answers False where the address is verified already.

        Raises:
            RateLimited: one was mailed within the last minute, or too many within the hour.
        """
        async with self._database.for_user(principal.user_id) as db:
            now = self._clock.now()
            user = await lock_user(db, principal.user_id)
            if user is None:
                raise TokenInvalid
            if user.email_verified_at is not None:
                return False
            link_id = await self.send(db, user, now)
            if link_id is None:
                raise await self._links.refusal(db, user.id, LinkPurpose.VERIFY_EMAIL, now)
        return True

    async def send(self, db: AsyncSession, user: User, now: datetime) -> UUID | None:
        """Leave a verification link for delivery, in the caller's transaction."""
        link_id = await self._links.issue(db, user.id, LinkPurpose.VERIFY_EMAIL, user.email, now)
        if link_id is not None:
            await tell(
                db,
                user.id,
                NoticeKind.VERIFY_EMAIL,
                str(link_id),
                now=now,
                facts={"link_id": str(link_id)},
            )
        return link_id

    async def confirm(self, token: str) -> None:
        """The link was opened where it was sent: the address is the user's own.

        Raises:
            TokenInvalid: not one of ours, used before, or for an address that was changed since.
            TokenExpired: it is older than a day.
        """
        link, found = await self._links.look_up(token, LinkPurpose.VERIFY_EMAIL)
        async with self._database.for_user(found.id) as db:
            now = self._clock.now()
            user = await lock_user(db, found.id)
            used = await self._links.use(db, link.id, now)
            if user is None or used.address != user.email:
                raise TokenInvalid
            user.email_verified_at = user.email_verified_at or now
            db.add(user)
            await void_links(db, user.id, now, LinkPurpose.VERIFY_EMAIL)
            record(db, AuditEvent.EMAIL_VERIFIED, user_id=user.id, at=now)


class EmailChanges:
    """Changes the address of a user, once a link that was mailed to the new one was opened.

    Args:
        database: where people live.
        clock: wall time.
        credentials: checks the password and the second factor.
        links: makes and takes back what is mailed.
    """

    def __init__(
        self, database: Database, clock: WallClock, credentials: Credentials, links: MailedLinks
    ) -> None:
        self._database = database
        self._clock = clock
        self._credentials = credentials
        self._links = links

    async def request(
        self, principal: Principal, *, new_email: str, password: str, otp: str | None
    ) -> None:
        """Mail a link to the new address. Nothing changes before it is opened.

        Raises:
            InvalidEmail, InvalidRequest: this is no address, or the present one.
            EmailAlreadyExists: the address is somebody's.
            RateLimited: a link was mailed a moment ago, or too many within the hour.
            DomainError: as `Credentials.proven`.
        """
        address = normalized_email(new_email)
        known = await self._credentials.user(principal.user_id)
        async with self._credentials.proven(known, password=password, otp=otp) as proven:
            db, user, now = proven.db, proven.user, proven.now
            if address == user.email:
                raise InvalidRequest({"new_email": "This is the present address"})
            if await self._is_taken(address):
                raise EmailAlreadyExists
            purpose = LinkPurpose.CHANGE_EMAIL
            link_id = await self._links.issue(db, user.id, purpose, address, now)
            if link_id is None:
                raise await self._links.refusal(db, user.id, purpose, now)
            record(db, AuditEvent.EMAIL_CHANGE_REQUESTED, user_id=user.id, at=now)
            await tell(
                db,
                user.id,
                NoticeKind.CONFIRM_EMAIL_CHANGE,
                str(link_id),
                now=now,
                facts={"link_id": str(link_id), "to": address},
            )

    async def confirm(self, token: str) -> None:
        """Change the address, which is verified by that, and tell the old one.

        Raises:
            TokenInvalid: not one of ours, used before, or replaced.
            TokenExpired: it is older than a day.
            EmailAlreadyExists: somebody registered with it in the meantime.
        """
        link, found = await self._links.look_up(token, LinkPurpose.CHANGE_EMAIL)
        try:
            async with self._database.for_user(found.id) as db:
                await self._change(db, found.id, link.id)
        except IntegrityError as taken:  # uq_users_email: the one constraint this can meet
            raise EmailAlreadyExists from taken

    async def _change(self, db: AsyncSession, user_id: UUID, link_id: UUID) -> None:
        now = self._clock.now()
        await announce_change(db, user_id, now)
        user = await lock_user(db, user_id, changes_email=True)
        if user is None:
            raise TokenInvalid
        used = await self._links.use(db, link_id, now)
        old = user.email
        user.email, user.email_verified_at = used.address, now
        db.add(user)
        # Whoever reads the old address must not be able to take the account back with it.
        await void_links(db, user.id, now)
        record(db, AuditEvent.EMAIL_CHANGED, user_id=user.id, at=now)
        await tell(db, user.id, NoticeKind.EMAIL_CHANGED, str(link_id), now=now, facts={"to": old})

    async def _is_taken(self, address: str) -> bool:
        async with self._database.as_system() as db:
            return (await db.exec(select(User.id).where(User.email == address))).first() is not None
