"""Stripe's events: `POST /webhooks/stripe`, authenticated by the signature of the raw body."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request

from api.kit.billing import Billing
from api.kit.wire import View
from api.nija.documented import answers
from api.nija.envelope import Answer, ok
from services.billing.errors import WebhookClosed, WebhookForged, WebhookMalformed

router = APIRouter(prefix="/webhooks", tags=["Webhooks"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A Stripe event, byte for byte as it was signed.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


class ReceivedData(View):
    """The event is stored."""

    received: bool = True


@router.post(
    "/stripe",
    openapi_extra=_BODY,
    **answers(
        ReceivedData,
        WebhookClosed,
        WebhookForged,
        WebhookMalformed,
        public=True,
        body=True,
        counted=False,
        lenient=True,
    ),
)
async def receive_stripe_event(
    request: Request,
    billing: Billing,
    stripe_signature: Annotated[str | None, Header()] = None,
) -> Answer[ReceivedData]:
    """Store an event once; a workflow processes it. Answered as soon as it is durable."""
    await billing.billing_inbox.receive(await request.body(), stripe_signature)
    return ok(ReceivedData())
