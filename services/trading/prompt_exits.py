"""Exits carried out by the exits worker itself, before any workflow is asked to.

A workflow remembers nothing about an exit that its rows do not say, and costs several times what
sending the order does. So where the exits worker learns that one is due, it makes the order, sends
it and books what became of it at once, by the same two services as the workflow's activities. What
is left after that (an order whose fate is open, an exit to be repeated, a failure) is the
workflow's, and so is everything where too many exits hang to begin another. While the workflow
cannot be told, all of that is done here too.

Nothing can be sent twice by the two: an order leaves only after its row was marked as being sent,
under a lock, by whoever found it intended. A process that dies on the way leaves that row, which
the next poll finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import TypeVar
from uuid import UUID

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import BotRef, BotSignal, Nudge, OrderResult, OrderTask, TradeSignal
from domain.markets import VenueKey
from domain.orders import OrderState
from domain.ports import WorkflowService
from models.trading import Order, Position
from services.orders.placing import Marked, OrderPlacing
from services.orders.settling import OrderSettling
from services.trading.exit_slots import (
    BOOKING_SECONDS,
    BOOKING_SLOTS,
    LOOK_UP_SECONDS,
    LOOK_UPS_AT_ONCE,
    BriefSlots,
    ExitSlots,
)
from services.trading.exiting import DuePosition, ExitService

DEFER_SECONDS_MAX = 8.0
"""How long a booking waits for orders to be made; its own is at the venue and its row says so.
Booking one order costs more than making and sending another. A venue that takes its time to answer
is not waited for."""

MAKING_SECONDS_MAX = 8.0
"""How long reading a bot's rows or making one order may take; what hangs for ever, as on a network
that swallows everything, must not hold a slot for ever. Longer than any wait for a lock."""

OTHERS_SECONDS = 1.0
"""How long an exit that is to be repeated waits for the bot's others, which may be as well."""

HANGING_SECONDS = 8.0
"""After which an order that is sent or booked is the workflow's too, where its bot is woken again:
the send has a deadline of its own, but a connection that was lost may never say so."""

BATCHES_MAX = 3
"""How often the rows are read for what is due after an exit, before the workflow goes on."""

RETRY_SECONDS_FIRST = 0.5
RETRY_SECONDS_MAX = 8.0
"""The delays of a bot whose workflow could not be woken before it is tried again here."""

LOOK_UP_SECONDS_MAX = 25.0
"""How long an order may be looked up here, while no workflow can be told."""

BotId = tuple[UUID, UUID]
_T = TypeVar("_T")

_log = structlog.get_logger("nija.exits")


