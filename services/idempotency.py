"""Idempotency keys: the first answer to a mutating call, given again for 24 hours.

`claim` is one atomic statement: of two concurrent duplicates exactly one carries the request out.
A claim is renewed while its request is carried out. One whose process died ends with its lease, in
seconds: the repeat of a stop must not wait for a minute because the first attempt was lost. The
commands behind it refuse by state what was done already.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import CursorResult, TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.ports import WallClock
from models.columns import new_id
from services.database import Database
from services.errors import IdempotencyConflict

KEPT = timedelta(hours=24)
LEASE = timedelta(seconds=6)
RENEW_SECONDS = 1.5
WAIT_SECONDS = 10.0
_POLL_SECONDS_FIRST = 0.05
_POLL_SECONDS_MAX = 0.8
"""Between two looks for the answer of the first request; each delay is twice the one before."""

_CLAIM = text("""
INSERT INTO idempotency_keys AS k (id, user_id, key, request_hash, created_at)
VALUES (:id, :user_id, :key, :request_hash, :now)
ON CONFLICT (user_id, key) DO UPDATE
SET id = :id, request_hash = :request_hash, created_at = :now, status_code = NULL, response = NULL
WHERE k.created_at <= :forgotten_before
   OR (k.status_code IS NULL AND k.created_at <= :abandoned_before
       AND k.request_hash = :request_hash)
RETURNING k.id
""")
_FIND = text("""
SELECT request_hash, status_code, response FROM idempotency_keys
WHERE user_id = :user_id AND key = :key
""")
_COMPLETE = text("""
UPDATE idempotency_keys SET status_code = :status_code, response = :response
WHERE id = :id AND user_id = :user_id
""").bindparams(bindparam("response", type_=JSONB))
_RELEASE = text("""
DELETE FROM idempotency_keys WHERE id = :id AND user_id = :user_id AND status_code IS NULL
""")
_RENEW = text("""
UPDATE idempotency_keys SET created_at = :now
WHERE id = :id AND user_id = :user_id AND status_code IS NULL
""")
_PURGE = text("DELETE FROM idempotency_keys WHERE created_at <= :before")


@dataclass(frozen=True, slots=True)
class Claim:
    """The right, and the duty, to carry a request out and to say how it ended."""

    id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """What the first request with the key was answered."""

    status_code: int
    body: str


def hash_request(method: str, target: str, body: bytes) -> str:
    """What makes two requests the same one; one-way, since bodies may hold secrets."""
    digest = hashlib.sha256()
    for part in (method.encode(), target.encode(), body):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


class IdempotencyKeys:
    """The keys of all users; a key means something only together with its user."""

    def __init__(
        self,
        database: Database,
        clock: WallClock,
        *,
        wait_seconds: float = WAIT_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._renew_seconds = renew_seconds

    async def claim(self, user_id: UUID, key: str, request_hash: str) -> Claim | FirstAnswer:
        """Claim a key for a request, or learn what its first use was answered.

        A duplicate of a request that is still being carried out waits for its answer a while.

        Raises:
            IdempotencyConflict: the key stands for another request, or the first one goes on.
        """
        delay = _POLL_SECONDS_FIRST
        deadline = asyncio.get_running_loop().time() + self._wait_seconds
        while True:
            found = await self._try_claim(user_id, key, request_hash)
            if found is not None:
                return found
            if asyncio.get_running_loop().time() >= deadline:
                raise IdempotencyConflict("The first request with this key is still in progress")
            await asyncio.sleep(delay)
            delay = min(delay * 2, _POLL_SECONDS_MAX)

    @asynccontextmanager
    async def renewed(self, claim: Claim) -> AsyncIterator[None]:
        """Keep a claim from being taken over while its request is carried out."""
        renewing = asyncio.create_task(self._renew(claim))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait((renewing,))

    async def complete(self, claim: Claim, status_code: int, body: str) -> None:
        """Keep the answer."""
        async with self._database.for_user(claim.user_id) as session:
            await _run(
                session,
                _COMPLETE,
                {
                    "id": claim.id,
                    "user_id": claim.user_id,
                    "status_code": status_code,
                    "response": {"body": body},
                },
            )

    async def release(self, claim: Claim) -> None:
        """Forget the claim: the request failed for a reason that may be gone next time."""
        async with self._database.for_user(claim.user_id) as session:
            await _run(session, _RELEASE, {"id": claim.id, "user_id": claim.user_id})

    async def purge(self) -> None:
        """Delete what is older than 24 hours; the sweeper calls this."""
        async with self._database.as_system() as session:
            await _run(session, _PURGE, {"before": self._now() - KEPT})

    async def _try_claim(
        self, user_id: UUID, key: str, request_hash: str
    ) -> Claim | FirstAnswer | None:
        now = self._now()
        claim = Claim(new_id(), user_id)
        names: dict[str, Any] = {
            "id": claim.id,
            "user_id": user_id,
            "key": key,
            "request_hash": request_hash,
            "now": now,
            "forgotten_before": now - KEPT,
            "abandoned_before": now - LEASE,
        }
        async with self._database.for_user(user_id) as session:
            if (await _run(session, _CLAIM, names)).first() is not None:
                return claim
            row = (await _run(session, _FIND, {"user_id": user_id, "key": key})).first()
        if row is None:  # released in between
            return None
        if row.request_hash != request_hash:
            raise IdempotencyConflict
        if row.status_code is None:
            return None
        return FirstAnswer(row.status_code, row.response["body"])

    async def _renew(self, claim: Claim) -> None:
        while True:
            await asyncio.sleep(self._renew_seconds)
            values = {"id": claim.id, "user_id": claim.user_id, "now": self._now()}
            with suppress(SQLAlchemyError, OSError):
                async with self._database.for_user(claim.user_id) as session:
                    await _run(session, _RENEW, values)

    def _now(self) -> datetime:
        return self._clock.now()


async def _run(
    session: AsyncSession, statement: TextClause, values: dict[str, Any]
) -> CursorResult[Any]:
    return await (await session.connection()).execute(statement, values)
