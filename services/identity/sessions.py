"""Sessions: one login on one device, kept alive by rotating refresh tokens.

A refresh token is used once. A used one presented again means that two parties hold it, so the
whole session ends; except shortly after its first use, when the answer may simply have been lost:
then a sibling is issued.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.ports import WallClock
from domain.principal import Principal
from models.columns import new_id
from models.people import RefreshToken, Session, User
from services.audit import AuditEvent, record
from services.database import Database
from services.errors import ObjectNotFound, TokenExpired, TokenInvalid
from services.identity.tokens import AccessTokens, hash_refresh_token, new_refresh_token
from services.identity.views import IssuedTokens, SessionView, UserView
from services.origin import current_origin
from services.reads import Caller, Claims, Reads, require_active

REUSE_GRACE = timedelta(seconds=10)

_LIST = """
SELECT id, created_at, last_used_at, expires_at, ip_address, user_agent
FROM sessions
WHERE user_id = %(user_id)s AND revoked_at IS NULL AND expires_at > %(now)s
ORDER BY last_used_at DESC, id
LIMIT 100
"""


class Sessions:
    """Begins, refreshes, lists and ends sessions.

    Args:
        database: where they live.
        reads: the read side.
        clock: wall time.
        access_tokens: signs what sessions hand out.
        refresh_ttl: how long an unused refresh token is good.
    """

    def __init__(
        self,
        database: Database,
        reads: Reads,
        clock: WallClock,
        access_tokens: AccessTokens,
        *,
        refresh_ttl: timedelta,
    ) -> None:
        self._database = database
        self._reads = reads
        self._clock = clock
        self._access_tokens = access_tokens
        self._refresh_ttl = refresh_ttl

    async def begin(self, db: AsyncSession, user: User, now: datetime) -> IssuedTokens:
        """Begin a session in the caller's transaction."""
        origin = current_origin()
        session = Session(
            id=new_id(),
            user_id=user.id,
            created_at=now,
            last_used_at=now,
            expires_at=now + self._refresh_ttl,
            ip_address=origin.ip,
            user_agent=origin.user_agent,
        )
        db.add(session)
        await db.flush()
        return self._issue(db, session, user, now)

    async def refresh(self, token: str) -> IssuedTokens:
        """Exchange a refresh token for new tokens.

        Raises:
            TokenInvalid: unknown, of an ended session, or used before (which ends the session).
            TokenExpired: nobody used it for too long.
            AccountDisabled: the user is disabled.
            AccountSuspended: the user is suspended.
        """
        now = self._clock.now()
        async with self._database.as_system() as db:
            issued = await self._rotate(db, hash_refresh_token(token), now)
        # Raised only here: the transaction that ends a stolen session has to commit.
        if issued is None:
            raise TokenInvalid
        return issued

    async def list(self, caller: Caller) -> list[SessionView]:
        """Every live session of the caller, last used first."""
        rows = await self._reads.rows(caller, _LIST, now=self._clock.now())
        return [SessionView(**row, is_current=row["id"] == caller.session_id) for row in rows]

    async def end(self, principal: Principal, session_id: UUID) -> None:
        """End one session.

        Raises:
            ObjectNotFound: the caller has no such live session.
        """
        if not await self._end(principal, AuditEvent.SESSION_REVOKED, only=session_id):
            raise ObjectNotFound("Session not found")

    async def log_out(self, principal: Principal, *, everywhere: bool) -> int:
        """End the caller's session, or all of them; answers how many."""
        only = None if everywhere else principal.session_id
        return await self._end(principal, AuditEvent.USER_LOGOUT, only=only)

    async def _end(self, principal: Principal, event: AuditEvent, *, only: UUID | None) -> int:
        now = self._clock.now()
        async with self._database.for_user(principal.user_id) as db:
            ended = await end_sessions(db, principal.user_id, now, reason=event, only=only)
            if ended:
                record(db, event, user_id=principal.user_id, at=now, meta={"sessions": len(ended)})
        return len(ended)

    async def _rotate(
        self, db: AsyncSession, token_hash: str, now: datetime
    ) -> IssuedTokens | None:
        found = (
            await db.exec(
                select(RefreshToken, Session, User)
                .join(Session, col(Session.id) == col(RefreshToken.session_id))
                .join(User, col(User.id) == col(RefreshToken.user_id))
                .where(RefreshToken.token_hash == token_hash)
                .with_for_update(of=[RefreshToken, Session])
            )
        ).first()
        if found is None:
            return None
        token, session, user = found
        if session.revoked_at is not None:
            return None
        if min(token.expires_at, session.expires_at) <= now:
            raise TokenExpired
        require_active(user.status)
        if token.used_at is None:
            token.used_at = now
        elif now - token.used_at > REUSE_GRACE:
            await self._end_stolen(db, session, now)
            return None
        session.last_used_at = user.last_active_at = now
        session.expires_at = now + self._refresh_ttl
        return self._issue(db, session, user, now)

    @staticmethod
    async def _end_stolen(db: AsyncSession, session: Session, now: datetime) -> None:
        event = AuditEvent.REFRESH_TOKEN_REUSED
        await end_sessions(db, session.user_id, now, reason=event, only=session.id)
        record(db, event, user_id=session.user_id, at=now, meta={"session_id": str(session.id)})

    def _issue(self, db: AsyncSession, session: Session, user: User, now: datetime) -> IssuedTokens:
        refresh_token = new_refresh_token()
        db.add(
            RefreshToken(
                user_id=user.id,
                session_id=session.id,
                token_hash=hash_refresh_token(refresh_token),
                issued_at=now,
                expires_at=now + self._refresh_ttl,
            )
        )
        return IssuedTokens(
            access_token=self._access_tokens.issue(Claims(user.id, session.id)),
            refresh_token=refresh_token,
            expires_in=self._access_tokens.ttl,
            user=UserView.of(user, now),
        )


async def end_sessions(
    db: AsyncSession,
    user_id: UUID,
    now: datetime,
    *,
    reason: str,
    only: UUID | None = None,
    but: UUID | None = None,
) -> list[UUID]:
    """End live sessions of a user (`only` one, or all `but` one); answers which."""
    conditions: list[Any] = [col(Session.user_id) == user_id, col(Session.revoked_at).is_(None)]
    if only is not None:
        conditions.append(col(Session.id) == only)
    if but is not None:
        conditions.append(col(Session.id) != but)
    ended = await db.exec(
        update(Session)
        .where(*conditions)
        .values(revoked_at=now, revoked_reason=str(reason))
        .returning(col(Session.id))
    )
    return list(ended.scalars())
