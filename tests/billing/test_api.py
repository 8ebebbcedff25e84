"""The calls of Subscription Management and the webhook, over HTTP, as the contract shows them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
import stripe

from adapters.embedded.postgres_roles import DatabaseUrls
from domain.principal import Principal, Role
from services.billing.inbox import EventInbox
from services.billing.subscriptions import Subscriptions
from services.billing.views import BillingViews
from tests.api.harness import Api, World, open_client, open_world, register
from tests.billing.harness import SECRET, Till
from tests.billing.shop import Container
from tests.support.stripe_standin import DECLINES

pytestmark = pytest.mark.integration

PATH = "/webhooks/stripe"


@pytest.fixture
async def container(urls: DatabaseUrls, till: Till) -> AsyncIterator[Container]:
    async with open_world(urls) as world:
        till.wall.time = world.clock.now()
        yield Container(world, till.subscriptions, till.views, till.inbox)


@pytest.fixture
async def client(container: Container) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(cast("World", container)) as client:
        yield client


@pytest.fixture
async def user(client: httpx.AsyncClient) -> Api:
    return await register(client)


def principal(user: Api) -> Principal:
    return Principal(user.user_id, UUID(int=1), Role.USER)


async def test_plans_are_public_and_as_published(client: httpx.AsyncClient) -> None:
    data = await Api(client).data("GET", "/subscription/plans")

    pro = data["plans"][2]
    assert [plan["tier"] for plan in data["plans"]] == ["free", "basic", "pro", "enterprise"]
    assert (pro["price_monthly"], pro["price_yearly"], pro["yearly_savings"]) == (149, 1430, 358)
    assert pro["popular"]
    assert pro["limits"]["api_calls_per_minute"] == 100


async def test_a_new_user_is_in_the_trial(user: Api) -> None:
    data = await user.data("GET", "/subscription/current")

    assert (data["tier"], data["status"], data["trial_active"]) == ("free", "trialing", True)
    assert data["effective_tier"] == "pro"
    assert data["subscription_id"] is None
    assert data["amount"] == 0


async def test_the_life_of_a_subscription(user: Api, till: Till) -> None:
    upgraded = await user.data(
        "POST",
        "/subscription/upgrade",
        json={"tier": "pro", "interval": "monthly", "payment_method_id": till.standin.add_card()},
    )
    assert (
        upgraded.items()
        >= {
            "message": "Subscription upgraded successfully",
            "tier": "pro",
            "interval": "monthly",
            "amount": 149.0,
            "proration_credit": 0.0,
            "amount_due_now": 149.0,
            "effective_immediately": True,
        }.items()
    )
    assert upgraded["subscription_id"].startswith("sub_")

    current = await user.data("GET", "/subscription/current")
    assert (current["tier"], current["status"], current["currency"]) == ("pro", "active", "USD")
    assert current["payment_method"] == {
        "type": "card",
        "last4": "4242",
        "brand": "visa",
        "exp_month": 12,
        "exp_year": 2030,
    }
    assert current["next_billing_date"] == current["current_period_end"]
    assert current["next_billing_amount"] == 149.0

    more = await user.data(
        "POST", "/subscription/upgrade", json={"tier": "enterprise", "interval": "yearly"}
    )
    assert more["proration_credit"] == pytest.approx(-149, abs=0.01)
    assert more["amount_due_now"] == pytest.approx(4790 - 149, abs=0.01)

    down = await user.data("POST", "/subscription/downgrade", json={"tier": "basic"})
    assert (down["tier"], down["interval"], down["amount"]) == ("basic", "yearly", 470.0)
    assert not down["effective_immediately"]

    listed = (await user.data("GET", "/subscription/invoices"))["invoices"]
    assert [bill["status"] for bill in listed] == ["paid", "paid"]
    assert listed[0]["proration_credit"] == more["proration_credit"]

    method = await user.data(
        "PUT",
        "/subscription/payment-method",
        json={"payment_method_id": till.standin.add_card("4111111111111111")},
    )
    assert method["payment_method"]["last4"] == "1111"

    cancelled = await user.data(
        "POST",
        "/subscription/cancel",
        json={"cancel_immediately": False, "reason": "Too expensive", "feedback": "Great"},
    )
    assert cancelled == {
        "message": "Subscription cancelled",
        "cancel_at_period_end": True,
        "access_until": down["effective_at"],
        "refund_amount": 0.0,
    }
    now = await user.data("POST", "/subscription/cancel", json={"cancel_immediately": True})
    assert now["refund_amount"] == pytest.approx(4790, abs=0.01)


async def test_usage_counts_from_the_tables(user: Api) -> None:
    data = await user.data("GET", "/subscription/usage")

    assert data["usage"] == {
        "api_calls": 1,  # this one
        "api_calls_limit": 4_320_000,
        "trades_executed": 0,
        "trades_limit": 3000,
        "positions_opened": 0,
        "max_concurrent_positions": 0,
        "max_concurrent_positions_limit": 10,
        "brokers_connected": 0,
        "brokers_limit": 5,
    }
    assert (data["overage"], data["warnings"]) == (False, [])


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/upgrade", {"tier": "gold", "interval": "monthly"}, (422, "VALIDATION_ERROR")),
        ("/upgrade", {"tier": "pro", "interval": "weekly"}, (422, "VALIDATION_ERROR")),
        ("/upgrade", {"tier": "free", "interval": "monthly"}, (422, "VALIDATION_ERROR")),
        ("/upgrade", {"tier": "pro", "interval": "monthly"}, (422, "VALIDATION_ERROR")),
        (
            "/upgrade",
            {"tier": "pro", "interval": "monthly", "payment_method_id": "pm_unknown"},
            (422, "VALIDATION_ERROR"),
        ),
        (
            "/upgrade",
            {"tier": "pro", "interval": "monthly", "payment_method_id": "4242424242424242"},
            (422, "VALIDATION_ERROR"),
        ),
        ("/downgrade", {"tier": "basic"}, (404, "NOT_FOUND")),
        ("/cancel", {"cancel_immediately": True}, (404, "NOT_FOUND")),
    ],
)
async def test_refusals(user: Api, path: str, body: Any, expected: tuple[int, str]) -> None:
    assert await user.error("POST", f"/subscription{path}", json=body) == expected


async def test_a_declined_card_is_a_402_that_says_so(user: Api, till: Till) -> None:
    body = {
        "tier": "pro",
        "interval": "monthly",
        "payment_method_id": till.standin.add_card(DECLINES),
    }

    answer = await user.call("POST", "/subscription/upgrade", json=body)

    assert answer.status_code == 402
    assert answer.json()["error"]["code"] == "PAYMENT_FAILED"
    assert answer.json()["error"]["message"] == "Your card was declined."


async def test_a_repeat_with_the_same_key_is_answered_the_same(user: Api, till: Till) -> None:
    body = {"tier": "pro", "interval": "monthly", "payment_method_id": till.standin.add_card()}
    headers = {"Idempotency-Key": "once"}

    first = await user.call("POST", "/subscription/upgrade", json=body, headers=headers)
    again = await user.call("POST", "/subscription/upgrade", json=body, headers=headers)

    assert first.json()["data"] == again.json()["data"]
    assert till.standin.charges() == [149_00]


async def test_without_a_key_plans_and_trial_work_and_paid_calls_are_503(
    user: Api, container: Container, till: Till
) -> None:
    container.subscriptions = Subscriptions(till.database, None)
    container.billing_views = BillingViews(till.database, None, till.wall)

    for method, path, body in (
        ("POST", "/upgrade", {"tier": "pro", "interval": "monthly", "payment_method_id": "pm_1"}),
        ("POST", "/downgrade", {"tier": "basic"}),
        ("POST", "/cancel", {"cancel_immediately": True}),
        ("PUT", "/payment-method", {"payment_method_id": "pm_1"}),
        ("GET", "/invoices", None),
    ):
        answer = await user.call(method, f"/subscription{path}", json=body)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
        assert "NIJA_STRIPE_SECRET_KEY" in answer.json()["error"]["message"]
    await user.data("GET", "/subscription/plans")
    assert (await user.data("GET", "/subscription/current"))["trial_active"]
    await user.data("GET", "/subscription/usage")


async def test_the_webhook_takes_signed_events_only(
    client: httpx.AsyncClient, container: Container, till: Till
) -> None:
    anyone = Api(client)
    await till.subscriber()
    body = json.dumps(till.standin.event("invoice.payment_succeeded"))
    good = {"Stripe-Signature": stripe.WebhookSignature.generate_signature_header(body, SECRET)}

    assert await anyone.data("POST", PATH, content=body, headers=good) == {"received": True}
    assert await anyone.data("POST", PATH, content=body, headers=good) == {"received": True}
    assert await anyone.error("POST", PATH, content=body) == (400, "INVALID_SIGNATURE")
    assert await anyone.error("POST", PATH, content=body + " ", headers=good) == (
        400,
        "INVALID_SIGNATURE",
    )
    signed = {"Stripe-Signature": stripe.WebhookSignature.generate_signature_header("[]", SECRET)}
    assert await anyone.error("POST", PATH, content="[]", headers=signed) == (
        400,
        "MALFORMED_BODY",
    )

    container.billing_inbox = EventInbox(till.database, None, till.workflows, till.wall)
    assert await anyone.error("POST", PATH, content=body, headers=good) == (
        503,
        "SERVICE_UNAVAILABLE",
    )


async def test_nobody_sees_anothers_subscription(
    client: httpx.AsyncClient, user: Api, till: Till
) -> None:
    await till.upgrade(principal(user), method=till.standin.add_card())
    other = await register(client)

    assert (await other.data("GET", "/subscription/current"))["subscription_id"] is None
    assert (await other.data("GET", "/subscription/invoices"))["invoices"] == []
    anonymous = Api(client)
    for path in ("/current", "/usage", "/invoices"):
        assert (await anonymous.error("GET", f"/subscription{path}"))[0] == 401
