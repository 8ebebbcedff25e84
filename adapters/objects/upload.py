"""One file on its way into a bucket: a small one by a single call, a larger one in parts."""

from __future__ import annotations

from concurrent.futures import Future, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from adapters.objects.failures import FAILURES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 8 * 1024 * 1024
"""Storages take no less than 5 MiB and no more than 10,000 parts; some want all of one size."""


class Upload:
    """An upload that is nowhere to be seen before it is complete. Its calls block.

    Args:
        client: of the storage.
        bucket: where the file goes.
        key: what it is called there.
    """

    def __init__(self, client: S3Client, bucket: str, key: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._id: str | None = None
        self._parts: list[CompletedPartTypeDef] = []

    def add(self, content: bytes) -> None:
        """Send the next part: PART_BYTES, but for the last one."""
        if self._id is None:
            begun = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key)
            self._id = begun["UploadId"]
        number = len(self._parts) + 1
        sent = self._client.upload_part(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._id,
            PartNumber=number,
            Body=content,
        )
        self._parts.append({"ETag": sent["ETag"], "PartNumber": number})

    def complete(self, rest: bytes) -> None:
        """Send what is left; then the file is there."""
        if self._id is None:
            self._client.put_object(Bucket=self._bucket, Key=self._key, Body=rest)
            return
        self.add(rest)
        self._client.complete_multipart_upload(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._id,
            MultipartUpload={"Parts": self._parts},
        )
        self._id = None

    def abort(self, last_call: Future[Any] | None) -> None:
        """Give the parts up, once the last call is over: one under way would outlive them."""
        if last_call is not None:
            wait([last_call])
        if self._id is not None:
            # What cannot be aborted now is found by the next listing of the store.
            with suppress(*FAILURES):
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=self._key, UploadId=self._id
                )
