import base64
import json
import re
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from adapters.embedded import secrets
from adapters.embedded.errors import EmbeddedError


def test_secrets_are_private_and_stay_the_same(tmp_path: Path) -> None:
    first = secrets.load_or_create(tmp_path)
    assert secrets.load_or_create(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_no_two_are_alike_and_none_shows_in_a_log(tmp_path: Path) -> None:
    found = secrets.load_or_create(tmp_path)
    values = [value for value in found.model_dump().values() if value is not None]
    assert len(set(values)) == len(values) == 8
    assert not any(value in repr(found) for value in values)
    assert found.database_app_password not in repr(found.database_passwords)


def test_generated_secrets_are_strong(tmp_path: Path) -> None:
    found = secrets.load_or_create(tmp_path)
    secrets.refuse_weak(
        SecretStr(found.jwt_secret), SecretStr(found.vault_keys), SecretStr(found.admin_password)
    )
    assert re.fullmatch(r"[A-Za-z0-9-]{27}", found.demo_password)
    assert len(base64.b64decode(found.vault_keys.partition(":")[2], validate=True)) == 32


def test_a_field_that_an_older_file_lacks_is_added(tmp_path: Path) -> None:
    first = secrets.load_or_create(tmp_path)
    path = tmp_path / "secrets.json"
    older = json.loads(path.read_text())
    del older["demo_password"]
    path.write_text(json.dumps(older))
    second = secrets.load_or_create(tmp_path)
    assert second.jwt_secret == first.jwt_secret
    assert secrets.load_or_create(tmp_path) == second


def test_lost_secrets_of_a_database_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    with pytest.raises(EmbeddedError, match=r"secrets.json is missing"):
        secrets.load_or_create(tmp_path)


def test_a_damaged_file_is_not_replaced_or_shown(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"jwt_secret": ["leak"]}')
    with pytest.raises(EmbeddedError, match="damaged") as raised:
        secrets.load_or_create(tmp_path)
    assert "leak" not in str(raised.value)


@pytest.mark.parametrize("weak", ["x" * 64, "short", "ab" * 30])
def test_weak_jwt_secrets_are_refused(weak: str) -> None:
    with pytest.raises(EmbeddedError, match="NIJA_JWT_SECRET") as raised:
        secrets.refuse_weak(SecretStr(weak), None, None)
    assert weak not in str(raised.value)


GOOD_KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize(
    "weak",
    [
        "no-colon",
        ":" + GOOD_KEY,
        "k1:not base64",
        "k1:" + base64.b64encode(b"short").decode(),
        "k1:" + base64.b64encode(bytes(32)).decode(),
        f"k1:{GOOD_KEY},k1:{GOOD_KEY}",
    ],
)
def test_weak_vault_keys_are_refused(weak: str) -> None:
    with pytest.raises(EmbeddedError, match="NIJA_VAULT_KEYS"):
        secrets.refuse_weak(None, SecretStr(weak), None)


def test_a_vault_key_can_be_rotated() -> None:
    secrets.refuse_weak(None, SecretStr(f"k2:{GOOD_KEY}, k1:{GOOD_KEY}"), None)


@pytest.mark.parametrize("weak", ["short", "Password123!", "changeme-now", "aaaaaaaaaaaa"])
def test_weak_admin_passwords_are_refused(weak: str) -> None:
    with pytest.raises(EmbeddedError, match="NIJA_ADMIN_PASSWORD"):
        secrets.refuse_weak(None, None, SecretStr(weak))
