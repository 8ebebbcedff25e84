"""Exits carried out by the exits worker itself, before any workflow is asked to.

A workflow remembers nothing about an exit that its rows do not say, and costs several times what
sending the order does. So where the exits worker learns that one is due, it makes the order, sends
it and books what became of it at once, by the same two services as the workflow's activities. What
is left after that (an order whose fate is open, an exit to be repeated, a failure) is the
workflow's, and so is everything where too many exits hang to begin another.

Nothing can be sent twice by the two: an order leaves only after its row was marked as being sent,
under a lock, by whoever found it intended. A process that dies on the way leaves that row, which
the next poll finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import BotRef, BotSignal, Nudge, OrderResult, TradeSignal
from domain.markets import VenueKey
from domain.ports import WorkflowService, WorkflowServiceUnavailable
from models.trading import Order, Position
from services.orders.placing import Marked, OrderPlacing
from services.trading.exiting import DuePosition, ExitService

MAKING_AT_ONCE = 6
"""Bots whose exit orders are being made and marked; more would only share the same core."""

BOOKING_AT_ONCE = 2
"""Answers that are being booked: fewer, so that what was sent does not delay what was not."""

PATIENCE_SECONDS = 3.0
"""How long a bot waits while nobody gets a turn before its workflow is woken instead: rows that are
locked hold every turn."""

DEFER_SECONDS_MAX = 8.0
"""How long a booking waits for orders to be made; its own is at the venue and its row says so.
Booking one order costs more than making and sending another. A venue that takes its time to answer
is not waited for."""

ROUNDS_MAX = 3
"""How often the rows are read for what is due after an exit, before the workflow goes on."""

BotId = tuple[UUID, UUID]

_log = structlog.get_logger("nija.exits")


class PromptExits:
    """The `domain.ports.WorkflowService` of an exits worker, where waking exits begins them.

    Args:
        workflows: what is woken for what is left, and takes every other message.
        exits: makes exit orders.
        placing: sends and books them.
    """

    def __init__(
        self, workflows: WorkflowService, exits: ExitService, placing: OrderPlacing
    ) -> None:
        self._workflows = workflows
        self._exits = exits
        self._placing = placing
        self._turns = _Turns()
        self._booking = asyncio.Semaphore(BOOKING_AT_ONCE)
        self._in_hand: dict[BotId, asyncio.Task[None]] = {}
        self._is_closing = False

    async def wake_exits(self, user_id: UUID, bot_id: UUID) -> None:
        """Begin with a bot's exits; returns at once.

        Raises:
            WorkflowServiceUnavailable: they are in hand already, and the workflow that is to look
                at the rows once more could not be woken.
        """
        bot = user_id, bot_id
        if self._is_closing or bot in self._in_hand:
            await self._workflows.wake_exits(user_id, bot_id)
            return
        task = asyncio.create_task(self._carry_out(bot))
        self._in_hand[bot] = task
        task.add_done_callback(lambda ended: self._note_end(bot, ended))

    async def close(self, seconds: float) -> None:
        """Begin nothing more and let what is in hand end; what does not is found by its rows."""
        self._is_closing = True
        if not self._in_hand:
            return
        _done, late = await asyncio.wait(self._in_hand.values(), timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def is_available(self) -> bool:
        """Whether the workflow service answers at present."""
        return await self._workflows.is_available()

    async def signal_bot(
        self, user_id: UUID, bot_id: UUID, signal: BotSignal, message: Nudge | TradeSignal
    ) -> None:
        """Deliver a message to a bot's workflow.

        Raises:
            WorkflowServiceUnavailable: not delivered.
        """
        await self._workflows.signal_bot(user_id, bot_id, signal, message)

    async def ensure_watch(self, key: VenueKey) -> None:
        """Start the watch of a venue if it does not run.

        Raises:
            WorkflowServiceUnavailable: it could not be started.
        """
        await self._workflows.ensure_watch(key)

    # --- carrying out -----------------------------------------------------------------------

    def _note_end(self, bot: BotId, task: asyncio.Task[None]) -> None:
        del self._in_hand[bot]
        if not task.cancelled() and (failure := task.exception()) is not None:
            _log.error("exits.broke_off", bot_id=str(bot[1]), error=type(failure).__name__)

    async def _carry_out(self, bot: BotId) -> None:
        try:
            is_left = await self._carry_out_rounds(BotRef(user_id=bot[0], bot_id=bot[1]))
        except Exception as failure:  # noqa: BLE001 - a boundary: the workflow tries again
            _log.warning("exits.not_prompt", bot_id=str(bot[1]), error=type(failure).__name__)
            is_left = True
        if not is_left:
            return
        try:
            await self._workflows.wake_exits(*bot)
        except WorkflowServiceUnavailable:
            # The rows say it too: the poll wakes it.
            _log.warning("exits.not_woken", bot_id=str(bot[1]))

    async def _carry_out_rounds(self, ref: BotRef) -> bool:
        """Make, send and book until nothing is due; whether something is left to the workflow."""
        for _ in range(ROUNDS_MAX):
            is_left, results = await self._carry_out_due(ref)
            if is_left or not all(it is not None and it.state.is_final for it in results):
                return True
            if not any(it is not None and it.guard_due for it in results):
                return False
        return True

    async def _carry_out_due(self, ref: BotRef) -> tuple[bool, list[OrderResult | None]]:
        """Carry out what is due by now; whether there is more, and what became of each order."""
        sends: list[asyncio.Task[OrderResult | None]] = []
        async with asyncio.TaskGroup() as group:
            with self._turns.waiting():
                async with self._turns:
                    due, live = await self._exits.look(ref)
                    is_left = bool(live)  # another carries them out
                    for position in due:
                        marked = await self._make(ref, position)
                        if marked is None:
                            is_left = True
                        else:
                            sends.append(group.create_task(self._send(marked)))
        return is_left, [send.result() for send in sends]

    async def _make(self, ref: BotRef, due: DuePosition) -> Marked | None:
        """Make and mark an exit in one transaction; None where that is the workflow's.

        Nothing is raised: it would break the sends of the bot's other exits off.
        """
        marked: Marked | None = None
        try:
            account = await self._placing.account(due.account)

            async def mark(session: AsyncSession, position: Position, order: Order) -> None:
                nonlocal marked
                marked = await self._placing.mark_new(
                    session, position, order, due.account, account
                )

            await self._exits.leave(ref, due, mark)
        except Exception as failure:  # noqa: BLE001 - a boundary: the workflow tries again
            _note("position", due.position_id, failure)
            return None
        return marked

    async def _send(self, marked: Marked) -> OrderResult | None:
        """Send an order, then book its answer when there is a turn; None where that failed."""
        try:
            sent = await self._placing.send(marked)
            await self._turns.none_waits(DEFER_SECONDS_MAX)
            async with self._booking:
                return await self._placing.conclude(sent)
        except Exception as failure:  # noqa: BLE001 - a boundary: the row says that it is being sent
            _note("order", marked.order.id, failure)
            return None


class _Turns:
    """Who makes orders next, and whether anybody waits to."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAKING_AT_ONCE)
        self._waiting = 0
        self._none = asyncio.Event()
        self._moved_at = 0.0

    async def __aenter__(self) -> None:
        """Wait for a turn, for as long as turns are given.

        Raises:
            TimeoutError: none was given for `PATIENCE_SECONDS`.
        """
        loop = asyncio.get_running_loop()
        if self._places.locked():
            began = loop.time()
            while True:
                try:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await self._places.acquire()
                    break
                except TimeoutError:
                    if loop.time() - max(began, self._moved_at) >= PATIENCE_SECONDS:
                        raise
        else:
            await self._places.acquire()
        self._moved_at = loop.time()

    async def __aexit__(self, *_: object) -> None:
        """Give it to the next."""
        self._places.release()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Hold until a bot's orders were made."""
        self._waiting += 1
        self._none.clear()
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._none.set()

    async def none_waits(self, seconds: float) -> None:
        """Wait until nobody is about to make orders, for some seconds at most."""
        if self._waiting:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._none.wait()


def _note(what: str, about: UUID, failure: Exception) -> None:
    _log.warning("exit.not_prompt", **{f"{what}_id": str(about)}, error=type(failure).__name__)
