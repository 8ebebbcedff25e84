"""An object storage on this machine: moto's server behind HTTP, for the client as it is."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from moto.server import ThreadedMotoServer

from adapters.objects.s3 import S3Store, connect

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ACCESS_KEY = "AKIATESTTESTTESTTEST"
SECRET_KEY = "secret-of-the-test-0123456789abcdefghij"


@dataclass
class Bucket:
    """A bucket of its own, and the client to look into it."""

    client: S3Client
    name: str

    def store(self, prefix: str = "exports/", **options: Any) -> S3Store:
        return S3Store(self.client, self.name, prefix, **options)

    def files(self) -> list[str]:
        """Keys of complete files."""
        listed = self.client.list_objects_v2(Bucket=self.name)
        return [one["Key"] for one in listed.get("Contents", ())]

    def uploads(self) -> list[str]:
        """Keys of uploads that are neither complete nor aborted."""
        listed = self.client.list_multipart_uploads(Bucket=self.name)
        return [one["Key"] for one in listed.get("Uploads", ())]


def client_of(endpoint_url: str) -> S3Client:
    return connect(
        endpoint_url=endpoint_url, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY
    )


@contextmanager
def bucket_server() -> Iterator[str]:
    """A running storage; yields its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def new_bucket(client: S3Client) -> Bucket:
    bucket = Bucket(client, f"files-{uuid4().hex}")
    bucket.client.create_bucket(Bucket=bucket.name)
    return bucket


@contextmanager
def checked_keys(endpoint_url: str) -> Iterator[None]:
    """The server checks access keys, of which it knows none."""
    _allow(endpoint_url, "0")
    try:
        yield
    finally:
        _allow(endpoint_url, "inf")


def _allow(endpoint_url: str, unchecked_calls: str) -> None:
    url = f"{endpoint_url}/moto-api/reset-auth"
    plain = {"content-type": "text/plain"}
    request = urllib.request.Request(url, unchecked_calls.encode(), plain)  # noqa: S310 - ours
    urllib.request.urlopen(request, timeout=5).close()  # noqa: S310 - the same
