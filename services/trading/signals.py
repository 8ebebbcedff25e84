"""Outside signals that want to enter, by the same gates as the strategy.

Signals of one look are decided in one transaction, in their order: what a storm of them has in
common is locked, read and written once. What leaves positions was decided before
(`services.trading.signal_exits`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import structlog
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.alerts import EXPIRED, NO_POSITION, AlertState
from domain.contracts.bots import HuntResult, OrderTask, TradeSignal
from domain.markets import MarketRules, Quote, VenueClock
from domain.orders import OrderState
from domain.ports import Venues, VenueUnavailable, WallClock
from domain.positions import Direction
from domain.strategies.apex import BAR, EntrySource
from models.bots import Bot, BotRun, Decision
from models.connections import Account
from models.trading import Order, Position
from services.accounts import let_entries_pass
from services.alerts.inbox import AlertOutcome, lock_alerts, record_outcomes
from services.database import Database
from services.markets.evaluating import EvaluationService, StoredEvaluation
from services.orders.conditions import is_entry, is_in
from services.trading.context import BotContext, RunContext
from services.trading.entering import (
    EntryScene,
    GateFacts,
    Wish,
    enter,
    note_decision,
)
from services.trading.entry_terms import EntryTerms, hold_terms
from services.trading.figures import (
    last_prices,
    live_positions_of_bot,
    lock_account,
    unpriced,
)
from services.trading.scans import EntryFacts
from services.trading.signal_exits import cause_of, enters, leaves

QUICK_SECONDS = 1.0
VIEW_SECONDS_MAX = 3.0
"""How long signals wait for their own market: those whose market answers soon do not wait for the
others, those after that wait for the slowest no longer than this."""

FRESH_BARS = 3
"""An evaluation older than this many bars is no ground for a stop."""

_log = structlog.get_logger("nija.bots")


@dataclass(frozen=True, slots=True)
class MarketView:
    """What signals of one symbol are judged with; a market nobody knows has no rules."""

    rules: MarketRules | None = None
    quote: Quote | None = None
    latest: StoredEvaluation | None = None


@dataclass(frozen=True, slots=True)
class VenueView:
    """What the venue said: `held` are prices of other markets, `now` is its own time."""

    markets: Mapping[str, MarketView]
    held: Mapping[str, Decimal]
    facts: EntryFacts
    now: datetime

    @property
    def prices(self) -> dict[str, Decimal]:
        """Of the markets that were asked."""
        asked = {symbol: it.quote.last for symbol, it in self.markets.items() if it.quote}
        return {**self.held, **asked}


class SignalHandling:
    """Turns trade signals that want to enter into recorded decisions."""

    def __init__(
        self,
        database: Database,
        venues: Venues,
        evaluations: EvaluationService,
        clock: WallClock,
    ) -> None:
        self._database = database
        self._venues = venues
        self._evaluations = evaluations
        self._clock = clock

    async def answer(
        self,
        context: BotContext,
        run: RunContext,
        signals: Sequence[TradeSignal],
        *,
        facts: EntryFacts,
        clock: VenueClock,
    ) -> tuple[HuntResult, Sequence[TradeSignal], Sequence[str]]:
        """Decide on each signal once; a repeated one returns what is left to do of the first.

        Markets are asked at the same time. Signals of those that answered are decided without
        waiting for the others.

        Returns:
            What is to be done, the signals whose market gave no answer, and what was wrong with it.
        """
        symbols = sorted({signal.symbol for signal in signals})
        errors: list[str] = []
        asking = {
            asyncio.create_task(self._view(run, symbol, facts, clock, errors)): symbol
            for symbol in symbols
        }
        results: list[HuntResult] = []
        left = list(signals)
        pending: set[asyncio.Task[MarketView | None]] = set(asking)
        try:
            for seconds in (QUICK_SECONDS, VIEW_SECONDS_MAX):
                if not pending:
                    break
                done, pending = await asyncio.wait(pending, timeout=seconds)
                views = {asking[task]: view for task in done if (view := task.result())}
                ready = [signal for signal in left if signal.symbol in views]
                if ready:
                    held = await self._held_prices(run, facts)
                    seen = VenueView(views, held, facts, clock.now)
                    result, waiting = await self._give(context, run, ready, seen)
                    results.append(result)
                    decided = {it.signal_id for it in ready} - {it.signal_id for it in waiting}
                    left = [signal for signal in left if signal.signal_id not in decided]
        finally:
            for task in pending:
                task.cancel()
        errors += [f"{asking[task]}: no answer in time" for task in pending]
        result = HuntResult(
            orders=tuple(order for it in results for order in it.orders),
            exits_requested=any(it.exits_requested for it in results),
            decisions=sum(it.decisions for it in results),
        )
        return result, left, errors

    async def _held_prices(self, run: RunContext, facts: EntryFacts) -> dict[str, Decimal]:
        """Prices of what was bought a moment ago, before any watcher looked at its market.

        Without them the account's equity is not known, and a second entry would be refused.
        """
        async with self._database.for_user(run.ref.user_id) as session:
            symbols = await unpriced(session, run.ref.account_id)
        market = self._venues.market_data(run.key)

        async def ask(symbol: str) -> tuple[str, Decimal] | None:
            with suppress(VenueUnavailable, TimeoutError):
                async with asyncio.timeout(QUICK_SECONDS):
                    return symbol, (await market.quote(symbol)).last
            return None

        known = [symbol for symbol in symbols if symbol in (facts.rules or {})]
        return dict([it for it in await asyncio.gather(*map(ask, known)) if it is not None])

    async def _view(
        self,
        run: RunContext,
        symbol: str,
        facts: EntryFacts,
        clock: VenueClock,
        errors: list[str],
    ) -> MarketView | None:
        """What is known of a market; None, and the reason noted, where it gives no answer."""
        if facts.rules is None or (facts.fees is None and symbol in facts.rules):
            errors.append(f"{symbol}: {facts.problem}")
            return None
        known = facts.rules.get(symbol)
        if known is None:
            return MarketView()
        try:
            quote = await self._venues.market_data(run.key).quote(symbol)
            found = await self._evaluations.since(run.key, clock, symbol, None)
        except VenueUnavailable as failure:
            errors.append(f"{symbol}: {failure}")
            return None
        except Exception as failure:  # noqa: BLE001 - a boundary: the other markets go on
            _log.exception("signals.market_failed", symbol=symbol, error=type(failure).__name__)
            errors.append(f"{symbol}: {type(failure).__name__}")
            return None
        return MarketView(known, quote, found[-1] if found else None)

    async def _give(
        self,
        context: BotContext,
        run: RunContext,
        signals: Sequence[TradeSignal],
        view: VenueView,
    ) -> tuple[HuntResult, Sequence[TradeSignal]]:
        async with self._database.for_user(context.bot.user_id) as session:
            await let_entries_pass(session)
            alerts = await lock_alerts(session, signals)
            bot = (
                await session.exec(
                    select(Bot)
                    .where(Bot.id == context.bot.id)
                    # Entries only keep it from changing.
                    .with_for_update(read=True)
                )
            ).one()
            terms = await hold_terms(session, bot.user_id, self._clock.now())
            account = await lock_account(session, run.ref.account_id)
            row = (await session.exec(select(BotRun).where(BotRun.id == run.run.id))).one()
            prices = await last_prices(session, account)
            answers = _Answers(
                session=session,
                bot=bot,
                run=row,
                terms=terms,
                account=account,
                view=view,
                prices=prices | view.prices,
                evaluations=self._evaluations,
                wall=self._clock,
                alerts=alerts,
            )
            await answers.give(signals)
            await record_outcomes(session, answers.outcomes, self._clock.now())
        result = HuntResult(
            orders=tuple(answers.orders),
            exits_requested=answers.exits_requested,
            decisions=len(signals) - len(answers.left),
        )
        return result, answers.left


@dataclass
class _Answers:
    """The answers to the signals of one look, inside one transaction.

    One that leaves a position after all (an earlier one of the same look has entered) is `left` to
    the next look, which asks exits first.
    """

    session: AsyncSession
    bot: Bot
    run: BotRun
    terms: EntryTerms
    account: Account
    view: VenueView
    prices: dict[str, Decimal]
    evaluations: EvaluationService
    wall: WallClock
    alerts: Mapping[UUID, AlertState]
    facts: GateFacts = field(default_factory=GateFacts)
    orders: list[OrderTask] = field(default_factory=list)
    outcomes: list[AlertOutcome] = field(default_factory=list)
    left: list[TradeSignal] = field(default_factory=list)
    exits_requested: bool = False

    async def give(self, signals: Sequence[TradeSignal]) -> None:
        """Answer every signal that still waits for one, in order."""
        by_id = {signal.signal_id: signal for signal in signals}
        waiting = [
            signal
            for signal_id, signal in by_id.items()
            if self.alerts.get(signal_id, AlertState.PROCESSING) is AlertState.PROCESSING
        ]
        earlier = await earlier_decisions(self.session, self.run, waiting)
        held = await _held_already(self.session, waiting)
        positions = await live_positions_of_bot(self.session, self.bot.id)
        for signal in waiting:
            if cause_of(signal) in earlier or signal.signal_id in held:
                await self._repeat(signal, earlier.get(cause_of(signal)))
            elif await self._answer(signal, positions):
                positions = await live_positions_of_bot(self.session, self.bot.id)

    async def _repeat(self, signal: TradeSignal, decision: Decision | None) -> None:
        """What is left to do of a signal that was decided on before."""
        self.orders += await _unsent(self.session, self.run, cause_of(signal))
        self.exits_requested = True
        if decision is not None and decision.action == "none":
            self._conclude(signal, AlertState.REFUSED, decision.reason)
        else:
            reason = decision.reason if decision else "outside_signal"
            position_id = decision.position_id if decision else signal.signal_id
            self._conclude(signal, AlertState.ACCEPTED, reason, position_id)

    async def _answer(self, signal: TradeSignal, positions: Sequence[Position]) -> bool:
        """Decide; whether there is a new position."""
        if signal.expires_at is not None and self.wall.now() >= signal.expires_at:
            self._note(signal, EXPIRED)
            self._conclude(signal, AlertState.EXPIRED, EXPIRED)
            return False
        if any(leaves(signal, position) for position in positions):
            self.left.append(signal)
            self.exits_requested = True
            return False
        market = self.view.markets[signal.symbol]
        if market.rules is None:
            self._refuse(signal, "unknown_symbol")
            return False
        direction = enters(signal)
        if direction is None:
            self._refuse(signal, NO_POSITION)
            return False
        return await self._enter(signal, self.view, market, market.rules, direction)

    async def _enter(
        self,
        signal: TradeSignal,
        view: VenueView,
        market: MarketView,
        rules: MarketRules,
        direction: Direction,
    ) -> bool:
        assert market.quote is not None
        assert view.facts.fees is not None
        evaluation = market.latest.evaluation if market.latest else None
        is_fresh = (
            evaluation is not None and view.now - evaluation.closed_at < BAR.length * FRESH_BARS
        )
        decided = await enter(
            self.session,
            EntryScene(
                bot=self.bot,
                run=self.run,
                account=self.account,
                terms=self.terms,
                rules=rules,
                fees=view.facts.fees,
                prices=self.prices,
                config=self.evaluations.config,
                now=view.now,
                wall=self.wall.now(),
                facts=self.facts,
            ),
            Wish(
                cause=cause_of(signal),
                source=EntrySource.SIGNAL,
                symbol=signal.symbol,
                direction=direction,
                price=market.quote.last,
                atr=evaluation.atr if evaluation else None,
                score=None,
                reason="outside_signal",
                data_fresh=is_fresh,
                hole_blocks_entry=bool(evaluation and evaluation.hole_blocks_entry),
                evaluation_id=market.latest.id if market.latest else None,
                position_id=signal.signal_id,
                size_usd=signal.size_usd,
                quantity=signal.quantity,
            ),
        )
        if decided.order is None:
            self._conclude(signal, AlertState.REFUSED, decided.reason)
            return False
        self.orders.append(decided.order)
        self._conclude(signal, AlertState.ACCEPTED, decided.reason, signal.signal_id)
        return True

    def _refuse(self, signal: TradeSignal, reason: str) -> None:
        self._note(signal, reason)
        self._conclude(signal, AlertState.REFUSED, reason)

    def _note(self, signal: TradeSignal, reason: str) -> None:
        self.session.add(
            note_decision(
                self.bot,
                self.run,
                cause=cause_of(signal),
                symbol=signal.symbol,
                action="none",
                reason=reason,
                at=self.view.now,
            )
        )

    def _conclude(
        self, signal: TradeSignal, state: AlertState, reason: str, trade_id: UUID | None = None
    ) -> None:
        if signal.signal_id in self.alerts:
            self.outcomes.append(AlertOutcome(signal.signal_id, state, reason, trade_id))


async def earlier_decisions(
    session: AsyncSession, run: BotRun, signals: Sequence[TradeSignal]
) -> dict[str, Decision]:
    """What was decided on some signals in a run already, by cause."""
    causes = [cause_of(signal) for signal in signals]
    found = await session.exec(
        select(Decision).where(Decision.run_id == run.id, col(Decision.cause).in_(causes))
    )
    return {decision.cause: decision for decision in found.all()}


async def _held_already(session: AsyncSession, signals: Sequence[TradeSignal]) -> set[UUID]:
    """Signals that made a position before, in whichever run."""
    ids = [signal.signal_id for signal in signals]
    return set((await session.exec(select(Position.id).where(col(Position.id).in_(ids)))).all())


async def _unsent(session: AsyncSession, run: BotRun, cause: str) -> tuple[OrderTask, ...]:
    orders = (
        await session.exec(
            select(Order).where(
                Order.run_id == run.id,
                Order.cause == cause,
                is_entry(),
                is_in(OrderState.INTENDED),
            )
        )
    ).all()
    return tuple(
        OrderTask(order_id=order.id, state=OrderState.INTENDED, leg=order.leg, symbol=order.symbol)
        for order in orders
    )
