"""Hunting: decisions on every new bar and on outside signals.

What signals leave is asked for first, by rows alone. Then each part is decided by itself: a market
that does not answer delays what waits for it and nothing else, open positions are managed by bars
alone, and only entries need rules and fees.

Bars are handled in order and each is decided once; entries are made only on the newest. Everything
a bar leads to (decision, intent, equity, the note how far the run has come) commits in one
transaction, so a crash between two bars loses and repeats nothing. Managing a position on a bar
comes before and changes nothing when it is repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy import case, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.alerts import NOT_RUNNING, AlertState
from domain.contracts.bots import HuntInput, HuntResult, OrderTask, SignalAction, TradeSignal
from domain.markets import VenueClock
from domain.ports import VenueRefusedKeys, Venues, VenueUnavailable, WallClock
from domain.strategies.apex import BAR
from models.bots import Bot, BotRun, BotState
from services.accounts import let_entries_pass
from services.alerts.inbox import TAKEN_AT_ONCE, AlertOutcome, lock_alerts, record_outcomes
from services.database import Database
from services.markets.evaluating import EvaluationService, StoredEvaluation
from services.markets.last_clock import last_clock, time_at_venue
from services.trading.bar_decisions import BarDecisions
from services.trading.context import BotContext, RunContext, load_context
from services.trading.entering import note_decision
from services.trading.quiet_bars import are_quiet, note_quiet_bars
from services.trading.scans import EntryFacts, MissedBar, Scan
from services.trading.signal_exits import cause_of as cause_of_signal
from services.trading.signal_exits import decide_exits
from services.trading.signals import SignalHandling, earlier_decisions
from services.trading.trailing import manage_positions

CLOCK_SECONDS_MAX = 3.0
FACTS_SECONDS_MAX = 3.0
EVALUATION_SECONDS_MAX = 5.0
"""How long one market may take; all are asked at the same time."""

EXIT_TRIES = 5
EXIT_DELAY_SECONDS = 0.2
"""Of exits that the hunt's own signals ask for, where a position is locked."""

ERROR_LENGTH_MAX = 500

_Answer = TypeVar("_Answer")

_log = structlog.get_logger("nija.bots")


@dataclass
class _Outcome:
    """What one hunt has come to so far."""

    orders: list[OrderTask] = field(default_factory=list)
    exits_requested: bool = False
    decisions: int = 0
    problems: list[str] = field(default_factory=list)
    scanned_at: datetime | None = None
    entering_refused: bool = False
    failure: Exception | None = None
    facts: EntryFacts | None = None
    exits_waiting: frozenset[UUID] = frozenset()
    is_locked: bool = False  # a position that is to be managed

    def add(self, result: HuntResult) -> None:
        """Count a part's result in."""
        self.orders += result.orders
        self.exits_requested = self.exits_requested or result.exits_requested
        self.decisions += result.decisions


