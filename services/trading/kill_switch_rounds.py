"""Telling bots and users of a kill switch: what its workflow does, one page of bots at a time.

Everything is read from the switch's row and from the bots' own rows, so each step may run twice, on
any worker, after any crash. What came of a round is counted from the rows, never added up on the
way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text, update
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import BotSignal, Nudge
from domain.contracts.kill_switches import (
    KillSwitchCounts,
    KillSwitchEnd,
    KillSwitchLook,
    KillSwitchPage,
    KillSwitchRound,
)
from domain.orders import OrderState
from domain.ports import (
    KillSwitchWorkflows,
    WallClock,
    WorkflowService,
    WorkflowServiceUnavailable,
)
from models.bots import Bot, BotRun
from models.controls import KillSwitch
from models.trading import Order
from services import audit
from services.audit import AuditEvent
from services.database import Database
from services.notices import NoticeKind, tell
from services.orders.booking import book
from services.orders.conditions import is_entry, is_in
from services.orders.due_exits import HAS_KEYS
from services.orders.row_locks import lock_position_and_order
from services.refusals import unless_refused
from services.trading.ending import live_runs
from services.trading.kill_switch_closing import (
    COVERED,
    ask_covered_positions,
    exit_cause,
)
from services.trading.kill_switches import SwitchTarget, target_of
from services.trading.leaving import venue_now

PAGE = 100
AT_ONCE = 5
"""Bots minded at a time; orders need connections too."""

EXITS_FIRST_SECONDS = 10.0
"""How long telling bots waits for the exits of positions to be sent."""

EXITS_LOOK_SECONDS = 0.25

_AWAY = (OperationalError, InterfaceError, PoolTimeout, OSError)
"""What the database fails with while it is away or has no connection to give."""

LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's code for a lock that was waited for too long."""

_BOTS = text(f"""
SELECT DISTINCT b.id, b.user_id FROM bots b JOIN bot_runs r ON r.bot_id = b.id
WHERE r.state <> 'ended' AND {COVERED} AND (CAST(:after AS uuid) IS NULL OR b.id > :after)
ORDER BY b.id LIMIT :page
""")  # noqa: S608 - every part is a literal, every value a parameter

_NOT_LEFT = text("""
SELECT count(*) FROM positions p
WHERE p.state = 'open' AND p.close_cause LIKE :causes AND NOT EXISTS (
  SELECT FROM orders o
  WHERE o.position_id = p.id AND o.leg <> 'entry' AND o.sent_at IS NOT NULL)
""")

_LOOK = text(f"""
SELECT (SELECT count(*) FROM positions p JOIN bot_runs r ON r.id = p.run_id
        WHERE p.state = 'open' AND {HAS_KEYS} AND {COVERED}) AS open_positions,
       (SELECT count(*) FROM orders o JOIN bot_runs r ON r.id = o.run_id
        WHERE o.leg = 'entry' AND o.state IN ('sending', 'unknown', 'open') AND {COVERED}) AS sends
""")  # noqa: S608 - the same

_OUTCOME = text(f"""
SELECT (SELECT count(*) FROM orders o JOIN bot_runs r ON r.id = o.run_id
        WHERE o.leg = 'entry' AND o.state = 'denied' AND o.refusal_code = 'kill_switch'
          AND o.settled_at >= :engaged_at AND {COVERED}) AS entries_cancelled,
       (SELECT count(*) FROM positions WHERE close_cause LIKE :causes
          AND state <> 'cancelled') AS positions_asked,
       (SELECT count(*) FROM positions WHERE close_cause LIKE :causes
          AND state IN ('pending', 'open')) AS positions_leaving,
       (SELECT count(DISTINCT user_id) FROM notices WHERE key = :notice) AS users_told
""")  # noqa: S608 - the same

_log = structlog.get_logger("nija.kill_switch")


