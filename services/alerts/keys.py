"""Webhook keys: one a user, shown once, kept as a hash; replacing and ending them."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.plans import Feature
from domain.ports import WallClock
from domain.principal import Principal
from models.alerts import WebhookKey
from models.columns import new_id
from models.people import User
from services.alerts.errors import WebhookNeedsPlan
from services.audit import AuditEvent, record
from services.billing.entitlements import plan_of
from services.database import Database
from services.errors import (
    ExceedsTierLimit,
    IdempotencyConflict,
    ObjectNotFound,
    TokenInvalid,
)
from services.notices import NoticeKind, tell
from services.origin import current_origin
from services.reads import Caller, Reads

KEY_PREFIX = "nwk_"
_KEY_BYTES = 32
_KEY_FORM = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{43}}")
_HINT_LENGTH = 4
OVERLAP_MINUTES_MAX = 1440
REPLACED_MAX = 3
"""Replaced keys that are good at once: each has a limit of alerts a minute of its own."""

_LIST = """
SELECT id, hint, created_at, last_used_at, ends_at FROM webhook_keys
WHERE user_id = %(user_id)s AND (ends_at IS NULL OR ends_at > %(now)s)
ORDER BY created_at DESC, id
"""


@dataclass(frozen=True, slots=True)
class WebhookKeyView:
    """A key as its owner sees it afterwards; `ends_at` where it was replaced."""

    id: UUID
    hint: str
    created_at: datetime
    last_used_at: datetime | None
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key. `secret` is shown this once."""

    id: UUID
    secret: str

    def __repr__(self) -> str:
        return f"IssuedKey({self.id})"


def is_key(text: str) -> bool:
    """Whether a text looks like a key at all."""
    return _KEY_FORM.fullmatch(text) is not None


def hash_key(key: str) -> str:
    """What a key is found by. A fast hash is enough: nobody guesses 256 random bits."""
    return hashlib.sha256(key.encode()).hexdigest()


class WebhookKeys:
    """The key of each user.

    Args:
        database: where their hashes live.
        reads: the read side.
        clock: wall time.
    """

    def __init__(self, database: Database, reads: Reads, clock: WallClock) -> None:
        self._database = database
        self._reads = reads
        self._clock = clock

    async def list(self, caller: Caller) -> list[WebhookKeyView]:
        """The keys that are good at present: one, and what it replaced and is not over yet."""
        rows = await self._reads.rows(caller, _LIST, now=self._clock.now())
        return [WebhookKeyView(**row) for row in rows]

    async def issue(
        self,
        principal: Principal,
        *,
        overlap: timedelta = timedelta(0),
        command_id: UUID | None = None,
    ) -> IssuedKey:
        """Make a user's key, instead of the one there was.

        Args:
            principal: whose.
            overlap: how long the replaced one stays good, so that no alert is lost meanwhile.
            command_id: what asks, and the key's id; asking again gives the same key another secret,
                since the first one's answer was lost.

        Raises:
            WebhookNeedsPlan: the plan does not include alerts.
            IdempotencyConflict: the key of that command was replaced or revoked since.
            ExceedsTierLimit: too many replaced keys would be good at once.
        """
        secret = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
        now = self._clock.now()
        async with self._database.for_user(principal.user_id) as session:
            await _hold_user(session, principal.user_id)
            plan = await plan_of(session, principal.user_id, now)
            if not plan.features.allows(Feature.TRADINGVIEW_WEBHOOK):
                raise WebhookNeedsPlan(details={"tier": plan.tier.value})
            if command_id is not None and await _renew(session, command_id, secret):
                return IssuedKey(command_id, secret)
            ends_at = now + overlap if overlap else None
            replaced = await _end_keys(session, principal.user_id, now, ends_at)
            if overlap and replaced > REPLACED_MAX:
                raise ExceedsTierLimit(
                    "Too many replaced keys are still good; end them by replacing without overlap",
                    details={"replaced_keys": REPLACED_MAX},
                )
            key = WebhookKey(
                id=command_id or new_id(),
                user_id=principal.user_id,
                key_hash=hash_key(secret),
                hint=secret[-_HINT_LENGTH:],
                created_at=now,
            )
            session.add(key)
            record(
                session,
                AuditEvent.WEBHOOK_KEY_ISSUED,
                user_id=principal.user_id,
                at=now,
                meta={"webhook_id": str(key.id), "replaced": replaced},
            )
            origin = current_origin()
            await tell(
                session,
                principal.user_id,
                NoticeKind.WEBHOOK_KEY_ISSUED,
                key.id.hex,
                now=now,
                facts={"ip_address": origin.ip, "user_agent": origin.user_agent},
            )
        return IssuedKey(key.id, secret)

    async def revoke(self, principal: Principal) -> int:
        """End a user's keys at once; how many there were.

        Raises:
            ObjectNotFound: there was none.
        """
        now = self._clock.now()
        async with self._database.for_user(principal.user_id) as session:
            await _hold_user(session, principal.user_id)
            ended = await end_all_keys(session, principal.user_id, now)
            if not ended:
                raise ObjectNotFound("There is no webhook key")
        return ended


async def end_all_keys(session: AsyncSession, user_id: UUID, now: datetime) -> int:
    """End the keys of a user whose row is locked, at once; how many there were."""
    ended = await _end_keys(session, user_id, now, None)
    if ended:
        event, meta = AuditEvent.WEBHOOK_KEY_REVOKED, {"keys": ended}
        record(session, event, user_id=user_id, at=now, meta=meta)
    return ended


async def _hold_user(session: AsyncSession, user_id: UUID) -> None:
    """Let a user's keys change one after the other."""
    found = await session.exec(
        select(User.id).where(User.id == user_id).with_for_update(key_share=True)
    )
    if found.first() is None:
        raise TokenInvalid


async def _renew(session: AsyncSession, key_id: UUID, secret: str) -> bool:
    """Give a key another secret; whether there is such a key.

    Raises:
        IdempotencyConflict: it was replaced or revoked since: a secret of it would let no alert in.
    """
    key = await session.get(WebhookKey, key_id, with_for_update=True)
    if key is None:
        return False
    if key.ends_at is not None:
        raise IdempotencyConflict(
            "The webhook key that this request made was replaced or revoked since;"
            " make another one with another Idempotency-Key"
        )
    key.key_hash, key.hint = hash_key(secret), secret[-_HINT_LENGTH:]
    session.add(key)
    return True


async def _end_keys(
    session: AsyncSession, user_id: UUID, now: datetime, ends_at: datetime | None
) -> int:
    """Let every key that is good at `now` end no later than `ends_at`; how many there are.

    None ends them at once: an alert may have read its clock after ours and wait for the row, so the
    end is put where no clock is before it, at the key's beginning.
    """
    keys = (
        await session.exec(
            select(WebhookKey)
            .where(
                WebhookKey.user_id == user_id,
                col(WebhookKey.ends_at).is_(None) | (col(WebhookKey.ends_at) > now),
            )
            .with_for_update()
        )
    ).all()
    for key in keys:
        end = ends_at or key.created_at
        key.ends_at = end if key.ends_at is None else min(key.ends_at, end)
        session.add(key)
    await session.flush()
    return len(keys)