class PromptExits:
    """The `domain.ports.WorkflowService` of an exits worker, where waking exits begins them.

    Args:
        workflows: what is woken for what is left, and takes every other message.
        exits: makes exit orders.
        placing: sends and books them.
        settling: looks up what became of them, where the workflow cannot be told to.
    """

    def __init__(
        self,
        workflows: WorkflowService,
        exits: ExitService,
        placing: OrderPlacing,
        settling: OrderSettling,
    ) -> None:
        self._workflows = workflows
        self._exits = exits
        self._placing = placing
        self._settling = settling
        self._look_up_slots = BriefSlots(LOOK_UPS_AT_ONCE, LOOK_UP_SECONDS)
        self._exit_slots = ExitSlots()
        self._booking_slots = BriefSlots(BOOKING_SLOTS, BOOKING_SECONDS)
        self._bot_tasks: dict[BotId, _BotTask] = {}
        self._closing = asyncio.Event()

    async def wake_exits(self, user_id: UUID, bot_id: UUID) -> None:
        """Begin with a bot's exits, or look at its rows again where they are under way.

        Returns at once, and waits for no workflow service.

        Raises:
            WorkflowServiceUnavailable: this process ends, and the workflow could not be woken.
        """
        bot = user_id, bot_id
        if self._closing.is_set():
            await self._workflows.wake_exits(user_id, bot_id)
        elif bot in self._bot_tasks:
            self._bot_tasks[bot].wake()
        else:
            self._begin(bot)

    async def close(self, seconds: float) -> None:
        """Begin nothing more and let what is under way end; what does not is found by its rows."""
        self._closing.set()
        if not self._bot_tasks:
            return
        for bot_task in self._bot_tasks.values():
            bot_task.moved.set()
        tasks = [bot_task.task for bot_task in self._bot_tasks.values()]
        _done, late = await asyncio.wait(tasks, timeout=seconds)
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

    def _begin(self, bot: BotId) -> None:
        bot_task = _BotTask()
        self._bot_tasks[bot] = bot_task
        bot_task.task = asyncio.create_task(self._carry_out(bot, bot_task))
        bot_task.task.add_done_callback(lambda ended: self._note_end(bot, bot_task, ended))

    def _note_end(self, bot: BotId, bot_task: _BotTask, task: asyncio.Task[None]) -> None:
        del self._bot_tasks[bot]
        if task.cancelled():
            return
        if (failure := task.exception()) is not None:
            _log.error("exits.broke_off", bot_id=str(bot[1]), error=type(failure).__name__)
        elif bot_task.is_woken and not self._closing.is_set():
            self._begin(bot)  # woken while it ended

    async def _carry_out(self, bot: BotId, bot_task: _BotTask) -> None:
        """Carry exits out; what is left is the workflow's, or tried again while it cannot be told.

        Whoever woke this bot takes it for woken, and would not do so again for seconds.
        """
        rest = _Rest(self._workflows, bot)
        while not await self._carry_out_once(bot, bot_task, rest) and not self._closing.is_set():
            until = rest.again_at
            while not (bot_task.is_woken or self._closing.is_set() or _now() >= until):
                await bot_task.wait(until)

    async def _carry_out_once(self, bot: BotId, bot_task: _BotTask, rest: _Rest) -> bool:
        """Carry out what is due; whether nothing is left but what the workflow was told of."""
        rest.is_any = False
        ref = BotRef(user_id=bot[0], bot_id=bot[1])
        try:
            for _ in range(BATCHES_MAX):
                is_due = await self._carry_out_due(ref, bot_task, rest)
                if rest.is_any:
                    return rest.is_told
                if not is_due:
                    return True
        except Exception as failure:  # noqa: BLE001 - a boundary: the workflow tries again
            _log.warning("exits.not_prompt", bot_id=str(bot[1]), error=_name(failure))
        await rest.tell()
        return rest.is_told

    async def _carry_out_due(self, ref: BotRef, bot_task: _BotTask, rest: _Rest) -> bool:
        """Make, send and book what is due, and what becomes due meanwhile; whether more may be.

        What is left is handed over as soon as that is known: no exit waits for the end of another,
        nor for the workflow service.
        """
        bot_task.is_woken = True
        async with asyncio.TaskGroup() as group:
            batch = _Batch(group, bot_task, rest)
            while True:
                if rest.is_to_try_again:
                    rest.put_off()
                    bot_task.is_woken = True
                if bot_task.is_woken and not batch.is_making:
                    bot_task.is_woken = False
                    batch.make(self._make_due(ref, batch))
                batch.note_results()
                if batch.is_over and not bot_task.is_woken:
                    return batch.is_due
                await bot_task.wait(batch.next_look)

    async def _make_due(self, ref: BotRef, batch: _Batch) -> None:
        """Make what is due, and begin to send each order once it is made.

        What has to be made goes first, then what others made and nobody has sent. Nothing is
        raised: it would break off the sends that are on their way.
        """

        def begin(marked: Marked | None) -> None:
            if marked is None:
                batch.hand_over()
            else:
                batch.send(marked.order.id, self._send(marked))

        def go_on_with(order_id: UUID) -> None:
            """What has left already is looked up by the workflow, or here where it is not told."""
            if rest.is_told or not rest.may_look_up(order_id):
                batch.hand_over()
            else:
                batch.send(order_id, self._look_up(ref, order_id, rest))

        rest = batch.rest
        try:
            with self._exit_slots.waiting():
                async with self._exit_slots:
                    ours = batch.orders
                    async with asyncio.timeout(MAKING_SECONDS_MAX):
                        due, live = await self._exits.look(ref)
                    for position in due:
                        begin(await self._make(ref, position))
                    for order in live:
                        if order.order_id in ours:
                            continue
                        if order.state is OrderState.INTENDED:
                            begin(await self._take(ref, order))
                        else:
                            go_on_with(order.order_id)
        except Exception as failure:  # noqa: BLE001 - a boundary: the workflow tries again
            _log.warning("exits.not_prompt", bot_id=str(ref.bot_id), error=_name(failure))
            batch.hand_over()

    async def _take(self, ref: BotRef, order: OrderTask) -> Marked | None:
        """Mark an exit that another made and has not sent yet; None where that is the workflow's.

        A guard in the main worker makes exits too: of an entry that filled after its position was
        asked to leave, for one.
        """
        try:
            async with asyncio.timeout(MAKING_SECONDS_MAX):
                found = await self._placing.mark(ref.user_id, order.order_id, waits=False)
        except Exception as failure:  # noqa: BLE001 - a boundary: the workflow tries again
            _note("order", order.order_id, failure)
            return None
        return found if isinstance(found, Marked) else None

    async def _make(self, ref: BotRef, due: DuePosition) -> Marked | None:
        """Make and mark an exit in one transaction; None where that is the workflow's.

        Nothing is raised: the bot's other exits are made all the same.
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

    async def _send(self, marked: Marked) -> OrderResult | None:
        """Send an order, then book its answer when a slot is free; None where that failed."""
        try:
            sent = await self._placing.send(marked)
            await self._exit_slots.none_waits(DEFER_SECONDS_MAX)
            async with self._booking_slots.slot():
                return await self._placing.conclude(sent)
        except Exception as failure:  # noqa: BLE001 - a boundary: the row says that it is being sent
            _note("order", marked.order.id, failure)
            return None

    async def _look_up(self, ref: BotRef, order_id: UUID, rest: _Rest) -> OrderResult | None:
        """Look up an order that has left; None where that failed."""
        try:
            async with self._look_up_slots.slot(), asyncio.timeout(LOOK_UP_SECONDS_MAX):
                found = await self._settling.settle_or_delay(ref.user_id, order_id)
        except Exception as failure:  # noqa: BLE001 - a boundary: it is looked up again
            _note("order", order_id, failure)
            return None
        if found.keys_refused_seconds is not None:
            rest.delay_look_ups(order_id, found.keys_refused_seconds)
        return found


class _BotTask:
    """Carries one bot's exits out.

    Attributes:
        task: the asyncio task.
        is_woken: whether its rows are to be looked at, once more.
        moved: set when anything happened that its task waits for.
    """

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.is_woken = False
        self.moved = asyncio.Event()

    def wake(self) -> None:
        """Have the bot's rows looked at once more."""
        self.is_woken = True
        self.moved.set()

    def note(self, _ended: object) -> None:
        """Note that a task has ended."""
        self.moved.set()

    async def wait(self, until: float | None) -> None:
        """Wait until anything happened, or a time of the loop's clock has come."""
        self.moved.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self.moved.wait()


