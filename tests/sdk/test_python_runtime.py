"""The Python SDK's own rules: retries, keys, tokens, numbers, pages."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from threading import Barrier
from typing import Any

import httpx
import pytest

from nija_sdk import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AsyncNIJAClient,
    AuthenticationError,
    ConflictError,
    NIJAClient,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    Tokens,
    UnexpectedResponseError,
    ValidationError,
)
from nija_sdk import _json as wire
from nija_sdk._address import api_address, ws_address
from nija_sdk._retry import backoff

Reply = httpx.Response | Exception
SECRET = "eyJ-access-secret"
REFRESH = "refresh-secret"


def ok(**data: Any) -> httpx.Response:
    return httpx.Response(200, json={"success": True, "data": data, "timestamp": "t"})


def refused(status: int, code: str, **headers: str) -> httpx.Response:
    error = {"code": code, "message": "Because", "details": {"fields": {"a": "b"}}}
    body = {"success": False, "error": error, "timestamp": "t"}
    return httpx.Response(status, json=body, headers={"x-request-id": "req-1", **headers})


STARTED = {"status": "starting", "message": "m", "estimated_ready_in_seconds": 1}
MESSAGE = {"message": "m"}


@dataclass
class Script:
    """A server that answers as it is told and keeps what it was asked."""

    replies: list[Reply]
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return httpx.Response(reply.status_code, content=reply.content, headers=reply.headers)

    @property
    def keys(self) -> list[str | None]:
        return [request.headers.get("idempotency-key") for request in self.requests]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries; none is waited."""
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("nija_sdk._transport._wait", waited.append)
    monkeypatch.setattr("nija_sdk._transport._pause", note)
    return waited


def client_of(script: Callable[[httpx.Request], httpx.Response], **options: Any) -> NIJAClient:
    http = httpx.Client(transport=httpx.MockTransport(script))
    return NIJAClient(SECRET, base_url="http://server", http_client=http, **options)


def async_client_of(
    script: Callable[[httpx.Request], Any], token: str | None = SECRET, **options: Any
) -> AsyncNIJAClient:
    http = httpx.AsyncClient(transport=httpx.MockTransport(script))
    return AsyncNIJAClient(token, base_url="http://server", http_client=http, **options)


# --- what is tried again --------------------------------------------------------------------------

UNAVAILABLE = refused(503, "SERVICE_UNAVAILABLE")
CUT = httpx.RemoteProtocolError("cut")


@pytest.mark.parametrize(
    "failure",
    [
        UNAVAILABLE,
        refused(429, "RATE_LIMITED"),
        refused(504, "HTTP_504"),
        httpx.Response(502, text="<html>"),
        CUT,
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("down"),
    ],
)
async def test_a_write_is_repeated_with_its_own_key(failure: Reply, waits: list[float]) -> None:
    script = Script([failure, failure, ok(**STARTED), failure, ok(**STARTED)])

    client_of(script).trading.start()
    await async_client_of(script).trading.start()

    assert len(set(script.keys[:3])) == 1
    assert len(set(script.keys[3:])) == 1
    assert len(set(script.keys)) == 2
    assert None not in script.keys
    assert len({request.content for request in script.requests}) == 1
    assert 0 <= waits[0] <= 0.5
    assert 0 <= waits[1] <= 1


def test_a_key_of_the_caller_is_used() -> None:
    script = Script([UNAVAILABLE, ok(**STARTED)])

    client_of(script).trading.start(idempotency_key="mine")

    assert script.keys == ["mine", "mine"]


@pytest.mark.parametrize(
    "failure",
    [
        UNAVAILABLE,
        CUT,
        httpx.ReadTimeout("slow"),
    ],
)
def test_a_write_without_a_key_is_not_repeated(failure: Reply) -> None:
    script = Script([failure])

    with pytest.raises((APIError, APIConnectionError)):
        client_of(script).auth.change_password(current_password="a", new_password="b")

    assert script.keys == [None]


