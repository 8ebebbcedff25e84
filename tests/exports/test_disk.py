"""Files on disk: whole or not at all, for nobody else to read."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.objects.disk import ABANDONED_SECONDS, DiskStore
from domain.exports import ObjectMissing, ObjectStoreUnavailable

NAME = "trades_0a.csv"


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def read(store: DiskStore, name: str = NAME) -> bytes:
    opened = await store.open(name)
    content = b"".join([chunk async for chunk in opened.content])
    assert len(content) == opened.size
    return content


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "exports")


async def test_a_file(store: DiskStore, tmp_path: Path) -> None:
    size = await store.write(NAME, chunks(b"one,", b"two"))

    assert size == 7
    assert await read(store) == b"one,two"
    path = tmp_path / "exports" / NAME
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    (listed,) = await store.stored()
    assert listed.name == NAME
    assert abs(listed.changed_at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_what_breaks_off_leaves_nothing_and_the_old_file_stands(store: DiskStore) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("the worker dies")

    with pytest.raises(RuntimeError):
        await store.write(NAME, breaking())
    with pytest.raises(ObjectMissing):
        await store.open(NAME)
    assert await store.stored() == []
    await store.write(NAME, chunks(b"old"))
    with pytest.raises(RuntimeError):
        await store.write(NAME, breaking())

    assert await read(store) == b"old"


async def test_writing_again_replaces(store: DiskStore) -> None:
    await store.write(NAME, chunks(b"old"))
    opened = await store.open(NAME)

    await store.write(NAME, chunks(b"newer"))

    assert b"".join([chunk async for chunk in opened.content]) == b"old", "who reads, reads on"
    assert await read(store) == b"newer"


async def test_what_a_killed_process_left_is_cleared_away(store: DiskStore, tmp_path: Path) -> None:
    await store.write(NAME, chunks(b"x"))
    fresh = tmp_path / "exports" / f"{NAME}.aa.part"
    stale = tmp_path / "exports" / f"{NAME}.bb.part"
    for half in (fresh, stale):
        half.write_bytes(b"half")
    long_ago = stale.stat().st_mtime - ABANDONED_SECONDS - 1
    os.utime(stale, (long_ago, long_ago))

    assert [one.name for one in await store.stored()] == [NAME]

    assert fresh.exists()
    assert not stale.exists()


@pytest.mark.parametrize(
    "name", ["../run.json", "/etc/passwd", "a/b.csv", "", ".csv", "x.csv.part", "a\0.csv"]
)
async def test_names_are_ours(store: DiskStore, name: str) -> None:
    with pytest.raises(ObjectMissing):
        await store.open(name)
    with pytest.raises(ValueError, match="name"):
        await store.write(name, chunks(b"x"))


async def test_deleting(store: DiskStore) -> None:
    await store.write(NAME, chunks(b"x"))

    await store.delete(NAME)
    await store.delete(NAME)

    assert await store.stored() == []


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "exports").write_text("a file is in the way")
    store = DiskStore(tmp_path / "exports")

    with pytest.raises(ObjectStoreUnavailable):
        await store.write(NAME, chunks(b"x"))
    with pytest.raises(ObjectStoreUnavailable):
        await store.open(NAME)
