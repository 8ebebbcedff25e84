"""The stand-in answers as Stripe does: checked against Stripe's own sample objects.

`NIJA_STRIPE_SAMPLES_DIR` names the folder with `resources.json`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain.plans import Tier
from tests.billing.harness import KEY, MONTHLY, Till

SAMPLES = os.environ.get("NIJA_STRIPE_SAMPLES_DIR")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(SAMPLES is None, reason="NIJA_STRIPE_SAMPLES_DIR is not set"),
]

READ_BY_US = {
    "customer": {"id", "object", "metadata", "invoice_settings", "email"},
    "price": {"id", "object", "lookup_key", "unit_amount", "currency", "recurring", "active"},
    "payment_method": {"id", "object", "type", "card", "customer"},
    "subscription": {
        *("id", "object", "customer", "status", "items", "created", "metadata", "schedule"),
        *("cancel_at", "cancel_at_period_end", "ended_at", "trial_end", "latest_invoice"),
    },
    "subscription_item": {"id", "object", "price", "current_period_start", "current_period_end"},
    "invoice": {
        *("id", "object", "status", "created", "period_start", "period_end", "lines", "number"),
        *("amount_due", "amount_paid", "total", "currency", "hosted_invoice_url", "invoice_pdf"),
    },
    "line_item": {"id", "object", "amount", "period"},
    "refund": {"id", "object", "amount", "status", "metadata", "payment_intent"},
    "subscription_schedule": {"id", "object", "phases", "current_phase", "subscription"},
}
ONLY_WHEN_EXPANDED = {"payments"}
CURRENT_SHAPE = {"price", "subscription", "subscription_item", "line_item", "invoice"}
"""Objects of ours: they may have no name that Stripe does not have."""


@pytest.fixture(scope="module")
def samples() -> dict[str, Any]:
    assert SAMPLES is not None
    resources: dict[str, Any] = json.loads((Path(SAMPLES) / "resources.json").read_text())
    found: dict[str, Any] = resources["resources"]
    found["subscription_item"] = found["subscription"]["items"]["data"][0]
    found["line_item"] = found["invoice"]["lines"]["data"][0]
    return found


async def test_every_object_that_we_read_has_stripes_names_and_types(
    till: Till, samples: dict[str, Any]
) -> None:
    who = await till.subscriber()
    await till.upgrade(who, Tier.ENTERPRISE)
    await till.subscriptions.downgrade(who, tier=Tier.PRO, interval=MONTHLY)
    objects = await _all_objects(till, (await till.row(who))["customer_id"])
    assert {one["object"] for one in objects} >= set(READ_BY_US) - {"refund"}
    await till.subscriptions.cancel(who, immediately=True)
    objects += await _all_objects(till, (await till.row(who))["customer_id"])

    for one in objects:
        kind = one["object"]
        if kind not in READ_BY_US:
            continue
        sample = samples[kind]
        assert set(one) >= READ_BY_US[kind], kind
        assert set(sample) >= READ_BY_US[kind], kind
        if kind in CURRENT_SHAPE:
            assert set(one) <= set(sample) | ONLY_WHEN_EXPANDED, kind
        for name in set(one) & set(sample):
            assert _alike(one[name], sample[name]), f"{kind}.{name}: {one[name]!r}"


def _alike(ours: Any, theirs: Any) -> bool:
    """The same JSON type; an id may stand for an object, and null for anything."""
    if ours is None or theirs is None:
        return True
    if isinstance(ours, str) and isinstance(theirs, dict):
        return "id" in theirs
    return type(ours) is type(theirs)


async def _all_objects(till: Till, customer: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(
        base_url=till.standin.url, headers={"Authorization": f"Bearer {KEY}"}
    ) as client:
        lists = [
            (await client.get(f"/v1/{path}")).json()
            for path in (
                f"customers/{customer}",
                "prices",
                f"subscriptions?customer={customer}&status=all&expand[0]=data.schedule",
                f"invoices?customer={customer}",
                f"payment_methods?customer={customer}&type=card",
                "refunds",
            )
        ]
    return list(_objects_in(lists))


def _objects_in(value: Any) -> Any:
    """Every Stripe object in an answer, however deep."""
    if isinstance(value, dict):
        if value.get("object") not in {None, "list"}:
            yield value
        for inside in value.values():
            yield from _objects_in(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _objects_in(inside)