@pytest.mark.parametrize("failure", [refused(429, "RATE_LIMITED"), httpx.ConnectError("down")])
def test_what_was_not_carried_out_is_repeated_also_without_a_key(failure: Reply) -> None:
    script = Script([failure, ok(**MESSAGE)])

    client_of(script).auth.change_password(current_password="a", new_password="b")

    assert len(script.requests) == 2


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refused(400, "NOT_RUNNING"), APIError),
        (refused(401, "TOKEN_INVALID"), AuthenticationError),
        (refused(402, "SUBSCRIPTION_REQUIRED"), PaymentRequiredError),
        (refused(403, "KILL_SWITCH_ACTIVE"), PermissionDeniedError),
        (refused(404, "NOT_FOUND"), NotFoundError),
        (refused(409, "IDEMPOTENCY_CONFLICT"), ConflictError),
        (refused(422, "VALIDATION_ERROR"), ValidationError),
        (refused(500, "INTERNAL_ERROR"), ServerError),
        (refused(502, "BROKER_ERROR"), ServerError),
    ],
)
def test_a_refusal_is_final_and_told(reply: httpx.Response, error: type[APIError]) -> None:
    script = Script([reply])

    with pytest.raises(error) as caught:
        client_of(script).trading.start()

    told = caught.value
    assert (told.status, told.message, told.request_id) == (reply.status_code, "Because", "req-1")
    assert told.code == reply.json()["error"]["code"]
    assert told.details == {"fields": {"a": "b"}}
    assert str(told) == f"{told.status} {told.code}: Because (request req-1)"


def test_a_try_still_under_way_is_waited_for() -> None:
    conflict = refused(409, "IDEMPOTENCY_CONFLICT")
    script = Script([CUT, conflict, ok(**STARTED)])

    assert client_of(script).trading.start().status == "starting"


def test_tries_end() -> None:
    script = Script([UNAVAILABLE] * 4)

    with pytest.raises(ServerError):
        client_of(script).trading.start()
    with pytest.raises(APITimeoutError):
        client_of(Script([httpx.ReadTimeout("slow")]), max_retries=0).trading.status()

    assert script.replies == []


def test_pauses_grow_to_a_bound_and_are_spread_from_nothing_on() -> None:
    pauses = {tried: [backoff(tried) for _ in range(400)] for tried in (1, 2, 5, 10_000)}

    for tried, longest in ((1, 0.5), (2, 1), (5, 8), (10_000, 8)):
        assert max(pauses[tried]) <= longest
        assert max(pauses[tried]) > 0.9 * longest
        assert min(pauses[tried]) < 0.1 * longest


def test_retry_after_is_obeyed_up_to_a_minute(waits: list[float]) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    script = Script(
        [
            refused(429, "RATE_LIMITED", **{"retry-after": "7"}),
            refused(503, "X", **{"retry-after": soon.strftime("%a, %d %b %Y %H:%M:%S GMT")}),
            refused(429, "RATE_LIMITED", **{"retry-after": "61"}),
        ]
    )

    with pytest.raises(RateLimitedError) as caught:
        client_of(script).trading.start()

    assert caught.value.retry_after == 61
    assert waits[0] == 7
    assert 25 < waits[1] <= 30


def test_an_answer_of_something_else_is_told_apart() -> None:
    page = httpx.Response(200, text="<html>hello</html>")
    with pytest.raises(UnexpectedResponseError):
        client_of(Script([page])).trading.status()
    with pytest.raises(NotFoundError, match="404 HTTP_404"):
        client_of(Script([httpx.Response(404, text="<html>")])).trading.status()


# --- tokens ---------------------------------------------------------------------------------------


class Expiring:
    """A server whose first access token has expired; refresh tokens are good once."""

    def __init__(self) -> None:
        self.exchanges: list[str] = []
        self.calls = 0
        self.lost_answers = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/auth/refresh"):
            return self._exchange(json.loads(request.content)["refresh_token"])
        self.calls += 1
        if request.headers["authorization"] != "Bearer access-2":
            return refused(401, "TOKEN_EXPIRED")
        return ok(**STARTED)

    def _exchange(self, token: str) -> httpx.Response:
        self.exchanges.append(token)
        if self.lost_answers:
            self.lost_answers -= 1
            raise CUT
        return ok(
            access_token="access-2", refresh_token="refresh-2", token_type="Bearer", expires_in=9
        )


async def test_expired_tokens_are_exchanged_and_the_call_goes_on() -> None:
    server, kept = Expiring(), list[Tokens]()

    async def keep(tokens: Tokens) -> None:
        kept.append(tokens)

    client = client_of(server, refresh_token=REFRESH, on_tokens=kept.append)
    client.trading.start()
    await async_client_of(server, refresh_token=REFRESH, on_tokens=keep).trading.start()

    assert kept == [Tokens("access-2", "refresh-2")] * 2
    assert client.tokens == kept[0]


def test_many_threads_exchange_once() -> None:
    server, together = Expiring(), Barrier(8)
    client = client_of(server, refresh_token=REFRESH)

    def start() -> str:
        together.wait()
        return client.trading.start().status

    with ThreadPoolExecutor(8) as threads:
        found = [task.result() for task in [threads.submit(start) for _ in range(8)]]

    assert found == ["starting"] * 8
    assert server.exchanges == [REFRESH]


