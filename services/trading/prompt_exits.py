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
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from uuid import UUID

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import BotRef, BotSignal, Nudge, OrderResult, OrderTask, TradeSignal
from domain.markets import VenueKey
from domain.orders import OrderState
from domain.ports import WorkflowService
from models.trading import Order, Position
from services.orders.placing import Marked, OrderPlacing
from services.trading.exit_turns import BookingPlaces, MakingTurns
from services.trading.exiting import DuePosition, ExitService

DEFER_SECONDS_MAX = 8.0
"""How long a booking waits for orders to be made; its own is at the venue and its row says so.
Booking one order costs more than making and sending another. A venue that takes its time to answer
is not waited for."""

MAKING_SECONDS_MAX = 8.0
"""How long reading a bot's rows or making one order may take; what hangs for ever, as on a network
that swallows everything, must not hold a turn for ever. Longer than any wait for a lock."""

AT_ONCE_OF_A_BOT = 2
"""Answers of one bot that are being booked and orders of it that are sent on paper, so that an
account whose rows are locked holds few connections. Its ledger takes one order at a time anyway."""

OTHERS_SECONDS = 1.0
"""How long an exit that is to be repeated waits for the bot's others, which may be as well."""

ROUNDS_MAX = 3
"""How often the rows are read for what is due after an exit, before the workflow goes on."""

RETRY_SECONDS_FIRST = 0.5
RETRY_SECONDS_MAX = 8.0
"""The pauses of a bot whose workflow could not be woken before it is tried again here."""

