"""Exports as the contract's clients see them, and the files behind their links."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from bootstrap.objects import open_store
from settings import Settings
from tests.api.fakes import VENUE_NOW
from tests.api.harness import Api, World
from tests.api.seeding import make_closed, make_run, watch_venue
from tests.support.buckets import ACCESS_KEY, SECRET_KEY, bucket_server, client_of, new_bucket
from tests.support.exports import exports_over

pytestmark = pytest.mark.integration

# The body of the published sample, but for its dates.
SAMPLE = {
    "format": "csv",
    "data_type": "trades",
    "start_date": "2018-04-01",
    "end_date": "2018-04-30",
    "include_closed_positions": True,
    "include_open_positions": False,
}


async def test_an_export_and_its_file(
    world: World,
    user: Api,
    client: httpx.AsyncClient,
) -> None:
    await watch_venue(world, BTC="7000")
    run = await make_run(world, user)
    await make_closed(world, run, pnl="-9.5", closed_at=VENUE_NOW - timedelta(days=1))

    data = await user.data("POST", "/analytics/export", json=SAMPLE)

    assert (data["status"], data["row_count"]) == ("ready", 1)
    assert data["expires_at"].endswith("Z")
    link = urlsplit(data["download_url"])
    file = await client.get(f"{link.path}?{link.query}")
    assert file.status_code == 200
    assert int(file.headers["content-length"]) == len(file.content) == data["file_size_bytes"]
    assert file.headers["content-type"] == "text/csv; charset=utf-8"
    assert file.headers["content-disposition"] == (
        'attachment; filename="nija_trades_2018-04-01_2018-04-30.csv"'
    )
    assert file.headers["x-content-type-options"] == "nosniff"
    assert file.headers["cache-control"] == "private, no-store"
    assert b",-9.5," in file.content
    again = await user.data("GET", f"/analytics/exports/{data['export_id']}")
    assert again["file_size_bytes"] == data["file_size_bytes"]
    listed = await user.data("GET", "/analytics/exports")
    assert [one["export_id"] for one in listed["exports"]] == [data["export_id"]]


@pytest.mark.parametrize("kind", ["csv", "json"])
async def test_a_file_is_the_same_from_a_bucket_as_from_a_folder(
    world: World, user: Api, client: httpx.AsyncClient, tmp_path: Path, kind: str
) -> None:
    await watch_venue(world, BTC="7000")
    run = await make_run(world, user)
    for pnl in ("-9.5", "0.25"):
        await make_closed(world, run, pnl=pnl, closed_at=VENUE_NOW - timedelta(days=1))

    with bucket_server() as endpoint_url:
        bucket = new_bucket(client_of(endpoint_url))
        files = []
        for settings in (
            {"exports_dir": tmp_path},
            {
                "object_store_bucket": bucket.name,
                "object_store_prefix": "one/exports",
                "object_store_endpoint_url": endpoint_url,
                "object_store_access_key_id": ACCESS_KEY,
                "object_store_secret_access_key": SECRET_KEY,
            },
        ):
            async with open_store(Settings.model_validate(settings)) as store:
                world.exports, _ = exports_over(store, world.database, world.reads, world.clock)
                data = await user.data("POST", "/analytics/export", json=SAMPLE | {"format": kind})
                link = urlsplit(data["download_url"])
                file = await client.get(f"{link.path}?{link.query}")
                name = link.path.rpartition("/")[2]
            assert (file.status_code, data["row_count"]) == (200, 2)
            assert int(file.headers["content-length"]) == len(file.content)
            files.append((file.content, data["file_size_bytes"], data["status"]))
        assert bucket.files() == [f"one/exports/{name}"]

    assert files[0] == files[1]


async def test_a_repeat_with_its_key_makes_no_second_file(
    user: Api,
) -> None:
    headers = {"Idempotency-Key": "one"}
    first = await user.data("POST", "/analytics/export", json=SAMPLE, headers=headers)
    second = await user.data("POST", "/analytics/export", json=SAMPLE, headers=headers)

    assert first["export_id"] == second["export_id"]
    assert len((await user.data("GET", "/analytics/exports"))["exports"]) == 1


async def test_dates_at_the_ends_of_the_calendar(user: Api) -> None:
    ever = SAMPLE | {"start_date": "0001-01-01", "end_date": "9999-12-31"}
    assert (await user.data("POST", "/analytics/export", json=ever))["status"] == "ready"


@pytest.mark.parametrize(
    "query",
    ["", "?expires=1", "?expires=x&signature=0", "?expires=99999999999&signature=0000"],
)
async def test_links_that_are_none(
    client: httpx.AsyncClient,
    query: str,
) -> None:
    answer = await client.get(f"/exports/trades_00.csv{query}")

    assert answer.status_code in {404, 422}
    assert answer.json()["success"] is False


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"format": "xlsx"}, (422, "VALIDATION_ERROR")),
        ({"data_type": "secrets"}, (422, "VALIDATION_ERROR")),
        ({"start_date": "2018-05-01"}, (422, "VALIDATION_ERROR")),
        ({"start_date": 1522540800}, (422, "VALIDATION_ERROR")),
        ({"start_date": None, "end_date": -62135596800}, (422, "VALIDATION_ERROR")),
        ({"include_closed_positions": False}, (422, "VALIDATION_ERROR")),
        ({"file_name": "../../etc/passwd"}, (422, "VALIDATION_ERROR")),
        ({"mode": "live"}, (400, "NO_BROKER_CONFIGURED")),
        ({"broker": "kraken"}, (400, "UNSUPPORTED_BROKER")),
    ],
)
async def test_what_is_refused(
    user: Api,
    changes: dict[str, object],
    error: tuple[int, str],
) -> None:
    assert await user.error("POST", "/analytics/export", json={**SAMPLE, **changes}) == error


async def test_another_s_export_is_not_there(
    user: Api,
    other: Api,
) -> None:
    mine = await user.data("POST", "/analytics/export", json=SAMPLE)

    not_found = (404, "NOT_FOUND")
    assert await other.error("GET", f"/analytics/exports/{mine['export_id']}") == not_found
    assert await other.error("GET", "/analytics/exports/exp_nonsense") == not_found
