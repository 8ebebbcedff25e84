"""Commands to the payment provider: committed first, carried out once, followed to their end.

A command that was committed is finished by somebody: by the request that made it, by the next
request, or by the user's subscription workflow, which is told before anything is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from domain.billing import (
    BillingProvider,
    BillingWorkflows,
    ProviderMisconfigured,
    ProviderOutcomeUnknown,
    ProviderRefused,
    ProviderUnavailable,
    RefusalReason,
)
from domain.errors import DomainError
from domain.ports import WallClock, WorkflowServiceUnavailable
from models.billing import BillingCommand, CommandKind, CommandState
from services import audit
from services.billing.errors import (
    BillingBusy,
    BillingOutcomeUnknown,
    BillingUnavailable,
    PaymentFailed,
)
from services.billing.execution import REPLAY_DELAY_SECONDS, Execution, Result
from services.billing.refreshing import Refreshing
from services.database import Database
from services.errors import InvalidRequest, WorkflowUnavailable
from services.notices import NoticeKind, tell

LEASE = timedelta(seconds=90)
"""How long a run has its command for itself."""

ANSWERED_AGAIN = timedelta(hours=24)
"""How long the same request is answered with what it did, instead of being refused as done."""

_OPEN = CommandState.OPEN.value
_log = structlog.get_logger("nija.billing")


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended."""

    result: Result | None
    refusal: DomainError | None

    def unwrap(self) -> Result:
        """The result.

        Raises:
            DomainError: the provider refused.
        """
        if self.refusal is not None:
            raise self.refusal
        assert self.result is not None
        return self.result


