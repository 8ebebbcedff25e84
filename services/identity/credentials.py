"""Proving to be somebody: the password, and the second factor where there is one.

Guessing either is slow, counted and then locked out. Success counts only while the account is not
locked at the moment of writing, so guesses made in parallel gain nothing: the right one is refused
as soon as five wrong ones were counted before it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Never
from uuid import UUID

from sqlalchemy import text, update
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.ports import Vault, WallClock
from models.account_life import RecoveryCode, SecondFactor
from models.people import User
from services.audit import AuditEvent, record
from services.database import Database
from services.errors import InvalidCredentials, TokenInvalid
from services.identity.errors import OtpInvalid, OtpRequired
from services.identity.one_time_codes import (
    accepted_step,
    hash_recovery_code,
    is_recovery_code,
    plain_code,
)
from services.identity.passwords import Passwords
from services.notices import NoticeKind, tell
from services.origin import current_origin

FAILURES_MAX = 5
LOCK = timedelta(minutes=15)

_COUNT_FAILURE = text("""
UPDATE users SET
    failed_logins = CASE WHEN failed_logins + 1 >= :failures_max THEN 0 ELSE failed_logins + 1 END,
    locked_until = CASE WHEN failed_logins + 1 >= :failures_max THEN :until ELSE NULL END
WHERE id = :id AND (locked_until IS NULL OR locked_until <= :now)
RETURNING locked_until
""")


class _Otp(Enum):
    RIGHT = "right"
    WRONG = "wrong"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Proven:
    """Somebody who proved who they are; `user` is locked until the transaction ends."""

    db: AsyncSession
    user: User
    now: datetime


class Credentials:
    """Checks passwords and second factors.

    Args:
        database: where people live.
        clock: wall time.
        passwords: hashes and verifies.
        vault: opens second factors.
    """

    def __init__(
        self, database: Database, clock: WallClock, passwords: Passwords, vault: Vault
    ) -> None:
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._vault = vault

    async def user(self, user_id: UUID) -> User:
        """A user who is logged in.

        Raises:
            TokenInvalid: the user is gone.
        """
        async with self._database.for_user(user_id) as db:
            found = await db.get(User, user_id)
        if found is None:
            raise TokenInvalid
        return found

    @asynccontextmanager
    async def proven(
        self, known: User | None, *, password: str, otp: str | None = None, asks_otp: bool = True
    ) -> AsyncIterator[Proven]:
        """A transaction of a user who knows the password and has the second factor, if any.

        A one-time code is used up by the transaction that relies on it.

        Args:
            known: the user whose password it is said to be; None where nobody has that address.
            password: what was typed.
            otp: a code of the authenticator app, or a recovery code.
            asks_otp: whether the second factor is needed where there is one.

        Raises:
            InvalidCredentials: wrong password, nobody, or locked after five failures.
            OtpRequired: the password is right; there is a second factor and no code was sent.
            OtpInvalid: the password is right and the code is not.
        """
        checked = await self.check_password(known, password)
        async with self.unlocked(checked) as proven:
            outcome = _Otp.RIGHT
            if asks_otp:
                outcome = await self._check_otp(proven.db, proven.user, otp, proven.now)
            if outcome is _Otp.RIGHT:
                yield proven
            elif outcome is _Otp.WRONG:
                # In the transaction that holds the lock: parallel guesses are counted one by one.
                await _count_failure(proven.db, proven.user.id, proven.now)
        # Raised only here: the transaction that counted the failure has to commit.
        if outcome is _Otp.WRONG:
            raise OtpInvalid
        if outcome is _Otp.MISSING:
            raise OtpRequired

    async def check_password(self, known: User | None, password: str) -> User:
        """Compare a password, which takes its time; what it lets happen needs `unlocked` after it.

        Raises:
            InvalidCredentials: wrong, or nobody's.
        """
        stored = None if known is None else known.password_hash
        matches = await self._passwords.verify(password, stored)
        if known is None or not matches:
            await self._refuse(None if known is None else known.id)
        return known

    @asynccontextmanager
    async def unlocked(self, checked: User) -> AsyncIterator[Proven]:
        """A transaction of a user whose password was compared before.

        Raises:
            InvalidCredentials: locked meanwhile, or the password is another one now.
        """
        # By the same lock as the wrong guesses: they are counted in its order,
        # so a right one made beside them does not overtake their count.
        async with self._database.as_system() as db:
            now = self._clock.now()
            user = await lock_user(db, checked.id)
            is_open = user is not None and _is_open(user, checked.password_hash, now)
            if user is not None and is_open:
                yield Proven(db, user, now)
            else:
                # Noted and committed like a wrong guess: neither the time taken nor a gap in the
                # audit log may tell that a guess made during the lock was the right one.
                await _count_failure(db, None if user is None else user.id, now)
        # Raised only here: the transaction that noted the failure has to commit.
        if not is_open:
            raise InvalidCredentials

    async def _check_otp(
        self, db: AsyncSession, user: User, otp: str | None, now: datetime
    ) -> _Otp:
        factor = await db.get(SecondFactor, user.id)
        if factor is None or factor.enabled_at is None:
            return _Otp.RIGHT
        if otp is None:
            return _Otp.MISSING
        code = plain_code(otp)
        if is_recovery_code(code):
            is_right = await _use_recovery_code(db, user.id, code, now)
        else:
            is_right = use_step(self._vault, factor, code, now)
            db.add(factor)
        return _Otp.RIGHT if is_right else _Otp.WRONG

    async def _refuse(self, user_id: UUID | None) -> Never:
        # The same two statements whether or not anybody has that address: time must not tell.
        async with self._database.as_system() as db:
            await _count_failure(db, user_id, self._clock.now())
        raise InvalidCredentials


def _is_open(user: User, password_hash: str, now: datetime) -> bool:
    """Whether the password is still the one that was compared, and the account is not locked."""
    is_locked = user.locked_until is not None and user.locked_until > now
    return user.password_hash == password_hash and not is_locked


async def lock_user(db: AsyncSession, user_id: UUID, *, changes_email: bool = False) -> User | None:
    """The user's row as it is now, locked until the transaction ends; None when it is gone.

    Not against foreign keys: other transactions go on adding rows of this user. Unless the address
    changes: it is a key, and taking the stronger lock later could end in a deadlock.
    """
    rows = await db.exec(
        select(User)
        .where(col(User.id) == user_id)
        .with_for_update(key_share=not changes_email)
        .execution_options(populate_existing=True)
    )
    return rows.first()


def use_step(vault: Vault, factor: SecondFactor, code: str, now: datetime) -> bool:
    """Whether a code of the authenticator app is right and was not used before; uses it up."""
    secret = vault.open(factor.sealed, bound_to=factor_binding(factor.user_id)).decode()
    step = accepted_step(secret, code, now, after=factor.last_step)
    if step is None:
        return False
    factor.last_step = step
    return True


def factor_binding(user_id: UUID) -> str:
    """What a user's sealed TOTP secret is bound to."""
    return f"second-factor:{user_id}"


