"""Exports without Temporal and without a disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from domain.exports import (
    ObjectMissing,
    ObjectStore,
    ObjectStoreUnavailable,
    OpenedObject,
    StoredObject,
)
from domain.markets import Realm
from domain.ports import WallClock, WorkflowServiceUnavailable
from services.account_views.views import AccountViews
from services.database import Database
from services.exports.links import LinkSigner
from services.exports.requests import Exports
from services.exports.writing import ExportWriting
from services.reads import Reads


@dataclass
class MemoryStore:
    """domain.exports.ObjectStore; may be told to be unavailable, or to stand still."""

    clock: WallClock
    files: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    is_down: bool = False
    stands_still: bool = False
    kept: set[str] = field(default_factory=set)
    """Files that are not removed: somebody holds them."""

    async def write(self, name: str, chunks: AsyncIterable[bytes]) -> int:
        self._answer()
        content = b"".join([chunk async for chunk in chunks])
        self.files[name] = content, self.clock.now()
        return len(content)

    async def open(self, name: str) -> OpenedObject:
        self._answer()
        if name not in self.files:
            raise ObjectMissing
        content = self.files[name][0]

        async def read() -> AsyncGenerator[bytes]:
            yield content

        return OpenedObject(len(content), read())

    async def delete(self, name: str) -> None:
        self._answer()
        if name in self.kept:
            raise ObjectStoreUnavailable
        self.files.pop(name, None)

    async def stored(self) -> Sequence[StoredObject]:
        self._answer()
        if self.stands_still:
            await asyncio.Event().wait()
        return [StoredObject(name, at) for name, (_, at) in self.files.items()]

    def _answer(self) -> None:
        if self.is_down:
            raise ObjectStoreUnavailable


@dataclass
class DirectExports:
    """domain.exports.ExportWorkflows that carries an export out at once, unless it is held up."""

    writing: ExportWriting
    started: list[UUID] = field(default_factory=list)
    is_held: bool = False
    is_down: bool = False

    async def start_export(self, user_id: UUID, export_id: UUID) -> None:
        if self.is_down:
            raise WorkflowServiceUnavailable
        self.started.append(export_id)
        if not self.is_held:
            await self.writing.write(user_id, export_id)


def exports_in_memory(
    database: Database, reads: Reads, clock: WallClock, *, secret: str = "s" * 32
) -> tuple[Exports, DirectExports, MemoryStore]:
    """The use cases over a store in memory."""
    store = MemoryStore(clock)
    exports, workflows = exports_over(store, database, reads, clock, secret=secret)
    return exports, workflows, store


def exports_over(
    store: ObjectStore,
    database: Database,
    reads: Reads,
    clock: WallClock,
    *,
    secret: str = "s" * 32,
) -> tuple[Exports, DirectExports]:
    """The use cases over any store."""
    workflows = DirectExports(ExportWriting(database, store, clock))
    signer = LinkSigner(secret, "http://test")
    views = AccountViews(reads, realm=Realm.SIMULATED)
    exports = Exports(database, reads, views, store, workflows, signer, clock, wait_seconds=0.2)
    return exports, workflows
