"""Finding billing work that nobody is at: after a crash, a lost signal, or a registration."""

from __future__ import annotations

from datetime import timedelta

from sqlmodel import col, or_, select

from domain.billing import BillingWorkflows
from domain.ports import WallClock
from models.billing import StripeEvent, Subscription
from models.people import User
from services.database import Database
from services.refusals import unless_refused

LATE = timedelta(seconds=30)
AT_ONCE = 200


class BillingSweep:
    """A part of each round of the worker's sweeper."""

    def __init__(self, database: Database, workflows: BillingWorkflows, clock: WallClock) -> None:
        self._database = database
        self._workflows = workflows
        self._clock = clock

    async def sweep(self) -> int:
        """Start what is late: events, looks, and the first look at every user with a trial.

        Returns:
            How many workflows were told.

        Raises:
            WorkflowServiceUnavailable: the next round goes on.
        """
        late = self._clock.now() - LATE
        async with self._database.as_system() as session:
            events = (
                await session.exec(
                    select(StripeEvent.id)
                    .where(col(StripeEvent.handled_at).is_(None), StripeEvent.received_at < late)
                    .order_by(col(StripeEvent.received_at))
                    .limit(AT_ONCE)
                )
            ).all()
            users = (
                await session.exec(
                    select(User.id)
                    .join(Subscription, col(Subscription.user_id) == User.id, isouter=True)
                    .where(
                        or_(
                            col(Subscription.next_look_at) < late,
                            col(Subscription.id).is_(None)
                            & (col(User.trial_ends_at) > self._clock.now()),
                        )
                    )
                    .limit(AT_ONCE)
                )
            ).all()
        for event_id in events:
            await unless_refused(self._workflows.process_event(event_id), event_id=event_id)
        for user_id in users:
            await unless_refused(self._workflows.wake_subscription(user_id), user_id=user_id)
        return len(events) + len(users)
