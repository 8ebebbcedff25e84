"""Asking for exports, looking at them, and following their links."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.exports import (
    ExportData,
    ExportFormat,
    ExportState,
    ExportWorkflows,
    ObjectMissing,
    ObjectStore,
    ObjectStoreUnavailable,
    OpenedObject,
)
from domain.plans import Plan
from domain.ports import WallClock, WorkflowServiceUnavailable
from domain.principal import Principal
from models.columns import new_id
from models.exports import Export
from models.people import User, UserStatus
from services.account_views.choice import AccountChoice
from services.account_views.frame import Frame, midnight
from services.account_views.views import AccountViews
from services.audit import AuditEvent, record
from services.database import Database
from services.errors import ExceedsTierLimit, InvalidRequest, ObjectNotFound
from services.exports.errors import ExportFailed, ExportsUnavailable
from services.exports.links import LINK_LIFE, LinkSigner
from services.reads import Caller, Reads

KEPT = timedelta(hours=24)
"""How long a file stays; a link to it ends earlier and can be had anew."""

PENDING_MAX = 3
"""Exports of a user under way at once."""

_POLL_SECONDS = 0.05
_REQUESTS_LOCK = 0x657870
_ONE_DAY = timedelta(days=1)

_COLUMNS = """
SELECT id, state, format, data_type, object_name, file_name, file_size_bytes, row_count,
       created_at, keep_until
