from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import prometheus_client
import pytest

from api.kit.proxies import TrustedProxies
from services.redaction import BLANK, redact
from tests.api.harness import PASSWORD, PREFIX, Api, World, check_envelope
from tests.api.test_config import KEYS, SECRET, connect
from tests.support.logs import log_as_in_production

pytestmark = pytest.mark.integration


async def test_health_needs_no_token(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health")
    check_envelope(answer)
    assert answer.json()["data"] == {"status": "ok"}
    assert (await client.get(f"{PREFIX}/health")).status_code == 404


async def test_ready_asks_what_it_needs(world: World, client: httpx.AsyncClient) -> None:
    answer = await client.get("/ready")
    assert answer.json()["data"] == {
        "status": "ready",
        "checks": {"database": "ok", "workflows": "ok", "markets": "ok"},
    }

    world.workflows.is_up = False
    answer = await client.get("/ready")
    check_envelope(answer)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert answer.json()["error"]["details"]["checks"]["workflows"] == "unavailable"


async def test_metrics_count_routes_not_paths(user: Api, client: httpx.AsyncClient) -> None:
    await user.call("GET", "/account/positions")
    await user.call("POST", "/account/positions/pos_secret-id/close")
    await client.get("/some/path/nobody/knows")

    text = prometheus_client.generate_latest().decode()

    assert 'route="/api/v1/account/positions",status="200"' in text
    assert 'route="/api/v1/account/positions/{position_id}/close",status="404"' in text
    assert 'route="unmatched",status="404"' in text
    assert "secret-id" not in text
    assert "nobody" not in text


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "garbage", "10.0.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "10.0.0.2", "10.0.0.2"),
        (None, "198.51.100.1", None),
    ],
)
def test_only_trusted_proxies_are_believed(
    peer: str | None, forwarded: str | None, address: str | None
) -> None:
    proxies = TrustedProxies(["10.0.0.0/8"])
    assert proxies.client_address(peer, forwarded) == address


def test_a_bad_proxy_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        TrustedProxies(["nonsense"])


async def test_logins_are_audited_with_their_origin(world: World, user: Api) -> None:
    wrong = {"email": user.email, "password": "WrongPassword99"}
    await user.error("POST", "/auth/login", json=wrong, headers={"User-Agent": "curl/8"})

    rows = await world.sql(
        "SELECT event_type, ip_address, user_agent FROM audit_log WHERE user_id = %(id)s"
        " ORDER BY at, event_type",
        id=user.user_id,
    )

    assert sorted(row["event_type"] for row in rows) == [
        "login_failed",
        "user_login",
        "user_registered",
    ]
    failed = next(row for row in rows if row["event_type"] == "login_failed")
    assert (failed["ip_address"], failed["user_agent"]) == ("127.0.0.1", "curl/8")


def test_redaction_reaches_every_depth() -> None:
    event = {"a": [{"api_secret": "s", "n": 1}], "Authorization": "Bearer x", "ok": "yes"}
    assert redact(event) == {
        "a": [{"api_secret": BLANK, "n": 1}],
        "Authorization": BLANK,
        "ok": "yes",
    }


@contextmanager
def captured_logs() -> Iterator[io.StringIO]:
    """Everything this process logs at debug level, as JSON lines."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    log_as_in_production("debug")
    stream = io.StringIO()
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    try:
        yield stream
    finally:
        root.handlers, root.level = handlers, level


async def test_secrets_are_in_no_answer_and_no_log(world: World, user: Api) -> None:
    with captured_logs() as stream:
        await user.log_in(user.email)
        await connect(world, user)
        answers = [
            await user.call("GET", "/config/brokers"),
            await user.call("GET", "/auth/me"),
            await user.call("POST", "/config/brokers", json=KEYS),
            await user.call("GET", "/auth/sessions"),
        ]
        world.trading.failure = RuntimeError("boom")
        answers.append(await user.call("POST", "/trading/start"))
        await user.call("POST", "/auth/refresh", json={"refresh_token": user.refresh_token})
        logs = stream.getvalue()

    assert "request.crashed" in logs
    secrets = (PASSWORD, SECRET, KEYS["api_key"], user.token or "", user.refresh_token)
    for secret in (*secrets, "argon2"):
        assert secret not in logs
        assert all(secret not in answer.text for answer in answers)


async def test_logs_carry_request_and_user(user: Api) -> None:
    with captured_logs() as stream:
        await user.call("POST", "/trading/pause", headers={"X-Request-ID": "req-1"})
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]

    line = next(line for line in lines if line["event"] == "request.answered")
    assert line["request_id"] == "req-1"
    assert line["user_id"] == user.user_id.hex
    assert line["route"] == "/api/v1/trading/pause"
    assert line["service"] == "test"
