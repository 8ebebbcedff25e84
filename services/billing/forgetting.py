"""Ending a user's paid plan for good, and having the payment provider forget the customer."""

from __future__ import annotations

from uuid import UUID

import structlog
from sqlalchemy import delete
from sqlmodel import col

from domain.billing import (
    ZERO,
    BillingProvider,
    ProviderMisconfigured,
    ProviderOutcomeUnknown,
    ProviderRefused,
    ProviderUnavailable,
    SubscriptionStatus,
)
from domain.errors import DomainError
from models.billing import CommandKind, StripeEvent, Subscription
from services.billing.commands import Commands
from services.billing.refreshing import Refreshing
from services.billing.rows import find_row
from services.database import Database

_log = structlog.get_logger("nija.billing")


class BillingForgetting:
    """A step of deleting an account; safe to repeat.

    Args:
        database: where billing's rows are.
        provider: the payment provider; None where none is set up.
        commands: commands to it; None where none is set up.
        refreshing: reads what it knows; None where none is set up.
    """

    def __init__(
        self,
        database: Database,
        provider: BillingProvider | None,
        commands: Commands | None,
        refreshing: Refreshing | None,
    ) -> None:
        self._database = database
        self._provider = provider
        self._commands = commands
        self._refreshing = refreshing

    async def forget(self, user_id: UUID) -> bool:
        """Cancel at once, with the unused rest and credit refunded, then delete the customer.

        Returns:
            Whether that is done; False where it has to be tried again later.
        """
        row = await self._row(user_id)
        if self._provider is None or self._commands is None or self._refreshing is None:
            if row is None or not _is_live(row):
                return True
            _log.error("billing.cannot_cancel", user_id=str(user_id), why="no provider is set up")
            return False
        try:
            await self._commands.finish_open(user_id)
            row = await self._row(user_id)
            if row is not None and _is_live(row):
                await self._refreshing.refresh(user_id)  # it may have ended in the meantime
                row = await self._row(user_id)
            keeps = await self._keeps_credit(self._provider, row)
            if row is not None and (_is_live(row) or keeps):
                await self._commands.carry_out(
                    user_id,
                    CommandKind.CANCEL,
                    {"immediately": True, "reason": "account deleted", "feedback": None},
                )
                row = await self._row(user_id)
            if row is not None and _is_live(row):
                return False
            await self._delete_customer(self._provider, user_id, row)
        except (
            DomainError,
            ProviderUnavailable,
            ProviderOutcomeUnknown,
            ProviderMisconfigured,
            ProviderRefused,
        ) as failure:
            _log.warning(
                "billing.forgetting_waits", user_id=str(user_id), failure=type(failure).__name__
            )
            return False
        return True

    async def _keeps_credit(self, provider: BillingProvider, row: Subscription | None) -> bool:
        """Whether money of an ended plan is left with the customer, and would go with it."""
        if row is None or row.customer_id is None or _is_live(row):
            return False
        if not await provider.keeps_credit(row.customer_id):
            return False
        reported = (await provider.look(row.customer_id)).subscription
        return reported is not None and (await provider.funds(reported)).credit > ZERO

    async def _delete_customer(
        self, provider: BillingProvider, user_id: UUID, row: Subscription | None
    ) -> None:
        stored = None if row is None else row.customer_id
        # One that was made while nobody heard the answer is found by our id in its metadata.
        customer_id = stored or await provider.find_customer(user_id)
        if customer_id is None:
            return
        await provider.delete_customer(customer_id)
        async with self._database.as_system() as session:
            await session.exec(
                delete(StripeEvent).where(col(StripeEvent.customer_id) == customer_id)
            )

    async def _row(self, user_id: UUID) -> Subscription | None:
        async with self._database.for_user(user_id) as session:
            return await find_row(session, user_id)


def _is_live(row: Subscription) -> bool:
    return row.status is not None and SubscriptionStatus(row.status).is_live