FROM exports WHERE user_id = %(user_id)s
"""
_FIND = f"{_COLUMNS} AND id = %(export_id)s"
_RECENT = f"{_COLUMNS} ORDER BY created_at DESC LIMIT 50"


@dataclass(frozen=True, slots=True)
class ExportWish:
    """What is asked for; `end` is exclusive.

    Dates are of the venue's clock: of a trade's or position's opening, of an order's making. Those
    of the audit log are of the wall clock.
    """

    format: ExportFormat
    data: ExportData
    start: datetime | None = None
    end: datetime | None = None
    with_closed: bool = True
    with_open: bool = False


@dataclass(frozen=True, slots=True)
class ExportView:
    """An export. The link is good once the state is ready; None where there will be no file."""

    id: UUID
    state: ExportState
    format: ExportFormat
    data: ExportData
    file_name: str
    download_url: str | None
    expires_at: datetime
    file_size_bytes: int | None
    row_count: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Download:
    """A file on its way."""

    file_name: str
    content_type: str
    opened: OpenedObject


class Exports:
    """The use cases of exports.

    Args:
        database: the rows.
        reads: the read side.
        views: tells which account is meant, and how far back its owner's plan goes.
        store: the files.
        workflows: carry exports out.
        signer: makes the links.
        clock: wall time.
        wait_seconds: how long a request waits for its file.
    """

    def __init__(
        self,
        database: Database,
        reads: Reads,
        views: AccountViews,
        store: ObjectStore,
        workflows: ExportWorkflows,
        signer: LinkSigner,
        clock: WallClock,
        *,
        wait_seconds: float = 5.0,
    ) -> None:
        self._database = database
        self._reads = reads
        self._views = views
        self._store = store
        self._workflows = workflows
        self._signer = signer
        self._clock = clock
        self._wait_seconds = wait_seconds

    async def request(
        self,
        principal: Principal,
        choice: AccountChoice,
        wish: ExportWish,
        *,
        command_id: UUID | None = None,
    ) -> ExportView:
        """Ask for an export and wait a little for its file.

        Args:
            principal: who asks.
            choice: of which account.
            wish: what of it.
            command_id: what asks, and the export's id; asking again with the same one waits for
                that export.

        Raises:
            NoBrokerConfigured: the caller has no such account.
            InvalidRequest: the period is none, or nothing is wanted.
            ExceedsTierLimit: the plan's exports of today are used up, or too many are under way.
            ExportFailed: the file could not be made.
        """
        _require_sense(wish)
        frame = await self._views.frame(principal, choice)
        export = self._row(principal, frame, wish, command_id or new_id())
        async with self._database.for_user(principal.user_id) as session:
            await _one_after_the_other(session, principal.user_id)
            if await session.get(Export, export.id) is None:
                await self._require_room(session, principal.user_id, frame.plan)
                session.add(export)
                record(
                    session,
                    AuditEvent.EXPORT_REQUESTED,
                    user_id=principal.user_id,
                    at=export.created_at,
                    meta={
                        "export_id": str(export.id),
                        "data_type": wish.data.value,
                        "format": wish.format.value,
                    },
                )
        # Should this not get through, the sweeper sees the row.
        with suppress(WorkflowServiceUnavailable):
            await self._workflows.start_export(principal.user_id, export.id)
        view = await self._wait(principal, export.id)
        if view.state is ExportState.FAILED:
            raise ExportFailed
        return view

    async def find(self, caller: Caller, export_id: UUID) -> ExportView:
        """An export with a fresh link.

        Raises:
            ObjectNotFound: there is no such export.
        """
        rows = await self._reads.rows(caller, _FIND, export_id=export_id)
        if not rows:
            raise ObjectNotFound
        return self._view(rows[0])

    async def recent(self, caller: Caller) -> Sequence[ExportView]:
        """The latest exports, newest first, with fresh links."""
        return [self._view(row) for row in await self._reads.rows(caller, _RECENT)]

    async def follow(self, object_name: str, expires: int, signature: str) -> Download:
        """Open the file that a link leads to; whoever has the link may.

        Raises:
            ObjectNotFound: the link is forged or over, or its file is not there.
            ExportsUnavailable: the store does not answer.
        """
        if not self._signer.is_valid(object_name, expires, signature, self._clock.now()):
            raise ObjectNotFound("This link is not valid, or not any more")
        async with self._database.as_system() as session:
            found = await session.exec(
                select(Export)
                .join(User, col(User.id) == Export.user_id)
                .where(
                    Export.object_name == object_name,
                    Export.state == ExportState.READY.value,
                    User.status == UserStatus.ACTIVE.value,
                )
            )
            export = found.first()
        if export is None:
            raise ObjectNotFound("This file is not there, or not yet")
        try:
            opened = await self._store.open(object_name)
        except ObjectMissing as missing:
            raise ObjectNotFound("This file is not there any more") from missing
        except ObjectStoreUnavailable as failure:
            raise ExportsUnavailable from failure
        return Download(export.file_name, ExportFormat(export.format).content_type, opened)

    async def _require_room(self, session: AsyncSession, user_id: UUID, plan: Plan) -> None:
        today = self._clock.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        made, pending = (
            await session.exec(
                select(
                    func.count().filter(col(Export.created_at) >= today),
                    func.count().filter(col(Export.state) == ExportState.PENDING.value),
                ).where(Export.user_id == user_id, col(Export.created_at) >= today - _ONE_DAY)
            )
        ).one()
        if made >= plan.limits.exports_per_day:
            raise ExceedsTierLimit(
                "The exports of your plan are used up for today",
                details={"exports_per_day": plan.limits.exports_per_day},
            )
        if pending >= PENDING_MAX:
            raise ExceedsTierLimit("Wait for the exports that are under way")

    def _row(self, principal: Principal, frame: Frame, wish: ExportWish, export_id: UUID) -> Export:
        now = self._clock.now()
        return Export(
            id=export_id,
            user_id=principal.user_id,
            account_id=frame.account_id,
            data_type=wish.data,
            format=wish.format,
            query=_query(frame, wish, now),
            object_name=f"{wish.data}_{export_id.hex}.{wish.format}",
            file_name=_file_name(wish, now if wish.data is ExportData.AUDIT else frame.now),
            created_at=now,
            keep_until=now + KEPT,
        )

    async def _wait(self, principal: Principal, export_id: UUID) -> ExportView:
        deadline = asyncio.get_running_loop().time() + self._wait_seconds
        while True:
            view = await self.find(principal, export_id)
            is_late = asyncio.get_running_loop().time() >= deadline
            if view.state is not ExportState.PENDING or is_late:
                return view
            await asyncio.sleep(_POLL_SECONDS)

    def _view(self, row: Mapping[str, Any]) -> ExportView:
        state = ExportState(row["state"])
        expires_at = min(self._clock.now() + LINK_LIFE, row["keep_until"])
        has_file = state in {ExportState.PENDING, ExportState.READY}
        if has_file and expires_at <= self._clock.now():
            state, has_file = ExportState.EXPIRED, False
        return ExportView(
            id=row["id"],
            state=state,
            format=ExportFormat(row["format"]),
            data=ExportData(row["data_type"]),
            file_name=row["file_name"],
            download_url=self._signer.link(row["object_name"], expires_at) if has_file else None,
            expires_at=expires_at,
            file_size_bytes=row["file_size_bytes"],
            row_count=row["row_count"],
            created_at=row["created_at"],
        )


async def _one_after_the_other(session: AsyncSession, user_id: UUID) -> None:
    """Requests of a user are counted one after the other."""
    await (await session.connection()).execute(
        text("SELECT pg_advisory_xact_lock(:space, hashtext(:user))"),
        {"space": _REQUESTS_LOCK, "user": str(user_id)},
    )


def _require_sense(wish: ExportWish) -> None:
    if wish.start is not None and wish.end is not None and wish.start >= wish.end:
        raise InvalidRequest({"end_date": "Must not be before start_date"})
    if wish.data is not ExportData.AUDIT and not (wish.with_closed or wish.with_open):
        message = "Include closed positions, open positions or both"
        raise InvalidRequest(
            {"include_closed_positions": message, "include_open_positions": message}
        )


def _query(frame: Frame, wish: ExportWish, wall: datetime) -> dict[str, Any]:
    """The parameters of the export's statement, as text that every type takes."""
    days = frame.plan.limits.retention_days
    wall_day = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "start": _bound(wish.start, "-infinity"),
        "end": _bound(wish.end, "infinity"),
        "closed": wish.with_closed,
        "open": wish.with_open,
        "retained": _bound(midnight(frame.retained_from), "-infinity"),
        "retained_wall": _bound(
            None if days is None else wall_day - timedelta(days=days - 1), "-infinity"
        ),
    }


def _bound(moment: datetime | None, else_: str) -> str:
    return else_ if moment is None else moment.isoformat()


def _file_name(wish: ExportWish, now: datetime) -> str:
    """What a browser saves the file as; made of our words and dates of the data's clock alone."""
    first = "start" if wish.start is None else f"{wish.start:%Y-%m-%d}"
    last = now if wish.end is None else wish.end - timedelta(microseconds=1)
    return f"nija_{wish.data}_{first}_{last:%Y-%m-%d}.{wish.format}"
