"""The OpenAPI document as documentation and as a list of routes.

That the answers keep its promises, to every kind of caller, is `test_authorization_matrix.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.nija.surface import build_surface
from tests.api.harness import PREFIX

pytestmark = pytest.mark.integration

DOCUMENT = build_surface().openapi()
METHODS = ("get", "post", "put", "patch", "delete")
PUBLIC = {
    "/auth/register",
    "/auth/login",
    "/auth/refresh",
    "/auth/reset-password",
    "/auth/reset-password/confirm",
    "/auth/verify-email",
    "/auth/change-email/confirm",
    "/subscription/plans",
    "/webhooks/stripe",
    "/webhooks/tradingview",
}
ADMIN = "/admin/"
AUTH_CALLS = PUBLIC | {
    "/auth/logout",
    "/auth/change-password",
    "/auth/sessions/{session_id}",
    "/auth/verify-email/resend",
    "/auth/change-email",
    "/auth/2fa/setup",
    "/auth/2fa/enable",
    "/auth/2fa/disable",
    "/auth/2fa/recovery-codes",
    "/auth/delete-account",
}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


OPERATIONS = [
    pytest.param(*operation, id=f"{operation[0]} {operation[1]}") for operation in operations()
]


def example_of(schema: dict[str, Any]) -> Any:
    """A body made of the document's own examples."""
    if "$ref" in schema:
        return example_of(DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0])
    if schema.get("examples"):
        return schema["examples"][0]
    if "properties" in schema:
        return {name: example_of(part) for name, part in schema["properties"].items()}
    return schema.get("default", {"boolean": True, "integer": 1}.get(schema.get("type", ""), "x"))


def body_of(operation: dict[str, Any]) -> Any:
    content = operation.get("requestBody", {}).get("content", {})
    return example_of(content["application/json"]["schema"]) if content else None


def test_every_call_of_the_contract_is_there() -> None:
    assert {f"{method.upper()} {path}" for method, path, _ in operations()} >= {
        "POST /auth/register",
        "POST /auth/login",
        "POST /auth/refresh",
        "POST /auth/logout",
        "PUT /auth/change-password",
        "GET /auth/me",
        "GET /auth/sessions",
        "DELETE /auth/sessions/{session_id}",
        "POST /auth/reset-password",
        "POST /auth/reset-password/confirm",
        "POST /auth/verify-email",
        "POST /auth/verify-email/resend",
        "POST /auth/change-email",
        "POST /auth/change-email/confirm",
        "GET /auth/2fa",
        "POST /auth/2fa/setup",
        "POST /auth/2fa/enable",
        "POST /auth/2fa/disable",
        "POST /auth/2fa/recovery-codes",
        "POST /auth/delete-account",
        "POST /trading/start",
        "POST /trading/stop",
        "GET /trading/status",
        "POST /trading/emergency-stop",
        "POST /trading/emergency-stop/release",
        "POST /trading/pause",
        "POST /trading/resume",
        "GET /trading/decisions",
        "GET /account/balance",
        "GET /account/positions",
        "GET /account/history",
        "GET /account/performance",
        "GET /account/stats",
        "GET /analytics/dashboard",
        "GET /analytics/trades",
        "POST /analytics/export",
        "GET /analytics/exports",
        "GET /analytics/exports/{export_id}",
        "POST /account/positions/{position_id}/close",
        "POST /account/positions/{position_id}/write-off",
        "PATCH /account/positions/{position_id}",
        "POST /account/paper/reset",
        "GET /config/settings",
        "PUT /config/settings",
        "GET /config/brokers",
        "POST /config/brokers",
        "PUT /config/brokers/{broker_id}",
        "DELETE /config/brokers/{broker_id}",
        "POST /config/brokers/{broker_id}/test",
        "GET /admin/users",
        "GET /admin/users/{user_id}",
        "PUT /admin/users/{user_id}",
        "GET /admin/kill-switch",
        "POST /admin/kill-switch",
        "DELETE /admin/kill-switch",
        "GET /admin/metrics",
        "GET /admin/audit-logs",
        "GET /config/webhooks",
        "POST /config/webhooks",
        "DELETE /config/webhooks",
        "GET /account/signals",
        "POST /webhooks/tradingview",
    }


def test_the_sections_are_the_contracts() -> None:
    sections = {tag for _, _, operation in operations() for tag in operation["tags"]}
    assert sections == {
        "Authentication",
        "Trading Control",
        "Account Management",
        "Configuration",
        "Subscription",
        "Analytics & Reporting",
        "Admin",
        "Webhooks",
    }


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_operations_document_only_this_dialect(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    assert "HTTPValidationError" not in str(operation)
    assert operation["summary"]
    assert operation["description"]
    for status, response in operation["responses"].items():
        content = response["content"]["application/json"]
        if status == "200":
            assert content["schema"]["$ref"]
            continue
        assert content["schema"]["$ref"].endswith("/NijaError")
        for code, example in content["examples"].items():
            assert example["value"]["error"]["code"] == code
    assert ("security" in operation) is (path not in PUBLIC)
    takes_key = any(
        parameter["name"].lower() == "idempotency-key"
        for parameter in operation.get("parameters", [])
    )
    assert takes_key is (method != "get" and path not in AUTH_CALLS)


# --- the page -------------------------------------------------------------------------------------


async def test_the_docs_page_needs_no_internet(client: httpx.AsyncClient) -> None:
    page = await client.get(f"{PREFIX}/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/docs-assets/{asset}" in page.text
        assert (await client.get(f"/docs-assets/{asset}")).status_code == 200
    assert f"{PREFIX}/openapi.json" in page.text
    assert (await client.get(f"{PREFIX}/openapi.json")).json()["info"]["title"] == "NIJA API"
    assert (await client.get("/docs-assets/nothing.js")).json()["error"]["code"] == "NOT_FOUND"


VENUE_TIMES = {
    "BalanceData": ("last_updated",),
    "DecisionItem": ("bar_at", "decided_at"),
    "PositionItem": ("opened_at",),
    "StreakItem": ("started",),
    "TradeItem": ("opened_at", "closed_at"),
    "TradingStatusView": ("last_scan", "next_scan", "venue_time"),
}


def test_times_of_the_venues_clock_say_so_and_no_others() -> None:
    found = {
        name: tuple(
            field
            for field, value in schema.get("properties", {}).items()
            if "venue time" in str(value).lower() and "date-time" in str(value)
        )
        for name, schema in DOCUMENT["components"]["schemas"].items()
    }
    assert {name: fields for name, fields in found.items() if fields} == VENUE_TIMES
