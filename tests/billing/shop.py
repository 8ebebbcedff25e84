"""Billing as users and Stripe meet it: HTTP on both sides, and the durable workflows between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import stripe
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.billing import BillingActivities
from adapters.embedded.postgres_roles import DatabaseUrls
from adapters.temporal.billing import TemporalBilling
from adapters.temporal.client import TemporalWorkflows
from domain.contracts.billing import subscription_workflow_id
from domain.plans import PLANS, Tier
from domain.principal import Principal, Role
from services.billing.inbox import EventInbox
from services.billing.subscriptions import Subscriptions
from services.billing.views import BillingViews
from tests.api.harness import Api, World, open_client, open_world, register
from tests.billing.harness import SECRET, Till
from tests.support.clocks import BEGAN
from tests.support.sandbox import sandboxed
from workflows.stripe_event import StripeEventWorkflow
from workflows.subscription import SubscriptionWorkflow

WEBHOOK = "/webhooks/stripe"
BUSY = 409
PATIENCE = 600
PAUSE_SECONDS = 0.1
"""A minute altogether: a loaded machine may stall."""


@dataclass
class Container:
    """The world of the API's tests, and billing."""

    world: World
    subscriptions: Subscriptions
    billing_views: BillingViews
    billing_inbox: EventInbox

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)


@dataclass
class Shop:
    """One customer, the API they call, Stripe, and a worker."""

    till: Till
    world: World
    client: httpx.AsyncClient
    user: Api
    billing: TemporalBilling

    @property
    def who(self) -> Principal:
        return Principal(self.user.user_id, UUID(int=1), Role.USER)

    # --- the customer -----------------------------------------------------------------------

    async def upgrade(
        self, tier: str, interval: str = "monthly", *, card: str | None = None
    ) -> Any:
        return await self.user.data(
            "POST", "/subscription/upgrade", json=wish(tier, interval, card)
        )

    async def subscribe(self, tier: str, interval: str = "monthly") -> Any:
        """Pay with a good card; what Stripe says of it is delivered."""
        upgraded = await self.upgrade(tier, interval, card=self.till.standin.add_card())
        await self.deliver_all()
        return upgraded

    async def cancel_again(self, body: dict[str, Any]) -> Any:
        """Ask as often as it takes: the workflow may be finishing what was asked for before."""
        for _ in range(PATIENCE):
            answer = await self.user.call("POST", "/subscription/cancel", json=body)
            if answer.status_code != BUSY:
                break
            await asyncio.sleep(PAUSE_SECONDS)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def current(self) -> Any:
        return await self.user.data("GET", "/subscription/current")

    # --- time -------------------------------------------------------------------------------

    async def pass_time(self, **parts: float) -> None:
        """Time goes by everywhere; Stripe's events are not delivered yet."""
        await self.till.pass_time(**parts)
        await self._wake_up()

    async def _wake_up(self) -> None:
        self.world.clock.moment = self.till.wall.time
        await self.user.log_in(self.user.email)  # the token has expired meanwhile

    async def pass_timer(self, moment: datetime) -> None:
        """Let the timer that the subscription's workflow has set for a moment run out."""
        self.till.wall.time = moment - timedelta(seconds=2)
        await self.billing.wake_subscription(self.user.user_id)
        for _ in range(PATIENCE):
            row = await self.till.row(self.who)
            if row["next_look_at"] == moment:
                break
            await asyncio.sleep(PAUSE_SECONDS)
        assert row["next_look_at"] == moment, "there is no such timer"
        self.till.wall.time = moment
        self.till.standin.run_due()
        for _ in range(PATIENCE):
            row = await self.till.row(self.who)
            if row["looked_at"] >= moment and row["next_look_at"] != moment:
                break
            await asyncio.sleep(PAUSE_SECONDS)
        assert row["looked_at"] >= moment, "nobody has looked since"
        assert row["next_look_at"] != moment, "the look did not end"
        await self._wake_up()

    # --- Stripe -----------------------------------------------------------------------------

    async def post(self, event: dict[str, Any], *, secret: str = SECRET) -> httpx.Response:
        """Stripe's POST of an event."""
        body = json.dumps(event)
        header = stripe.WebhookSignature.generate_signature_header(body, secret)
        return await Api(self.client).call(
            "POST", WEBHOOK, content=body, headers={"Stripe-Signature": header}
        )

    async def deliver(self, *events: dict[str, Any]) -> None:
        """Post events in this order, and wait until the workflows have handled them."""
        for event in events:
            assert (await self.post(event)).status_code == 200
        ids = [event["id"] for event in events]
        for _ in range(PATIENCE):
            waiting = await self.till.rows(
                "SELECT id FROM stripe_events WHERE id = ANY(:ids) AND handled_at IS NULL", ids=ids
            )
            if not waiting:
                return
            await asyncio.sleep(PAUSE_SECONDS)
        raise AssertionError(f"nobody handled {waiting}")

    async def deliver_all(self) -> None:
        await self.deliver(*self.till.fresh_events())

    # --- the books --------------------------------------------------------------------------

    async def stands(
        self,
        tier: str,
        status: str,
        *,
        holds: str | None = None,
        charges: list[int],
        refunds: list[int] | None = None,
    ) -> None:
        """Assert all of the end state: tier and status, limits in force, and every cent.

        Args:
            tier: the subscription's.
            status: the subscription's.
            holds: the tier whose limits hold, where that is another one.
            charges: what Stripe took, in cents, oldest first.
            refunds: what Stripe gave back.
        """
        plan = PLANS[Tier(holds or tier)]
        current, usage = await self.current(), await self.user.data("GET", "/subscription/usage")
        assert (current["tier"], current["status"]) == (tier, status)
        assert current["effective_tier"] == plan.tier
        assert usage["usage"]["trades_limit"] == plan.limits.monthly_trades
        assert await self.till.plan(self.who) == plan
        assert self.till.standin.charges() == charges
        assert sorted(self.till.standin.refunds()) == sorted(refunds or [])
        billed = (await self.user.data("GET", "/subscription/invoices"))["invoices"]
        paid = [Decimal(str(bill["amount_paid"])) for bill in billed]
        assert sum(paid, Decimal(0)) == Decimal(sum(charges)) / 100
        alive = [one for one in self.till.standin.subscriptions() if one.status != "canceled"]
        assert len(alive) == (status != "canceled")
        assert len(self.till.standin.customers()) == 1
        opened = await self.till.rows(
            "SELECT id FROM billing_commands WHERE user_id = :user AND state = 'open'",
            user=self.user.user_id,
        )
        assert opened == []


