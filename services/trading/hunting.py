"""Hunting: decisions on every new bar and on outside signals.

Bars are handled in order and each is decided once; entries are made only on the newest. Everything
a bar leads to (decision, intent, tightened stops, equity, the note how far the run has come)
commits in one transaction, so a crash between two bars loses and repeats nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import case, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.alerts import NOT_RUNNING, AlertState
from domain.contracts.bots import HuntInput, HuntResult, OrderTask, TradeSignal
from domain.ports import VenueRefusedKeys, Venues, VenueUnavailable, WallClock
from domain.positions import Direction, PositionState
from domain.risk import RISK_PROFILES, RiskLevel
from domain.strategies.apex import (
    BAR,
    EntrySource,
    Evaluation,
    ExitPlan,
    ExitReason,
    calls_for_exit,
    on_bar_closed,
)
from models.bots import Bot, BotRun, BotState
from models.ledgers import EquitySnapshot
from models.trading import Position
from services.accounts import let_entries_pass
from services.alerts.inbox import TAKEN_AT_ONCE, AlertOutcome, hold_alerts, record_outcomes
from services.database import Database
from services.markets.evaluating import EvaluationService, StoredEvaluation
from services.orders.booking import store_plan
from services.orders.market_rules import rules_from_record
from services.orders.protection import sync_triggers
from services.trading.context import BotContext, RunContext, load_context
from services.trading.entering import (
    EntryScene,
    Wish,
    decided_causes,
    enter,
    note_decision,
)
from services.trading.entry_terms import hold_terms
from services.trading.figures import last_prices, live_positions, lock_account, valuation
from services.trading.quiet_bars import LATE_BAR, are_quiet, note_quiet_bars
from services.trading.scans import Scan, cause_of
from services.trading.signals import SignalHandling, earlier_decisions
from services.trading.signals import cause_of as cause_of_signal

_log = structlog.get_logger("nija.bots")


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

        A venue that does not answer is noted on the bot; with signals in hand it is raised
        instead, because the signals must not be lost.

        Raises:
            VenueUnavailable: there are signals and the venue does not answer.
        """
        context = await load_context(self._database, request.bot.user_id, request.bot.bot_id)
        waiting = (*request.signals, *context.alerts)
        found = [
            await self._hunt_run(context, run, waiting if run.may_enter else ())
            for run in context.runs
        ]
        if context.entering is None and waiting:
            await self._refuse(context.bot, waiting, NOT_RUNNING)
        decisions = sum(it.decisions for it in found)
        return HuntResult(
            orders=tuple(order for it in found for order in it.orders),
            exits_requested=any(it.exits_requested for it in found),
            more=len(context.alerts) == TAKEN_AT_ONCE,
            decisions=decisions,
            summary=f"looked at {decisions} new bars and signals" if decisions else "",
        )

    async def _hunt_run(
        self, context: BotContext, run: RunContext, signals: Sequence[TradeSignal]
    ) -> HuntResult:
        try:
            scan = await self._look(run)
        except (VenueUnavailable, VenueRefusedKeys) as failure:
            await self._note_error(context.bot, run, failure)
            exits, left = await self._signals.answer_exits(context, run, signals)
            if left and isinstance(failure, VenueUnavailable):
                raise
            await self._refuse(context.bot, left, "keys_refused")
            return exits
        found = []
        if scan.bars or not signals:
            found.append(await self._decide(context, scan))
        for begin in range(0, len(signals), TAKEN_AT_ONCE):
            try:
                batch = signals[begin : begin + TAKEN_AT_ONCE]
                found.append(await self._answer(context, scan, batch))
            except VenueUnavailable:
                # One market has no price: what waits for it keeps nobody from leaving another.
                exits, left = await self._signals.answer_exits(context, run, signals[begin:])
                if left:
                    raise
                found.append(exits)
                break
        return HuntResult(
            orders=tuple(order for it in found for order in it.orders),
            exits_requested=any(it.exits_requested for it in found),
            decisions=sum(it.decisions for it in found),
        )

    # --- looking ----------------------------------------------------------------------------

    async def _look(self, context: RunContext) -> Scan:
        market = self._venues.market_data(context.key)
        clock = await market.clock()
        account = await self._venues.account(context.ref)
        rules, fees = await market.rules(), await account.fees()
        found: list[tuple[str, StoredEvaluation]] = []
        error: str | None = None
        for symbol in context.symbols:
            last = context.run.last_bars.get(symbol)
            try:
                evaluations = await self._evaluations.since(
                    context.key, clock, symbol, datetime.fromisoformat(last) if last else None
                )
            except VenueUnavailable as failure:
                # One market without data does not silence the others.
                error = f"{symbol}: {failure}"
                continue
            found += [(symbol, stored) for stored in evaluations]
        found.sort(key=lambda item: (item[1].opened_at, item[0]))
        if error is not None and not found:
            raise VenueUnavailable(error)
        return Scan(context, clock, rules, fees, tuple(found), error)

    async def _note_error(self, bot: Bot, run: RunContext, failure: Exception) -> None:
        is_refused = isinstance(failure, VenueRefusedKeys)
        values: dict[str, object] = {
            "last_error": "The broker refused the API keys"
            if is_refused
            else f"Market data unavailable: {failure}",
            "progressed_at": self._clock.now(),
        }
        if is_refused and run.may_enter:
            # A run that only exits keeps no other from entering. By the row, not by what was read
            # before the venue was asked: a stop since then holds.
            values["state"] = case(
                (col(Bot.state) == BotState.RUNNING.value, BotState.ERROR.value),
                else_=col(Bot.state),
            )
        async with self._database.for_user(bot.user_id) as session:
            await session.exec(update(Bot).where(col(Bot.id) == bot.id).values(**values))
        _log.warning("hunt.failed", bot_id=str(bot.id), error=type(failure).__name__)

    # --- bars -------------------------------------------------------------------------------

    async def _decide(self, context: BotContext, scan: Scan) -> HuntResult:
        if are_quiet(scan):
            async with self._database.for_user(context.bot.user_id) as session:
                noted = await note_quiet_bars(session, scan) if scan.bars else 0
                await self._note_scan(session, context.bot, scan)
            return HuntResult(decisions=noted)
        bars = _BarDecisions(scan, self._evaluations, self._clock)
        async with self._database.for_user(context.bot.user_id) as session:
            await let_entries_pass(session)
            await bars.decide(session)
            await self._note_scan(session, context.bot, scan)
        return HuntResult(
            orders=tuple(bars.orders),
            exits_requested=bars.exits_requested,
            decisions=bars.decisions,
        )

    async def _note_scan(self, session: AsyncSession, bot: Bot, scan: Scan) -> None:
        healed = case(
            (col(Bot.state) == BotState.ERROR.value, BotState.RUNNING.value), else_=col(Bot.state)
        )
        await session.exec(
            update(Bot)
            .where(col(Bot.id) == bot.id)
            .values(
                last_scan_at=scan.clock.now,
                next_scan_at=scan.clock.now + self._scan_length,
                last_error=scan.error,
                progressed_at=self._clock.now(),
                state=healed,
            )
        )

    # --- signals ----------------------------------------------------------------------------

    async def _refuse(self, bot: Bot, signals: Sequence[TradeSignal], reason: str) -> None:
        """Record the refusal of signals that cannot be acted on, with the bot's last run."""
        if not signals:
            return
        async with self._database.for_user(bot.user_id) as session:
            alerts = await hold_alerts(session, signals)
            outcomes = [AlertOutcome(alert, AlertState.REFUSED, reason) for alert in alerts]
            await record_outcomes(session, outcomes, self._clock.now())
            if bot.current_run_id is None:
                return
            run = (await session.exec(select(BotRun).where(BotRun.id == bot.current_run_id))).one()
            earlier = await earlier_decisions(session, run, signals)
            session.add_all(
                note_decision(
                    bot,
                    run,
                    cause=cause_of_signal(signal),
                    symbol=signal.symbol,
                    action="none",
                    reason=reason,
                    at=bot.last_scan_at or run.venue_started_at,
                )
                for signal in signals
                if cause_of_signal(signal) not in earlier
            )

    async def _answer(
        self, context: BotContext, scan: Scan, signals: Sequence[TradeSignal]
    ) -> HuntResult:
        return await self._signals.answer(
            context,
            scan.context,
            signals,
            rules=scan.rules,
            fees=scan.fees,
            clock=scan.clock,
        )


