"""Deleting an account's data, step by step, as often as it takes: what the deletion workflow does.

Nothing is lost track of on the way: live positions are left first, then the keys go, the paid plan
ends and the payment provider forgets the customer, then the rows go, the user's own row last. Each
look is safe to repeat at any moment; a process that dies leaves the rest to the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy import delete, text, update
from sqlmodel import SQLModel, col, select

from domain.contracts.accounts import DeletionStep
from domain.contracts.bots import BotSignal, Nudge
from domain.ports import WallClock, WorkflowService, WorkflowServiceUnavailable
from models.account_life import AccountDeletion
from models.billing import Notice
from models.bots import Bot, BotState
from models.connections import Connection, ConnectionStatus
from models.people import User
from models.tenancy import USER_TABLES
from services.audit import AuditEvent, record
from services.database import Database
from services.identity.deletion import DeletionWorkflows
from services.key_uses import wait_until_unused
from services.notices import NoticeKind
from services.refusals import unless_refused
from services.trading.winding_down import (
    end_paper_runs,
    live_exposure,
    lock_bots,
    wind_down,
)

EXPOSED_LOOK = timedelta(seconds=5)
STUCK_LOOK = timedelta(minutes=1)
EXPOSED_PATIENCE = timedelta(days=7)
"""Positions that cannot be left by then (keys that the venue refuses) stay at the venue, with their
owner; the log says so."""

QUIET_LOOK = timedelta(seconds=1)
QUIET_PATIENCE = timedelta(minutes=2)
"""How long a bot's workflow is waited for; one that comes later finds no bot, and ends."""

TOLD_LOOK = timedelta(seconds=2)
BILLING_LOOK = timedelta(minutes=1)
ROWS_AT_ONCE = 1_000
LATE = timedelta(seconds=30)
AT_ONCE = 100

# Few rows each, or referred to by all others: they go with the user's own row, in one statement.
_ROOTS = frozenset({"accounts", "bot_runs", "bots", "connections", "sessions"})
_ERASE = text("SELECT erase_user_rows(:user_id, :of_table, :at_most)")

_log = structlog.get_logger("nija.accounts")


class Cleaner(Protocol):
    """Whoever keeps something of a user outside the user's rows: files, schedules, a customer."""

    async def forget(self, user_id: UUID) -> bool:
        """Delete it; answers False where that has to be tried again later."""
        ...


