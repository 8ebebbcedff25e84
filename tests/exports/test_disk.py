"""Files on disk: for nobody else to read, and what is left of dead processes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.objects.disk import DiskStore
from adapters.objects.names import ABANDONED
from domain.exports import ObjectStoreUnavailable

NAME = "trades_0a.csv"


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "exports")


async def test_nobody_else_reads_a_file(store: DiskStore, tmp_path: Path) -> None:
    await store.write(NAME, chunks(b"one,", b"two"))

    path = tmp_path / "exports" / NAME
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


async def test_what_a_killed_process_left_is_cleared_away(store: DiskStore, tmp_path: Path) -> None:
    await store.write(NAME, chunks(b"x"))
    fresh = tmp_path / "exports" / f"{NAME}.aa.part"
    stale = tmp_path / "exports" / f"{NAME}.bb.part"
    for half in (fresh, stale):
        half.write_bytes(b"half")
    long_ago = stale.stat().st_mtime - ABANDONED.total_seconds() - 1
    os.utime(stale, (long_ago, long_ago))

    assert [one.name for one in await store.stored()] == [NAME]

    assert fresh.exists()
    assert not stale.exists()


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "exports").write_text("a file is in the way")
    store = DiskStore(tmp_path / "exports")

    with pytest.raises(ObjectStoreUnavailable):
        await store.write(NAME, chunks(b"x"))
    with pytest.raises(ObjectStoreUnavailable):
        await store.open(NAME)