class _BarDecisions:
    """The decisions of one run on its new bars, inside one transaction."""

    def __init__(
        self,
        scan: Scan,
        evaluations: EvaluationService,
        clock: WallClock,
    ) -> None:
        self._scan = scan
        self._evaluations = evaluations
        self._clock = clock
        self._decided: set[str] = set()
        self._positions: Sequence[Position] = ()
        self.orders: list[OrderTask] = []
        self.exits_requested = False
        self.decisions = 0

    async def decide(self, session: AsyncSession) -> None:
        """Handle every new bar in order."""
        if not self._scan.bars:
            return
        run_id = self._scan.context.run.id
        bot = (
            await session.exec(
                select(Bot)
                .where(Bot.id == self._scan.context.run.bot_id)
                .with_for_update(key_share=True)
            )
        ).one()
        terms = await hold_terms(session, bot.user_id, self._clock.now())
        account = await lock_account(session, self._scan.context.ref.account_id)
        run = (
            await session.exec(select(BotRun).where(BotRun.id == run_id).with_for_update())
        ).one()
        prices = await last_prices(session, account)
        scene: EntryScene | None = None
        self._decided = await decided_causes(
            session, run_id, [cause_of(symbol, stored) for symbol, stored in self._scan.bars]
        )
        self._positions = await live_positions(session, account.id)
        # The price a bar is decided at is its close, for sizing and for valuing alike.
        for symbol, stored in self._scan.bars:
            if stored.evaluation is not None:
                prices[symbol] = stored.evaluation.close
        for symbol, stored in self._scan.bars:
            rules = self._scan.rules.get(symbol)
            if rules is None:
                continue
            scene = EntryScene(
                bot=bot,
                run=run,
                account=account,
                terms=terms,
                rules=rules,
                fees=self._scan.fees,
                prices=prices,
                config=self._evaluations.config,
                now=self._scan.clock.now,
                wall=self._clock.now(),
            )
            await self._decide_bar(session, scene, symbol, stored)
            run.last_bars = {**run.last_bars, symbol: stored.opened_at.isoformat()}
        session.add(run)
        if scene is not None:
            await self._snapshot_equity(session, scene)

    async def _decide_bar(
        self, session: AsyncSession, scene: EntryScene, symbol: str, stored: StoredEvaluation
    ) -> None:
        cause = cause_of(symbol, stored)
        if cause in self._decided:
            return
        positions = [position for position in self._positions if position.symbol == symbol]
        evaluation = stored.evaluation
        if evaluation is None:
            if self._scan.context.may_enter:
                self._note(session, scene, symbol, stored, "none", "not_enough_bars", cause)
            return
        for position in positions:
            await self._manage(
                session,
                scene,
                position,
                evaluation,
                cause,
                is_newest=self._scan.is_newest(stored),
            )
        if not self._scan.context.may_enter:
            return
        if positions:
            leaving = any(position.close_cause == cause for position in positions)
            action, reason = (
                ("exit", ExitReason.SIGNAL_REVERSAL.value)
                if leaving
                else (
                    "hold",
                    "position_exists",
                )
            )
            self._note(session, scene, symbol, stored, action, reason, cause)
        elif evaluation.side is None:
            self._note(session, scene, symbol, stored, "none", "no_setup", cause)
        elif not self._scan.is_newest(stored):
            self._note(session, scene, symbol, stored, "none", LATE_BAR, cause)
        else:
            await self._enter(session, scene, symbol, stored, evaluation, evaluation.side, cause)

    async def _enter(
        self,
        session: AsyncSession,
        scene: EntryScene,
        symbol: str,
        stored: StoredEvaluation,
        evaluation: Evaluation,
        side: Direction,
        cause: str,
    ) -> None:
        decided = await enter(
            session,
            scene,
            Wish(
                cause=cause,
                source=EntrySource.STRATEGY,
                symbol=symbol,
                direction=side,
                price=evaluation.close,
                atr=evaluation.atr,
                score=evaluation.score,
                reason="setup",
                data_fresh=True,
                hole_blocks_entry=evaluation.hole_blocks_entry,
                bar_at=stored.opened_at,
                evaluation_id=stored.id,
            ),
        )
        self.decisions += 1
        if decided.order is not None:
            self.orders.append(decided.order)
            self._positions = await live_positions(session, scene.account.id)

    def _note(
        self,
        session: AsyncSession,
        scene: EntryScene,
        symbol: str,
        stored: StoredEvaluation,
        action: str,
        reason: str,
        cause: str,
    ) -> None:
        evaluation = stored.evaluation
        session.add(
            note_decision(
                scene.bot,
                scene.run,
                cause=cause,
                symbol=symbol,
                action=action,
                reason=reason,
                at=scene.now,
                score=evaluation.score if evaluation and evaluation.side else None,
                bar_at=stored.opened_at,
                evaluation_id=stored.id,
            )
        )
        self.decisions += 1

    async def _manage(
        self,
        session: AsyncSession,
        scene: EntryScene,
        position: Position,
        evaluation: Evaluation,
        cause: str,
        *,
        is_newest: bool,
    ) -> None:
        """Trail an open position's stop; leave when the strategy calls for the other side.

        Only the newest bar closes: what an older one called for may be over. The stop it trails is
        judged by the newest price anyway.
        """
        if position.run_id != scene.run.id or position.state != PositionState.OPEN:
            return
        row = (
            await session.exec(select(Position).where(Position.id == position.id).with_for_update())
        ).one()
        if row.exit_plan is None:
            return
        profile = RISK_PROFILES[RiskLevel(scene.run.risk_level)]
        is_its_own = row.source == EntrySource.STRATEGY
        may_close = is_its_own or scene.terms.settings.strategy_may_close_signals
        calls_off = calls_for_exit(Direction(row.side), evaluation, profile.entry_score)
        if row.close_requested is None and may_close and calls_off and is_newest:
            row.close_requested = ExitReason.SIGNAL_REVERSAL
            row.close_cause = cause
            session.add(row)
            self.exits_requested = True
            return
        before = ExitPlan.from_record(row.exit_plan)
        plan = on_bar_closed(
            before,
            close=evaluation.close,
            atr=evaluation.atr,
            closed_at=evaluation.closed_at,
            rules=rules_from_record(row.rules),
        )
        if plan != before:
            store_plan(row, plan)
            session.add(row)
            await sync_triggers(session, row, scene.bot.id, plan, evaluation.closed_at)

    async def _snapshot_equity(self, session: AsyncSession, scene: EntryScene) -> None:
        found = await valuation(session, scene.account, self._positions, scene.prices)
        closed_at = BAR.floor(scene.now)
        await session.exec(
            insert(EquitySnapshot)
            .values(
                account_id=scene.account.id,
                at=closed_at,
                user_id=scene.bot.user_id,
                cash=found.worth.cash,
                equity=found.worth.equity,
                is_lower_bound=found.worth.is_lower_bound,
                unrealized_pnl=found.unrealized_pnl,
            )
            .on_conflict_do_nothing()
        )