class Erasing:
    """Carries deletions out.

    Args:
        database: where the rows are.
        clock: wall time.
        bots: nudged while positions leave.
        cleaners: asked in this order, once nothing is traded any more; the rows go last.
        tell_patience: how long the last mail to the user may take; none where no mail is sent.
    """

    def __init__(
        self,
        database: Database,
        clock: WallClock,
        bots: WorkflowService,
        cleaners: Sequence[Cleaner],
        *,
        tell_patience: timedelta = timedelta(0),
    ) -> None:
        self._database = database
        self._clock = clock
        self._bots = bots
        self._cleaners = cleaners
        self._tell_patience = tell_patience

    async def step(self, user_id: UUID) -> DeletionStep:
        """Do what can be done now; tell when to look again."""
        async with self._database.as_system() as db:
            deletion = await db.get(AccountDeletion, user_id)
        if deletion is None or deletion.finished_at is not None:
            return DeletionStep(summary="nothing to delete")
        for wait in (self._wait_flat, self._wait_quiet, self._wait_told):
            waiting = await wait(deletion)
            if waiting is not None:
                return waiting
        await self._remove_keys(user_id)
        for cleaner in self._cleaners:
            if not await cleaner.forget(user_id):
                return _later(BILLING_LOOK, f"waiting for {type(cleaner).__name__}")
        await self._erase_rows(user_id)
        await self._finish(user_id)
        return DeletionStep(summary="deleted")

    # --- before anything is deleted ----------------------------------------------------------

    async def _wait_flat(self, deletion: AccountDeletion) -> DeletionStep | None:
        """Live positions leave first; whatever turned up since is asked to leave as well."""
        user_id, now = deletion.user_id, self._clock.now()
        async with self._database.for_user(user_id) as db:
            bots = await lock_bots(db, user_id)
            exposure = await live_exposure(db, user_id, now)
            if exposure.is_none:
                return None
            # A start that was under way when the account ended may have made a run since.
            entering = any(BotState(bot.state).has_entering_run for bot in bots)
            if exposure.unasked or entering:
                for bot in bots:
                    await wind_down(db, bot, now)
        age = now - deletion.requested_at
        left = {"positions": exposure.positions, "orders": exposure.orders}
        if age > EXPOSED_PATIENCE:
            _log.error("deletion.positions_left_at_the_venue", user_id=str(user_id), **left)
            return None
        await self._nudge(bots)
        if age > QUIET_PATIENCE:
            _log.warning("deletion.waits_for_positions", user_id=str(user_id), **left)
        return _later(
            EXPOSED_LOOK if age <= QUIET_PATIENCE else STUCK_LOOK,
            f"leaving {exposure.positions} live positions",
        )

    async def _wait_quiet(self, deletion: AccountDeletion) -> DeletionStep | None:
        """The bot's workflow sees that its runs are over, and ends, while its rows are there."""
        user_id, now = deletion.user_id, self._clock.now()
        async with self._database.for_user(user_id) as db:
            bots = await lock_bots(db, user_id)
            for bot in bots:
                await end_paper_runs(db, bot, now)
        behind = [bot for bot in bots if bot.seen_revision < bot.revision]
        if not behind or now - deletion.requested_at > QUIET_PATIENCE:
            return None
        await self._nudge(behind)
        return _later(QUIET_LOOK, "waiting for the bot to notice")

    async def _wait_told(self, deletion: AccountDeletion) -> DeletionStep | None:
        if self._clock.now() - deletion.requested_at >= self._tell_patience:
            return None
        async with self._database.for_user(deletion.user_id) as db:
            untold = await db.exec(
                select(Notice.id).where(
                    Notice.user_id == deletion.user_id,
                    Notice.kind == NoticeKind.ACCOUNT_DELETION_REQUESTED.value,
                    col(Notice.delivered_at).is_(None),
                )
            )
            return _later(TOLD_LOOK, "telling the user") if untold.first() else None

    async def _nudge(self, bots: Sequence[Bot]) -> None:
        try:
            for bot in bots:
                nudge = Nudge(revision=bot.revision)
                call = self._bots.signal_bot(bot.user_id, bot.id, BotSignal.STOP, nudge)
                await unless_refused(call, bot_id=bot.id)
        except WorkflowServiceUnavailable:
            _log.warning("deletion.bot_not_told")  # the sweeper tells it

    # --- deleting ----------------------------------------------------------------------------

    async def _remove_keys(self, user_id: UUID) -> None:
        """Remove the keys of every connection and wait until no process uses them any more."""
        async with self._database.for_user(user_id) as db:
            its = (await db.exec(select(Connection.id).where(Connection.user_id == user_id))).all()
            await db.exec(
                update(Connection)
                .where(
                    col(Connection.id).in_(its),
                    col(Connection.status) != ConnectionStatus.REMOVED.value,
                )
                .values(
                    status=ConnectionStatus.REMOVED.value,
                    sealed=None,
                    removed_at=self._clock.now(),
                )
            )
        if its:
            await wait_until_unused(self._database, self._clock, user_id, its)

    async def _erase_rows(self, user_id: UUID) -> None:
        """Delete in short transactions, what refers to others first.

        Deleting the user's row alone would do; but not within the time a statement may take, for
        somebody who traded for years.
        """
        for table in reversed(SQLModel.metadata.sorted_tables):
            if table.name not in USER_TABLES or table.name in _ROOTS:
                continue
            gone = ROWS_AT_ONCE
            while gone == ROWS_AT_ONCE:
                async with self._database.as_system() as db:
                    erased = await (await db.connection()).execute(
                        _ERASE,
                        {"user_id": user_id, "of_table": table.name, "at_most": ROWS_AT_ONCE},
                    )
                    gone = erased.scalar_one()

    async def _finish(self, user_id: UUID) -> None:
        async with self._database.as_system() as db:
            now = self._clock.now()
            deletion = await db.get_one(AccountDeletion, user_id, with_for_update=True)
            await db.exec(delete(User).where(col(User.id) == user_id))
            deletion.finished_at = now
            db.add(deletion)
            record(db, AuditEvent.ACCOUNT_DELETED, user_id=user_id, at=now)
        _log.info("deletion.finished", user_id=str(user_id))


class DeletionSweep:
    """Finds deletions that nobody may be at: after a crash, or a workflow service that was away."""

    def __init__(self, database: Database, workflows: DeletionWorkflows, clock: WallClock) -> None:
        self._database = database
        self._workflows = workflows
        self._clock = clock

    async def sweep(self) -> int:
        """Start the workflow of every unfinished deletion, unless it runs; how many there are.

        Raises:
            WorkflowServiceUnavailable: the next round goes on.
        """
        async with self._database.as_system() as db:
            rows = await db.exec(
                select(AccountDeletion.user_id)
                .where(
                    col(AccountDeletion.finished_at).is_(None),
                    AccountDeletion.requested_at < self._clock.now() - LATE,
                )
                .order_by(col(AccountDeletion.requested_at))
                .limit(AT_ONCE)
            )
            unfinished = rows.all()
        for user_id in unfinished:
            await unless_refused(self._workflows.start_deletion(user_id), user_id=user_id)
        return len(unfinished)


def _later(wait: timedelta, summary: str) -> DeletionStep:
    return DeletionStep(wait_seconds=wait.total_seconds(), summary=summary)
