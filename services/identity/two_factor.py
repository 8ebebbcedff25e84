"""Setting up, confirming and taking away a second factor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.ports import Vault, WallClock
from domain.principal import Principal
from models.account_life import RecoveryCode, SecondFactor
from models.columns import new_id
from models.people import User
from services.audit import AuditEvent, record
from services.database import Database
from services.errors import ObjectNotFound, TokenInvalid
from services.identity.credentials import (
    Credentials,
    Proven,
    factor_binding,
    lock_user,
    use_step,
)
from services.identity.emails import normalized_email
from services.identity.errors import OtpAlreadyEnabled, OtpInvalid, OtpNotEnabled
from services.identity.one_time_codes import (
    hash_recovery_code,
    new_recovery_codes,
    new_secret,
    otpauth_url,
    plain_code,
)
from services.identity.sessions import end_sessions
from services.notices import NoticeKind, tell
from services.reads import Caller, Reads

_STATUS = """
SELECT enabled_at,
       (SELECT count(*) FROM recovery_codes c
        WHERE c.user_id = f.user_id AND c.used_at IS NULL) AS recovery_codes_left
FROM second_factors f
WHERE user_id = %(user_id)s AND enabled_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class TwoFactorSetup:
    """A secret for the authenticator app, shown this once; the repr hides it."""

    secret: str
    otpauth_url: str

    def __repr__(self) -> str:
        return "TwoFactorSetup(***)"


@dataclass(frozen=True, slots=True)
class TwoFactorStatus:
    """Whether a second factor is in force, and how many recovery codes are left."""

    enabled_at: datetime | None
    recovery_codes_left: int


class TwoFactor:
    """The second factor of a user.

    Args:
        database: where it lives, sealed.
        reads: the read side.
        clock: wall time.
        vault: seals secrets.
        credentials: checks the password and the present second factor.
    """

    def __init__(
        self,
        database: Database,
        reads: Reads,
        clock: WallClock,
        vault: Vault,
        credentials: Credentials,
    ) -> None:
        self._database = database
        self._reads = reads
        self._clock = clock
        self._vault = vault
        self._credentials = credentials

    async def status(self, caller: Caller) -> TwoFactorStatus:
        """Whether the caller has a second factor."""
        rows = await self._reads.rows(caller, _STATUS)
        if not rows:
            return TwoFactorStatus(None, 0)
        return TwoFactorStatus(rows[0]["enabled_at"], rows[0]["recovery_codes_left"])

    async def set_up(self, principal: Principal, *, password: str) -> TwoFactorSetup:
        """Make a secret. It is in force only once a code of it was confirmed; again makes another.

        Raises:
            InvalidCredentials: the password is wrong.
            OtpAlreadyEnabled: disable the present one first.
        """
        known = await self._credentials.user(principal.user_id)
        async with self._credentials.proven(known, password=password, asks_otp=False) as proven:
            db, user, now = proven.db, proven.user, proven.now
            present = await db.get(SecondFactor, user.id)
            if present is not None and present.enabled_at is not None:
                raise OtpAlreadyEnabled
            secret = new_secret()
            factor = present or SecondFactor(user_id=user.id, sealed=b"", created_at=now)
            factor.sealed = self._vault.seal(secret.encode(), bound_to=factor_binding(user.id))
            factor.created_at, factor.last_step = now, None
            db.add(factor)
            record(db, AuditEvent.TWO_FACTOR_SET_UP, user_id=user.id, at=now)
            return TwoFactorSetup(secret, otpauth_url(secret, email=user.email))

    async def enable(self, principal: Principal, *, otp: str) -> list[str]:
        """Put the secret in force, end every other session, and hand out recovery codes.

        Raises:
            OtpNotEnabled: nothing was set up.
            OtpAlreadyEnabled: it is in force already.
            OtpInvalid: the code is not one of this secret's.
        """
        async with self._database.for_user(principal.user_id) as db:
            now = self._clock.now()
            if await lock_user(db, principal.user_id) is None:
                raise TokenInvalid
            factor = await db.get(SecondFactor, principal.user_id)
            if factor is None:
                raise OtpNotEnabled
            if factor.enabled_at is not None:
                raise OtpAlreadyEnabled
            if not use_step(self._vault, factor, plain_code(otp), now):
                raise OtpInvalid
            factor.enabled_at = now
            db.add(factor)
            event = AuditEvent.TWO_FACTOR_ENABLED
            await end_sessions(db, principal.user_id, now, reason=event, but=principal.session_id)
            codes = await _replace_codes(db, principal.user_id, now)
            await _note(db, principal.user_id, event, NoticeKind.TWO_FACTOR_ENABLED, now)
        return codes

    async def disable(self, principal: Principal, *, password: str, otp: str | None) -> None:
        """Do without a second factor from now on.

        Raises:
            OtpNotEnabled: there is none.
            DomainError: as `Credentials.proven`.
        """
        known = await self._credentials.user(principal.user_id)
        async with self._credentials.proven(known, password=password, otp=otp) as proven:
            await _require_enabled(proven)
            await remove_second_factor(proven.db, principal.user_id)
            event, kind = AuditEvent.TWO_FACTOR_DISABLED, NoticeKind.TWO_FACTOR_DISABLED
            await _note(proven.db, principal.user_id, event, kind, proven.now)

    async def replace_recovery_codes(
        self, principal: Principal, *, password: str, otp: str | None
    ) -> list[str]:
        """Hand out new recovery codes; the old ones are worth nothing any more.

        Raises:
            OtpNotEnabled: there is no second factor.
            DomainError: as `Credentials.proven`.
        """
        known = await self._credentials.user(principal.user_id)
        async with self._credentials.proven(known, password=password, otp=otp) as proven:
            await _require_enabled(proven)
            event, kind = AuditEvent.RECOVERY_CODES_REPLACED, NoticeKind.RECOVERY_CODES_REPLACED
            await _note(proven.db, principal.user_id, event, kind, proven.now)
            return await _replace_codes(proven.db, principal.user_id, proven.now)


