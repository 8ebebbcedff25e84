"""Exports that nobody is at, and files whose time is over."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from sqlmodel import col, select

from domain.exports import ExportState, ExportWorkflows, ObjectStore, ObjectStoreUnavailable
from domain.ports import WallClock
from models.exports import Export
from services.database import Database
from services.exports.requests import KEPT
from services.refusals import unless_refused

LATE = timedelta(seconds=30)
AT_ONCE = 100
PURGE_EVERY = timedelta(minutes=5)
PURGE_SECONDS_MAX = 10.0

_log = structlog.get_logger("nija.exports")


class ExportSweep:
    """A part of each round of the worker's sweeper.

    Args:
        database: the rows.
        store: the files.
        workflows: carry exports out.
        clock: wall time.
    """

    def __init__(
        self, database: Database, store: ObjectStore, workflows: ExportWorkflows, clock: WallClock
    ) -> None:
        self._database = database
        self._store = store
        self._workflows = workflows
        self._clock = clock
        self._purge_at = clock.now()

    async def sweep(self) -> int:
        """Start what is late, and now and then purge.

        Returns:
            How many workflows were told.

        Raises:
            WorkflowServiceUnavailable: the next round goes on.
        """
        if self._clock.now() >= self._purge_at:
            self._purge_at = self._clock.now() + PURGE_EVERY
            await self._purge_unless_unavailable()
        late = self._clock.now() - LATE
        async with self._database.as_system() as session:
            pending = (
                await session.exec(
                    select(col(Export.user_id), col(Export.id))
                    .where(Export.state == ExportState.PENDING.value, Export.created_at < late)
                    .order_by(col(Export.created_at))
                    .limit(AT_ONCE)
                )
            ).all()
        for user_id, export_id in pending:
            call = self._workflows.start_export(user_id, export_id)
            await unless_refused(call, export_id=export_id)
        return len(pending)

    async def purge(self) -> int:
        """Remove files that are over their time, and those of users who are gone.

        One that the store does not remove is left to the next round, and keeps no other.

        Returns:
            How many files were removed.

        Raises:
            ObjectStoreUnavailable: the next round goes on.
        """
        now = self._clock.now()
        async with self._database.as_system() as session:
            over = (
                await session.exec(
                    select(Export)
                    .where(Export.state == ExportState.READY.value, Export.keep_until <= now)
                    .order_by(col(Export.keep_until))
                    .limit(AT_ONCE)
                    .with_for_update(skip_locked=True)
                )
            ).all()
            for export in over:
                # Nobody finds the file once this commits; removing it may then be tried for ever.
                export.state = ExportState.EXPIRED
                session.add(export)
        removed, kept_by_store = 0, 0
        stored = await self._store.stored()
        async with self._database.as_system() as session:
            wanted = (ExportState.PENDING.value, ExportState.READY.value)
            # Not by the names of the files: a statement takes 65,535 values and no more.
            known = await session.exec(
                select(Export.object_name).where(col(Export.state).in_(wanted))
            )
            kept = set(known.all())
        for one in stored:
            if one.name not in kept or one.changed_at < now - 2 * KEPT:
                try:
                    await self._store.delete(one.name)
                    removed += 1
                except ObjectStoreUnavailable:
                    kept_by_store += 1
        if removed:
            _log.info("exports.purged", files=removed)
        if kept_by_store:
            _log.warning("exports.not_purged", files=kept_by_store)
        return removed

    async def _purge_unless_unavailable(self) -> None:
        try:
            # The sweeper has bots to wake; a storage that stands still must not keep it from that.
            async with asyncio.timeout(PURGE_SECONDS_MAX):
                await self.purge()
        except (ObjectStoreUnavailable, TimeoutError) as failure:
            _log.warning("exports.store_unavailable", reason=str(failure) or "it took too long")
