"""The address that the payment provider writes to: the user's own, also after it was changed.

What the provider was last told is kept as a digest, beside the customer's id, so every look sees
whether it is still right: nothing that fails or dies in between gets lost, and of several changes
the last one holds. An address itself is kept in one place only.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from uuid import UUID, uuid4

import structlog
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.billing import BillingProvider, ProviderRefused
from domain.ports import WallClock
from models.account_life import AccountDeletion
from models.billing import Subscription
from models.people import User
from services.billing.rows import lock_row
from services.database import Database

_log = structlog.get_logger("nija.billing")


def digest(email: str) -> str:
    """What is kept of an address."""
    return hashlib.sha256(email.encode()).hexdigest()


async def announce_change(session: AsyncSession, user_id: UUID, now: datetime) -> None:
    """Have the provider told of another address, once the caller's transaction has committed it.

    Locks the billing row, which comes before the user's own: call this first.
    """
    await session.exec(
        update(Subscription)
        .where(col(Subscription.user_id) == user_id, col(Subscription.customer_id).is_not(None))
        .values(next_look_at=now)
    )


class Contact:
    """Tells the provider of a user's present address."""

    def __init__(self, database: Database, provider: BillingProvider, clock: WallClock) -> None:
        self._database = database
        self._provider = provider
        self._clock = clock

    async def tell(self, user_id: UUID) -> None:
        """Change the customer's address, where it is another one than the user's.

        Raises:
            ProviderUnavailable, ProviderOutcomeUnknown, ProviderMisconfigured: try again.
        """
        async with self._database.as_system() as session:
            row = await lock_row(session, user_id, self._clock.now())
            email, customer_id = await untold(session, row), row.customer_id
            if email is None or customer_id is None:
                return
            is_leaving = await session.get(AccountDeletion, user_id) is not None
            # Not known from here on until it is answered: a lost answer must be asked for again,
            # even if the user returns to the address before. Who is being deleted has none any
            # more, and the customer goes too.
            row.email_digest = digest(email) if is_leaving else None
            session.add(row)
        if is_leaving:
            return
        try:
            # A key of its own: under one made from the address, A to B and back to A would be
            # answered with what the first A did. A repeat of the same address changes nothing.
            await self._provider.change_email(customer_id, email, key=f"nija:email:{uuid4()}")
        except ProviderRefused as refused:  # the customer is gone, or the address is none to it
            _log.error("billing.email_refused", user_id=str(user_id), code=refused.code)
        async with self._database.as_system() as session:
            row = await lock_row(session, user_id, self._clock.now())
            if row.customer_id == customer_id:
                row.email_digest = digest(email)
                session.add(row)


async def untold(session: AsyncSession, row: Subscription) -> str | None:
    """The user's address, if the provider is still to be told of it; the row is locked."""
    if row.customer_id is None:
        return None
    email = (await session.exec(select(User.email).where(User.id == row.user_id))).one()
    return None if digest(email) == row.email_digest else email