async def remove_second_factor(db: AsyncSession, user_id: UUID) -> None:
    """Delete secret and recovery codes."""
    await db.exec(delete(RecoveryCode).where(col(RecoveryCode.user_id) == user_id))
    await db.exec(delete(SecondFactor).where(col(SecondFactor.user_id) == user_id))


async def reset_second_factor(database: Database, clock: WallClock, *, email: str) -> None:
    """Take the second factor away from somebody who lost the app and the recovery codes.

    For operators, who made sure by other means that it is this person who asks: no dialect offers
    it. Every session ends, and the user is told; the password stays.

    Raises:
        InvalidEmail: this is no address.
        ObjectNotFound: nobody has it.
        OtpNotEnabled: there is no second factor in force.
    """
    address = normalized_email(email)
    async with database.as_system() as db:
        now = clock.now()
        users = await db.exec(
            select(User).where(User.email == address).with_for_update(key_share=True)
        )
        user = users.first()
        if user is None:
            raise ObjectNotFound("Nobody has this email address")
        await _require_enabled(Proven(db, user, now))
        await remove_second_factor(db, user.id)
        event, kind = AuditEvent.TWO_FACTOR_RESET, NoticeKind.TWO_FACTOR_DISABLED
        ended = await end_sessions(db, user.id, now, reason=event)
        meta = {"by": "operator", "sessions": len(ended)}
        record(db, event, user_id=user.id, at=now, meta=meta)
        await tell(db, user.id, kind, str(new_id()), now=now)


async def reset_second_factor_at(system_database_url: str, clock: WallClock, *, email: str) -> None:
    """The same for a command that has nothing but an address of the database."""
    database = Database(system_database_url, system_database_url, pool_size=1)
    try:
        await reset_second_factor(database, clock, email=email)
    finally:
        await database.close()


async def _require_enabled(proven: Proven) -> None:
    factor = await proven.db.get(SecondFactor, proven.user.id)
    if factor is None or factor.enabled_at is None:
        raise OtpNotEnabled


async def _replace_codes(db: AsyncSession, user_id: UUID, now: datetime) -> list[str]:
    await db.exec(delete(RecoveryCode).where(col(RecoveryCode.user_id) == user_id))
    codes = new_recovery_codes()
    for code in codes:
        code_hash = hash_recovery_code(user_id, code)
        db.add(RecoveryCode(user_id=user_id, code_hash=code_hash, created_at=now))
    return codes


async def _note(
    db: AsyncSession, user_id: UUID, event: AuditEvent, kind: NoticeKind, now: datetime
) -> None:
    record(db, event, user_id=user_id, at=now)
    await tell(db, user_id, kind, str(new_id()), now=now)
