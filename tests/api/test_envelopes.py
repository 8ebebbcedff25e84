from __future__ import annotations

import json
from typing import Any, get_args, get_origin

import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api.app import ApiOptions
from api.kit.limits import BODY_BYTES_MAX
from api.kit.problem import FIELDS_MAX, Problem
from api.nija import surface as nija
from api.nija.errors import BY_CODE, BY_KIND, render
from domain.errors import DomainError, ErrorKind
from services import errors
from tests.api.harness import PREFIX, Api, World, check_envelope, open_client

pytestmark = pytest.mark.integration
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/api", "/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/auth/login/"],
)
async def test_unknown_paths(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    check_envelope(answer)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/api/v1/config/settings", "GET, PUT"),
        ("GET", "/api/v1/auth/login", "POST"),
        ("POST", "/api/v1/config/brokers/brk_1", "DELETE, PUT"),
        ("POST", "/health", "GET"),
    ],
)
async def test_wrong_methods(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path)
    check_envelope(answer)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"\xff", b'{"email": "a"', b"[" * 60_000, b'{"a": ' + b"9" * 10_000 + b"}"],
)
async def test_malformed_bodies(anyone: Api, body: bytes) -> None:
    answer = await anyone.call("POST", "/auth/login", content=body, headers=JSON)
    expected = (422, "VALIDATION_ERROR") if not body else (400, "MALFORMED_BODY")
    assert (answer.status_code, answer.json()["error"]["code"]) == expected


async def test_a_body_that_is_not_json(anyone: Api) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        answer = await anyone.call(
            "POST", "/auth/login", content=b"a=b", headers={"Content-Type": content_type}
        )
        assert answer.json()["error"]["code"] == "MALFORMED_BODY"


async def test_oversized_bodies(anyone: Api, user: Api) -> None:
    body = b'{"email": "' + b"a" * BODY_BYTES_MAX + b'"}'

    async def in_pieces() -> Any:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    too_large = (413, "PAYLOAD_TOO_LARGE")
    assert await anyone.error("POST", "/auth/login", content=body, headers=JSON) == too_large
    assert await anyone.error("POST", "/auth/login", content=in_pieces(), headers=JSON) == too_large
    assert await user.error("POST", "/trading/pause", content=body, headers=JSON) == too_large