class _Rest:
    """What of a bot's exits is left to its workflow.

    Attributes:
        is_any: whether anything is.
        is_told: whether the workflow knows of all of it.
        again_at: when to go on here with what it could not be told of, by the loop's clock.
    """

    def __init__(self, workflows: WorkflowService, bot: BotId) -> None:
        self._workflows = workflows
        self._bot = bot
        self._delay = RETRY_SECONDS_FIRST
        self._look_up_after: dict[UUID, float] = {}
        self.is_any = False
        self.is_told = True
        self.again_at = 0.0

    @property
    def is_to_try_again(self) -> bool:
        """Whether the workflow could not be told of what is left, and it is time to go on here."""
        return self.is_any and not self.is_told and _now() >= self.again_at

    async def tell(self) -> None:
        """Wake the workflow, which reads the rows."""
        self.is_any = True
        try:
            await self._workflows.wake_exits(*self._bot)
        except Exception as failure:  # noqa: BLE001 - a boundary: orders are on their way
            _log.warning("exits.not_woken", bot_id=str(self._bot[1]), error=_name(failure))
            self.is_told = False
            self.put_off()
            self._delay = min(self._delay * 2, RETRY_SECONDS_MAX)
        else:
            self.is_told = True
            self._delay = RETRY_SECONDS_FIRST

    def put_off(self) -> None:
        """Go on here after a delay; it grows with each time that the workflow cannot be told."""
        self.again_at = _now() + self._delay

    def delay_look_ups(self, order_id: UUID, seconds: float) -> None:
        """Look an order up no more for some seconds: the venue refuses its account's keys."""
        self._look_up_after[order_id] = _now() + seconds

    def may_look_up(self, order_id: UUID) -> bool:
        """Whether an order may be looked up now."""
        return _now() >= self._look_up_after.get(order_id, 0.0)


