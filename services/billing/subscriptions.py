"""What a user may do with their subscription: upgrade, downgrade, cancel, pay with another card."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from domain.billing import PlanChoice, SubscriptionStatus
from domain.plans import PLANS, BillingInterval, Tier
from domain.principal import Principal
from models.billing import CommandKind
from models.billing import Subscription as Row
from services.billing.commands import Commands
from services.billing.errors import BillingNotSetUp, NoSubscription, PaymentFailed
from services.billing.execution import OVERDUE, Result
from services.billing.rows import find_row
from services.database import Database
from services.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Upgraded:
    """A plan that holds from now on; `proration_credit` is not positive."""

    subscription_id: str
    choice: PlanChoice
    amount: Decimal
    proration_credit: Decimal
    amount_due_now: Decimal


@dataclass(frozen=True, slots=True)
class Downgraded:
    """A plan that holds from `effective_at` on."""

    subscription_id: str
    choice: PlanChoice
    amount: Decimal
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A subscription that ended, or ends with its period."""

    cancel_at_period_end: bool
    access_until: datetime
    refund_amount: Decimal


class Subscriptions:
    """Commands of a user; `commands` is None where no payment provider is set up."""

    def __init__(self, database: Database, commands: Commands | None) -> None:
        self._database = database
        self._commands = commands

    async def upgrade(
        self,
        principal: Principal,
        *,
        tier: Tier,
        interval: BillingInterval,
        payment_method_id: str | None,
    ) -> Upgraded:
        """Pay for a higher plan, at once; or take back a cancellation or a downgrade.

        Raises:
            InvalidRequest: not a paid or not a higher plan, or no usable payment method.
            PaymentFailed: the card was declined, or an earlier payment is overdue.
            DomainError: as `Commands.carry_out`; BillingNotSetUp.
        """
        commands = self._require_commands()
        choice = PlanChoice(tier, interval)
        request = _request(choice) | {"payment_method_id": payment_method_id}
        await commands.finish_open(principal.user_id)
        row = await self._row(principal.user_id)
        result = None
        if tier is not Tier.FREE and _is_as_asked(row, choice):
            result = await commands.repeat_of(principal.user_id, CommandKind.UPGRADE, request)
        if result is None:
            _require_upgrade(row, choice)
            if payment_method_id is None and (row is None or row.payment_method is None):
                raise InvalidRequest({"payment_method_id": "There is no payment method on file"})
            result = await commands.carry_out(principal.user_id, CommandKind.UPGRADE, request)
        return Upgraded(
            subscription_id=result["subscription_id"],
            choice=choice,
            amount=Decimal(result["amount"]),
            proration_credit=Decimal(result["proration_credit"]),
            amount_due_now=Decimal(result["amount_due_now"]),
        )

    async def downgrade(
        self, principal: Principal, *, tier: Tier, interval: BillingInterval | None
    ) -> Downgraded:
        """Change to a lower plan when the paid period ends; to the free one by cancelling.

        Raises:
            InvalidRequest: not a lower plan.
            NoSubscription: nothing is paid for.
            DomainError: as `Commands.carry_out`; BillingNotSetUp.
        """
        commands = self._require_commands()
        await commands.finish_open(principal.user_id)
        row = _require_live(await self._row(principal.user_id))
        current = _choice_of(row)
        choice = PlanChoice(tier, interval or current.interval)
        if choice == current or choice.is_upgrade_of(current):
            raise InvalidRequest({"tier": "Choose a lower plan, or use /subscription/upgrade"})
        if tier is Tier.FREE:
            result = await self._cancel(commands, principal.user_id, immediately=False)
            return Downgraded(
                str(row.provider_id),
                choice,
                Decimal(0),
                datetime.fromisoformat(result["access_until"]),
            )
        result = await commands.carry_out(
            principal.user_id, CommandKind.DOWNGRADE, _request(choice)
        )
        return Downgraded(
            subscription_id=result["subscription_id"],
            choice=choice,
            amount=Decimal(result["amount"]),
            effective_at=datetime.fromisoformat(result["effective_at"]),
        )

    async def cancel(
        self,
        principal: Principal,
        *,
        immediately: bool,
        reason: str | None = None,
        feedback: str | None = None,
    ) -> Cancelled:
        """End the subscription: now, with the unused rest refunded, or with its period.

        Raises:
            NoSubscription: nothing is paid for.
            DomainError: as `Commands.carry_out`; BillingNotSetUp.
        """
        commands = self._require_commands()
        await commands.finish_open(principal.user_id)
        request = {"immediately": immediately, "reason": reason, "feedback": feedback}
        row = await self._row(principal.user_id)
        if row is not None and not _is_live(row):
            result = await commands.repeat_of(principal.user_id, CommandKind.CANCEL, request)
            if result is not None:
                return _cancelled(result)
        _require_live(row)
        return _cancelled(await commands.carry_out(principal.user_id, CommandKind.CANCEL, request))

    async def set_payment_method(self, principal: Principal, payment_method_id: str) -> Row:
        """Pay future bills, and one that is overdue now, with another payment method.

        Raises:
            InvalidRequest: the provider does not know or does not accept it.
            DomainError: as `Commands.carry_out`; BillingNotSetUp.
        """
        commands = self._require_commands()
        await commands.finish_open(principal.user_id)
        await commands.carry_out(
            principal.user_id,
            CommandKind.PAYMENT_METHOD,
            {"payment_method_id": payment_method_id},
        )
        row = await self._row(principal.user_id)
        assert row is not None, "a customer was stored"
        return row

    async def _cancel(self, commands: Commands, user_id: UUID, *, immediately: bool) -> Result:
        request: dict[str, Any] = {"immediately": immediately, "reason": None, "feedback": None}
        return await commands.carry_out(user_id, CommandKind.CANCEL, request)

    def _require_commands(self) -> Commands:
        if self._commands is None:
            raise BillingNotSetUp
        return self._commands

    async def _row(self, user_id: UUID) -> Row | None:
        async with self._database.for_user(user_id) as session:
            return await find_row(session, user_id)


