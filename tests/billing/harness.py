"""Billing put together over a real PostgreSQL and the Stripe stand-in, and users who pay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import stripe
from sqlalchemy import text

from adapters.embedded.postgres_roles import DatabaseUrls
from adapters.stripe.calls import make_client, make_transport
from adapters.stripe.events import StripeEventVerifier
from adapters.stripe.prices import make_prices
from adapters.stripe.provider import StripeProvider
from domain.plans import BillingInterval, Plan, Tier
from domain.ports import WorkflowServiceUnavailable
from domain.principal import Principal, Role
from models.people import User
from services.billing.commands import Commands
from services.billing.contact import Contact
from services.billing.entitlements import plan_of
from services.billing.inbox import EventHandling, EventInbox
from services.billing.refreshing import Refreshing
from services.billing.subscriptions import Subscriptions, Upgraded
from services.billing.sweeping import BillingSweep
from services.billing.tending import Tending
from services.billing.views import BillingViews
from services.database import Database
from tests.support.clocks import FakeWall
from tests.support.lossy_proxy import LossyProxy, lossy_proxy
from tests.support.stripe_standin import StandIn, stripe_standin

KEY = "sk_test_of_the_stand_in"
SECRET = "whsec_of_the_tests"
MONTHLY, YEARLY = BillingInterval.MONTHLY, BillingInterval.YEARLY


@dataclass
class FakeBillingWorkflows:
    """Remembers who was told; may be away, or have a worker that is at once about it."""

    woken: list[UUID] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    is_away: bool = False
    at_waking: Callable[[UUID], Awaitable[object]] | None = None

    async def wake_subscription(self, user_id: UUID) -> None:
        self._answer()
        self.woken.append(user_id)
        if self.at_waking is not None:
            await self.at_waking(user_id)

    async def process_event(self, event_id: str) -> None:
        self._answer()
        self.events.append(event_id)

    def _answer(self) -> None:
        if self.is_away:
            raise WorkflowServiceUnavailable("away")


@dataclass
class Till:
    """All of billing, and ways to look at its books."""

    database: Database
    wall: FakeWall
    standin: StandIn
    proxy: LossyProxy
    provider: StripeProvider
    workflows: FakeBillingWorkflows
    commands: Commands
    refreshing: Refreshing
    subscriptions: Subscriptions
    views: BillingViews
    tending: Tending
    inbox: EventInbox
    handling: EventHandling
    sweep: BillingSweep
    delivered: int = 0

    # --- people -----------------------------------------------------------------------------

    async def add_user(self, *, trial_days: float = -1) -> Principal:
        user_id = uuid4()
        async with self.database.as_system() as session:
            session.add(
                User(
                    id=user_id,
                    email=f"{user_id.hex}@example.com",
                    full_name="Somebody Who Pays",
                    password_hash="-",
                    trial_ends_at=self.wall.now() + timedelta(days=trial_days),
                    created_at=self.wall.now(),
                )
            )
        return Principal(user_id, uuid4(), Role.USER)

    async def upgrade(
        self,
        who: Principal,
        tier: Tier = Tier.PRO,
        interval: BillingInterval = MONTHLY,
        *,
        method: str | None = None,
    ) -> Upgraded:
        return await self.subscriptions.upgrade(
            who, tier=tier, interval=interval, payment_method_id=method
        )

    async def subscriber(
        self, tier: Tier = Tier.PRO, interval: BillingInterval = MONTHLY
    ) -> Principal:
        """Somebody who pays with a good card; their events are delivered."""
        who = await self.add_user()
        await self.upgrade(who, tier, interval, method=self.standin.add_card())
        await self.deliver_all()
        return who

    # --- Stripe's side ----------------------------------------------------------------------

    async def receive(self, event: dict[str, Any], *, secret: str = SECRET) -> bool:
        """Stripe's POST of an event."""
        body = json.dumps(event)
        header = stripe.WebhookSignature.generate_signature_header(body, secret)
        return await self.inbox.receive(body.encode(), header)

    async def deliver(self, *events: dict[str, Any]) -> None:
        """Receive and process events, in this order."""
        for event in events:
            await self.receive(event)
            await self.handling.handle(event["id"])

    def fresh_events(self) -> list[dict[str, Any]]:
        """What happened since the last call."""
        fresh = self.standin.events[self.delivered :]
        self.delivered = len(self.standin.events)
        return fresh

    async def deliver_all(self) -> None:
        await self.deliver(*self.fresh_events())

    async def pass_time(self, **parts: float) -> None:
        """Time goes by, at Stripe too; its events are not delivered yet."""
        self.wall.advance(**parts)
        self.standin.run_due()

    def lose_answer(self, write: str) -> None:
        """The next such write is carried out, and its answer lost on the way back."""

        def lose() -> None:
            self.proxy.loses_answers = self.proxy.breaks_connections = True
            self.proxy.answer_lost.clear()
            self._healing = asyncio.create_task(self._heal())

        self.standin.afterwards[write] = lose

    async def _heal(self) -> None:
        await self.proxy.answer_lost.wait()
        self.proxy.loses_answers = False

    def fall_silent_after(self, write: str) -> None:
        """The next such write is carried out; from then on nobody hears from Stripe."""

        def fall_silent() -> None:
            self.proxy.loses_answers = self.proxy.breaks_connections = True

        self.standin.afterwards[write] = fall_silent

    async def die_after(self, write: str, act: Coroutine[Any, Any, object]) -> None:
        """Our process dies once the write was carried out, before it hears so; another begins."""
        dying = asyncio.create_task(act)
        self.standin.afterwards[write] = dying.cancel
        with suppress(asyncio.CancelledError):
            await dying
        assert dying.cancelled(), f"it outlived {write}"
        await self._begin_anew()

    async def _begin_anew(self) -> None:
        """Everything of a process is made anew; only the books remain, here and at Stripe."""
        await self.provider.close()
        provider = StripeProvider.connect(KEY, api_base=self.proxy.url)
        anew = assemble(self.database, self.wall, self.standin, self.proxy, provider)
        vars(self).update(vars(anew) | {"delivered": self.delivered})

    # --- the books --------------------------------------------------------------------------

    async def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        async with self.database.as_system() as session:
            found = await (await session.connection()).execute(text(statement), values)
            return [dict(row) for row in found.mappings()]

    async def row(self, who: Principal) -> dict[str, Any]:
        (found,) = await self.rows(
            "SELECT s.*, u.subscription_tier FROM subscriptions s JOIN users u ON u.id = s.user_id"
            " WHERE s.user_id = :user",
            user=who.user_id,
        )
        return found

    async def notices(self, who: Principal) -> list[str]:
        found = await self.rows(
            "SELECT kind FROM notices WHERE user_id = :user ORDER BY created_at, cmin::text::int",
            user=who.user_id,
        )
        return [row["kind"] for row in found]

    async def command(self, who: Principal) -> dict[str, Any]:
        return (
            await self.rows(
                "SELECT * FROM billing_commands WHERE user_id = :user ORDER BY created_at DESC",
                user=who.user_id,
            )
        )[0]

    async def plan(self, who: Principal) -> Plan:
        async with self.database.for_user(who.user_id) as session:
            return await plan_of(session, who.user_id, self.wall.now())


