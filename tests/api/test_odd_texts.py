"""Texts that are no Unicode, or that no row takes, in names and headers."""

from __future__ import annotations

import orjson
import pytest

from api.kit.wire import to_json
from tests.api.harness import Api

pytestmark = pytest.mark.integration

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/trading/pause"), ("DELETE", "/config/webhooks"), ("POST", "/trading/start")],
)
async def test_a_name_that_is_no_unicode_is_refused_in_an_envelope(
    user: Api, method: str, path: str
) -> None:
    answer = await user.call(method, path, content=b'{"\\ud800": 1}', headers=JSON)

    assert answer.status_code in {400, 422}, answer.text
    assert answer.json()["success"] is False


async def test_no_text_in_a_header_is_a_crash(user: Api) -> None:
    for odd in (b"a\x00b", b"\xed\xa0\x80", b"\xff"):
        for name in ("Idempotency-Key", "User-Agent", "X-Request-Id", "X-Forwarded-For"):
            answer = await user.call("POST", "/config/webhooks", headers={name: odd})
            assert answer.status_code < 500, (name, odd, answer.text)


def test_what_is_no_unicode_is_shown_as_that() -> None:
    shown = orjson.loads(to_json({"\ud800": ["a\udfffb", {"c": ("\ud800",)}], "d": 1}))

    assert shown == {"\ufffd": ["a\ufffdb", {"c": ["\ufffd"]}], "d": 1}
