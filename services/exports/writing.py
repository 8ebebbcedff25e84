"""Writing an export's file: one snapshot, page by page, whole or not at all.

The file gets its name when it is complete; only then the row says that it is ready. A crash in
between leaves nothing to be served, and the next attempt starts over: it writes the same name, and
what the row says then is true whichever attempt wrote it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.exports import ExportResult
from domain.exports import ExportData, ExportFormat, ExportState, ObjectStore
from domain.ports import WallClock
from models.exports import Export
from services.account_views.choice import AccountChoice
from services.account_views.frame import FRAME_OF_ACCOUNT, Frame
from services.database import Database
from services.exports.columns import STATEMENTS, TABLES, row_of
from services.exports.encoding import Encoder, encoder

PAGE = 500

_log = structlog.get_logger("nija.exports")


@dataclass(slots=True)
class _Written:
    rows: int = 0


class ExportWriting:
    """Carries exports out.

    Args:
        database: the rows; read as the user, bound by row-level security.
        store: where the files go.
        clock: wall time.
    """

    def __init__(self, database: Database, store: ObjectStore, clock: WallClock) -> None:
        self._database = database
        self._store = store
        self._clock = clock

    async def write(self, user_id: UUID, export_id: UUID) -> ExportResult:
        """Write the file of a pending export; one that is over is left alone.

        Raises:
            ObjectStoreUnavailable: nothing was stored; to be tried again.
        """
        async with self._database.for_user(user_id) as session:
            export = await session.get(Export, export_id)
        if export is None or export.state != ExportState.PENDING:
            return ExportResult(state="gone" if export is None else export.state)
        written = _Written()
        # Where the store gives up, the snapshot ends with it and not whenever memory is tidied.
        async with aclosing(self._chunks(export, written)) as chunks:
            size = await self._store.write(export.object_name, chunks)
        done = {
            "state": ExportState.READY.value,
            "file_size_bytes": size,
            "row_count": written.rows,
            "finished_at": self._clock.now(),
        }
        # An attempt that was taken for dead may have come first: the last file is the one there is.
        if not await self._finish(user_id, export_id, done, ExportState.PENDING, ExportState.READY):
            # Deleted with its user meanwhile, or given up: nobody may find the file.
            await self._store.delete(export.object_name)
            return ExportResult(state="gone")
        _log.info("export.ready", export_id=str(export_id), rows=written.rows, bytes=size)
        return ExportResult(state=ExportState.READY, rows=written.rows)

    async def give_up(self, user_id: UUID, export_id: UUID) -> ExportResult:
        """Say that an export failed; one that is ready after all stays so."""
        failed = {"state": ExportState.FAILED.value, "finished_at": self._clock.now()}
        if await self._finish(user_id, export_id, failed, ExportState.PENDING):
            _log.error("export.failed", export_id=str(export_id))
            return ExportResult(state=ExportState.FAILED)
        return ExportResult(state="over")

    async def _finish(
        self, user_id: UUID, export_id: UUID, values: dict[str, Any], *while_in: ExportState
    ) -> bool:
        async with self._database.for_user(user_id) as session:
            changed = await session.exec(
                update(Export)
                .where(col(Export.id) == export_id, col(Export.state).in_(while_in))
                .values(**values)
            )
            return bool(changed.rowcount)

    async def _chunks(self, export: Export, written: _Written) -> AsyncGenerator[bytes]:
        """The file's bytes; never more than a page of rows is in memory."""
        data, kind = ExportData(export.data_type), ExportFormat(export.format)
        async with self._database.snapshot_for_user(export.user_id) as session:
            frame = await self._frame(session, export)
            facts = {"data_type": data, "broker": frame.venue, "mode": frame.mode}
            encoding = encoder(kind, TABLES[data], facts)
            written.rows = 0
            yield encoding.begin()
            async with aclosing(self._pages(session, export, frame, encoding, written)) as pages:
                async for chunk in pages:
                    yield chunk
            yield encoding.end()

    async def _pages(
        self,
        session: AsyncSession,
        export: Export,
        frame: Frame,
        encoding: Encoder,
        written: _Written,
    ) -> AsyncGenerator[bytes]:
        data = ExportData(export.data_type)
        owner = {"user_id": export.user_id, "account_id": export.account_id}
        connection = await session.connection()
        async with connection.stream(
            text(STATEMENTS[data]),
            {**export.query, **owner},
            execution_options={"yield_per": PAGE},
        ) as result:
            async for page in result.mappings().partitions(PAGE):
                written.rows += len(page)
                yield encoding.page([row_of(data, dict(row), frame) for row in page])

    async def _frame(self, session: AsyncSession, export: Export) -> Frame:
        found = await (await session.connection()).execute(
            text(FRAME_OF_ACCOUNT), {"account_id": export.account_id}
        )
        rows = [dict(row) for row in found.mappings()]
        return Frame.of(rows, AccountChoice(), self._clock.now())
