"""Kill switches: an administrator's stop of entries, for everybody, one user or one broker.

The switch is a row, and the row alone stops entries: both gates read it, the second one right
before an order leaves (`services.orders.placing`). So engaging needs no worker and no workflow.

Engaging commits the row first, with nothing to wait for. From then on no entry passes the gate.
Those that passed it a moment earlier are waited for: an entry passes under a shared advisory lock,
so once the lock was held exclusively every one of them is visible as being sent, and a send takes
at most `ENTRY_SEND_LENGTH_MAX` from before its gate. Whichever comes first, all known sends ended
or `SENDS_SECONDS_MAX` after the commit, no entry begins after `engage` returned.

Exits take no part in this and are never held up. Telling bots and users is the business of a
workflow (`services.trading.kill_switch_rounds`), which the sweeper starts where we cannot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.ports import KillSwitchWorkflows, WallClock, WorkflowServiceUnavailable
from domain.principal import Principal
from models.columns import new_id
from models.controls import KillScope, KillSwitch
from models.people import User
from services import audit
from services.accounts import hold_entries
from services.audit import AuditEvent
from services.database import Database
from services.errors import InvalidRequest, ObjectNotFound
from services.orders.due_exits import HAS_KEYS
from services.orders.settling import IN_FLIGHT_MAX
from services.trading.kill_switch_closing import COVERED

SENDS_SECONDS_MAX = 5.0
"""How long engaging waits for sends that were under way."""

CLOCKS_APART_MAX = timedelta(minutes=5)
"""How far behind ours the clock of a worker may be that marks a send; an order that nobody sends
any more is waited for in vain within it, never one overlooked that is on its way."""

LOOK_SECONDS = 0.02
LISTED_MAX = 100

_FIGURES = text(f"""
SELECT (SELECT count(DISTINCT r.user_id) FROM bot_runs r
        WHERE r.state <> 'ended' AND {COVERED}) AS users,
       (SELECT count(*) FROM positions p JOIN bot_runs r ON r.id = p.run_id
        WHERE p.state = 'open' AND {HAS_KEYS} AND {COVERED}) AS positions
