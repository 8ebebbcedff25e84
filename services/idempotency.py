"""Idempotency keys: the first answer to a mutating call, given again for 24 hours.

`claim` is one atomic statement: of two concurrent duplicates one carries the request out at a time.
A claim is renewed while its request is carried out. One whose process died ends with its lease, in
seconds: the repeat of a stop must not wait for a minute because the first attempt was lost.

The answer is kept in a transaction of its own, after those of the command. Between the two the
process may die, the database fail, or the lease end because no connection is free: the repeat is
then another attempt at what was done already, maybe beside the first. So the commands behind it
must bear that. Most set or refuse by state; those whose effects would add up take the claim's
`command_id`, which all attempts share, and write it in the transaction that acts, under a lock or a
unique constraint: the next attempt finds it there, changes nothing and answers as the first did.
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
INSERT INTO idempotency_keys AS k (id, user_id, key, request_hash, command_id, created_at)
VALUES (:id, :user_id, :key, :request_hash, :command_id, :now)
ON CONFLICT (user_id, key) DO UPDATE
SET id = :id, request_hash = :request_hash, created_at = :now, status_code = NULL, response = NULL,
    command_id = CASE WHEN k.created_at <= :forgotten_before THEN :command_id ELSE k.command_id END
WHERE k.created_at <= :forgotten_before
   OR (k.status_code IS NULL AND k.created_at <= :abandoned_before
       AND k.request_hash = :request_hash)
RETURNING k.command_id
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
UPDATE idempotency_keys SET id = gen_random_uuid(), created_at = :abandoned
WHERE id = :id AND user_id = :user_id AND status_code IS NULL
""")
_RENEW = text("""
UPDATE idempotency_keys SET created_at = :now
WHERE id = :id AND user_id = :user_id AND status_code IS NULL
""")
_PURGE = text("DELETE FROM idempotency_keys WHERE created_at <= :before")


@dataclass(frozen=True, slots=True)
class Claim:
    """The right, and the duty, to carry a request out and to say how it ended.

    Attributes:
        id: of this attempt.
        user_id: whose request.
        command_id: of what the request does, the same for all attempts at it.
    """

    id: UUID
    user_id: UUID
    command_id: UUID


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
        """End the claim: the request failed for a reason that may be gone next time.

        The next attempt is one at the same command: what failed may have been done all the same.
        """
        values = {"id": claim.id, "user_id": claim.user_id, "abandoned": self._now() - LEASE}
        async with self._database.for_user(claim.user_id) as session:
            await _run(session, _RELEASE, values)

    async def purge(self) -> None:
        """Delete what is older than 24 hours; the sweeper calls this."""
        async with self._database.as_system() as session:
            await _run(session, _PURGE, {"before": self._now() - KEPT})

    async def _try_claim(
        self, user_id: UUID, key: str, request_hash: str
    ) -> Claim | FirstAnswer | None:
        now = self._now()
        claim_id = new_id()
        names: dict[str, Any] = {
            "id": claim_id,
            "command_id": new_id(),
            "user_id": user_id,
            "key": key,
            "request_hash": request_hash,
            "now": now,
            "forgotten_before": now - KEPT,
            "abandoned_before": now - LEASE,
        }
        async with self._database.for_user(user_id) as session:
            claimed = (await _run(session, _CLAIM, names)).first()
            if claimed is not None:
                return Claim(claim_id, user_id, claimed.command_id)
            row = (await _run(session, _FIND, {"user_id": user_id, "key": key})).first()
        if row is None:  # purged in between
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