@pytest.mark.parametrize("path", ["/auth/login", "/auth/register"])
async def test_a_body_of_unknown_names_is_answered_with_few_errors(anyone: Api, path: str) -> None:
    body = "{" + ",".join(f'"a{n}":1' for n in range(BODY_BYTES_MAX // 12)) + "}"

    answer = await anyone.call("POST", path, content=body, headers=JSON)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "VALIDATION_ERROR")
    assert len(error["details"]["fields"]) == FIELDS_MAX
    assert "more errors are not shown" in error["message"]
    assert len(answer.content) < 4 * 1024


async def test_a_list_of_wrong_values_is_answered_with_one_error(user: Api) -> None:
    wrong = ",".join(["1"] * (BODY_BYTES_MAX // 2 - 50))
    body = f'{{"trading":{{"allowed_pairs":[{wrong}]}}}}'

    answer = await user.call("PUT", "/config/settings", content=body, headers=JSON)

    assert answer.status_code == 422
    assert set(answer.json()["error"]["details"]["fields"]) == {"trading.allowed_pairs.0"}


def test_every_list_of_a_request_is_bounded() -> None:
    """Each wrong element of a list is an error to be written: a list has few, or ends at one."""
    unbounded, lists = set(), 0
    for model in request_models():
        for name, field in model.model_fields.items():
            if is_list(field.annotation):
                lists += 1
                if not any(is_bound(it) for it in (field, *get_args(field.annotation))):
                    unbounded.add(f"{model.__name__}.{name}")

    assert lists >= 3
    assert unbounded == set()


def request_models() -> set[type[BaseModel]]:
    """Every model of a request's body, and those within."""
    found: set[type[BaseModel]] = set()
    app = nija.build_surface()
    routers = [getattr(it, "original_router", None) for it in app.routes]
    routes = [it for router in routers if router is not None for it in router.routes]
    todo: list[Any] = [
        route.body_field.field_info.annotation
        for route in (*app.routes, *routes)
        if isinstance(route, APIRoute) and route.body_field is not None
    ]
    while todo:
        annotation = todo.pop()
        todo += get_args(annotation)
        is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        if is_model and annotation not in found:
            found.add(annotation)
            todo += [field.annotation for field in annotation.model_fields.values()]
    return found


def is_list(annotation: Any) -> bool:
    """Whether a value may be a list of whatever length."""
    kinds = {list, set, dict, frozenset}
    return get_origin(annotation) in kinds or any(is_list(it) for it in get_args(annotation))


def is_bound(it: Any) -> bool:
    """Whether it is, or contains, a bound of a list."""
    within = (*getattr(it, "metadata", ()), *getattr(it, "__metadata__", ()))
    names = ("max_length", "fail_fast")
    return any(getattr(it, name, None) for name in names) or any(is_bound(part) for part in within)


async def test_events_of_other_services_may_be_larger(anyone: Api) -> None:
    body = b"{" + b" " * BODY_BYTES_MAX + b"}"

    _status, code = await anyone.error("POST", "/webhooks/stripe", content=body, headers=JSON)

    assert code != "PAYLOAD_TOO_LARGE"


async def test_validation_names_fields_and_repeats_no_value(anyone: Api) -> None:
    body = {"email": 7, "password": ["hunter2-secret"], "surprise": "hunter2-secret"}

    answer = await anyone.call("POST", "/auth/login", json=body)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "VALIDATION_ERROR")
    assert set(error["details"]["fields"]) == {"email", "password", "surprise"}
    assert "hunter2" not in answer.text


async def test_a_crash_tells_nothing(world: World, user: Api) -> None:
    world.trading.failure = RuntimeError("password is hunter2")

    answer = await user.call("POST", "/trading/pause")

    assert answer.json()["error"] == {
        "code": "INTERNAL_ERROR",
        "message": "An unexpected error occurred",
        "details": {},
    }


async def test_a_dead_database(world: World, user: Api) -> None:
    await world.reads.close()
    assert await user.error("GET", "/account/positions") == (500, "DATABASE_ERROR")


async def test_request_ids(client: httpx.AsyncClient) -> None:
    given = await client.get("/health", headers={"X-Request-ID": "req-42.a_b"})
    assert given.headers["x-request-id"] == "req-42.a_b"
    for bad in ("with space", "x" * 200, "new\\nline{}"):
        made = await client.get("/health", headers={"X-Request-ID": bad})
        assert len(made.headers["x-request-id"]) == 32


async def test_answers_are_not_cached(user: Api) -> None:
    answer = await user.call("GET", "/auth/me")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_cors_is_closed_unless_opened(world: World, client: httpx.AsyncClient) -> None:
    origin = {"Origin": "https://app.example.com"}
    answer = await client.get("/health", headers=origin)
    assert "access-control-allow-origin" not in answer.headers

    options = ApiOptions(cors_origins=("https://app.example.com",))
    async with open_client(world, options) as opened:
        answer = await opened.get("/health", headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
        assert "access-control-allow-credentials" not in answer.headers
        preflight = await opened.options(
            f"{PREFIX}/trading/start",
            headers={
                **origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,idempotency-key",
            },
        )
        assert preflight.status_code == 200
        foreign = await opened.get("/health", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers


def all_domain_errors() -> list[type[DomainError]]:
    found: list[type[DomainError]] = []
    waiting: list[type[DomainError]] = [DomainError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        found.append(kind)
    return found


def test_codes_are_unique_and_stable_words() -> None:
    own = [kind for kind in all_domain_errors() if "code" in vars(kind)]
    codes = [kind.code for kind in own]
    assert len(codes) == len(set(codes))
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)
    known = {"malformed_body", "payload_too_large", "method_not_allowed", "already_subscribed"}
    assert set(BY_CODE) - known <= set(codes)


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_of_problem_has_an_answer(kind: ErrorKind) -> None:
    assert kind in BY_KIND
    answer = render(Problem(kind, "whatever", "message", {"a": 1}))
    body = json.loads(bytes(answer.body))
    assert body["error"] == {"code": BY_KIND[kind].code, "message": "message", "details": {"a": 1}}
    assert body["success"] is False


def test_failures_of_dependencies_are_explained_without_their_words() -> None:
    from psycopg import OperationalError  # noqa: PLC0415 - only this test raises drivers' errors

    explained = errors.explain(OperationalError("host=10.0.0.1 password=hunter2"))
    assert isinstance(explained, errors.DatabaseFailed)
    assert "hunter2" not in explained.message
    assert errors.explain(ZeroDivisionError()) is None
