"""Logging in and changing the password."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.principal import Principal
from models.account_life import LinkPurpose
from models.columns import new_id
from models.people import User
from services.audit import AuditEvent, record
from services.database import Database
from services.errors import InvalidEmail
from services.identity.credentials import Credentials
from services.identity.emails import normalized_email
from services.identity.mailed_links import void_links
from services.identity.passwords import Passwords, check_strength
from services.identity.sessions import Sessions, end_sessions
from services.identity.views import IssuedTokens
from services.notices import NoticeKind, tell
from services.origin import current_origin
from services.paper_accounts import PAPER_VENUE, PaperAccounts
from services.reads import require_active

# A first login is expected; later ones are told of where address and client were never seen.
_IS_NEW_DEVICE = text("""
SELECT count(*) > 0 AND count(*) FILTER (
    WHERE ip_address IS NOT DISTINCT FROM :ip AND user_agent IS NOT DISTINCT FROM :user_agent
) = 0
FROM sessions WHERE user_id = :user_id
""")


class Logins:
    """Begins sessions for who proves to be somebody.

    Args:
        database: where people live.
        credentials: checks passwords and second factors.
        passwords: hashes new ones.
        sessions: what a login begins.
        paper: opens the paper account of this realm where there is none.
    """

    def __init__(
        self,
        database: Database,
        credentials: Credentials,
        passwords: Passwords,
        sessions: Sessions,
        paper: PaperAccounts,
    ) -> None:
        self._database = database
        self._credentials = credentials
        self._passwords = passwords
        self._sessions = sessions
        self._paper = paper

    async def log_in(self, *, email: str, password: str, otp: str | None = None) -> IssuedTokens:
        """Check a password, and the second factor where there is one, and begin a session.

        Raises:
            InvalidCredentials: unknown address, wrong password, or locked after five failures.
            OtpRequired: the password is right; a second factor is in force and was not sent.
            OtpInvalid: the password is right and the code is not.
            AccountDisabled: the user is disabled; said only to who knows the password.
            AccountSuspended: the user is suspended; said only to who knows the password.
        """
        known = await self._find(email)
        async with self._credentials.proven(known, password=password, otp=otp) as proven:
            db, user, now = proven.db, proven.user, proven.now
            require_active(user.status)
            user.failed_logins, user.locked_until, user.last_active_at = 0, None, now
            await self._paper.ensure(db, user.id, PAPER_VENUE)
            await _tell_of_new_device(db, user, now)
            issued = await self._sessions.begin(db, user, now)
            record(
                db,
                AuditEvent.USER_LOGIN,
                user_id=user.id,
                at=now,
                meta={"login_method": "email_password", "success": True},
            )
        return issued

    async def change_password(
        self, principal: Principal, *, current_password: str, new_password: str
    ) -> None:
        """Change the password and end every other session; links that were mailed are void.

        Raises:
            InvalidCredentials: the current password is wrong.
            WeakPassword: the new one is too short or too common.
        """
        known = await self._credentials.user(principal.user_id)
        await self._credentials.check_password(known, current_password)
        check_strength(new_password, email=known.email)
        new_hash = await self._passwords.hash(new_password)
        async with self._credentials.unlocked(known) as proven:
            await set_password(
                proven.db,
                proven.user,
                new_hash,
                proven.now,
                event=AuditEvent.PASSWORD_CHANGED,
                kind=NoticeKind.PASSWORD_CHANGED,
                but=principal.session_id,
            )

    async def _find(self, email: str) -> User | None:
        try:
            address = normalized_email(email)
        except InvalidEmail:
            return None
        async with self._database.as_system() as db:
            return (await db.exec(select(User).where(User.email == address))).first()


async def set_password(
    db: AsyncSession,
    user: User,
    password_hash: str,
    now: datetime,
    *,
    event: AuditEvent,
    kind: NoticeKind,
    but: UUID | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Give a locked user another password: every session `but` one ends, links are void.

    Also the link that would change the address: whoever asked for it knew the old password, and
    could otherwise take the account with it after the owner has locked them out. `facts` are what
    else the owner is to be told.
    """
    user.password_hash, user.failed_logins, user.locked_until = password_hash, 0, None
    db.add(user)
    await end_sessions(db, user.id, now, reason=event, but=but)
    await void_links(db, user.id, now, LinkPurpose.RESET_PASSWORD, LinkPurpose.CHANGE_EMAIL)
    record(db, event, user_id=user.id, at=now)
    told = {"ip_address": current_origin().ip, **(facts or {})}
    await tell(db, user.id, kind, str(new_id()), now=now, facts=told)


async def _tell_of_new_device(db: AsyncSession, user: User, now: datetime) -> None:
    origin = current_origin()
    found = await (await db.connection()).execute(
        _IS_NEW_DEVICE,
        {"user_id": user.id, "ip": origin.ip, "user_agent": origin.user_agent},
    )
    if found.scalar_one():
        await tell(
            db,
            user.id,
            NoticeKind.NEW_LOGIN,
            str(new_id()),
            now=now,
            facts={"ip_address": origin.ip, "user_agent": origin.user_agent},
        )