class _Batch:
    """What of a bot's exits is made, sent, booked and handed over at present.

    Attributes:
        rest: what is left to the workflow.
        is_due: whether more may be due after what has ended.
    """

    def __init__(self, group: asyncio.TaskGroup, bot_task: _BotTask, rest: _Rest) -> None:
        self._group = group
        self._bot_task = bot_task
        self.rest = rest
        self._making: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._is_to_tell = False
        self._sending: dict[UUID, tuple[asyncio.Task[OrderResult | None], float]] = {}
        self.is_due = False
        # How long an exit that is to be repeated waits for the bot's others.
        self._others_until: float | None = None

    @property
    def orders(self) -> frozenset[UUID]:
        """The orders that are being sent or booked."""
        return frozenset(self._sending)

    @property
    def is_making(self) -> bool:
        """Whether orders are being made."""
        return self._making is not None and not self._making.done()

    @property
    def is_over(self) -> bool:
        """Whether all that was begun has ended."""
        is_telling = self._telling is not None and not self._telling.done()
        return not (self.is_making or self._sending or is_telling)

    @property
    def next_look(self) -> float | None:
        """When to look again though nothing has ended, by the loop's clock."""
        times = [] if self._others_until is None else [self._others_until]
        if self.rest.is_any and not self.rest.is_told:
            times.append(self.rest.again_at)
        return min(times, default=None)

    def make(self, work: Coroutine[None, None, None]) -> None:
        """Begin to make orders, beside those that are on their way."""
        self._making = self._begin(work)
        if any(_now() - began >= HANGING_SECONDS for _, began in self._sending.values()):
            self.hand_over()

    def send(self, order_id: UUID, work: Coroutine[None, None, OrderResult | None]) -> None:
        """Begin to send an order and book what became of it."""
        self._sending[order_id] = self._begin(work), _now()

    def hand_over(self) -> None:
        """Have the workflow woken for what is left, beside everything else."""
        self.rest.is_any = self._is_to_tell = True
        if self._telling is None or self._telling.done():
            self._telling = self._begin(self._tell())

    def note_results(self) -> None:
        """Look at what has ended, and hand over what is left of it."""
        ended = [order_id for order_id, (task, _) in self._sending.items() if task.done()]
        results = [self._sending.pop(order_id)[0].result() for order_id in ended]
        self.is_due = self.is_due or any(it is not None and it.guard_due for it in results)
        if not all(it is not None and it.state.is_final for it in results):
            self.hand_over()
        elif self._others_until is not None and _now() >= self._others_until:
            self._others_until = None
            self.hand_over()
        elif self.is_due and self._others_until is None and not self.rest.is_any:
            self._others_until = _now() + OTHERS_SECONDS

    def _begin(self, work: Coroutine[None, None, _T]) -> asyncio.Task[_T]:
        task = self._group.create_task(work)
        task.add_done_callback(self._bot_task.note)
        return task

    async def _tell(self) -> None:
        while self._is_to_tell:
            self._is_to_tell = False
            await self.rest.tell()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _note(what: str, about: UUID, failure: Exception) -> None:
    _log.warning("exit.not_prompt", **{f"{what}_id": str(about)}, error=_name(failure))


def _name(failure: BaseException) -> str:
    """What failed, not the group of tasks that it failed in."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return type(failure).__name__