""")  # noqa: S608 - every part is a literal, every value a parameter

_SENDS = text(f"""
SELECT count(*) FROM orders o JOIN bot_runs r ON r.id = o.run_id
WHERE o.state = 'sending' AND o.leg = 'entry' AND o.sent_at > :since AND {COVERED}
""")  # noqa: S608 - the same

_log = structlog.get_logger("nija.kill_switch")


@dataclass(frozen=True, slots=True)
class SwitchTarget:
    """Whose entries: everybody's, a user's, or those at a broker."""

    scope: KillScope = KillScope.GLOBAL
    user_id: UUID | None = None
    broker: str | None = None

    def params(self) -> dict[str, Any]:
        """The parameters of `COVERED`."""
        return {"scope": self.scope.value, "user_id": self.user_id, "venue": self.broker}


@dataclass(frozen=True, slots=True)
class Engaged:
    """A switch is engaged.

    Attributes:
        is_new: false where it was engaged already.
        is_closing_new: whether this call added the closing of positions to an engaged one.
        reason: why it was engaged first.
        close_positions: whether it closes positions.
        closing_reason: why that was added to it later; None where it was not.
        sends_in_flight: entries that were under way and whose end is not known yet.
        is_telling: whether the workflow that tells everybody was started; else the sweeper does.
    """

    id: UUID
    target: SwitchTarget
    is_new: bool
    is_closing_new: bool
    reason: str
    close_positions: bool
    closing_reason: str | None
    engaged_at: datetime
    affected_users: int
    active_positions: int
    sends_in_flight: int
    is_telling: bool


@dataclass(frozen=True, slots=True)
class SwitchView:
    """A switch as administrators see it; `report` is what the latest telling came to.

    `closing_*` say when, by whom and why the closing of positions was added to it.
    """

    id: UUID
    target: SwitchTarget
    reason: str
    engaged_at: datetime
    engaged_by: UUID | None
    close_positions: bool
    closing_since: datetime | None
    closing_by: UUID | None
    closing_reason: str | None
    released_at: datetime | None
    released_by: UUID | None
    release_reason: str | None
    is_told: bool
    report: dict[str, Any] | None
    affected_users: int | None = None
    active_positions: int | None = None


class KillSwitches:
    """Engaging, releasing and listing; the caller's right to it was checked."""

    def __init__(
        self, database: Database, workflows: KillSwitchWorkflows, clock: WallClock
    ) -> None:
        self._database = database
        self._workflows = workflows
        self._clock = clock

    async def engage(
        self,
        principal: Principal,
        target: SwitchTarget,
        *,
        reason: str,
        close_positions: bool,
        notify_users: bool,
    ) -> Engaged:
        """Stop entries. Engaging what is engaged changes nothing but that positions now close too.

        Raises:
            InvalidRequest: the target names a user that does not exist.
        """
        loop = asyncio.get_running_loop()
        switch, is_new, is_closing_new = await self._commit(
            principal, target, reason, close_positions=close_positions, notify_users=notify_users
        )
        _log.warning("kill_switch.engaged", switch_id=str(switch.id), scope=switch.scope)
        deadline = loop.time() + SENDS_SECONDS_MAX
        is_telling, sends = await asyncio.gather(
            self._start_telling(switch.id), self._wait_for_sends(target, deadline)
        )
        users, positions = await self._figures(target)
        return Engaged(
            id=switch.id,
            target=target,
            is_new=is_new,
            is_closing_new=is_closing_new,
            reason=switch.reason,
            close_positions=switch.close_positions,
            closing_reason=switch.closing_reason,
            engaged_at=switch.engaged_at,
            affected_users=users,
            active_positions=positions,
            sends_in_flight=sends,
            is_telling=is_telling,
        )

    async def release(
        self, principal: Principal, target: SwitchTarget, *, reason: str
    ) -> SwitchView:
        """Let entries pass again.

        Raises:
            ObjectNotFound: no such switch is engaged.
        """
        now = self._clock.now()
        async with self._database.as_system() as session:
            switch = await _lock_active(session, target)
            if switch is None:
                raise ObjectNotFound("This kill switch is not engaged")
            switch.released_at, switch.released_by = now, principal.user_id
            switch.release_reason = reason
            switch.revision += 1
            session.add(switch)
            _record(session, AuditEvent.KILL_SWITCH_RELEASED, principal, switch, now, reason=reason)
        _log.warning("kill_switch.released", switch_id=str(switch.id), scope=switch.scope)
        await self._start_telling(switch.id)
        return _view(switch)

    async def list(self) -> tuple[Sequence[SwitchView], Sequence[SwitchView]]:
        """The engaged switches with today's figures, and the latest released ones."""
        engaged_first = (
            col(KillSwitch.released_at).is_not(None),
            # That everybody is stopped must be seen however many switches came later.
            col(KillSwitch.released_at).is_not(None)
            | (col(KillSwitch.scope) != KillScope.GLOBAL.value),
            col(KillSwitch.engaged_at).desc(),
        )
        async with self._database.as_system() as session:
            found = (
                await session.exec(select(KillSwitch).order_by(*engaged_first).limit(LISTED_MAX))
            ).all()
        engaged = [
            _view(switch, await self._figures(target_of(switch)))
            for switch in found
            if switch.released_at is None
        ]
        return engaged, [_view(switch) for switch in found if switch.released_at is not None]

    # --- engaging ---------------------------------------------------------------------------

    async def _commit(
        self,
        principal: Principal,
        target: SwitchTarget,
        reason: str,
        *,
        close_positions: bool,
        notify_users: bool,
    ) -> tuple[KillSwitch, bool, bool]:
        """Make the row, or make the one that stands close positions too.

        Returns:
            The row; whether it is new, and whether that it closes positions is new to it.
        """
        now = self._clock.now()
        async with self._database.as_system() as session:
            if target.user_id is not None and await session.get(User, target.user_id) is None:
                raise InvalidRequest({"user_id": "There is no such user"})
            statement = (
                insert(KillSwitch)
                .values(
                    id=new_id(),
                    scope=target.scope.value,
                    user_id=target.user_id,
                    venue=target.broker,
                    reason=reason,
                    engaged_by=principal.user_id,
                    engaged_at=now,
                    close_positions=close_positions,
                    notify_users=notify_users,
                )
                .on_conflict_do_nothing()
                .returning(col(KillSwitch.id))
            )
            is_new = (await session.exec(statement)).first() is not None
            switch = await _lock_active(session, target)
            is_escalated = (
                switch is not None and not is_new and close_positions > switch.close_positions
            )
            if switch is not None and is_escalated:
                _add_closing(switch, principal, reason, now)
                switch.notify_users = switch.notify_users or notify_users
                session.add(switch)
            if switch is not None and (is_new or is_escalated):
                _record(
                    session,
                    AuditEvent.KILL_SWITCH_ENGAGED,
                    principal,
                    switch,
                    now,
                    reason=reason,
                    close_all_positions=close_positions,
                )
        if switch is None:
            # It stood when we inserted and was released before we could lock it.
            return await self._commit(
                principal,
                target,
                reason,
                close_positions=close_positions,
                notify_users=notify_users,
            )
        return switch, is_new, is_escalated

    async def _wait_for_sends(self, target: SwitchTarget, deadline: float) -> int:
        """Wait until every entry that passed the gate has ended; how many have not."""
        loop = asyncio.get_running_loop()
        is_certain = False
        while True:
            left = deadline - loop.time()
            if not is_certain and left > 0:
                is_certain = await self._pass_gate_alone(left)
            sends = await self._count_sends(target)
            if (is_certain and not sends) or loop.time() >= deadline:
                return sends
            await asyncio.sleep(LOOK_SECONDS)

    async def _pass_gate_alone(self, seconds: float) -> bool:
        """Hold the entries' lock for a moment: then whatever passed the gate before has committed.

        False when it could not be had in time.
        """
        try:
            async with self._database.as_system() as session:
                connection = await session.connection()
                await connection.execute(
                    text("SELECT set_config('lock_timeout', :length, true)"),
                    {"length": f"{max(1, int(seconds * 1000))}ms"},
                )
                await hold_entries(session)
        except OperationalError:
            return False
        return True

    async def _count_sends(self, target: SwitchTarget) -> int:
        # What was marked longer ago and has no outcome was left by a process that is gone.
        since = self._clock.now() - IN_FLIGHT_MAX - CLOCKS_APART_MAX
        async with self._database.as_system() as session:
            connection = await session.connection()
            found = await connection.execute(_SENDS, {**target.params(), "since": since})
            count: int = found.scalar_one()
        return count

    async def _figures(self, target: SwitchTarget) -> tuple[int, int]:
        async with self._database.as_system() as session:
            connection = await session.connection()
            users, positions = (await connection.execute(_FIGURES, target.params())).one()
        return users, positions

    async def _start_telling(self, switch_id: UUID) -> bool:
        try:
            async with asyncio.timeout(SENDS_SECONDS_MAX):
                await self._workflows.tell_of_switch(switch_id)
        except (WorkflowServiceUnavailable, TimeoutError):
            # The row stops entries all the same; the sweeper starts the workflow when it can.
            _log.warning("kill_switch.not_telling", switch_id=str(switch_id))
            return False
        return True