async def _use_recovery_code(db: AsyncSession, user_id: UUID, code: str, now: datetime) -> bool:
    used = await db.exec(
        update(RecoveryCode)
        .where(
            col(RecoveryCode.user_id) == user_id,
            col(RecoveryCode.code_hash) == hash_recovery_code(user_id, code),
            col(RecoveryCode.used_at).is_(None),
        )
        .values(used_at=now)
        .returning(col(RecoveryCode.id))
    )
    code_id = used.scalar_one_or_none()
    if code_id is None:
        return False
    left = await count_recovery_codes(db, user_id)
    record(db, AuditEvent.RECOVERY_CODE_USED, user_id=user_id, at=now, meta={"left": left})
    await tell(
        db,
        user_id,
        NoticeKind.RECOVERY_CODE_USED,
        str(code_id),
        now=now,
        facts={"recovery_codes_left": left},
    )
    return True


async def count_recovery_codes(db: AsyncSession, user_id: UUID) -> int:
    """How many recovery codes were not used yet."""
    return (
        await db.exec(
            select(func.count())
            .select_from(RecoveryCode)
            .where(RecoveryCode.user_id == user_id, col(RecoveryCode.used_at).is_(None))
        )
    ).one()


async def _count_failure(db: AsyncSession, user_id: UUID | None, now: datetime) -> None:
    counted = await (await db.connection()).execute(
        _COUNT_FAILURE,
        {"id": user_id, "now": now, "until": now + LOCK, "failures_max": FAILURES_MAX},
    )
    until = counted.scalar_one_or_none()
    event = AuditEvent.LOGIN_FAILED if until is None else AuditEvent.ACCOUNT_LOCKED
    record(db, event, user_id=user_id, at=now)
    if user_id is not None and until is not None:
        facts = {"ip_address": current_origin().ip}
        await tell(db, user_id, NoticeKind.ACCOUNT_LOCKED, until.isoformat(), now=now, facts=facts)