async def test_many_tasks_exchange_once() -> None:
    server = Expiring()
    client = async_client_of(server, refresh_token=REFRESH)

    await asyncio.gather(*(client.trading.start() for _ in range(8)))

    assert server.exchanges == [REFRESH]


async def test_a_lost_answer_to_the_exchange_is_asked_for_again() -> None:
    server = Expiring()
    server.lost_answers = 1
    client_of(server, refresh_token=REFRESH).trading.start()
    server.lost_answers = 1
    await async_client_of(server, refresh_token=REFRESH).trading.start()

    assert server.exchanges == [REFRESH] * 4


async def test_a_cancelled_call_does_not_lose_the_tokens_it_asked_for() -> None:
    server, asked, go_on = Expiring(), asyncio.Event(), asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        answer = server(request)
        if request.url.path.endswith("/auth/refresh"):
            asked.set()
            await go_on.wait()
        return answer

    client = async_client_of(slow, refresh_token=REFRESH)
    call = asyncio.create_task(client.trading.start())
    await asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go_on.set()

    await client.trading.start()

    assert server.exchanges == [REFRESH]


async def test_without_a_refresh_token_expiry_is_an_error() -> None:
    with pytest.raises(AuthenticationError) as caught:
        client_of(Expiring()).trading.start()
    assert caught.value.code == "TOKEN_EXPIRED"
    with pytest.raises(AuthenticationError):
        await async_client_of(Expiring()).trading.start()


def test_a_session_that_ended_is_an_error_and_is_not_asked_for_twice() -> None:
    script = Script([refused(401, "TOKEN_EXPIRED"), refused(401, "TOKEN_INVALID")])

    with pytest.raises(AuthenticationError) as caught:
        client_of(script, refresh_token=REFRESH).trading.start()

    assert caught.value.code == "TOKEN_INVALID"
    assert script.replies == []


def test_login_brings_tokens_and_logout_ends_them() -> None:
    user = {"user_id": "u", "email": "e", "full_name": "f", "subscription_tier": "free"}
    issued = {"access_token": "a", "refresh_token": "r", "token_type": "Bearer", "expires_in": 9}
    script = Script([ok(**issued, user=user), ok(**STARTED), ok(**MESSAGE)])
    client = NIJAClient(
        base_url="http://server",
        http_client=httpx.Client(transport=httpx.MockTransport(script)),
    )

    client.auth.login(email="e", password="p")
    client.trading.start()
    client.auth.logout()

    sent = [request.headers.get("authorization") for request in script.requests]
    assert sent == [None, "Bearer a", "Bearer a"]
    assert client.tokens is None


def test_secrets_are_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    issued = {"access_token": SECRET, "refresh_token": REFRESH, "expires_in": 9}
    user = {"user_id": "u", "email": "e", "full_name": "f", "subscription_tier": "free"}
    script = Script([UNAVAILABLE, ok(**STARTED), ok(**issued, user=user)])
    client = client_of(script, refresh_token=REFRESH)

    client.trading.start()
    login = client.auth.login(email="e", password="p")

    shown = f"{client!r} {client.tokens!r} {login!r} {vars(client)!r} {caplog.text}"
    assert SECRET not in shown
    assert REFRESH not in shown
    assert "POST /trading/start: try 1 failed" in caplog.text


# --- numbers, times, shapes -----------------------------------------------------------------------


def balance(**changes: Any) -> dict[str, Any]:
    return {
        "broker": "coinbase",
        "cash": 1,
        "equity": 1,
        "unpriced": [],
        "equity_is_lower_bound": False,
        "unrealized_pnl": None,
        "buying_power": 1,
        "currency": "USD",
        "last_updated": "2026-01-29T10:42:00Z",
        "mode": "paper",
        **changes,
    }


def test_amounts_are_exact_both_ways() -> None:
    exact = b'{"success":true,"data":%s}' % json.dumps(balance(cash="#")).encode()
    amount = "98765432109876.12345678"
    script = Script(
        [
            httpx.Response(200, content=exact.replace(b'"#"', amount.encode())),
            ok(message="m"),
        ]
    )
    client = client_of(script)

    found = client.account.balance()
    client.account.modify_position("pos_1", stop_loss=Decimal("0.000000010"), take_profit=7)

    assert found.cash == Decimal(amount)
    assert isinstance(found.buying_power, Decimal)
    assert script.requests[1].content == b'{"stop_loss":0.000000010,"take_profit":7}'


