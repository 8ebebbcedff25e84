"""What the port promises, kept by every store: files are there whole or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adapters.objects.disk import DiskStore
from domain.exports import ObjectMissing, ObjectStore
from tests.support.buckets import client_of, new_bucket

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAME = "trades_0a.csv"


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def read(store: ObjectStore, name: str = NAME) -> bytes:
    opened = await store.open(name)
    content = b"".join([chunk async for chunk in opened.content])
    assert len(content) == opened.size
    return content


@pytest.fixture(scope="module")
def client(storage: str) -> S3Client:
    return client_of(storage)


@pytest.fixture(params=["disk", "bucket"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, client: S3Client
) -> Iterator[ObjectStore]:
    if request.param == "disk":
        yield DiskStore(tmp_path / "exports")
        return
    bucket = new_bucket(client).store()
    yield bucket
    bucket.close()


async def test_a_file(store: ObjectStore) -> None:
    size = await store.write(NAME, chunks(b"one,", b"two"))

    assert size == 7
    assert await read(store) == b"one,two"
    (listed,) = await store.stored()
    assert listed.name == NAME
    assert abs(listed.changed_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert listed.changed_at.tzinfo is UTC


async def test_an_empty_file_is_one_too(store: ObjectStore) -> None:
    assert await store.write(NAME, chunks()) == 0
    assert await read(store) == b""


async def test_a_large_file(store: ObjectStore) -> None:
    megabyte = bytes(range(256)) * 4096
    parts = [megabyte[n:] + megabyte[:n] for n in range(21)]

    assert await store.write(NAME, chunks(*parts)) == 21 * len(megabyte)

    assert await read(store) == b"".join(parts)
    opened = await store.open(NAME)
    assert max([len(chunk) async for chunk in opened.content]) < len(megabyte), "in small pieces"


@pytest.mark.parametrize("first", [4, 20_000_000])
async def test_what_breaks_off_leaves_nothing_and_the_old_file_stands(
    store: ObjectStore, first: int
) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield b"half" * (first // 4)
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


async def test_writing_again_replaces(store: ObjectStore) -> None:
    await store.write(NAME, chunks(b"old"))
    opened = await store.open(NAME)

    await store.write(NAME, chunks(b"newer"))

    assert b"".join([chunk async for chunk in opened.content]) == b"old", "who reads, reads on"
    assert await read(store) == b"newer"


async def test_reading_may_end_early(store: ObjectStore) -> None:
    await store.write(NAME, chunks(bytes(1_000_000)))
    unread = await store.open(NAME)
    begun = await store.open(NAME)

    await unread.content.aclose()
    assert await anext(begun.content)
    await begun.content.aclose()

    assert len(await read(store)) == 1_000_000


@pytest.mark.parametrize(
    "name", ["../run.json", "/etc/passwd", "a/b.csv", "", ".csv", "x.csv.part", "a\0.csv"]
)
async def test_names_are_ours(store: ObjectStore, name: str) -> None:
    with pytest.raises(ObjectMissing):
        await store.open(name)
    with pytest.raises(ValueError, match="name"):
        await store.write(name, chunks(b"x"))
    with pytest.raises(ValueError, match="name"):
        await store.delete(name)


async def test_deleting(store: ObjectStore) -> None:
    await store.write(NAME, chunks(b"x"))

    await store.delete(NAME)
    await store.delete(NAME)

    assert await store.stored() == []
