"""Registration: a person, settings and a paper account, in one transaction."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.ports import WallClock
from domain.principal import Role
from models.columns import new_id
from models.connections import UserSettings
from models.people import User
from services.audit import AuditEvent, record
from services.database import Database
from services.errors import EmailAlreadyExists, InvalidRequest, TermsNotAccepted
from services.identity.emails import normalized_email
from services.identity.passwords import Passwords, check_strength
from services.identity.verification import EmailVerification
from services.identity.views import UserView
from services.paper_accounts import PAPER_VENUE, PaperAccounts

FULL_NAME_LENGTH_MAX = 200

_EMAIL_CONSTRAINT = "uq_users_email"


class Registration:
    """Makes users.

    Args:
        database: where people live.
        clock: wall time.
        passwords: hashes them.
        paper: opens the paper account.
        trial: how long the trial is.
        verification: mails new users a link. Without it, whoever registers somebody vouches for
            the address (the installation itself does, for its administrator).
    """

    def __init__(
        self,
        database: Database,
        clock: WallClock,
        passwords: Passwords,
        paper: PaperAccounts,
        *,
        trial: timedelta,
        verification: EmailVerification | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._paper = paper
        self._trial = trial
        self._verification = verification

    async def register(
        self,
        *,
        email: str,
        password: str,
        full_name: str,
        accept_terms: bool,
        role: Role = Role.USER,
    ) -> UserView:
        """Make a user, with default settings and a paper account.

        `role` is for the command line and bootstrap; no dialect passes it.

        Raises:
            InvalidEmail: the address has no valid syntax.
            WeakPassword: the password is too short or too common.
            TermsNotAccepted: the terms were not accepted.
            EmailAlreadyExists: the address is taken.
            InvalidRequest: the name is empty or too long.
        """
        address = normalized_email(email)
        check_strength(password, email=address)
        name = full_name.strip()
        if not 0 < len(name) <= FULL_NAME_LENGTH_MAX:
            raise InvalidRequest({"full_name": f"1 to {FULL_NAME_LENGTH_MAX} characters"})
        if not accept_terms:
            raise TermsNotAccepted
        now = self._clock.now()
        user = User(
            id=new_id(),
            email=address,
            full_name=name,
            password_hash=await self._passwords.hash(password),
            role=role,
            trial_ends_at=now + self._trial,
            created_at=now,
        )
        try:
            async with self._database.as_system() as session:
                await self._store(session, user, now)
        except IntegrityError as error:
            if _violated(error) == _EMAIL_CONSTRAINT:
                raise EmailAlreadyExists from None
            raise
        return UserView.of(user, now)

    async def _store(self, session: AsyncSession, user: User, now: datetime) -> None:
        if self._verification is None:
            user.email_verified_at = now
        session.add(user)
        await session.flush()
        session.add(UserSettings(user_id=user.id, updated_at=now))
        await self._paper.open(session, user.id, PAPER_VENUE)
        record(session, AuditEvent.USER_REGISTERED, user_id=user.id, at=now)
        if self._verification is not None:
            await self._verification.send(session, user, now)


def _violated(error: IntegrityError) -> str | None:
    diagnostics = getattr(error.orig, "diag", None)
    return getattr(diagnostics, "constraint_name", None)