class KillSwitchRounds:
    """Rounds of telling; the worker's side of `services.trading.kill_switches`."""

    def __init__(self, database: Database, workflows: WorkflowService, clock: WallClock) -> None:
        self._database = database
        self._workflows = workflows
        self._clock = clock

    async def begin(self, switch_id: UUID) -> KillSwitchRound:
        """The newest revision, if not everybody was told of it."""
        switch = await self._load(switch_id)
        if switch is None:  # it went with its user
            return KillSwitchRound(switch_id=switch_id, revision=0, is_due=False)
        return KillSwitchRound(
            switch_id=switch_id,
            revision=switch.revision,
            is_due=switch.handled_revision < switch.revision,
            flatten=switch.close_positions and switch.released_at is None,
        )

    async def tell(self, due: KillSwitchRound, after: UUID | None) -> KillSwitchPage:
        """Tell the bots after one, in the order of their ids."""
        switch = await self._load(due.switch_id)
        if switch is None or switch.revision != due.revision:
            return KillSwitchPage(superseded=True)
        if due.flatten and after is None:
            await self._let_exits_leave(switch)
        bots = await self._rows(_BOTS, target_of(switch), after=after, page=PAGE)
        reached = await self._mind(switch, bots)
        return KillSwitchPage(
            last=bots[-1]["id"] if len(bots) == PAGE else None,
            counts=KillSwitchCounts(bots=len(bots), untold=len(bots) - reached),
        )

    async def _let_exits_leave(self, switch: KillSwitch) -> None:
        """Ask positions to leave, and give their exits the machine for some seconds.

        Intended entries need no hurry: none passes the gate any more. Telling hundreds of bots
        would compete with the exits for the same cores.
        """
        await ask_covered_positions(self._database)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + EXITS_FIRST_SECONDS
        causes = f"{exit_cause(switch.id)}:%"
        while loop.time() < deadline:
            (left,) = (await self._rows(_NOT_LEFT, target_of(switch), causes=causes))[0].values()
            if not left:
                return
            await asyncio.sleep(EXITS_LOOK_SECONDS)

    async def look(self, due: KillSwitchRound) -> KillSwitchLook:
        """Count what is open and on its way; ask again for what nobody asked to leave yet."""
        switch = await self._load(due.switch_id)
        if switch is None or switch.revision != due.revision:
            return KillSwitchLook(superseded=True)
        if due.flatten:
            # An entry that was taken for lost may have filled since.
            await ask_covered_positions(self._database)
        found = (await self._rows(_LOOK, target_of(switch)))[0]
        return KillSwitchLook(
            open_positions=found["open_positions"], sends_in_flight=found["sends"]
        )

    async def finish(self, end: KillSwitchEnd) -> None:
        """Store the report and that everybody was told of this revision."""
        due, now = end.round, self._clock.now()
        switch = await self._load(due.switch_id)
        if switch is None:
            return
        report = await self._report(switch, end)
        async with self._database.as_system() as session:
            stored = await session.exec(
                update(KillSwitch)
                .where(
                    col(KillSwitch.id) == due.switch_id,
                    col(KillSwitch.handled_revision) < due.revision,
                )
                .values(handled_revision=due.revision, report=report)
            )
            if not stored.rowcount:
                return
            audit.record(
                session,
                AuditEvent.KILL_SWITCH_TOLD,
                user_id=switch.user_id,
                actor_id=switch.engaged_by,
                at=now,
                meta={"switch_id": str(switch.id), **report},
            )
        _log.info("kill_switch.told", switch_id=str(switch.id), **report)

    async def _report(self, switch: KillSwitch, end: KillSwitchEnd) -> dict[str, Any]:
        found = await self._rows(
            _OUTCOME,
            target_of(switch),
            engaged_at=switch.engaged_at,
            causes=f"{exit_cause(switch.id)}:%",
            notice=_notice_key(switch),
        )
        return {
            "revision": end.round.revision,
            "bots_told": end.counts.bots,
            "bots_not_reached": end.counts.untold,
            **{name: int(value) for name, value in found[0].items()},
            "open_positions": end.look.open_positions,
            "sends_in_flight": end.look.sends_in_flight,
            "is_flat": not end.look.open_positions and not end.look.sends_in_flight,
            "reported_at": self._clock.now().isoformat(),
        }

    # --- bots -------------------------------------------------------------------------------

    async def _mind(self, switch: KillSwitch, bots: Sequence[Mapping[str, Any]]) -> int:
        """Do what the switch asks for to some bots at a time; how many could be nudged."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def mind(bot: Mapping[str, Any]) -> bool | Exception:
            async with gate:
                try:
                    return await self._mind_one(switch, bot)
                except Exception as failure:  # noqa: BLE001 - a boundary: the other bots are told
                    _log.exception(
                        "kill_switch.bot_failed",
                        bot_id=str(bot["id"]),
                        error=type(failure).__name__,
                    )
                    return failure

        outcomes = await asyncio.gather(*(mind(bot) for bot in bots))
        failures = [it for it in outcomes if isinstance(it, Exception)]
        if failures and any(isinstance(it, _AWAY) for it in failures):
            # A server is away, or too busy: all of this page is done again. What one bot's rows
            # are like keeps no page after it from being told.
            raise failures[0]
        return sum(it is True for it in outcomes)

    async def _mind_one(self, switch: KillSwitch, bot: Mapping[str, Any]) -> bool:
        """Mind one bot and tell it; whether it could be told, or there was nothing to tell."""
        is_changed = await self._mind_unless_held(switch, bot)
        if is_changed is None:
            await self._nudge(switch, bot)
            return False
        # A bot for which nothing changes has nothing to notice.
        return not is_changed or await self._nudge(switch, bot)

    async def _mind_unless_held(self, switch: KillSwitch, found: Mapping[str, Any]) -> bool | None:
        """Mind one bot's rows: whether anything changed; None where they are held for too long.

        A process that hangs in the middle of a transaction must not keep the bots after this one
        from being told. The gate denies its entries all the same, and where positions are to close
        the next look asks again.
        """
        try:
            return await self._mind_rows(switch, found)
        except OperationalError as failure:
            if getattr(failure.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            _log.warning("kill_switch.bot_held", bot_id=str(found["id"]))
            async with self._database.for_user(found["user_id"]) as session:
                await self._leave_notice(session, switch, found["user_id"])
            return None

    async def _mind_rows(self, switch: KillSwitch, found: Mapping[str, Any]) -> bool:
        """Cancel one bot's intents and tell its user, in one transaction; whether it has news."""
        user_id, is_released = found["user_id"], switch.released_at is not None
        async with self._database.for_user(user_id) as session:
            bot = (
                await session.exec(
                    select(Bot).where(Bot.id == found["id"]).with_for_update(key_share=True)
                )
            ).one_or_none()
            if bot is None:
                return False
            has_news = is_released
            if not is_released:
                runs = [run for run in await live_runs(session, bot.id) if _covers(switch, run)]
                has_news = await self._cancel_intents(session, runs) > 0
                if has_news:
                    bot.revision += 1  # so that the sweeper tells it if we cannot
                    session.add(bot)
            await self._leave_notice(session, switch, user_id)
        return has_news

    async def _cancel_intents(self, session: AsyncSession, runs: Sequence[BotRun]) -> int:
        """Deny entries that are decided and not sent; sent ones are IOC and end by themselves."""
        cancelled = 0
        for run in runs:
            intended = (
                await session.exec(
                    select(Order.id)
                    .where(
                        Order.run_id == run.id,
                        is_entry(),
                        is_in(OrderState.INTENDED),
                    )
                    .order_by(col(Order.position_id))
                )
            ).all()
            for order_id in intended:
                _position, order = await lock_position_and_order(session, order_id)
                if order.state == OrderState.INTENDED:
                    await book(
                        session,
                        order_id,
                        fills=(),
                        state=OrderState.DENIED,
                        at=await venue_now(session, run),
                        wall=self._clock.now(),
                        refusal=("kill_switch", "A kill switch is active"),
                    )
                    cancelled += 1
        return cancelled

    async def _leave_notice(self, session: AsyncSession, switch: KillSwitch, user_id: UUID) -> None:
        if not switch.notify_users:
            return
        await tell(
            session,
            user_id,
            _notice_kind(switch),
            str(switch.id),
            now=self._clock.now(),
            facts={
                "scope": switch.scope,
                "broker": switch.venue,
                "reason": _latest_reason(switch),
                "positions_are_closed": switch.close_positions,
            },
        )

    async def _nudge(self, switch: KillSwitch, found: Mapping[str, Any]) -> bool:
        signal = BotSignal.UPDATE_SETTINGS if switch.released_at else BotSignal.ORDER_UPDATE
        try:
            await self._workflows.signal_bot(found["user_id"], found["id"], signal, Nudge())
        except WorkflowServiceUnavailable:
            return False
        return True

    # --- reading ----------------------------------------------------------------------------

    async def _load(self, switch_id: UUID) -> KillSwitch | None:
        async with self._database.as_system() as session:
            return await session.get(KillSwitch, switch_id)

    async def _rows(
        self, query: Any, target: SwitchTarget, **params: object
    ) -> Sequence[Mapping[str, Any]]:
        async with self._database.as_system() as session:
            connection = await session.connection()
            found = await connection.execute(query, {**target.params(), **params})
            return [dict(row) for row in found.mappings()]


