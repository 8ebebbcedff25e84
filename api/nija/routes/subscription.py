"""Subscription Management: `/subscription`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.kit.billing import Billing
from api.nija.auth import Caller
from api.nija.documented import answers
from api.nija.envelope import Answer, ok
from api.nija.once import Idempotent
from api.nija.schemas.subscription import (
    CancelledData,
    CancelRequest,
    CurrentSubscriptionData,
    DowngradedData,
    DowngradeRequest,
    InvoiceItem,
    InvoicesData,
    InvoicesQuery,
    PaymentMethodData,
    PaymentMethodItem,
    PaymentMethodRequest,
    PlansData,
    UpgradedData,
    UpgradeRequest,
    UsageData,
)
from domain.plans import BillingInterval, Tier
from services.billing.errors import (
    BillingBusy,
    BillingNotSetUp,
    BillingOutcomeUnknown,
    BillingUnavailable,
    NoSubscription,
    PaymentFailed,
)
from services.errors import WorkflowUnavailable

_COMMAND_REFUSALS = (
    BillingBusy,
    BillingNotSetUp,
    BillingOutcomeUnknown,
    BillingUnavailable,
    PaymentFailed,
    WorkflowUnavailable,
)

router = APIRouter(prefix="/subscription", tags=["Subscription"])


@router.get("/plans", **answers(PlansData, public=True))
async def list_plans() -> Answer[PlansData]:
    """Every plan with its price and limits."""
    return ok(PlansData.all())


@router.get("/current", **answers(CurrentSubscriptionData))
async def get_current(caller: Caller, billing: Billing) -> Answer[CurrentSubscriptionData]:
    """Where the subscription stands. Its period is the calendar month while nothing is paid."""
    return ok(CurrentSubscriptionData.from_domain(await billing.billing_views.current(caller)))


@router.post("/upgrade", **answers(UpgradedData, *_COMMAND_REFUSALS, body=True, idempotent=True))
async def upgrade(
    body: UpgradeRequest, caller: Caller, once: Idempotent, billing: Billing
) -> Answer[UpgradedData]:
    """Change to a higher plan at once, prorated; or take back a cancellation or a downgrade."""
    tier, interval = body.plan

    async def act() -> Answer[UpgradedData]:
        upgraded = await billing.subscriptions.upgrade(
            caller, tier=tier, interval=interval, payment_method_id=body.payment_method_id
        )
        return ok(UpgradedData.from_domain(upgraded))

    return await once(act)


@router.post(
    "/downgrade",
    **answers(DowngradedData, NoSubscription, *_COMMAND_REFUSALS, body=True, idempotent=True),
)
async def downgrade(
    body: DowngradeRequest, caller: Caller, once: Idempotent, billing: Billing
) -> Answer[DowngradedData]:
    """Change to a lower plan when the paid period ends."""

    async def act() -> Answer[DowngradedData]:
        interval = None if body.interval is None else BillingInterval(body.interval)
        downgraded = await billing.subscriptions.downgrade(
            caller, tier=Tier(body.tier), interval=interval
        )
        return ok(DowngradedData.from_domain(downgraded))

    return await once(act)


@router.post(
    "/cancel",
    **answers(CancelledData, NoSubscription, *_COMMAND_REFUSALS, body=True, idempotent=True),
)
async def cancel(
    body: CancelRequest, caller: Caller, once: Idempotent, billing: Billing
) -> Answer[CancelledData]:
    """End the subscription with its period, or now with the unused rest refunded."""

    async def act() -> Answer[CancelledData]:
        cancelled = await billing.subscriptions.cancel(
            caller,
            immediately=body.cancel_immediately,
            reason=body.reason,
            feedback=body.feedback,
        )
        return ok(CancelledData.from_domain(cancelled))

    return await once(act)


@router.get("/usage", **answers(UsageData))
async def get_usage(caller: Caller, billing: Billing) -> Answer[UsageData]:
    """Use of the plan's limits in the current period, with warnings from 80 % on."""
    return ok(UsageData.from_domain(await billing.billing_views.usage(caller)))


@router.get("/invoices", **answers(InvoicesData, BillingNotSetUp, BillingUnavailable))
async def list_invoices(
    caller: Caller, billing: Billing, query: Annotated[InvoicesQuery, Query()]
) -> Answer[InvoicesData]:
    """Bills, newest first."""
    found = await billing.billing_views.invoices(caller, limit=query.limit)
    return ok(InvoicesData(invoices=[InvoiceItem.from_domain(bill) for bill in found]))


@router.put(
    "/payment-method",
    **answers(PaymentMethodData, *_COMMAND_REFUSALS, body=True, idempotent=True),
)
async def update_payment_method(
    body: PaymentMethodRequest, caller: Caller, once: Idempotent, billing: Billing
) -> Answer[PaymentMethodData]:
    """Pay with another payment method; a bill that is overdue is paid at once."""

    async def act() -> Answer[PaymentMethodData]:
        row = await billing.subscriptions.set_payment_method(caller, body.payment_method_id)
        return ok(
            PaymentMethodData(
                message="Payment method updated",
                payment_method=PaymentMethodItem.from_row(row.payment_method),
            )
        )

    return await once(act)