class HuntService:
    """Decides on bars and hands outside signals on."""

    def __init__(
        self,
        database: Database,
        venues: Venues,
        evaluations: EvaluationService,
        signals: SignalHandling,
        clock: WallClock,
        *,
        scan_length: timedelta,
    ) -> None:
        self._database = database
        self._venues = venues
        self._evaluations = evaluations
        self._signals = signals
        self._clock = clock
        self._scan_length = scan_length

    async def hunt(self, request: HuntInput) -> HuntResult:
        """Decide on everything new.

        A venue that does not answer is noted on the bot, and alerts wait for it in their rows. With
        signals of the request that are no alerts it is raised instead: they must not be lost.

        Raises:
            VenueUnavailable: there are such signals and the venue does not answer.
        """
        outcome = _Outcome()
        kept = await self._ask_exits(request, outcome)
        context = await load_context(self._database, request.bot.user_id, request.bot.bot_id)
        # An exit that has to wait, or has come just now, is decided as one in whatever state.
        waiting = [
            signal
            for signal in (*kept, *context.alerts)
            if signal.signal_id not in outcome.exits_waiting
            and signal.action is not SignalAction.CLOSE
        ]
        left: Sequence[TradeSignal] = ()  # of the request; alerts wait in their rows
        if waiting and context.entering is None:
            await self._refuse(context.bot, waiting, NOT_RUNNING)
        elif waiting and context.entering is not None:
            left = await self._answer(context, context.entering, waiting, outcome)
            if left:
                # One may leave what an earlier one of this look has entered.
                again = request.model_copy(update={"signals": _among(left, kept)})
                left = await self._ask_exits(again, outcome)
        known = {signal.signal_id for signal in left}
        left = [*left, *(it for it in kept if it.signal_id in outcome.exits_waiting - known)]
        for run in context.runs:
            await self._scan_run(context, run, outcome)
        await self._note(context, outcome)
        if outcome.failure is not None:
            raise outcome.failure
        if left:
            raise VenueUnavailable("; ".join(outcome.problems) or "A market or a row is waited for")
        return HuntResult(
            orders=tuple(outcome.orders),
            exits_requested=outcome.exits_requested,
            # Exits that wait for a lock are looked at by those who follow them.
            more=outcome.is_locked or (len(context.alerts) == TAKEN_AT_ONCE and bool(waiting)),
            decisions=outcome.decisions,
            summary=f"looked at {outcome.decisions} new bars and signals"
            if outcome.decisions
            else "",
        )

    async def _ask_exits(self, request: HuntInput, outcome: _Outcome) -> Sequence[TradeSignal]:
        """Commit the exits that signals ask for, and return the request's other signals.

        Nothing is asked of a venue before.
        """
        user_id = request.bot.user_id
        requested = {signal.signal_id for signal in request.signals}
        tries = EXIT_TRIES
        while True:
            async with self._database.for_user(user_id) as session:
                exits = await decide_exits(session, user_id, self._clock.now(), request.signals)
            outcome.exits_requested |= exits.bot_id is not None
            outcome.decisions += exits.decided
            tries -= 1
            if exits.is_locked and requested & exits.waiting and tries > 0:
                await asyncio.sleep(EXIT_DELAY_SECONDS)  # alerts are tried again by others
            elif exits.decided < TAKEN_AT_ONCE:
                break
        outcome.exits_waiting |= exits.waiting
        return [signal for signal in exits.left if signal.signal_id in requested]

    # --- signals ----------------------------------------------------------------------------

    async def _answer(
        self,
        context: BotContext,
        run: RunContext,
        signals: Sequence[TradeSignal],
        outcome: _Outcome,
    ) -> Sequence[TradeSignal]:
        """Decide on signals that want to enter; those that wait for the venue."""
        try:
            clock = await self._venue_clock(run)
        except VenueUnavailable as failure:
            outcome.problems.append(f"Market data unavailable: {failure}")
            return signals
        facts = outcome.facts = await self._entry_facts(run)
        if facts.keys_refused:
            outcome.entering_refused = True
            await self._refuse(context.bot, signals, "keys_refused")
            return ()
        left: list[TradeSignal] = []
        for begin in range(0, len(signals), TAKEN_AT_ONCE):
            batch = signals[begin : begin + TAKEN_AT_ONCE]
            result, waiting, errors = await self._signals.answer(
                context, run, batch, facts=facts, clock=clock
            )
            outcome.add(result)
            outcome.problems += [f"Market data unavailable: {error}" for error in errors]
            left += waiting
        return left

    async def _refuse(self, bot: Bot, signals: Sequence[TradeSignal], reason: str) -> None:
        """Record the refusal of signals that cannot be acted on, with the bot's last run."""
        async with self._database.for_user(bot.user_id) as session:
            alerts = await lock_alerts(session, signals)
            outcomes = [
                AlertOutcome(alert, AlertState.REFUSED, reason)
                for alert, state in alerts.items()
                if state is AlertState.PROCESSING
            ]
            await record_outcomes(session, outcomes, self._clock.now())
            if bot.current_run_id is None:
                return
            run = (await session.exec(select(BotRun).where(BotRun.id == bot.current_run_id))).one()
            earlier = await earlier_decisions(session, run, signals)
            now = await time_at_venue(session, run, self._clock.now())
            session.add_all(
                note_decision(
                    bot,
                    run,
                    cause=cause_of_signal(signal),
                    symbol=signal.symbol,
                    action="none",
                    reason=reason,
                    at=now,
                )
                for signal in signals
                if cause_of_signal(signal) not in earlier
            )

    # --- bars -------------------------------------------------------------------------------

    async def _scan_run(self, context: BotContext, run: RunContext, outcome: _Outcome) -> None:
        """Manage and decide by the new bars of one run; what fails is noted, others go on."""
        of_run = f"{run.run.venue} {run.run.mode}: " if len(context.runs) > 1 else ""
        clock: VenueClock | None
        is_told, knows_newest = True, True
        facts = outcome.facts if run.may_enter else EntryFacts()
        try:
            clock = await self._venue_clock(run)
        except VenueUnavailable as failure:
            outcome.problems.append(f"{of_run}Market data unavailable: {failure}")
            # Stops trail by the clock last seen; what enters waits for the venue's own.
            is_told, facts = False, EntryFacts()
            clock, knows_newest = await self._last_clock(run)
            if clock is None:
                return
        scan = await self._scan(run, clock, facts, knows_newest=knows_newest)
        try:
            managed = await manage_positions(self._database, scan)
            outcome.exits_requested |= managed.is_asked
            outcome.is_locked |= managed.is_locked
            if is_told:
                missed = [*managed.left_out, *scan.unseen]
                outcome.add(await self._decide(context, scan, missed))
        except Exception as failure:  # noqa: BLE001 - a boundary: the other runs go on, it is raised
            _log.exception("hunt.run_failed", run_id=str(run.run.id), error=type(failure).__name__)
            outcome.failure = failure
            return
        if is_told and (not scan.errors or len(scan.errors) < len(run.symbols)):
            outcome.scanned_at = scan.clock.now
        outcome.problems += [
            f"{of_run}Market data unavailable: {symbol}: {error}"
            for symbol, error in sorted(scan.errors.items())
        ]
        if scan.facts.problem is not None:
            outcome.problems.append(f"{of_run}{scan.facts.problem}")
        if run.may_enter and scan.facts.keys_refused:
            outcome.entering_refused = True

    async def _venue_clock(self, run: RunContext) -> VenueClock:
        return await _within(
            CLOCK_SECONDS_MAX, "the clock", self._venues.market_data(run.key).clock
        )

    async def _last_clock(self, run: RunContext) -> tuple[VenueClock | None, bool]:
        """The venue's clock as it was last seen, and whether this process has seen it."""
        known = self._venues.market_data(run.key).known_clock()
        if known is not None:
            return known, True
        async with self._database.as_system() as session:
            return await last_clock(session, run.key, self._clock.now()), False

    async def _scan(
        self,
        run: RunContext,
        clock: VenueClock,
        facts: EntryFacts | None,
        *,
        knows_newest: bool,
    ) -> Scan:
        """Ask for everything at the same time; one market without data does not silence others.

        Args:
            run: whose markets.
            clock: the venue's.
            facts: what entries need, where that is known already or not needed.
            knows_newest: whether the clock tells which bar is the newest.
        """
        missed = [MissedBar.from_record(it) for it in run.run.missed_bars]
        missed = [it for it in missed if it.symbol in run.symbols]
        found: list[tuple[str, StoredEvaluation]] = []
        again: dict[UUID, tuple[StoredEvaluation, ...]] = {}
        errors: dict[str, str] = {}

        async def evaluate(symbol: str) -> None:
            last = run.run.last_bars.get(symbol)
            handled = datetime.fromisoformat(last) if last else None
            of_symbol = [it for it in missed if it.symbol == symbol and handled is not None]
            since = handled
            if handled is not None:
                since = min([handled, *(it.opened_at - BAR.length for it in of_symbol)])
            try:
                evaluations = await _within(
                    EVALUATION_SECONDS_MAX,
                    "candles",
                    lambda: self._evaluations.since(run.key, clock, symbol, since),
                )
            except VenueUnavailable as failure:
                errors[symbol] = str(failure)
            except Exception as failure:  # noqa: BLE001 - a boundary: the other markets go on
                _log.exception("hunt.market_failed", symbol=symbol, error=type(failure).__name__)
                errors[symbol] = type(failure).__name__
            else:
                new = [it for it in evaluations if handled is None or it.opened_at > handled]
                found.extend((symbol, stored) for stored in new)
                for one in of_symbol if evaluations else ():
                    again[one.position_id] = tuple(
                        it for it in evaluations if it.opened_at >= one.opened_at
                    )

        evaluating = asyncio.gather(*(evaluate(symbol) for symbol in run.symbols))
        known = facts or await self._entry_facts(run)
        await evaluating
        found.sort(key=lambda item: (item[1].opened_at, item[0]))
        return Scan(
            run, clock, known, tuple(found), errors, knows_newest, again=again, missed=tuple(missed)
        )

    async def _entry_facts(self, run: RunContext) -> EntryFacts:
        """Rules and fees, as far as they can be had."""
        problems: list[str] = []
        rules = fees = None
        is_refused = False
        try:
            rules = await _within(
                FACTS_SECONDS_MAX, "the product list", self._venues.market_data(run.key).rules
            )
        except VenueUnavailable as failure:
            problems.append(f"Product list unavailable: {failure}")
        try:
            account = await _within(
                FACTS_SECONDS_MAX, "the account", lambda: self._venues.account(run.ref)
            )
            fees = await _within(FACTS_SECONDS_MAX, "fees", account.fees)
        except VenueRefusedKeys:
            is_refused = True
            problems.append("The broker refused the API keys")
        except VenueUnavailable as failure:
            problems.append(f"Fees unavailable: {failure}")
        return EntryFacts(rules, fees, is_refused, "; ".join(problems) or None)

    async def _decide(
        self, context: BotContext, scan: Scan, missed: Sequence[MissedBar]
    ) -> HuntResult:
        """Decide on the new bars, and note with them what was not managed on its bars."""
        bars = BarDecisions(scan, self._evaluations, self._clock)
        noted = [it.to_record() for it in missed]
        if not scan.bars and noted == scan.context.run.missed_bars:
            return HuntResult()
        async with self._database.for_user(context.bot.user_id) as session:
            if are_quiet(scan):
                bars.decisions = await note_quiet_bars(session, scan) if scan.bars else 0
            else:
                await let_entries_pass(session)
                await bars.decide(session)
            if noted != scan.context.run.missed_bars:
                of_run = col(BotRun.id) == scan.context.run.id
                await session.exec(update(BotRun).where(of_run).values(missed_bars=noted))
        return HuntResult(orders=tuple(bars.orders), decisions=bars.decisions)

    # --- the bot's row ----------------------------------------------------------------------

    async def _note(self, context: BotContext, outcome: _Outcome) -> None:
        """Say how the hunt went: the problems of all parts, and the scan if there was one."""
        problems = list(dict.fromkeys(outcome.problems))
        values: dict[str, object] = {
            "last_error": "; ".join(problems)[:ERROR_LENGTH_MAX] or None,
            "progressed_at": self._clock.now(),
        }
        state = col(Bot.state)
        if outcome.entering_refused:
            # By the row, not by what was read before the venue was asked: a stop since then holds.
            values["state"] = case(
                (state == BotState.RUNNING.value, BotState.ERROR.value), else_=state
            )
        elif outcome.scanned_at is not None:
            values["state"] = case(
                (state == BotState.ERROR.value, BotState.RUNNING.value), else_=state
            )
        if outcome.scanned_at is not None:
            values["last_scan_at"] = outcome.scanned_at
            values["next_scan_at"] = outcome.scanned_at + self._scan_length
        async with self._database.for_user(context.bot.user_id) as session:
            await _update_bot(session, context.bot, values)
        if problems:
            _log.warning("hunt.problems", bot_id=str(context.bot.id), problems=len(problems))


def _among(
    signals: Sequence[TradeSignal], others: Sequence[TradeSignal]
) -> tuple[TradeSignal, ...]:
    ids = {signal.signal_id for signal in others}
    return tuple(signal for signal in signals if signal.signal_id in ids)


async def _update_bot(session: AsyncSession, bot: Bot, values: dict[str, object]) -> None:
    await session.exec(update(Bot).where(col(Bot.id) == bot.id).values(**values))


async def _within(seconds: float, what: str, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """An answer in time.

    Raises:
        VenueUnavailable: there was none.
    """
    try:
        async with asyncio.timeout(seconds):
            return await ask()
    except TimeoutError:
        raise VenueUnavailable(f"{what}: no answer within {seconds:g} s") from None