def test_times_are_aware_both_ways() -> None:
    pages = {"trades": [], "pagination": pagination(1, 1)}
    script = Script([ok(**balance()), ok(**pages)])
    client = client_of(script)

    found = client.account.balance()
    client.account.history(
        start_date=date(2026, 1, 2),
        end_date=datetime(2026, 1, 3, tzinfo=timezone(timedelta(hours=2))),
    )

    assert found.last_updated == datetime(2026, 1, 29, 10, 42, tzinfo=UTC)
    query = dict(script.requests[1].url.params)
    assert query == {"start_date": "2026-01-02", "end_date": "2026-01-03T00:00:00+02:00"}
    with pytest.raises(ValueError, match="zone"):
        client.account.history(start_date=datetime(2026, 1, 2))  # noqa: DTZ001 - the mistake
    with pytest.raises(ValueError, match="finite"):
        client.account.modify_position("pos_1", stop_loss=Decimal("NaN"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cash": "1"}, r"data\.cash is a str"),
        ({"cash": True}, r"data\.cash is a bool"),
        ({"cash": None}, r"data\.cash is a NoneType"),
        ({"last_updated": "yesterday"}, r"data\.last_updated is no datetime"),
    ],
)
def test_an_answer_of_another_shape_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UnexpectedResponseError, match=told):
        client_of(Script([ok(**balance(**changes))])).account.balance()


def test_an_answer_with_more_than_we_know_is_taken_and_one_with_less_is_not() -> None:
    more, less = balance(news=1, mode="margin"), balance()
    del less["cash"]

    assert str(client_of(Script([ok(**more)])).account.balance().mode) == "margin"
    with pytest.raises(UnexpectedResponseError, match=r"no data\.cash"):
        client_of(Script([ok(**less)])).account.balance()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"a": [Decimal("1E-8"), True, None, "ü"], "b": {}},
            '{"a":[0.00000001,true,null,"\\u00fc"],"b":{}}',
        ),
        (Decimal("1E+3"), "1000"),
        (0.1, "0.1"),
    ],
)
def test_json_is_plain(value: Any, text: str) -> None:
    assert wire.dumps(value).decode() == text
    assert wire.loads(text) == (value if not isinstance(value, float) else Decimal("0.1"))


# --- pages ----------------------------------------------------------------------------------------


def trade(number: int) -> dict[str, Any]:
    return {
        "trade_id": f"trd_{number}",
        "symbol": "BTC-USD",
        "side": "long",
        "status": "closed",
        "entry_price": 1,
        "exit_price": 2,
        "size_usd": 1,
        "quantity": 1,
        "sold_quantity": 1,
        "closed_elsewhere_quantity": 0,
        "written_off_quantity": 0,
        "realized_pnl": 1,
        "realized_pnl_pct": 1,
        "fees": 0,
        "net_pnl": 1,
        "opened_at": "2026-01-29T10:42:00Z",
        "closed_at": None,
        "duration_minutes": 1,
        "exit_reason": None,
        "source": "strategy",
        "broker": "coinbase",
        "mode": "paper",
    }


def pagination(page: int, pages: int) -> dict[str, Any]:
    return {
        "page": page,
        "per_page": 2,
        "total_items": 2 * pages,
        "total_pages": pages,
        "has_next": page < pages,
        "has_prev": page > 1,
    }


async def test_pages_are_gone_through_and_no_item_comes_twice() -> None:
    # While page 1 is read a trade comes in and pushes trd_2 onto page 2.
    numbers = {1: (1, 2), 2: (2, 3), 3: (4,)}

    def serve(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params["page"])
        assert dict(request.url.params) == {"page": str(page), "per_page": "2", "mode": "paper"}
        trades = [trade(number) for number in numbers[page]]
        return ok(trades=trades, pagination=pagination(page, 3))

    found = client_of(serve).account.iter_history(mode="paper", per_page=2)
    later = async_client_of(serve).account.iter_history(mode="paper", per_page=2)

    wanted = ["trd_1", "trd_2", "trd_3", "trd_4"]
    assert [item.trade_id for item in found] == wanted
    assert [item.trade_id async for item in later] == wanted


# --- where the server is --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "api", "ws"),
    [
        (None, "https://api.nija.com/api/v1", "wss://api.nija.com/ws/v1"),
        ("http://localhost:8000", "http://localhost:8000/api/v1", "ws://localhost:8000/ws/v1"),
        ("https://a.b/x/api/v1/", "https://a.b/x/api/v1", "wss://a.b/x/ws/v1"),
    ],
)
def test_addresses(given: str | None, api: str, ws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIJA_BASE_URL", raising=False)
    assert (api_address(given), ws_address(api)) == (api, ws)
    if given is not None:
        monkeypatch.setenv("NIJA_BASE_URL", given)
        assert api_address(None) == api


@pytest.mark.parametrize("wrong", ["localhost:8000", "ftp://a.b", "http://"])
def test_an_address_must_be_one(wrong: str) -> None:
    with pytest.raises(ValueError, match="http or https"):
        NIJAClient(base_url=wrong)
