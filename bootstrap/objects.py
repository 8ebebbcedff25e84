"""Where the files of exports lie: a bucket if there is one, else a folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.objects.disk import DiskStore
from domain.exports import ObjectStore
from settings import Settings


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[ObjectStore]:
    """Open the store; that it can be reached is not asked, since all else works without it."""
    if settings.object_store_bucket is None:
        yield DiskStore(settings.exports_folder)
        return
    # Only now: Amazon's library costs some 40 MB and a third of a second.
    from adapters.objects.s3 import S3Store, connect  # noqa: PLC0415

    secret, folder = settings.object_store_secret_access_key, settings.object_store_prefix
    client = connect(
        endpoint_url=settings.object_store_endpoint_url,
        region=settings.object_store_region,
        access_key_id=settings.object_store_access_key_id,
        secret_access_key=secret.get_secret_value() if secret else None,
    )
    store = S3Store(client, settings.object_store_bucket, f"{folder}/" if folder else "")
    try:
        yield store
    finally:
        store.close()
