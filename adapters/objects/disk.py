"""Files in one folder of this machine, readable for its owner alone.

A file is written under a name of its own, synced, and then given its real one: a reader finds it
whole or not at all. Every access runs in a thread, so a slow disk holds nobody else up.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from adapters.objects.names import ABANDONED, is_name, require_name
from domain.exports import (
    ObjectMissing,
    ObjectStoreUnavailable,
    OpenedObject,
    StoredObject,
)

CHUNK_BYTES = 256 * 1024

_HALF = ".part"


class DiskStore:
    """domain.exports.ObjectStore in a folder, which is made when the first file is.

    Args:
        folder: for these files alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def write(self, name: str, chunks: AsyncIterable[bytes]) -> int:
        """Store what comes under `name` once all of it has come."""
        path = self._path(name)
        half = path.with_name(f"{name}.{secrets.token_hex(8)}{_HALF}")
        try:
            file = await asyncio.to_thread(self._create, half)
            try:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
                return await asyncio.to_thread(_complete, file, half, path)
            finally:
                await asyncio.to_thread(_discard, file, half)
        except OSError as failure:
            raise ObjectStoreUnavailable("The folder of exports cannot be written") from failure

    async def open(self, name: str) -> OpenedObject:
        """Open a file for reading from its beginning."""
        try:
            path = self._path(name)
            file = await asyncio.to_thread(path.open, "rb")
        except (FileNotFoundError, ValueError) as missing:
            raise ObjectMissing from missing
        except OSError as failure:
            raise ObjectStoreUnavailable("The folder of exports cannot be read") from failure
        content = _content(file)
        await anext(content)  # a generator that never began would not close the file
        return OpenedObject(os.fstat(file.fileno()).st_size, content)

    async def delete(self, name: str) -> None:
        """Remove a file."""
        try:
            await asyncio.to_thread(self._path(name).unlink, missing_ok=True)
        except OSError as failure:
            raise ObjectStoreUnavailable("The file cannot be removed") from failure

    async def stored(self) -> Sequence[StoredObject]:
        """Every complete file."""
        try:
            return await asyncio.to_thread(self._list)
        except OSError as failure:
            raise ObjectStoreUnavailable("The folder of exports cannot be read") from failure

    def _path(self, name: str) -> Path:
        return self._folder / require_name(name)

    def _create(self, half: Path) -> BinaryIO:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        return os.fdopen(os.open(half, flags, 0o600), "wb")

    def _list(self) -> list[StoredObject]:
        found = []
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            try:
                changed = path.stat().st_mtime
                if path.name.endswith(_HALF):
                    if changed < time.time() - ABANDONED.total_seconds():
                        path.unlink()
                elif is_name(path.name):
                    found.append(StoredObject(path.name, datetime.fromtimestamp(changed, UTC)))
            except FileNotFoundError:
                continue  # somebody else just removed or renamed it
        return found


def _complete(file: BinaryIO, half: Path, path: Path) -> int:
    file.flush()
    os.fsync(file.fileno())
    size = file.tell()
    half.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return size


def _discard(file: BinaryIO, half: Path) -> None:
    file.close()
    half.unlink(missing_ok=True)


async def _content(file: BinaryIO) -> AsyncGenerator[bytes]:
    try:
        yield b""
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
    finally:
        file.close()
