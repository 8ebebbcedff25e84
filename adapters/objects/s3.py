"""Files in a bucket of an object storage that speaks S3: Amazon's, MinIO, R2, B2, Ceph and others.

A storage shows a file only when all of it has come. Calls run in threads of the store's own, so a
storage that hangs holds nothing else up; each has its deadline. Importing this module loads
Amazon's library (some 40 MB a process): whoever stores on disk leaves it alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from adapters.objects.failures import FAILURES, code, reason
from adapters.objects.names import ABANDONED, is_name, require_name
from adapters.objects.upload import PART_BYTES, Upload
from domain.exports import ObjectMissing, ObjectStoreUnavailable, OpenedObject, StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        GetObjectOutputTypeDef,
        ListMultipartUploadsOutputTypeDef,
        ListObjectsV2OutputTypeDef,
    )

CHUNK_BYTES = 256 * 1024
THREADS = 8
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 15.0
"""How long a storage may send or take nothing within a call."""
ATTEMPTS = 3
CALL_SECONDS = 10.0
"""A call with all its attempts, and the wait for a thread; the sweeper waits for some."""
READ_SECONDS = 30.0
"""The same for a file or its next piece, which a user waits for."""
SEND_SECONDS = 120.0
"""The same for a part of a file, by a slow line."""

T = TypeVar("T")

_log = structlog.get_logger("nija.objects")


def connect(
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
) -> S3Client:
    """A client that gives up in time; nothing is called yet.

    Args:
        endpoint_url: another storage than Amazon's.
        region: of the bucket.
        access_key_id: with `secret_access_key`; without both the library looks for credentials
            where it always does (environment, profile, role of the machine).
        secret_access_key: see there.
    """
    for library in ("boto3", "botocore", "urllib3"):
        # What they tell about a call holds its signature and tokens.
        logging.getLogger(library).setLevel(logging.WARNING)
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=SILENCE_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=2 * THREADS,
        # Other storages than Amazon's do not know its newer checksums, nor names as hosts.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if endpoint_url else "auto"},
    )
    session = boto3.session.Session(
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        region_name=region,
    )
    if endpoint_url and session.region_name is None:
        # Signatures name one; who has none takes this.
        return session.client(
            "s3", endpoint_url=endpoint_url, region_name="us-east-1", config=config
        )
    return session.client("s3", endpoint_url=endpoint_url, config=config)


class S3Store:
    """domain.exports.ObjectStore in a bucket, under a prefix for these files alone.

    Args:
        client: from `connect`; closed with the store.
        bucket: its name.
        prefix: what keys begin with; `exports/` for example, or nothing.
        abandoned: uploads that began so long ago are cleared away.
    """

    def __init__(
        self, client: S3Client, bucket: str, prefix: str = "", *, abandoned: timedelta = ABANDONED
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._abandoned = abandoned
        self._threads = ThreadPoolExecutor(THREADS, "objects")

    def close(self) -> None:
        """Let go of threads and connections; nothing can be called any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def write(self, name: str, chunks: AsyncIterable[bytes]) -> int:
        """Store what comes under `name` once all of it has come."""
        upload = Upload(self._client, self._bucket, self._key(name))
        waiting, size = bytearray(), 0
        call: Future[None] | None = None
        try:
            async for chunk in chunks:
                waiting += chunk
                size += len(chunk)
                while len(waiting) > PART_BYTES:
                    part = bytes(waiting[:PART_BYTES])
                    del waiting[:PART_BYTES]
                    call = self._threads.submit(upload.add, part)
                    await _outcome(call, "written", SEND_SECONDS)
            call = self._threads.submit(upload.complete, bytes(waiting))
            await _outcome(call, "written", SEND_SECONDS)
        except BaseException:
            aborting = self._threads.submit(upload.abort, call)
            await asyncio.shield(asyncio.wrap_future(aborting))
            raise
        return size

    async def open(self, name: str) -> OpenedObject:
        """Open a file for reading from its beginning."""
        try:
            key = self._key(name)
        except ValueError as missing:
            raise ObjectMissing from missing
        call = self._threads.submit(self._get, key)
        try:
            found = await _outcome(call, "read", READ_SECONDS)
        except BaseException:
            call.add_done_callback(_close_late)  # its answer may still come
            raise
        if found is None:
            raise ObjectMissing
        content = self._content(found["Body"])
        await anext(content)  # a generator that never began would not close the body
        return OpenedObject(found["ContentLength"], content)

    async def delete(self, name: str) -> None:
        """Remove a file."""
        await self._call("removed", partial(self._delete, self._key(name)))

    async def stored(self) -> Sequence[StoredObject]:
        """Every complete file; also aborts what dead processes were uploading."""
        found, after = [], None
        while True:
            page = await self._call("listed", partial(self._list, after))
            for one in page.get("Contents", ()):
                name = one["Key"].removeprefix(self._prefix)
                if is_name(name):
                    found.append(StoredObject(name, one["LastModified"].astimezone(UTC)))
            after = page.get("NextContinuationToken")
            if not after:
                break
        await self._clear()
        return found

    def _key(self, name: str) -> str:
        return f"{self._prefix}{require_name(name)}"

    async def _call(self, doing: str, call: Callable[[], T]) -> T:
        return await _outcome(self._threads.submit(call), doing, CALL_SECONDS)

    async def _content(self, body: StreamingBody) -> AsyncGenerator[bytes]:
        call: Future[bytes] | None = None
        try:
            yield b""
            while True:
                call = self._threads.submit(body.read, CHUNK_BYTES)
                chunk = await _outcome(call, "read", READ_SECONDS)
                if not chunk:
                    return
                yield chunk
        finally:
            if call is None:
                body.close()
            else:
                # Closing waits for a read under way: its thread does it, not the event loop.
                call.add_done_callback(lambda _: body.close())

    async def _clear(self) -> None:
        """Abort what was begun long ago. The files are listed even where this is not allowed."""
        try:
            for key, upload_id in await self._stale():
                await self._call("cleared", partial(self._abort, key, upload_id))
        except ObjectStoreUnavailable as failure:
            _log.warning("objects.uploads_not_cleared", reason=str(failure))

    async def _stale(self) -> list[tuple[str, str]]:
        before = datetime.now(UTC) - self._abandoned
        found: list[tuple[str, str]] = []
        after: dict[str, str] = {}
        while True:
            page = await self._call("cleared", partial(self._uploads, after))
            found += [
                (one["Key"], one["UploadId"])
                for one in page.get("Uploads", ())
                if one["Initiated"] < before and is_name(one["Key"].removeprefix(self._prefix))
            ]
            last = {
                "KeyMarker": page.get("NextKeyMarker", ""),
                "UploadIdMarker": page.get("NextUploadIdMarker", ""),
            }
            if not page.get("IsTruncated") or last == after:
                return found
            after = last

    def _get(self, key: str) -> GetObjectOutputTypeDef | None:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key)
        except ClientError as failure:
            if code(failure) == "NoSuchKey":
                return None
            raise

    def _delete(self, key: str) -> None:
        try:
            self._client.delete_object(Bucket=self._bucket, Key=key)
        except ClientError as failure:
            if code(failure) != "NoSuchKey":
                raise

    def _list(self, after: str | None) -> ListObjectsV2OutputTypeDef:
        place: Any = {"ContinuationToken": after} if after else {}
        return self._client.list_objects_v2(
            Bucket=self._bucket, Prefix=self._prefix, Delimiter="/", **place
        )

    def _uploads(self, after: dict[str, str]) -> ListMultipartUploadsOutputTypeDef:
        place: Any = after
        return self._client.list_multipart_uploads(
            Bucket=self._bucket, Prefix=self._prefix, **place
        )

    def _abort(self, key: str, upload_id: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        except ClientError as failure:
            if code(failure) != "NoSuchUpload":  # another process was faster
                raise


async def _outcome(call: Future[T], doing: str, seconds: float) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(call)
    except FAILURES as failure:
        message = f"The bucket of exports cannot be {doing}: {reason(failure)}"
        # Neither as its cause: texts of the library hold addresses and what the storage answered.
        raise ObjectStoreUnavailable(message) from None


def _close_late(call: Future[GetObjectOutputTypeDef | None]) -> None:
    if call.cancelled() or call.exception() is not None:
        return
    found = call.result()
    if found is not None:
        found["Body"].close()