class KillSwitchSweep:
    """Finds switches whose bots were not told, whatever came between."""

    def __init__(self, database: Database, workflows: KillSwitchWorkflows) -> None:
        self._database = database
        self._workflows = workflows

    async def sweep(self) -> int:
        """Start the workflow of every switch with something to tell; returns how many there are.

        Raises:
            WorkflowServiceUnavailable: the next round goes on.
        """
        async with self._database.as_system() as session:
            untold = (
                await session.exec(
                    select(KillSwitch.id).where(KillSwitch.handled_revision < KillSwitch.revision)
                )
            ).all()
        for switch_id in untold:
            await unless_refused(self._workflows.tell_of_switch(switch_id), switch_id=switch_id)
        return len(untold)


def _covers(switch: KillSwitch, run: BotRun) -> bool:
    target = target_of(switch)
    everybody = target.user_id is None and target.broker is None
    return everybody or run.user_id == target.user_id or run.venue == target.broker


def _notice_kind(switch: KillSwitch) -> NoticeKind:
    if switch.released_at is not None:
        return NoticeKind.KILL_SWITCH_RELEASED
    return (
        NoticeKind.KILL_SWITCH if switch.closing_since is None else NoticeKind.KILL_SWITCH_CLOSING
    )


def _latest_reason(switch: KillSwitch) -> str | None:
    return switch.release_reason if switch.released_at else switch.closing_reason or switch.reason


def _notice_key(switch: KillSwitch) -> str:
    return f"{_notice_kind(switch).value}:{switch.id}"
