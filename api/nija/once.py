"""`Idempotency-Key`: a repeat of a mutating call gets the first answer instead of a second effect.

Kept are successes and refusals, since a refusal changed nothing and would be the same again.
Failures of ours or of a venue are not, so that trying again with the same key makes sense. What a
lost answer means for commands whose effects add up is told in `services.idempotency`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar, cast
from uuid import UUID, uuid4

import orjson
from fastapi import Depends, Header, Request

from api.kit.problem import problem_of
from api.kit.wire import to_json
from api.nija.auth import Caller, Services
from api.nija.envelope import Answer
from api.nija.errors import render
from services.errors import InvalidRequest
from services.idempotency import Claim, FirstAnswer, IdempotencyKeys, hash_request
from services.redaction import redact

KEY_LENGTH_MAX = 255
REPLAYED = {"idempotency-replayed": "true", "cache-control": "no-store"}
_SERVER_ERROR = 500

T = TypeVar("T")
Action = Callable[[], Awaitable[Answer[T]]]
Command = Callable[[UUID], Awaitable[Answer[T]]]


class Once:
    """Carries a request out once per key; without a key, simply carries it out."""

    def __init__(
        self, keys: IdempotencyKeys, caller: Caller, key: str | None, request_hash: str
    ) -> None:
        self._keys = keys
        self._caller = caller
        self._key = key
        self._request_hash = request_hash

    async def __call__(self, action: Action[T]) -> Answer[T]:
        """Carry `action` out, or repeat what its first run answered.

        Where the first answer was lost the action runs again, so its effects must not add up.

        Raises:
            IdempotencyConflict: the key belongs to another request, or to one under way.
        """
        return await self.command(lambda _command_id: action())

    async def command(self, action: Command[T]) -> Answer[T]:
        """The same for effects that add up: all runs for a request get the same id.

        Raises:
            IdempotencyConflict: the key belongs to another request, or to one under way.
        """
        if self._key is None:
            return await action(uuid4())
        claim = await self._keys.claim(self._caller.user_id, self._key, self._request_hash)
        if isinstance(claim, FirstAnswer):
            return cast("Answer[T]", _repeat(claim))
        return await self._carry_out(claim, action)

    async def _carry_out(self, claim: Claim, action: Command[T]) -> Answer[T]:
        # Also while the answer is kept: that may wait longer for a connection than a lease lasts.
        async with self._keys.renewed(claim):
            try:
                answer = await action(claim.command_id)
            except Exception as failure:
                refusal = render(problem_of(failure))
                if refusal.status_code >= _SERVER_ERROR:
                    await self._keys.release(claim)
                else:
                    await self._keys.complete(claim, refusal.status_code, _kept(refusal.body))
                raise
            await self._keys.complete(claim, answer.status_code, _kept(answer.body))
        return answer


def _kept(body: bytes | memoryview) -> str:
    """The answer, byte for byte unless it shows a secret."""
    shown = orjson.loads(body)
    kept = redact(shown)
    return bytes(body).decode() if kept == shown else to_json(kept).decode()


def _repeat(first: FirstAnswer) -> Answer[object]:
    return Answer(first.body, status_code=first.status_code, headers=REPLAYED)


async def once_per_key(
    request: Request,
    services: Services,
    caller: Caller,
    idempotency_key: Annotated[
        str | None,
        Header(description="A repeat with the same key within 24 hours returns the first answer."),
    ] = None,
) -> Once:
    """Read the key of a mutating call.

    Raises:
        InvalidRequest: the key is empty, too long or not printable.
    """
    if idempotency_key is not None and not _is_valid(idempotency_key):
        raise InvalidRequest({"Idempotency-Key": f"1 to {KEY_LENGTH_MAX} printable characters"})
    target = f"{request.url.path}?{request.url.query}"
    body = await request.body()
    return Once(
        services.idempotency,
        caller,
        idempotency_key,
        hash_request(request.method, target, body),
    )


def _is_valid(key: str) -> bool:
    return 0 < len(key) <= KEY_LENGTH_MAX and key.isascii() and key.isprintable()


Idempotent = Annotated[Once, Depends(once_per_key)]
