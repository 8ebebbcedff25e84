"""Carrying out one committed command, step by step, as often as it takes and with one effect.

Every write goes out under a key made from the command's id and the step's name, so the provider
itself drops a repeat. A run that follows another one first reads whether a step was done, because
the provider forgets keys after a day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import structlog

from domain.billing import (
    ZERO,
    BillingProvider,
    Invoice,
    PlanChoice,
    ProviderOutcomeUnknown,
    ProviderRefused,
    RefundShare,
    RefusalReason,
    Snapshot,
    Subscription,
    spread_refund,
)
from domain.plans import PLANS, BillingInterval, Tier
from domain.ports import WallClock
from models.billing import BillingCommand, CommandKind
from models.people import User
from services.billing.contact import digest
from services.billing.rows import find_row, lock_row
from services.database import Database

REPLAYS = 2
"""How often a step whose answer was lost is repeated at once, before it is left to be looked up."""

REPLAY_DELAY_SECONDS = 0.5

OVERDUE = "A payment is overdue; pay it first, with another payment method"

CHARGED_WITHIN = timedelta(minutes=10)
"""A charge that was not made by then is not made at all: nobody expects it any more."""

Result = dict[str, Any]

_log = structlog.get_logger("nija.billing")


class Execution:
    """One run of one command.

    Attributes:
        has_acted: whether anything was sent that changes subscription or money, or may have been.
    """

    def __init__(
        self,
        database: Database,
        provider: BillingProvider,
        clock: WallClock,
        command: BillingCommand,
        *,
        replay_delay_seconds: float = REPLAY_DELAY_SECONDS,
    ) -> None:
        self._database = database
        self._provider = provider
        self._clock = clock
        self._command = command
        self._delay = replay_delay_seconds
        self._request: dict[str, Any] = command.request
        self.has_acted = command.attempts > 1

    async def run(self) -> Result:
        """Carry the command out.

        Raises:
            ProviderRefused: refused; what was sent had no effect on subscription or money.
            ProviderOutcomeUnknown, ProviderUnavailable: run it again later.
        """
        match CommandKind(self._command.kind):
            case CommandKind.UPGRADE:
                return await self._upgrade()
            case CommandKind.DOWNGRADE:
                return await self._downgrade()
            case CommandKind.CANCEL if self._request["immediately"]:
                return await self._cancel_now()
            case CommandKind.CANCEL:
                return await self._cancel_later()
            case CommandKind.PAYMENT_METHOD:
                return await self._payment_method()

    # --- the commands -----------------------------------------------------------------------

    async def _upgrade(self) -> Result:
        choice = _choice(self._request)
        customer_id = await self._customer()
        found = await self._provider.look(customer_id)
        current = found.subscription
        decided = await self._decide(_before(found))
        if not self._is_done(current):
            try:
                await self._charge(customer_id, current, choice)
            except ProviderRefused:
                await self._put_back(customer_id, decided)
                raise
            current = await self._current(customer_id)
        assert current is not None, "a subscription that was just paid for exists"
        # Undoing a cancellation makes no bill.
        bill = current.latest_invoice
        bill = None if bill is None or bill.id == decided["bill_before"] else bill
        return {
            "subscription_id": current.id,
            "tier": choice.tier.value,
            "interval": choice.interval.value,
            "amount": _price(choice),
            "proration_credit": str(bill.credit) if bill else "0",
            "amount_due_now": str(bill.amount_due) if bill else "0",
        }

    async def _charge(
        self, customer_id: str, current: Subscription | None, choice: PlanChoice
    ) -> None:
        self._refuse_if_late()
        if current is not None and current.status.is_in_arrears:
            # Paying a later bill would make the provider forget the one that is missing.
            raise ProviderRefused(RefusalReason.OTHER, OVERDUE)
        method = self._request.get("payment_method_id")
        if method:
            await self._use_payment_method(customer_id, method)
        await self._start_or_change(customer_id, current, choice)

    async def _start_or_change(
        self, customer_id: str, current: Subscription | None, choice: PlanChoice
    ) -> None:
        if current is None or not current.status.is_live:
            await self._act(
                "subscribe",
                lambda key: self._provider.subscribe(
                    customer_id, choice, command_id=self._command.id, key=key
                ),
            )
            return
        await self._release(current)
        if current.choice == choice:
            await self._set_cancellation(current, at_period_end=False)
            return
        await self._act(
            "change",
            lambda key: self._provider.change_plan(
                current, choice, command_id=self._command.id, key=key
            ),
        )

    async def _put_back(self, customer_id: str, decided: Result) -> None:
        """Undo what came before a refused charge, so that the next bill is what it was to be."""
        method = decided.get("method_before") if self._request.get("payment_method_id") else None
        before = decided.get("scheduled_before")
        scheduled = _choice(before) if before else None
        if method is None and scheduled is None:
            return
        self.has_acted = True  # until it is put back, the command is not at its end
        found = await self._provider.look(customer_id)
        current, used = found.subscription, found.payment_method
        try:
            if method is not None and (used is None or used.id != method):
                await self._act(
                    "method:back",
                    lambda key: self._provider.prefer_payment_method(customer_id, method, key=key),
                )
            if scheduled is not None and current is not None and current.scheduled != scheduled:
                await self._schedule(current, scheduled, "schedule:back")
        except ProviderRefused as refused:
            _log.error("billing.not_put_back", command=str(self._command.id), code=refused.code)

    async def _downgrade(self) -> Result:
        choice = _choice(self._request)
        current = await self._require_current()
        if current.scheduled != choice:
            if current.cancel_at_period_end:
                await self._set_cancellation(current, at_period_end=False)
            await self._schedule(current, choice, "schedule")
        return {
            "subscription_id": current.id,
            "tier": choice.tier.value,
            "interval": choice.interval.value,
            "amount": _price(choice),
            "effective_at": current.period_end.isoformat(),
        }

    async def _cancel_later(self) -> Result:
        current = await self._require_current()
        if not self._is_done(current):
            await self._release(current)
            await self._set_cancellation(current, at_period_end=True)
        return {
            "cancel_at_period_end": True,
            "access_until": current.period_end.isoformat(),
            "refund_amount": "0",
        }

    async def _cancel_now(self) -> Result:
        customer_id = await self._customer()
        current = await self._current(customer_id)
        decided = self._command.decided or await self._decide_refund(current)
        if current is not None and current.status.is_live:
            await self._release(current)
            comment = self._request.get("reason") or ""
            await self._act(
                "cancel", lambda key: self._provider.cancel(current, comment=comment, key=key)
            )
        shares = [
            RefundShare(one["payment_id"], Decimal(one["amount"])) for one in decided["shares"]
        ]
        refunded = ZERO
        for number, share in enumerate(shares):
            refunded += await self._refund(number, share)
        refused = sum((share.amount for share in shares), ZERO) - refunded
        # Credit that could not be paid out stays where it is, for a later subscription.
        paid_out = Decimal(decided.get("credit", "0")) - refused
        if paid_out > ZERO:
            await self._take_credit(customer_id, paid_out)
        return {
            "cancel_at_period_end": False,
            "access_until": decided["ended_at"],
            "refund_amount": str(refunded),
            "refund_refused": str(refused),
        }

    async def _payment_method(self) -> Result:
        customer_id = await self._customer()
        await self._use_payment_method(customer_id, self._request["payment_method_id"])
        current = await self._current(customer_id)
        if current is not None and current.status.is_in_arrears:
            await self._pay_overdue(current)
        return {}

    async def _pay_overdue(self, current: Subscription) -> None:
        """Pay all that is open, oldest first: a later bill that is paid hides the earlier one."""
        bills = await self._provider.open_bills(current)
        decided = await self._decide({"owed": {bill.id: str(bill.owed) for bill in bills}})
        for number, bill in enumerate(bills):
            try:
                self._refuse_if_late()
                await self._pay(bill.id)
            except ProviderRefused as refused:
                waiting = bills[number:]
                paid = _owed_besides(decided["owed"], waiting)
                if paid == ZERO:
                    raise
                left = sum((one.owed for one in waiting), ZERO)
                why = "it was not confirmed in time" if self._is_late() else refused.message
                raise ProviderRefused(
                    refused.reason,
                    f"{paid} USD of what is overdue was paid, {left} USD was not: {why}",
                    code=refused.code,
                ) from refused

    async def _pay(self, invoice_id: str) -> None:
        await self._act(f"pay:{invoice_id}", lambda key: self._provider.pay(invoice_id, key=key))

    # --- steps ------------------------------------------------------------------------------

    async def _act(self, step: str, write: Callable[[str], Awaitable[None]]) -> None:
        """Send a write that changes subscription or money."""
        self.has_acted = True
        await self._once(step, write)

    def _refuse_if_late(self) -> None:
        if self._is_late():
            raise ProviderRefused(
                RefusalReason.OTHER, "The payment was not confirmed in time; nothing was charged"
            )

    def _is_late(self) -> bool:
        return self._clock.now() - self._command.created_at > CHARGED_WITHIN

    async def _once(self, step: str, write: Callable[[str], Awaitable[None]]) -> None:
        """Send a write under the step's key; an answer that got lost is asked for again."""
        key = f"nija:{self._command.id}:{step}"
        for replay in range(REPLAYS + 1):
            try:
                return await write(key)
            except ProviderOutcomeUnknown:
                if replay == REPLAYS:
                    raise
                await asyncio.sleep(self._delay * 2**replay)
        raise AssertionError("unreachable")

    async def _customer(self) -> str:
        """The user's customer: the stored one, else the one at the provider, else a new one."""
        user_id = self._command.user_id
        async with self._database.for_user(user_id) as session:
            row = await find_row(session, user_id)
            if row is not None and row.customer_id is not None:
                return row.customer_id
            user = await session.get_one(User, user_id)
        found = await self._provider.find_customer(user_id)
        customer_id = found or await self._make_customer(user)
        async with self._database.for_user(user_id) as session:
            locked = await lock_row(session, user_id, self._clock.now())
            locked.customer_id = customer_id
            locked.email_digest = None if found else digest(user.email)
            session.add(locked)
        return customer_id

    async def _make_customer(self, user: User) -> str:
        made: list[str] = []

        async def make(_: str) -> None:
            # Keyed by the user, not by the command: two commands must not make two customers.
            made.append(
                await self._provider.create_customer(
                    user.id, email=user.email, name=user.full_name, key=f"nija:customer:{user.id}"
                )
            )

        await self._once("customer", make)
        return made[0]

    async def _use_payment_method(self, customer_id: str, method: str) -> None:
        await self._once(
            "method",
            lambda key: self._provider.use_payment_method(customer_id, method, key=key),
        )

    async def _set_cancellation(self, current: Subscription, *, at_period_end: bool) -> None:
        await self._act(
            "cancellation",
            lambda key: self._provider.set_cancellation(
                current, at_period_end=at_period_end, command_id=self._command.id, key=key
            ),
        )

    async def _release(self, current: Subscription) -> None:
        schedule_id = current.schedule_id
        if schedule_id is not None:
            await self._act(
                f"release:{schedule_id}",
                lambda key: self._provider.release_schedule(schedule_id, key=key),
            )

    async def _schedule(self, current: Subscription, choice: PlanChoice, step: str) -> None:
        await self._act(
            step,
            lambda key: self._provider.schedule_plan(
                current, choice, command_id=self._command.id, key=key
            ),
        )

    async def _refund(self, number: int, share: RefundShare) -> Decimal:
        """Give a share back; what was given back: nothing where the provider refuses.

        The subscription has ended by then, so the command goes on to its end.
        """
        if self._command.attempts > 1:
            done = await self._provider.refunded_by(self._command.id, share.payment_id)
            if done is not None:
                return done
        try:
            await self._act(
                f"refund:{number}",
                lambda key: self._provider.refund(share, command_id=self._command.id, key=key),
            )
        except ProviderRefused as refused:
            _log.error(
                "billing.refund_refused",
                command=str(self._command.id),
                payment=share.payment_id,
                amount=str(share.amount),
                code=refused.code,
            )
            return ZERO
        return share.amount

    async def _take_credit(self, customer_id: str, amount: Decimal) -> None:
        """Take what was refunded of the credit from it, or a later bill would be paid with it."""
        command_id = self._command.id
        if self._command.attempts > 1 and await self._provider.credit_taken_by(
            command_id, customer_id
        ):
            return
        try:
            await self._act(
                "credit",
                lambda key: self._provider.take_credit(
                    customer_id, amount, command_id=command_id, key=key
                ),
            )
        except ProviderRefused as refused:
            _log.error(
                "billing.credit_not_taken",
                command=str(command_id),
                amount=str(amount),
                code=refused.code,
            )

    # --- reading ----------------------------------------------------------------------------

    def _is_done(self, current: Subscription | None) -> bool:
        """Whether an earlier run of this command reached the subscription."""
        return current is not None and current.command_id == str(self._command.id)

    async def _current(self, customer_id: str) -> Subscription | None:
        snapshot: Snapshot = await self._provider.look(customer_id)
        return snapshot.subscription

    async def _require_current(self) -> Subscription:
        current = await self._current(await self._customer())
        if current is None or not current.status.is_live:
            raise ProviderRefused(
                RefusalReason.OTHER, "There is no subscription to change any more"
            )
        return current

    async def _decide_refund(self, current: Subscription | None) -> Result:
        """Settle once how much goes back, before anything is sent that changes the answer."""
        funds = None if current is None else await self._provider.funds(current)
        is_live = current is not None and current.status.is_live
        if current is None or funds is None or not (is_live or funds.credit):
            raise ProviderRefused(
                RefusalReason.OTHER, "There is no subscription to cancel any more"
            )
        unused = ZERO
        if is_live and not current.status.is_in_arrears:
            unused = await self._provider.unused_value(current)
        shares = spread_refund(unused + funds.credit, funds.payments)
        given = sum((share.amount for share in shares), ZERO)
        return await self._decide(
            {
                "ended_at": self._clock.now().isoformat(),
                "shares": [
                    {"payment_id": share.payment_id, "amount": str(share.amount)}
                    for share in shares
                ],
                "credit": str(max(ZERO, given - unused)),
            }
        )

    async def _decide(self, decided: Result) -> Result:
        """Keep what must not be decided twice; the first decision stands."""
        async with self._database.for_user(self._command.user_id) as session:
            stored = await session.get_one(BillingCommand, self._command.id, with_for_update=True)
            if stored.decided is None:
                stored.decided = decided
                session.add(stored)
            return dict(stored.decided)


def _before(found: Snapshot) -> Result:
    """What stood before an upgrade: its bill is told from it, a refused one goes back to it."""
    current, method = found.subscription, found.payment_method
    bill = current.latest_invoice if current else None
    scheduled = current.scheduled if current else None
    return {
        "bill_before": bill.id if bill else None,
        "method_before": method.id if method else None,
        "scheduled_before": None
        if scheduled is None
        else {"tier": scheduled.tier.value, "interval": scheduled.interval.value},
    }


def _owed_besides(owed: dict[str, str], waiting: Sequence[Invoice]) -> Decimal:
    """What was owed by bills that do not wait any more."""
    left = {bill.id for bill in waiting}
    return sum((Decimal(amount) for bill, amount in owed.items() if bill not in left), ZERO)


def _choice(request: dict[str, Any]) -> PlanChoice:
    return PlanChoice(Tier(request["tier"]), BillingInterval(request["interval"]))


def _price(choice: PlanChoice) -> str:
    return str(PLANS[choice.tier].price(choice.interval))
