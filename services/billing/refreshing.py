"""Reading the provider and storing what it said: how every event and every command ends."""

from __future__ import annotations

from uuid import UUID

from domain.billing import BillingProvider, Snapshot
from domain.ports import WallClock
from services.billing.applying import apply_snapshot
from services.billing.rows import find_row, lock_row, take_ticket
from services.database import Database


class Refreshing:
    """Looks at a customer, under a ticket that is taken before the look begins.

    Whatever changed at the provider is seen by every look that begins later. So of two looks the
    later one's answer is kept, whichever arrives last; no event's own contents are ever used. For
    the same reason a row was looked at when the look began, not when its answer came.
    """

    def __init__(self, database: Database, provider: BillingProvider, clock: WallClock) -> None:
        self._database = database
        self._provider = provider
        self._clock = clock

    async def refresh(self, user_id: UUID) -> Snapshot | None:
        """Read the user's customer and store the answer; None for a user without one.

        Raises:
            ProviderUnavailable: it could not be read; nothing changed.
        """
        async with self._database.for_user(user_id) as session:
            row = await find_row(session, user_id)
            if row is None or row.customer_id is None:
                return None
            customer_id = row.customer_id
            ticket, began = await take_ticket(session, user_id), self._clock.now()
        snapshot = await self._provider.look(customer_id)
        async with self._database.for_user(user_id) as session:
            now = self._clock.now()
            locked = await lock_row(session, user_id, now)
            await apply_snapshot(session, locked, snapshot, ticket=ticket, began=began, now=now)
        return snapshot