def _request(choice: PlanChoice) -> dict[str, Any]:
    return {"tier": choice.tier.value, "interval": choice.interval.value}


def _is_live(row: Row) -> bool:
    return row.status is not None and SubscriptionStatus(row.status).is_live


def _require_live(row: Row | None) -> Row:
    if row is None or not _is_live(row):
        raise NoSubscription
    return row


def _choice_of(row: Row) -> PlanChoice:
    assert row.tier is not None
    assert row.interval is not None, "a live subscription has both"
    return PlanChoice(Tier(row.tier), BillingInterval(row.interval))


def _is_as_asked(row: Row | None, choice: PlanChoice) -> bool:
    """Whether the plan holds already and goes on."""
    return (
        row is not None
        and _is_live(row)
        and _choice_of(row) == choice
        and not row.cancel_at_period_end
        and row.scheduled_tier is None
    )


def _require_upgrade(row: Row | None, choice: PlanChoice) -> None:
    if choice.tier is Tier.FREE:
        raise InvalidRequest({"tier": "The free plan is not paid for; cancel instead"})
    if row is None or not _is_live(row):
        return
    if SubscriptionStatus(row.status or "").is_in_arrears:
        raise PaymentFailed(OVERDUE)
    current = _choice_of(row)
    if _is_as_asked(row, choice):
        plan = PLANS[choice.tier].name
        raise InvalidRequest({"tier": f"The {plan} plan holds already"})
    if choice != current and not choice.is_upgrade_of(current):
        raise InvalidRequest({"tier": "Use /subscription/downgrade for a lower plan"})


def _cancelled(result: Result) -> Cancelled:
    return Cancelled(
        cancel_at_period_end=result["cancel_at_period_end"],
        access_until=datetime.fromisoformat(result["access_until"]),
        refund_amount=Decimal(result["refund_amount"]),
    )