def wish(tier: str, interval: str, card: str | None) -> dict[str, str]:
    """The body of an upgrade."""
    body = {"tier": tier, "interval": interval}
    return body if card is None else body | {"payment_method_id": card}


@asynccontextmanager
async def open_shop(urls: DatabaseUrls, till: Till, temporal_address: str) -> AsyncIterator[Shop]:
    """A customer without a trial; the till's workflows are durable ones with a worker."""
    queue = f"billing-{uuid4().hex}"
    temporal = TemporalWorkflows(temporal_address, "default", queue)
    billing = TemporalBilling(temporal, queue)
    for part in (till.commands, till.inbox, till.handling, till.sweep):
        cast("Any", part)._workflows = billing
    client = await temporal.client()
    activities = BillingActivities(till.tending, till.handling)
    async with open_world(urls) as world:
        world.clock.moment = BEGAN
        container = Container(world, till.subscriptions, till.views, till.inbox)
        async with (
            Worker(
                client,
                task_queue=queue,
                workflows=[SubscriptionWorkflow, StripeEventWorkflow],
                activities=[activities.tend, activities.handle_event],
                workflow_runner=sandboxed(),
            ),
            open_client(cast("World", container)) as http,
        ):
            user = await register(http)
            await world.sql(
                "UPDATE users SET trial_ends_at = NULL WHERE id = %(id)s", id=user.user_id
            )
            try:
                yield Shop(till, world, http, user, billing)
            finally:
                handle = client.get_workflow_handle(subscription_workflow_id(user.user_id))
                with suppress(RPCError):  # it never began, or it has ended
                    await handle.terminate()
