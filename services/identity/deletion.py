"""Asking for the account and all data to be deleted: what happens at once.

One transaction ends everything the person can do and forgets who they are: sessions, second
factor, address, name. The address is free again from that moment on. What takes longer (leaving
live positions, ending a paid plan, deleting rows) is the deletion workflow's, which
`services.identity.erasing` carries out.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog
from sqlmodel import func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import BotSignal, Nudge
from domain.ports import WallClock, WorkflowService, WorkflowServiceUnavailable
from domain.principal import Principal
from models.account_life import AccountDeletion
from models.bots import Bot
from models.people import User, UserStatus
from services.audit import AuditEvent, record
from services.database import Database
from services.errors import InvalidCredentials
from services.identity.credentials import Credentials, lock_user
from services.identity.errors import PositionsOpen
from services.identity.mailed_links import void_links
from services.identity.passwords import Passwords
from services.identity.sessions import end_sessions
from services.identity.two_factor import remove_second_factor
from services.notices import NoticeKind, tell
from services.refusals import unless_refused
from services.trading.sends import wait_for_entry_sends
from services.trading.winding_down import Exposure, live_exposure, lock_bots, wind_down

NOBODY_NAME = "Deleted user"
NOBODY_DOMAIN = "deleted.invalid"
"""A domain that can never receive mail (RFC 2606)."""

_log = structlog.get_logger("nija.accounts")


class DeletionWorkflows(Protocol):
    """The durable workflow that carries a deletion out; its row was committed before."""

    async def start_deletion(self, user_id: UUID) -> None:
        """Start the workflow unless it runs.

        Raises:
            WorkflowServiceUnavailable: not started; the sweep will see the row.
        """
        ...


@dataclass(frozen=True, slots=True)
class DeletionRequested:
    """The account is gone for its owner; `is_closing` says whether live positions still leave."""

    requested_at: datetime
    is_closing: bool


class Deletion:
    """Takes the wish to be forgotten.

    Args:
        database: where people live.
        clock: wall time.
        credentials: checks the password and the second factor.
        passwords: makes a hash that no password has.
        bots: told that their user is leaving.
        workflows: carries the deletion out.
    """

    def __init__(
        self,
        database: Database,
        clock: WallClock,
        credentials: Credentials,
        passwords: Passwords,
        bots: WorkflowService,
        workflows: DeletionWorkflows,
    ) -> None:
        self._database = database
        self._clock = clock
        self._credentials = credentials
        self._passwords = passwords
        self._bots = bots
        self._workflows = workflows

    async def request(
        self, principal: Principal, *, password: str, otp: str | None, close_positions: bool
    ) -> DeletionRequested:
        """End the account now, and have all its data deleted.

        Raises:
            PositionsOpen: there is a live run or a live position, and `close_positions` is off.
            DomainError: as `Credentials.proven`.
        """
        known = await self._credentials.user(principal.user_id)
        async with self._credentials.proven(known, password=password, otp=otp) as proven:
            # Refused before the code is used up; the look below is the one that counts.
            await _require_unexposed(proven.db, known.id, proven.now, close_positions)
        no_password = await self._passwords.hash(secrets.token_urlsafe())
        while (ended := await self._end(known, no_password, close_positions)) is None:
            pass  # the first bot was started meanwhile: it is there to be locked now
        requested, bots = ended
        await self._inform(known.id, bots)
        await wait_for_entry_sends(self._database, self._clock, known.id)
        return requested

    async def _end(
        self, known: User, no_password: str, close_positions: bool
    ) -> tuple[DeletionRequested, Sequence[Bot]] | None:
        """End everything in one transaction; None, and nothing done, if a bot was overlooked."""
        async with self._database.for_user(known.id) as db:
            now = self._clock.now()
            bots = await lock_bots(db, known.id)
            user = await lock_user(db, known.id, changes_email=True)
            if user is None or user.password_hash != known.password_hash:
                raise InvalidCredentials  # changed or deleted in between
            # A first start holds no bot's lock while it makes one. Whoever starts now waits for the
            # user's row; to lock a bot behind it would be the wrong order.
            if await _count_bots(db, known.id) != len(bots):
                return None
            exposure = await _require_unexposed(db, known.id, now, close_positions)
            for bot in bots:
                await wind_down(db, bot, now)
            await _forget(db, user, no_password, now)
        return DeletionRequested(now, is_closing=not exposure.is_none), bots

    async def _inform(self, user_id: UUID, bots: Sequence[Bot]) -> None:
        try:
            await unless_refused(self._workflows.start_deletion(user_id), user_id=user_id)
            for bot in bots:
                nudge = Nudge(revision=bot.revision)
                call = self._bots.signal_bot(user_id, bot.id, BotSignal.STOP, nudge)
                await unless_refused(call, bot_id=bot.id)
        except WorkflowServiceUnavailable:
            _log.warning("deletion.not_started", user_id=str(user_id))  # the sweep starts it


async def _count_bots(db: AsyncSession, user_id: UUID) -> int:
    return (await db.exec(select(func.count()).where(Bot.user_id == user_id))).one()


async def _require_unexposed(
    db: AsyncSession, user_id: UUID, now: datetime, close_positions: bool
) -> Exposure:
    exposure = await live_exposure(db, user_id, now)
    if not exposure.is_none and not close_positions:
        raise PositionsOpen(
            details={
                "live_runs": exposure.runs,
                "open_positions": exposure.positions,
                "open_orders": exposure.orders,
            }
        )
    return exposure


async def _forget(db: AsyncSession, user: User, no_password: str, now: datetime) -> None:
    address = user.email
    event = AuditEvent.ACCOUNT_DELETION_REQUESTED
    await end_sessions(db, user.id, now, reason=event)
    await remove_second_factor(db, user.id)
    await void_links(db, user.id, now)
    db.add(AccountDeletion(user_id=user.id, requested_at=now))
    record(db, event, user_id=user.id, at=now)
    # The one place that still knows the address: it is told, and goes with the rows.
    kind = NoticeKind.ACCOUNT_DELETION_REQUESTED
    await tell(db, user.id, kind, str(user.id), now=now, facts={"to": address})
    user.email = f"{user.id.hex}@{NOBODY_DOMAIN}"
    user.full_name, user.password_hash = NOBODY_NAME, no_password
    user.email_verified_at, user.status = None, UserStatus.DISABLED
    db.add(user)
