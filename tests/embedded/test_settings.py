"""Settings that are incomplete or unsafe are refused, without telling what they hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from settings import Settings

ROOT = Path(__file__).parents[2]
STORE = "NIJA_OBJECT_STORE_"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(f"NIJA_{field.upper()}", raising=False)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"BUCKET": "files", "ACCESS_KEY_ID": "AKIA"}, "SECRET_ACCESS_KEY"),
        ({"BUCKET": "files", "SECRET_ACCESS_KEY": "hunter2"}, "ACCESS_KEY_ID"),
        ({"BUCKET": "files", "ACCESS_KEY_ID": "AKIA", "SECRET_ACCESS_KEY": " "}, "need each other"),
        ({"ACCESS_KEY_ID": "AKIA", "SECRET_ACCESS_KEY": "hunter2"}, "BUCKET is not set"),
        ({"ENDPOINT_URL": "https://minio:9000"}, "BUCKET is not set"),
        ({"BUCKET": "https://files.example"}, "NIJA_OBJECT_STORE_BUCKET"),
        ({"BUCKET": "files", "ENDPOINT_URL": "minio:9000"}, "ENDPOINT_URL"),
        ({"BUCKET": "files", "ENDPOINT_URL": "https://AKIA:hunter2@minio"}, "ENDPOINT_URL"),
        ({"BUCKET": "files", "PREFIX": "../other"}, "PREFIX"),
    ],
)
def test_an_object_storage_that_is_incomplete(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], told: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(STORE + name, value)

    with pytest.raises(ValidationError) as refused:
        Settings()

    assert told in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_an_object_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "BUCKET": "files",
        "PREFIX": "/nija/exports/",
        "ENDPOINT_URL": "https://abc.r2.example",
        "REGION": "auto",
        "ACCESS_KEY_ID": "",
        "SECRET_ACCESS_KEY": "",
    }
    for name, value in given.items():
        monkeypatch.setenv(STORE + name, value)

    settings = Settings()

    assert settings.object_store_bucket == "files"
    assert settings.object_store_prefix == "nija/exports"
    assert settings.object_store_access_key_id is None
    assert settings.object_store_secret_access_key is None


def test_a_secret_that_is_refused_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIJA_JWT_SECRET", "hunter2")

    with pytest.raises(ValidationError) as refused:
        Settings()

    assert "NIJA_JWT_SECRET" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_amazon_s_library_is_loaded_for_a_bucket_alone() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, bootstrap; print({'boto3', 'botocore'} & set(sys.modules))",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "set()"