BotId = tuple[UUID, UUID]
Sending = asyncio.Task[OrderResult | None]

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
        self._turns = MakingTurns()
        self._booking = BookingPlaces()
        self._in_hand: dict[BotId, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()

    async def wake_exits(self, user_id: UUID, bot_id: UUID) -> None:
        """Begin with a bot's exits; returns at once.

        Raises:
            WorkflowServiceUnavailable: they are in hand already, and the workflow that is to look
                at the rows once more could not be woken.
        """
        bot = user_id, bot_id
        if self._closing.is_set() or bot in self._in_hand:
            await self._workflows.wake_exits(user_id, bot_id)
            return
        task = asyncio.create_task(self._carry_out(bot))
        self._in_hand[bot] = task
        task.add_done_callback(lambda ended: self._note_end(bot, ended))

    async def close(self, seconds: float) -> None:
        """Begin nothing more and let what is in hand end; what does not is found by its rows."""
        self._closing.set()
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
        """Carry exits out; what is left is the workflow's, or tried again while it cannot be told.

        Whoever woke this bot takes it for woken, and would not do so again for seconds.
        """
        pause = RETRY_SECONDS_FIRST
        while not await self._carry_out_once(bot) and not self._closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._closing.wait()
            pause = min(pause * 2, RETRY_SECONDS_MAX)

    async def _carry_out_once(self, bot: BotId) -> bool:
        """Carry out what is due; whether nothing is left but what the workflow was told of."""
        rest = _Rest(self._workflows, bot)
        try:
            await self._carry_out_rounds(BotRef(user_id=bot[0], bot_id=bot[1]), rest)
        except Exception as failure:  # noqa: BLE001 - a boundary: the workflow tries again
            _log.warning("exits.not_prompt", bot_id=str(bot[1]), error=_name(failure))
            await rest.hand_over()
        return rest.is_told

    async def _carry_out_rounds(self, ref: BotRef, rest: _Rest) -> None:
        """Make, send and book until nothing is due or something is left to the workflow."""
        for _ in range(ROUNDS_MAX):
            is_due = await self._carry_out_due(ref, rest)
            if rest.is_any or not is_due:
                return
        await rest.hand_over()

    async def _carry_out_due(self, ref: BotRef, rest: _Rest) -> bool:
        """Carry out what is due by now; whether more may be due after it.

        What is left is handed over as soon as that is known: no exit waits for the end of another.
        """
        async with asyncio.TaskGroup() as group:
            sendings = await self._make_due(ref, rest, group)
            if rest.is_any:
                await rest.hand_over()
            return await self._follow(sendings, rest)

    async def _make_due(
        self, ref: BotRef, rest: _Rest, group: asyncio.TaskGroup
    ) -> Sequence[Sending]:
        """Make what is due, and begin to send each order once it is made."""
        sendings: list[Sending] = []
        connections = asyncio.Semaphore(AT_ONCE_OF_A_BOT)

        def begin(marked: Marked | None) -> None:
            if marked is None:
                rest.is_any = True
            else:
                sendings.append(group.create_task(self._send(marked, connections)))

        with self._turns.waiting():
            async with self._turns:
                async with asyncio.timeout(MAKING_SECONDS_MAX):
                    due, live = await self._exits.look(ref)
                for order in live:
                    # What has left already is looked up by the workflow.
                    is_unsent = order.state is OrderState.INTENDED
                    begin(await self._take(ref, order) if is_unsent else None)
                for position in due:
                    begin(await self._make(ref, position))
        return sendings

    async def _follow(self, sendings: Sequence[Sending], rest: _Rest) -> bool:
        """Wait until orders have come to something; whether more may be due."""
        loop = asyncio.get_running_loop()
        is_due, until = False, None
        under_way = list(sendings)
        while under_way:
            patience = None if until is None else max(0.0, until - loop.time())
            ended, _ = await asyncio.wait(
                under_way, timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
            under_way = [it for it in under_way if it not in ended]
            results = [it.result() for it in ended]
            is_due = is_due or any(it is not None and it.guard_due for it in results)
            if not all(it is not None and it.state.is_final for it in results):
                await rest.hand_over()
            elif not ended:
                until = None
                await rest.hand_over()
            elif is_due and until is None and not rest.is_any:
                until = loop.time() + OTHERS_SECONDS
        return is_due

    async def _take(self, ref: BotRef, order: OrderTask) -> Marked | None:
        """Mark an exit that another made and has not sent yet; None where that is the workflow's.

        A guard in the main worker makes exits too: of an entry that filled after its position was
        asked to leave, for one.
        """
        try:
            async with asyncio.timeout(MAKING_SECONDS_MAX):
                found = await self._placing.mark(ref.user_id, order.order_id)
        except Exception as failure:  # noqa: BLE001 - a boundary: the workflow tries again
            _note("order", order.order_id, failure)
            return None
        return found if isinstance(found, Marked) else None

    async def _make(self, ref: BotRef, due: DuePosition) -> Marked | None:
        """Make and mark an exit in one transaction; None where that is the workflow's.

        Nothing is raised: it would break the sends of the bot's other exits off.
        """
        marked: Marked | None = None
        try:

            async def mark(session: AsyncSession, position: Position, order: Order) -> None:
                nonlocal marked
                marked = await self._placing.mark_new(
                    session, position, order, due.account, account
                )

            async with asyncio.timeout(MAKING_SECONDS_MAX):
                account = await self._placing.account(due.account)
                await self._exits.leave(ref, due, mark)
        except Exception as failure:  # noqa: BLE001 - a boundary: the workflow tries again
            _note("position", due.position_id, failure)
            return None
        return marked

    async def _send(self, marked: Marked, connections: asyncio.Semaphore) -> OrderResult | None:
        """Send an order, then book its answer when there is a place; None where that failed."""
        try:
            async with connections if marked.is_on_paper else nullcontext():
                sent = await self._placing.send(marked)
            await self._turns.none_waits(DEFER_SECONDS_MAX)
            async with connections, self._booking.place():
                return await self._placing.conclude(sent)
        except Exception as failure:  # noqa: BLE001 - a boundary: the row says that it is being sent
            _note("order", marked.order.id, failure)
            return None


class _Rest:
    """What of a bot's exits is left to its workflow.

    Attributes:
        is_any: whether anything is.
    """

    def __init__(self, workflows: WorkflowService, bot: BotId) -> None:
        self._workflows = workflows
        self._bot = bot
        self._is_untold = False
        self.is_any = False

    @property
    def is_told(self) -> bool:
        """Whether the workflow knows of all that is left."""
        return not self._is_untold

    async def hand_over(self) -> None:
        """Wake the workflow, which reads the rows."""
        self.is_any = True
        try:
            await self._workflows.wake_exits(*self._bot)
        except Exception as failure:  # noqa: BLE001 - a boundary: orders are on their way
            _log.warning("exits.not_woken", bot_id=str(self._bot[1]), error=_name(failure))
            self._is_untold = True
        else:
            self._is_untold = False


def _note(what: str, about: UUID, failure: Exception) -> None:
    _log.warning("exit.not_prompt", **{f"{what}_id": str(about)}, error=_name(failure))


def _name(failure: BaseException) -> str:
    """What failed, not the group of tasks that it failed in."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return type(failure).__name__