class Commands:
    """The open command of each user, of which there is one at most."""

    def __init__(
        self,
        database: Database,
        provider: BillingProvider,
        workflows: BillingWorkflows,
        refreshing: Refreshing,
        clock: WallClock,
        *,
        replay_delay_seconds: float = REPLAY_DELAY_SECONDS,
    ) -> None:
        self._database = database
        self._provider = provider
        self._workflows = workflows
        self._refreshing = refreshing
        self._clock = clock
        self._delay = replay_delay_seconds

    async def carry_out(self, user_id: UUID, kind: CommandKind, request: dict[str, Any]) -> Result:
        """Commit a command and carry it out.

        Raises:
            PaymentFailed, InvalidRequest: refused by the provider; nothing was charged.
            BillingBusy: another command is being carried out.
            BillingOutcomeUnknown: not known yet; it is followed, and asking again is safe.
            BillingUnavailable, WorkflowUnavailable: nothing was sent.
        """
        command = await self._commit(user_id, kind, request)
        try:
            # Told before anything is sent, so that a command whose process dies is finished.
            await self._workflows.wake_subscription(user_id)
        except WorkflowServiceUnavailable as failure:
            await self._withdraw(command)
            raise WorkflowUnavailable from failure
        return (await self._run(command)).unwrap()

    async def finish_open(self, user_id: UUID) -> Finished | None:
        """Carry out what an earlier request left open; None when there is nothing.

        Raises:
            BillingBusy: somebody is at it.
            BillingOutcomeUnknown, BillingUnavailable: still not known.
        """
        command = await self._find_open(user_id)
        return None if command is None else await self._run(await self._lease(command))

    async def repeat_of(
        self, user_id: UUID, kind: CommandKind, request: dict[str, Any]
    ) -> Result | None:
        """What the user's last command did, if it was the same one a short while ago."""
        async with self._database.for_user(user_id) as session:
            last = (
                await session.exec(
                    select(BillingCommand)
                    .where(
                        BillingCommand.user_id == user_id,
                        BillingCommand.state == CommandState.DONE.value,
                        col(BillingCommand.finished_at) > self._clock.now() - ANSWERED_AGAIN,
                    )
                    .order_by(col(BillingCommand.created_at).desc())
                )
            ).first()
        same = last is not None and last.kind == kind and last.request == request
        return last.result if last is not None and same else None

    # --- one command ------------------------------------------------------------------------

    async def _commit(
        self, user_id: UUID, kind: CommandKind, request: dict[str, Any]
    ) -> BillingCommand:
        now = self._clock.now()
        command = BillingCommand(
            user_id=user_id,
            kind=kind.value,
            request=request,
            created_at=now,
            # Ours from the beginning: the workflow that is told next may be quicker than we are.
            leased_until=now + LEASE,
            attempts=1,
        )
        try:
            async with self._database.for_user(user_id) as session:
                session.add(command)
        except IntegrityError as failure:  # uq_billing_commands_open
            raise BillingBusy from failure
        return command

    async def _find_open(self, user_id: UUID) -> BillingCommand | None:
        async with self._database.for_user(user_id) as session:
            return (
                await session.exec(
                    select(BillingCommand).where(
                        BillingCommand.user_id == user_id, BillingCommand.state == _OPEN
                    )
                )
            ).one_or_none()

    async def _run(self, leased: BillingCommand) -> Finished:
        execution = Execution(
            self._database,
            self._provider,
            self._clock,
            leased,
            replay_delay_seconds=self._delay,
        )
        try:
            result = await execution.run()
            await self._refreshing.refresh(leased.user_id)
        except ProviderRefused as refused:
            return await self._refuse(leased, refused)
        except (ProviderUnavailable, ProviderOutcomeUnknown, ProviderMisconfigured) as failure:
            _log.warning(
                "billing.command_unfinished",
                command=str(leased.id),
                kind=leased.kind,
                failure=type(failure).__name__,
                reason=str(failure),
            )
            if not execution.has_acted:
                await self._withdraw(leased)
                raise BillingUnavailable from failure
            await self._give_back(leased)
            raise BillingOutcomeUnknown from failure
        return await self._complete(leased, result)

    async def _lease(self, command: BillingCommand) -> BillingCommand:
        now = self._clock.now()
        async with self._database.for_user(command.user_id) as session:
            stored = await session.get_one(BillingCommand, command.id, with_for_update=True)
            if stored.state != _OPEN or (stored.leased_until and now < stored.leased_until):
                raise BillingBusy
            stored.leased_until = now + LEASE
            stored.attempts += 1
            session.add(stored)
        return stored

    async def _give_back(self, command: BillingCommand) -> None:
        async with self._database.for_user(command.user_id) as session:
            stored = await session.get_one(BillingCommand, command.id, with_for_update=True)
            stored.leased_until = None
            session.add(stored)

    async def _withdraw(self, command: BillingCommand) -> None:
        refusal = {"code": BillingUnavailable.code, "message": BillingUnavailable.usual_message}
        await self._end(command, CommandState.REFUSED, refusal=refusal)

    async def _refuse(self, command: BillingCommand, refused: ProviderRefused) -> Finished:
        refusal = {"code": refused.code or refused.reason.value, "message": refused.message}
        await self._end(command, CommandState.REFUSED, refusal=refusal)
        return Finished(None, _refusal(refused))

    async def _complete(self, command: BillingCommand, result: Result) -> Finished:
        await self._end(command, CommandState.DONE, result=result)
        return Finished(result, None)

    async def _end(
        self,
        command: BillingCommand,
        state: CommandState,
        *,
        result: Result | None = None,
        refusal: dict[str, Any] | None = None,
    ) -> None:
        now: datetime = self._clock.now()
        async with self._database.for_user(command.user_id) as session:
            stored = await session.get_one(BillingCommand, command.id, with_for_update=True)
            if stored.state != _OPEN:
                return
            stored.state, stored.result, stored.refusal = state.value, result, refusal
            stored.finished_at, stored.leased_until = now, None
            session.add(stored)
            audit.record(
                session,
                f"subscription_{command.kind}_{state.value}",
                user_id=command.user_id,
                at=now,
                meta={"command": str(command.id), "result": result, "refusal": refusal},
            )
            if result is not None and result.get("refund_amount", "0") != "0":
                await tell(
                    session,
                    command.user_id,
                    NoticeKind.REFUNDED,
                    str(command.id),
                    now=now,
                    facts={"amount": result["refund_amount"]},
                )


def _refusal(refused: ProviderRefused) -> DomainError:
    match refused.reason:
        case RefusalReason.CARD_DECLINED:
            return PaymentFailed(refused.message, details={"reason": refused.code})
        case RefusalReason.PAYMENT_METHOD:
            return InvalidRequest({"payment_method_id": refused.message})
        case RefusalReason.OTHER:
            return PaymentFailed(refused.message)
