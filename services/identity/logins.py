"""Logging in and changing the password; guessing is slow, counted and then locked out.

Success counts only while the account is not locked at the moment of writing, so guesses made in
parallel gain nothing: the right one is refused as soon as five wrong ones were counted before it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Never
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.ports import WallClock
from domain.principal import Principal
from models.people import User
from services.audit import AuditEvent, record
from services.database import Database
from services.errors import InvalidCredentials, InvalidEmail, TokenInvalid
from services.identity.emails import normalized_email
from services.identity.passwords import Passwords, check_strength
from services.identity.sessions import Sessions, end_sessions
from services.identity.views import IssuedTokens
from services.paper_accounts import PAPER_VENUE, PaperAccounts
from services.reads import require_active

FAILURES_MAX = 5
LOCK = timedelta(minutes=15)

_COUNT_FAILURE = text("""
UPDATE users SET
    failed_logins = CASE WHEN failed_logins + 1 >= :failures_max THEN 0 ELSE failed_logins + 1 END,
    locked_until = CASE WHEN failed_logins + 1 >= :failures_max THEN :until ELSE NULL END
WHERE id = :id AND (locked_until IS NULL OR locked_until <= :now)
RETURNING locked_until
""")


class Logins:
    """Checks passwords.

    Args:
        database: where people live.
        clock: wall time.
        passwords: hashes and verifies.
        sessions: what a login begins.
        paper: opens the paper account of this realm where there is none.
    """

    def __init__(
        self,
        database: Database,
        clock: WallClock,
        passwords: Passwords,
        sessions: Sessions,
        paper: PaperAccounts,
    ) -> None:
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._sessions = sessions
        self._paper = paper

    async def log_in(self, *, email: str, password: str) -> IssuedTokens:
        """Check a password and begin a session.

        Raises:
            InvalidCredentials: unknown address, wrong password, or locked after five failures.
            AccountDisabled: the user is disabled; said only to who knows the password.
            AccountSuspended: the user is suspended; said only to who knows the password.
        """
        known = await self._find(email)
        stored = None if known is None else known.password_hash
        matches = await self._passwords.verify(password, stored)
        if known is None or not matches:
            await self._refuse(None if known is None else known.id)
        async with self._database.as_system() as db:
            now = self._clock.now()
            user = await self._lock(db, known.id)
            if user is None or user.password_hash != stored or _is_locked(user, now):
                raise InvalidCredentials
            require_active(user.status)
            user.failed_logins, user.locked_until, user.last_active_at = 0, None, now
            await self._paper.ensure(db, user.id, PAPER_VENUE)
            issued = await self._sessions.begin(db, user, now)
            record(db, AuditEvent.USER_LOGIN, user_id=user.id, at=now)
        return issued

    async def change_password(
        self, principal: Principal, *, current_password: str, new_password: str
    ) -> None:
        """Change the password and end every other session.

        Raises:
            InvalidCredentials: the current password is wrong.
            WeakPassword: the new one is too short or too common.
        """
        async with self._database.for_user(principal.user_id) as db:
            user = await db.get(User, principal.user_id)
        if user is None:
            raise TokenInvalid
        if not await self._passwords.verify(current_password, user.password_hash):
            await self._refuse(user.id)
        check_strength(new_password, email=user.email)
        new_hash = await self._passwords.hash(new_password)
        async with self._database.for_user(principal.user_id) as db:
            now = self._clock.now()
            fresh = await self._lock(db, principal.user_id)
            if fresh is None or fresh.password_hash != user.password_hash or _is_locked(fresh, now):
                raise InvalidCredentials
            fresh.password_hash, fresh.failed_logins = new_hash, 0
            event = AuditEvent.PASSWORD_CHANGED
            await end_sessions(db, principal.user_id, now, reason=event, but=principal.session_id)
            record(db, event, user_id=principal.user_id, at=now)

    async def _find(self, email: str) -> User | None:
        try:
            address = normalized_email(email)
        except InvalidEmail:
            return None
        async with self._database.as_system() as db:
            return (await db.exec(select(User).where(User.email == address))).first()

    @staticmethod
    async def _lock(db: AsyncSession, user_id: UUID) -> User | None:
        rows = await db.exec(select(User).where(col(User.id) == user_id).with_for_update())
        return rows.first()

    async def _refuse(self, user_id: UUID | None) -> Never:
        now = self._clock.now()
        # The same two statements whether or not anybody has that address: time must not tell.
        async with self._database.as_system() as db:
            counted = await (await db.connection()).execute(
                _COUNT_FAILURE,
                {"id": user_id, "now": now, "until": now + LOCK, "failures_max": FAILURES_MAX},
            )
            locked_until = counted.scalar_one_or_none()
            locked = locked_until is not None
            event = AuditEvent.ACCOUNT_LOCKED if locked else AuditEvent.LOGIN_FAILED
            record(db, event, user_id=user_id, at=now)
        raise InvalidCredentials


def _is_locked(user: User, now: datetime) -> bool:
    return user.locked_until is not None and user.locked_until > now
