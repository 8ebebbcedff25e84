"""TradingView's alerts, their keys (`/config/webhooks`) and their list (`/account/signals`)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from api.kit.alerts import Alerts
from api.kit.rate_limits import meter_of
from api.nija.auth import Caller, Reader
from api.nija.documented import answers
from api.nija.envelope import Answer, ok
from api.nija.once import Idempotent
from api.nija.schemas.common import MessageView
from api.nija.schemas.signals import SignalsData, SignalsQuery
from api.nija.schemas.webhooks import (
    AlertReceivedData,
    WebhookKeyIssuedData,
    WebhookKeyItem,
    WebhookKeyRequest,
    WebhookKeysData,
    body_documentation,
    parse_alert,
)
from services.alerts.errors import AlertMalformed, WebhookKeyInvalid, WebhookNeedsPlan
from services.errors import (
    AccountDisabled,
    AccountSuspended,
    ExceedsTierLimit,
    InvalidRequest,
    ObjectNotFound,
    RateLimited,
)

router = APIRouter()


@router.post(
    "/webhooks/tradingview",
    tags=["Webhooks"],
    openapi_extra=body_documentation(),
    **answers(
        AlertReceivedData,
        AlertMalformed,
        WebhookKeyInvalid,
        WebhookNeedsPlan,
        AccountDisabled,
        AccountSuspended,
        InvalidRequest,
        RateLimited,
        public=True,
        body=True,
        lenient=True,  # charts send what users write
        counted=False,  # all users' alerts come from the same few addresses; each key has a limit
    ),
)
async def receive_alert(request: Request, alerts: Alerts) -> Answer[AlertReceivedData]:
    """Take an alert in. Answered as soon as it is durable; `/account/signals` tells its outcome."""
    key, offer = parse_alert(await request.body())
    receipt = await alerts.alert_intake.receive(key, offer, meter_of(request))
    return ok(AlertReceivedData.from_domain(receipt))


@router.get("/config/webhooks", tags=["Configuration"], **answers(WebhookKeysData))
async def list_webhooks(reader: Reader, alerts: Alerts) -> Answer[WebhookKeysData]:
    """The webhook keys that are good at present; their secrets are never shown again."""
    found = await alerts.webhook_keys.list(reader)
    return ok(WebhookKeysData(webhooks=[WebhookKeyItem.from_domain(key) for key in found]))


@router.post(
    "/config/webhooks",
    tags=["Configuration"],
    **answers(WebhookKeyIssuedData, WebhookNeedsPlan, ExceedsTierLimit, body=True, idempotent=True),
)
async def issue_webhook(
    caller: Caller, once: Idempotent, alerts: Alerts, body: WebhookKeyRequest | None = None
) -> Answer[WebhookKeyIssuedData]:
    """Make the webhook key, or replace it. It is shown this once."""
    wanted = body or WebhookKeyRequest()

    async def act(command_id: UUID) -> Answer[WebhookKeyIssuedData]:
        issued = await alerts.webhook_keys.issue(
            caller, overlap=wanted.overlap, command_id=command_id
        )
        return ok(WebhookKeyIssuedData.from_domain(issued))

    return await once.command(act)


@router.delete(
    "/config/webhooks",
    tags=["Configuration"],
    **answers(MessageView, ObjectNotFound, idempotent=True),
)
async def revoke_webhook(caller: Caller, once: Idempotent, alerts: Alerts) -> Answer[MessageView]:
    """End the webhook key at once, and any that it replaced."""

    async def act() -> Answer[MessageView]:
        await alerts.webhook_keys.revoke(caller)
        return ok(MessageView(message="Webhook key revoked"))

    return await once(act)


@router.get("/account/signals", tags=["Account Management"], **answers(SignalsData))
async def list_signals(
    reader: Reader, alerts: Alerts, query: Annotated[SignalsQuery, Query()]
) -> Answer[SignalsData]:
    """Received alerts with their outcomes, newest first."""
    page = await alerts.alert_views.page(
        reader, query.to_filter(), page=query.page, per_page=query.per_page
    )
    return ok(SignalsData.from_domain(page, query))