@asynccontextmanager
async def open_till(urls: DatabaseUrls) -> AsyncIterator[Till]:
    """Billing against a fresh stand-in whose prices are set up."""
    wall = FakeWall()
    database = Database(urls.app, urls.system, pool_size=5)
    async with stripe_standin(wall.now) as standin, lossy_proxy(standin.url) as proxy:
        transport = make_transport()
        await make_prices(make_client(KEY, transport, api_base=standin.url))
        await transport.close_async()  # type: ignore[no-untyped-call]  # untyped there
        standin.replays = 0
        provider = StripeProvider.connect(KEY, api_base=proxy.url)
        till = assemble(database, wall, standin, proxy, provider)
        try:
            yield till
        finally:
            await till.provider.close()
            await database.close()


def assemble(
    database: Database,
    wall: FakeWall,
    standin: StandIn,
    proxy: LossyProxy,
    provider: StripeProvider,
) -> Till:
    workflows = FakeBillingWorkflows()
    refreshing = Refreshing(database, provider, wall)
    commands = Commands(database, provider, workflows, refreshing, wall, replay_delay_seconds=0.01)
    return Till(
        database=database,
        wall=wall,
        standin=standin,
        proxy=proxy,
        provider=provider,
        workflows=workflows,
        commands=commands,
        refreshing=refreshing,
        subscriptions=Subscriptions(database, commands),
        views=BillingViews(database, provider, wall),
        tending=Tending(database, commands, refreshing, wall, Contact(database, provider, wall)),
        inbox=EventInbox(database, StripeEventVerifier(SECRET), workflows, wall),
        handling=EventHandling(database, provider, refreshing, workflows, wall),
        sweep=BillingSweep(database, workflows, wall),
    )
