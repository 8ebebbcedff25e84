"""Looking after one user's subscription over time: what the subscription workflow's timers do.

Each look finishes what is open, reads the provider where the rows may be behind, does what has
come due, and says when to look again. All of it is safe to repeat at any moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.billing import (
    ProviderMisconfigured,
    ProviderOutcomeUnknown,
    ProviderUnavailable,
    SubscriptionStatus,
)
from domain.contracts.billing import TendResult
from domain.plans import Tier
from domain.ports import WallClock
from models.billing import BillingCommand, CommandState, Subscription
from models.people import User
from services.billing.applying import give
from services.billing.commands import Commands
from services.billing.contact import Contact, untold
from services.billing.errors import BillingBusy, BillingOutcomeUnknown, BillingUnavailable
from services.billing.refreshing import Refreshing
from services.billing.rows import lock_row
from services.database import Database
from services.notices import NoticeKind, tell

TRIAL_REMINDER = timedelta(days=3)
OPEN_COMMAND_LOOK = timedelta(seconds=30)
UNAVAILABLE_LOOK = timedelta(minutes=1)
STALE_AFTER = timedelta(hours=24)
"""A live subscription is read this often even if no event says that it changed."""

RENEWAL_LOOK = timedelta(minutes=5)
"""So often while its period is over and the provider has not begun another one yet."""

_SOONEST = timedelta(seconds=1)
_log = structlog.get_logger("nija.billing")


class Tending:
    """Looks after subscriptions; without a provider (`contact` is None too), after trials only."""

    def __init__(
        self,
        database: Database,
        commands: Commands | None,
        refreshing: Refreshing | None,
        clock: WallClock,
        contact: Contact | None,
    ) -> None:
        self._database = database
        self._commands = commands
        self._refreshing = refreshing
        self._clock = clock
        self._contact = contact

    async def tend(self, user_id: UUID) -> TendResult:
        """Do what is due for a user; tell when to look again."""
        async with self._database.for_user(user_id) as session:
            if (await session.exec(select(User.id).where(User.id == user_id))).first() is None:
                return TendResult(summary="the user is gone")
            await lock_row(session, user_id, self._clock.now())
        has_open = await self._finish_open(user_id)
        is_behind = await self._catch_up(user_id)
        is_told = await self._tell_contact(user_id)
        async with self._database.for_user(user_id) as session:
            now = self._clock.now()
            row = await lock_row(session, user_id, now)
            user = await session.get_one(User, user_id)
            await self._mind_trial(session, user, row, now)
            await self._mind_plan(session, row, now)
            due = list(_due_times(user, row, now))
            if has_open:
                due.append(now + OPEN_COMMAND_LOOK)
            if is_behind or not is_told:
                due.append(now + UNAVAILABLE_LOOK)
            elif self._is_stale(row, now) or (
                self._contact is not None and await untold(session, row) is not None
            ):
                due.append(now)  # it came due, or was changed, while the look went on
            row.next_look_at = max(min(due), now + _SOONEST) if due else None
            session.add(row)
        if row.next_look_at is None:
            return TendResult(summary="nothing to wait for")
        wait = (row.next_look_at - now).total_seconds()
        return TendResult(wait_seconds=wait, summary=f"next look {row.next_look_at:%Y-%m-%d %H:%M}")

    async def _finish_open(self, user_id: UUID) -> bool:
        """Carry out a command that was left open; whether there still is one."""
        if self._commands is not None:
            try:
                await self._commands.finish_open(user_id)
            except (BillingBusy, BillingOutcomeUnknown, BillingUnavailable) as failure:
                _log.info("billing.command_waits", user_id=str(user_id), why=failure.code)
        async with self._database.for_user(user_id) as session:
            found = await session.exec(
                select(BillingCommand.id).where(
                    BillingCommand.user_id == user_id,
                    BillingCommand.state == CommandState.OPEN.value,
                )
            )
            return found.first() is not None

    async def _catch_up(self, user_id: UUID) -> bool:
        """Read the provider where the stored state cannot be right any more; whether that failed.

        Events say so first, as a rule. This is for those that got lost.
        """
        async with self._database.for_user(user_id) as session:
            row = await lock_row(session, user_id, self._clock.now())
        if self._refreshing is None or not self._is_stale(row, self._clock.now()):
            return False
        try:
            await self._refreshing.refresh(user_id)
        except (ProviderUnavailable, ProviderMisconfigured) as failure:
            _log.warning("billing.refresh_failed", user_id=str(user_id), reason=str(failure))
            return True
        return False

    def _is_stale(self, row: Subscription, now: datetime) -> bool:
        """Whether the provider is to be read before the row can be trusted."""
        stale_at = _stale_at(row)
        return self._refreshing is not None and stale_at is not None and stale_at <= now

    async def _tell_contact(self, user_id: UUID) -> bool:
        """Tell the provider of another address; whether that did not fail."""
        if self._contact is None:
            return True
        try:
            await self._contact.tell(user_id)
        except (ProviderUnavailable, ProviderOutcomeUnknown, ProviderMisconfigured) as failure:
            _log.warning("billing.email_not_told", user_id=str(user_id), reason=str(failure))
            return False
        return True

    # --- what comes due ---------------------------------------------------------------------

    async def _mind_trial(
        self, session: AsyncSession, user: User, row: Subscription, now: datetime
    ) -> None:
        ends_at = user.trial_ends_at
        if ends_at is None or _is_live(row):
            return
        facts = {"trial_ends_at": ends_at.isoformat()}
        about = ends_at.isoformat()
        if ends_at - TRIAL_REMINDER <= now < ends_at:
            await tell(session, user.id, NoticeKind.TRIAL_ENDING, about, now=now, facts=facts)
        elif ends_at <= now < ends_at + TRIAL_REMINDER:
            await tell(session, user.id, NoticeKind.TRIAL_ENDED, about, now=now, facts=facts)

    async def _mind_plan(self, session: AsyncSession, row: Subscription, now: datetime) -> None:
        """Take back the tier whose grace is over or whose cancelled period has ended."""
        if row.billed_until is not None and now >= row.billed_until and _is_live(row):
            await give(session, row, Tier.FREE, now)


def _is_live(row: Subscription) -> bool:
    return row.status is not None and SubscriptionStatus(row.status).is_live


def _stale_at(row: Subscription) -> datetime | None:
    """From when on the stored state may be out of date; None where nothing is to be read."""
    if row.customer_id is None or row.looked_at is None or not _is_live(row):
        return None
    is_over = row.period_end is not None and row.period_end <= row.looked_at
    turning_points = (row.period_end, row.billed_until)
    ahead = [at for at in turning_points if at is not None and at > row.looked_at]
    return min([row.looked_at + (RENEWAL_LOOK if is_over else STALE_AFTER), *ahead])


def _due_times(user: User, row: Subscription, now: datetime) -> Iterator[datetime]:
    """Every later moment at which something is to be done."""
    moments: list[datetime] = []
    if user.trial_ends_at is not None and not _is_live(row):
        moments += [user.trial_ends_at - TRIAL_REMINDER, user.trial_ends_at]
    if _is_live(row):
        moments += [at for at in (row.period_end, row.billed_until) if at is not None]
        moments.append(_stale_at(row) or now + STALE_AFTER)
    yield from (at for at in moments if at > now)
