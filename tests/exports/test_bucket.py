"""Files in a bucket: uploads that end early, storages that fail, and what is told of it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from adapters.embedded.ports import free_port
from adapters.objects import s3
from adapters.objects.s3 import S3Store
from adapters.objects.upload import PART_BYTES
from domain.exports import ObjectStoreUnavailable
from tests.support.buckets import (
    ACCESS_KEY,
    SECRET_KEY,
    Bucket,
    checked_keys,
    client_of,
    new_bucket,
)

NAME = "trades_0a.csv"
LARGE = bytes(PART_BYTES + 1)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.fixture
def bucket(storage: str) -> Bucket:
    return new_bucket(client_of(storage))


@pytest.fixture
def store(bucket: Bucket) -> Iterator[S3Store]:
    store = bucket.store()
    yield store
    store.close()


# --- in the bucket --------------------------------------------------------------------------------


async def test_a_large_file_goes_in_parts_of_one_size(store: S3Store, bucket: Bucket) -> None:
    sent: list[int] = []
    bucket.client.meta.events.register(
        "provide-client-params.s3.UploadPart", lambda params, **_: sent.append(len(params["Body"]))
    )

    await store.write(NAME, chunks(*[bytes(700_001)] * 25))

    assert sent == [PART_BYTES, PART_BYTES, 25 * 700_001 - 2 * PART_BYTES]
    assert bucket.files() == [f"exports/{NAME}"]
    assert bucket.uploads() == []


async def test_files_of_others_are_not_ours(store: S3Store, bucket: Bucket) -> None:
    for key in (NAME, "exports/deeper/a.csv", "exports/Not Ours.csv", "exports2/a.csv"):
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"x")
    await store.write(NAME, chunks(b"x"))
    at_the_root = bucket.store("")

    assert [one.name for one in await store.stored()] == [NAME]
    assert [one.name for one in await at_the_root.stored()] == [NAME]

    await store.delete(NAME)
    assert NAME in bucket.files()
    at_the_root.close()


async def test_more_files_and_uploads_than_one_page(store: S3Store, bucket: Bucket) -> None:
    names = {f"trades_{number}.csv" for number in range(5)}
    for name in names:
        await store.write(name, chunks(b"x"))
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=f"exports/{name}")
    events = bucket.client.meta.events
    events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: params.update(MaxKeys=2)
    )
    page = _page_uploads(bucket)

    assert {one.name for one in await store.stored()} == names
    bucket.client.meta.events.unregister("after-call.s3.ListMultipartUploads", page)
    assert bucket.uploads() == []


def _page_uploads(bucket: Bucket) -> Callable[..., None]:
    """Two a page; this server knows no pages of uploads."""
    asked: dict[str, str] = {}

    def turn_page(parsed: dict[str, Any], **_: Any) -> None:
        left = [one for one in parsed.get("Uploads", ()) if one["Key"] > asked.get("KeyMarker", "")]
        page = sorted(left, key=lambda one: str(one["Key"]))[:2]
        parsed |= {"Uploads": page, "IsTruncated": len(left) > len(page)}
        if page:
            parsed["NextKeyMarker"] = page[-1]["Key"]
            parsed["NextUploadIdMarker"] = page[-1]["UploadId"]

    events = bucket.client.meta.events
    events.register(
        "provide-client-params.s3.ListMultipartUploads",
        lambda params, **_: asked.update(params),
    )
    events.register("after-call.s3.ListMultipartUploads", turn_page)
    return turn_page


async def test_uploads_of_dead_processes_are_aborted(store: S3Store, bucket: Bucket) -> None:
    for key in (f"exports/{NAME}", "exports/deeper/a.csv", NAME):
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    # This storage says of every upload that it began in 2010.
    patient = bucket.store(abandoned=timedelta(days=36500))

    await patient.stored()
    assert len(bucket.uploads()) == 3
    await store.stored()

    assert set(bucket.uploads()) == {"exports/deeper/a.csv", NAME}
    patient.close()


async def test_files_are_listed_where_uploads_must_not_be(store: S3Store, bucket: Bucket) -> None:
    await store.write(NAME, chunks(b"x"))

    def refuse(**_: Any) -> None:
        raise ConnectionError

    bucket.client.meta.events.register("before-call.s3.ListMultipartUploads", refuse)

    assert [one.name for one in await store.stored()] == [NAME]


# --- what ends early ------------------------------------------------------------------------------


async def test_a_producer_that_fails_leaves_no_upload(store: S3Store, bucket: Bucket) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield LARGE
        assert bucket.uploads() == [f"exports/{NAME}"]
        raise RuntimeError("the worker dies")

    with pytest.raises(RuntimeError):
        await store.write(NAME, breaking())

    assert bucket.uploads() == bucket.files() == []


@pytest.mark.parametrize("call", ["CreateMultipartUpload", "UploadPart"])
async def test_a_writer_that_is_cancelled_within_a_call_leaves_no_upload(
    store: S3Store, bucket: Bucket, call: str
) -> None:
    held, go_on = threading.Event(), threading.Event()

    def hold(**_: Any) -> None:
        held.set()
        go_on.wait(10)

    bucket.client.meta.events.register(f"before-send.s3.{call}", hold)
    writing = asyncio.create_task(store.write(NAME, chunks(LARGE, LARGE)))
    await asyncio.to_thread(held.wait, 10)

    writing.cancel()
    await asyncio.sleep(0.05)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writing

    assert bucket.uploads() == bucket.files() == []


async def test_a_storage_that_fails_within_an_upload(store: S3Store, bucket: Bucket) -> None:
    sent: list[int] = []

    def fail(**_: Any) -> None:
        sent.append(1)
        if len(sent) > 1:
            raise ConnectionError("broken")

    bucket.client.meta.events.register("before-send.s3.UploadPart", fail)

    with pytest.raises(ObjectStoreUnavailable):
        await store.write(NAME, chunks(LARGE, LARGE))

    assert bucket.uploads() == bucket.files() == []


async def test_who_stops_reading_lets_go_of_the_connection(store: S3Store, bucket: Bucket) -> None:
    bodies: list[Any] = []
    bucket.client.meta.events.register(
        "after-call.s3.GetObject", lambda parsed, **_: bodies.append(parsed["Body"])
    )
    await store.write(NAME, chunks(LARGE))

    unread = await store.open(NAME)
    begun = await store.open(NAME)
    await anext(begun.content)
    assert [body._raw_stream.closed for body in bodies] == [False, False]
    await unread.content.aclose()
    await begun.content.aclose()

    assert [body._raw_stream.closed for body in bodies] == [True, True]


# --- what fails -----------------------------------------------------------------------------------


async def every_call(store: S3Store) -> list[ObjectStoreUnavailable]:
    calls = [
        store.write(NAME, chunks(b"x")),
        store.write(NAME, chunks(LARGE)),
        store.open(NAME),
        store.delete(NAME),
        store.stored(),
    ]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in found] == [ObjectStoreUnavailable] * 5
    return [one for one in found if isinstance(one, ObjectStoreUnavailable)]


async def test_a_storage_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    store = S3Store(client_of(f"http://127.0.0.1:{free_port()}"), "files")

    failures = await every_call(store)

    assert str(failures[0]).endswith("cannot be written: EndpointConnectionError")
    store.close()


async def test_a_bucket_that_is_not_there(storage: str) -> None:
    store = S3Store(client_of(storage), "nobodys-files")

    failures = await every_call(store)

    assert {str(one).rpartition(": ")[2] for one in failures} == {"NoSuchBucket"}
    store.close()


async def test_a_key_that_is_wrong(storage: str, store: S3Store) -> None:
    with checked_keys(storage):
        failures = await every_call(store)

    assert {str(one).rpartition(": ")[2] for one in failures} == {"InvalidAccessKeyId"}


async def test_nothing_secret_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storage that repeats all it was sent, as Amazon's does for a wrong signature."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    async with speaking(_repeats_the_request) as endpoint_url:
        store = S3Store(client_of(endpoint_url), "files")
        failures = await every_call(store)
        store.close()

    told = "".join(text for one in failures for text in traceback.format_exception(one))
    assert "SignatureDoesNotMatch" in told
    for secret in (SECRET_KEY, ACCESS_KEY, "Signature=", "AWS4-HMAC"):
        assert secret not in told
        assert secret not in caplog.text


async def test_a_storage_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    monkeypatch.setattr(s3, "SILENCE_SECONDS", 0.2)
    async with speaking(never) as endpoint_url:
        store = S3Store(client_of(endpoint_url), "files")
        async with asyncio.timeout(5):
            failures = await every_call(store)
        store.close()

    assert {str(one).rpartition(": ")[2] for one in failures} == {"ReadTimeoutError"}


async def test_the_sweeper_does_not_wait_for_every_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(s3, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(s3, "CALL_SECONDS", 0.1)
    async with speaking(never) as endpoint_url:
        store = S3Store(client_of(endpoint_url), "files")
        async with asyncio.timeout(0.9):
            with pytest.raises(ObjectStoreUnavailable, match="TimeoutError"):
                await store.stored()
            with pytest.raises(ObjectStoreUnavailable, match="TimeoutError"):
                await store.delete(NAME)
        store.close()


async def test_a_file_that_breaks_off() -> None:
    async with speaking(_half_a_file(then_seconds=0)) as endpoint_url:
        store = S3Store(client_of(endpoint_url), "files")
        opened = await store.open(NAME)

        with pytest.raises(ObjectStoreUnavailable):
            assert [chunk async for chunk in opened.content] == []
        store.close()


async def test_who_leaves_while_a_file_hangs_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(s3, "SILENCE_SECONDS", 3.0)
    async with speaking(_half_a_file(then_seconds=60)) as endpoint_url:
        store = S3Store(client_of(endpoint_url), "files")
        opened = await store.open(NAME)
        before = time.monotonic()
        reading = asyncio.ensure_future(anext(opened.content))
        await asyncio.sleep(0.1)

        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        await opened.content.aclose()

        assert time.monotonic() - before < 2
        store.close()


# --- storages that misbehave ----------------------------------------------------------------------


@asynccontextmanager
async def speaking(answer: Any) -> AsyncIterator[str]:
    """A server that treats each connection so."""

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await answer(reader, writer)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        task.add_done_callback(lambda _: writer.close())
        serving.add(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _repeats_the_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = (await reader.readuntil(b"\r\n\r\n")).decode()
    message = request.replace("&", "&amp;").replace("<", "&lt;")
    body = (
        f"<Error><Code>SignatureDoesNotMatch</Code><Message>{message}</Message>"
        f"<StringToSign>{message}</StringToSign></Error>"
    )
    head = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write((head + body).encode())
    await writer.drain()


def _half_a_file(*, then_seconds: float) -> Any:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789")
        await writer.drain()
        await asyncio.sleep(then_seconds)

    return answer