def target_of(switch: KillSwitch) -> SwitchTarget:
    """What a stored switch covers."""
    return SwitchTarget(KillScope(switch.scope), switch.user_id, switch.venue)


async def _lock_active(session: AsyncSession, target: SwitchTarget) -> KillSwitch | None:
    statement = select(KillSwitch).where(
        KillSwitch.scope == target.scope.value, col(KillSwitch.released_at).is_(None)
    )
    statement = statement.where(
        col(KillSwitch.user_id).is_not_distinct_from(target.user_id),
        col(KillSwitch.venue).is_not_distinct_from(target.broker),
    )
    return (await session.exec(statement.with_for_update())).one_or_none()


def _add_closing(switch: KillSwitch, principal: Principal, reason: str, now: datetime) -> None:
    switch.close_positions = True
    switch.closing_since, switch.closing_by = now, principal.user_id
    switch.closing_reason = reason
    switch.revision += 1


def _record(
    session: AsyncSession,
    event: AuditEvent,
    principal: Principal,
    switch: KillSwitch,
    now: datetime,
    **meta: object,
) -> None:
    audit.record(
        session,
        event,
        user_id=switch.user_id or principal.user_id,
        actor_id=principal.user_id,
        at=now,
        meta={"switch_id": str(switch.id), "scope": switch.scope, "broker": switch.venue, **meta},
    )


def _view(switch: KillSwitch, figures: tuple[int, int] | None = None) -> SwitchView:
    users, positions = figures or (None, None)
    return SwitchView(
        id=switch.id,
        target=target_of(switch),
        reason=switch.reason,
        engaged_at=switch.engaged_at,
        engaged_by=switch.engaged_by,
        close_positions=switch.close_positions,
        closing_since=switch.closing_since,
        closing_by=switch.closing_by,
        closing_reason=switch.closing_reason,
        released_at=switch.released_at,
        released_by=switch.released_by,
        release_reason=switch.release_reason,
        is_told=switch.handled_revision >= switch.revision,
        report=switch.report,
        affected_users=users,
        active_positions=positions,
    )
