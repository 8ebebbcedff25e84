"""The inbox of provider events: verified, stored once, then processed by a durable workflow."""

from __future__ import annotations

from uuid import UUID

import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.billing import (
    BillingProvider,
    BillingWorkflows,
    EventVerifier,
    ForgedEvent,
    MalformedEvent,
)
from domain.ports import WallClock, WorkflowServiceUnavailable
from models.billing import StripeEvent, Subscription
from models.people import User
from services.billing.disputes import CLOSED, OPENED, Disputed, record_dispute
from services.billing.errors import WebhookClosed, WebhookForged, WebhookMalformed
from services.billing.refreshing import Refreshing
from services.billing.rows import lock_row
from services.database import Database
from services.notices import NoticeKind, tell

HANDLED_TYPES = frozenset(
    {
        "checkout.session.completed",
        "customer.subscription.created",
        "customer.subscription.deleted",
        "customer.subscription.trial_will_end",
        "customer.subscription.updated",
        "invoice.payment_failed",
        "invoice.payment_succeeded",
    }
)
DISPUTE_TYPES = frozenset({OPENED, CLOSED})
TRIAL_WILL_END = "customer.subscription.trial_will_end"

_log = structlog.get_logger("nija.billing")


class EventInbox:
    """Takes events in."""

    def __init__(
        self,
        database: Database,
        verifier: EventVerifier | None,
        workflows: BillingWorkflows,
        clock: WallClock,
    ) -> None:
        self._database = database
        self._verifier = verifier
        self._workflows = workflows
        self._clock = clock

    async def receive(self, body: bytes, signature: str | None) -> bool:
        """Store a verified event and see that it is processed; whether it is new.

        Once this returns the event is durable: a workflow service that is down delays it only.

        Raises:
            WebhookClosed: no signing secret is set.
            WebhookForged, WebhookMalformed: refused; nothing was stored.
        """
        if self._verifier is None:
            raise WebhookClosed
        try:
            event = self._verifier.verify(body, signature)
        except ForgedEvent as failure:
            raise WebhookForged from failure
        except MalformedEvent as failure:
            raise WebhookMalformed from failure
        async with self._database.as_system() as session:
            stored = await (await session.connection()).execute(
                insert(StripeEvent)
                .values(
                    id=event.id,
                    type=event.type,
                    created_at=event.created_at,
                    object_id=event.object_id,
                    customer_id=event.customer_id,
                    received_at=self._clock.now(),
                )
                .on_conflict_do_nothing(index_elements=["id"])
                .returning(col(StripeEvent.id))
            )
            is_new = stored.first() is not None
        if is_new:
            await self._start(event.id)
        return is_new

    async def _start(self, event_id: str) -> None:
        try:
            await self._workflows.process_event(event_id)
        except WorkflowServiceUnavailable:
            _log.warning("billing.event_waits", event_id=event_id)  # the sweep starts it


class EventHandling:
    """Processes stored events. Which one it is decides whom to read, never what is stored."""

    def __init__(
        self,
        database: Database,
        provider: BillingProvider,
        refreshing: Refreshing,
        workflows: BillingWorkflows,
        clock: WallClock,
    ) -> None:
        self._database = database
        self._provider = provider
        self._refreshing = refreshing
        self._workflows = workflows
        self._clock = clock

    async def handle(self, event_id: str) -> str:
        """Process an event; once it is, again does nothing.

        Raises:
            ProviderUnavailable, WorkflowServiceUnavailable: try again.
        """
        async with self._database.as_system() as session:
            event = await session.get_one(StripeEvent, event_id)
        if event.handled_at is not None:
            return event.outcome or ""
        disputed = None
        if event.type in DISPUTE_TYPES:
            disputed = await self._disputed(event)
            outcome = "not a customer of ours" if disputed is None else "recorded"
        else:
            outcome = await self._process(event)
        async with self._database.as_system() as session:
            stored = await session.get_one(StripeEvent, event_id, with_for_update=True)
            if stored.handled_at is not None:
                return stored.outcome or ""
            stored.handled_at, stored.outcome = self._clock.now(), outcome
            if disputed is not None:
                stored.customer_id = disputed.dispute.customer_id  # forgotten together with it
                await record_dispute(session, disputed, stored.handled_at)
            session.add(stored)
        return outcome

    async def _disputed(self, event: StripeEvent) -> Disputed | None:
        """The dispute that an event tells of; None if no user of ours paid."""
        if event.object_id is None:
            return None
        dispute = await self._provider.dispute(event.object_id)
        user_id = None
        if dispute.customer_id is not None:
            user_id = await self._owner(dispute.customer_id)
        if user_id is None:
            _log.warning("billing.dispute_of_nobody", event_id=event.id, dispute=dispute.id)
            return None
        return Disputed(event.type, user_id, dispute)

    async def _process(self, event: StripeEvent) -> str:
        if event.type not in HANDLED_TYPES:
            return "not of interest"
        if event.customer_id is None:
            return "names no customer"
        user_id = await self._owner(event.customer_id)
        if user_id is None:
            return "not a customer of ours"
        snapshot = await self._refreshing.refresh(user_id)
        trial_end = snapshot and snapshot.subscription and snapshot.subscription.trial_end
        if event.type == TRIAL_WILL_END and trial_end:
            await self._remind_of_trial(user_id, trial_end.isoformat())
        await self._workflows.wake_subscription(user_id)
        return "state read and stored"

    async def _remind_of_trial(self, user_id: UUID, trial_end: str) -> None:
        async with self._database.for_user(user_id) as session:
            await tell(
                session,
                user_id,
                NoticeKind.TRIAL_ENDING,
                trial_end,
                now=self._clock.now(),
                facts={"trial_ends_at": trial_end},
            )

    async def _owner(self, customer_id: str) -> UUID | None:
        """The user of a customer: by our own row, else by the customer's metadata.

        The latter is for a customer whose making we did not hear back from. One user never gets a
        second customer that way.
        """
        async with self._database.as_system() as session:
            known = await _user_of(session, customer_id)
        if known is not None:
            return known
        named = await self._provider.owner_of(customer_id)
        if named is None:
            return None
        async with self._database.as_system() as session:
            if await session.get(User, named) is None:
                return None
            row = await lock_row(session, named, self._clock.now())
            if row.customer_id is None:
                row.customer_id = customer_id
                session.add(row)
            return named if row.customer_id == customer_id else None


async def _user_of(session: AsyncSession, customer_id: str) -> UUID | None:
    return (
        await session.exec(
            select(Subscription.user_id).where(Subscription.customer_id == customer_id)
        )
    ).one_or_none()
