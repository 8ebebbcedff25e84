"""Outside signals: entries and exits somebody else wishes for, by the same gates.

All signals of one look are decided in one transaction, in their order: what a storm of them has in
common is locked, read and written once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import structlog
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.alerts import EXPIRED, AlertState
from domain.contracts.bots import HuntResult, OrderTask, SignalAction, TradeSignal
from domain.markets import FeeRates, MarketRules, Quote, VenueClock
from domain.orders import Leg, OrderState
from domain.ports import Venues, VenueUnavailable, WallClock
from domain.positions import Direction, PositionState
from domain.strategies.apex import BAR, EntrySource, ExitReason
from models.bots import Bot, BotRun, Decision
from models.connections import Account
from models.trading import Order, Position
from services.accounts import let_entries_pass
from services.alerts.inbox import AlertOutcome, hold_alerts, record_outcomes
from services.database import Database
from services.markets.evaluating import EvaluationService, StoredEvaluation
from services.trading.context import BotContext, RunContext
from services.trading.entering import (
    EntryScene,
    GateFacts,
    Wish,
    enter,
    note_decision,
)
from services.trading.entry_terms import EntryTerms, hold_terms
from services.trading.figures import last_prices, live_positions, lock_account, unpriced
from services.trading.leaving import leave

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
    fees: FeeRates
    now: datetime

    @property
    def prices(self) -> dict[str, Decimal]:
        """Of the markets that were asked."""
        asked = {symbol: it.quote.last for symbol, it in self.markets.items() if it.quote}
        return {**self.held, **asked}


class SignalHandling:
    """Turns trade signals into recorded decisions."""

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
        rules: Mapping[str, MarketRules],
        fees: FeeRates,
        clock: VenueClock,
    ) -> HuntResult:
        """Decide on each signal once; a repeated one returns what is left to do of the first.

        Raises:
            VenueUnavailable: a price could not be had.
        """
        markets = {
            symbol: await self._view(run, symbol, signals, rules, clock)
            for symbol in sorted({signal.symbol for signal in signals})
        }
        entering = any(market.quote is not None for market in markets.values())
        held = await self._held_prices(run, rules) if entering else {}
        view = VenueView(markets, held, fees, clock.now)
        result, _ = await self._give(context, run, signals, view)
        return result

    async def _held_prices(
        self, run: RunContext, rules: Mapping[str, MarketRules]
    ) -> dict[str, Decimal]:
        """Prices of what was bought a moment ago, before any watcher looked at its market.

        Without them the account's equity is not known, and a second entry would be refused.
        """
        async with self._database.for_user(run.ref.user_id) as session:
            symbols = await unpriced(session, run.ref.account_id)
        prices = {}
        for symbol in symbols:
            if symbol in rules:
                with suppress(VenueUnavailable):
                    prices[symbol] = (await self._venues.market_data(run.key).quote(symbol)).last
        return prices

    async def answer_exits(
        self, context: BotContext, run: RunContext, signals: Sequence[TradeSignal]
    ) -> tuple[HuntResult, Sequence[TradeSignal]]:
        """Act on the signals that leave positions while nobody can say what the market does.

        The bot is woken for the exits, so they go out also where the caller fails.

        Returns:
            What is to be done, and the signals that wait for the market, in order.
        """
        return await self._give(context, run, signals, None) if signals else (HuntResult(), ())

    async def _give(
        self,
        context: BotContext,
        run: RunContext,
        signals: Sequence[TradeSignal],
        view: VenueView | None,
    ) -> tuple[HuntResult, Sequence[TradeSignal]]:
        async with self._database.for_user(context.bot.user_id) as session:
            if view is not None:
                await let_entries_pass(session)
            alerts = await hold_alerts(session, signals)
            bot = (
                await session.exec(
                    select(Bot)
                    .where(Bot.id == context.bot.id)
                    # Entries only keep it from changing; for exits it may be changed below.
                    .with_for_update(read=view is not None, key_share=view is None)
                )
            ).one()
            terms = None
            if view is not None:
                terms = await hold_terms(session, bot.user_id, self._clock.now())
            account = await lock_account(session, run.ref.account_id)
            row = (await session.exec(select(BotRun).where(BotRun.id == run.run.id))).one()
            prices = await last_prices(session, account)
            answers = _Answers(
                session=session,
                context=context,
                bot=bot,
                run=row,
                terms=terms,
                account=account,
                view=view,
                prices=prices | ({} if view is None else view.prices),
                at=bot.last_scan_at or row.venue_started_at if view is None else view.now,
                evaluations=self._evaluations,
                wall=self._clock,
                alerts=alerts,
            )
            await answers.give(signals)
            await record_outcomes(session, answers.outcomes, self._clock.now())
            if view is None and (answers.orders or answers.exits_requested):
                bot.revision += 1
                session.add(bot)
        result = HuntResult(
            orders=tuple(answers.orders),
            exits_requested=answers.exits_requested,
            decisions=len(signals) - len(answers.left),
        )
        return result, answers.left

    async def _view(
        self,
        run: RunContext,
        symbol: str,
        signals: Sequence[TradeSignal],
        rules: Mapping[str, MarketRules],
        clock: VenueClock,
    ) -> MarketView:
        """What is known of a market; its price is asked only where somebody may enter."""
        known = rules.get(symbol)
        may_enter = any(
            signal.symbol == symbol and signal.action is not SignalAction.CLOSE
            for signal in signals
        )
        if known is None or not may_enter:
            return MarketView(known)
        quote = await self._venues.market_data(run.key).quote(symbol)
        found = await self._evaluations.since(run.key, clock, symbol, None)
        return MarketView(known, quote, found[-1] if found else None)


@dataclass
class _Answers:
    """The answers to the signals of one look, inside one transaction.

    Without a view of the venue only those are given that leave positions; the others are `left`.
    """

    session: AsyncSession
    context: BotContext
    bot: Bot
    run: BotRun
    terms: EntryTerms | None
    account: Account
    view: VenueView | None
    prices: dict[str, Decimal]
    at: datetime
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
        positions = await live_positions(self.session, self.account.id)
        for signal in waiting:
            if cause_of(signal) in earlier or signal.signal_id in held:
                await self._repeat(signal, earlier.get(cause_of(signal)))
            elif await self._answer(signal, positions):
                positions = await live_positions(self.session, self.account.id)

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
        against = Direction.LONG if signal.action is SignalAction.SELL else Direction.SHORT
        leaving = [
            position
            for position in positions
            if position.symbol == signal.symbol
            and (signal.action is SignalAction.CLOSE or position.side == against)
        ]
        if leaving:
            await self._leave(signal, leaving)
            self._overtake(signal)
            return False
        if self.view is None:
            self.left.append(signal)
            return False
        market = self.view.markets[signal.symbol]
        if market.rules is None:
            self._refuse(signal, "unknown_symbol")
            return False
        if signal.action is SignalAction.CLOSE:
            self._refuse(signal, "no_position")
            return False
        return await self._enter(signal, self.view, market, market.rules, against.opposite)

    def _overtake(self, signal: TradeSignal) -> None:
        """What came before an exit and still waits must not enter again after it."""
        for earlier in self.left:
            if earlier.symbol == signal.symbol:
                self._refuse(earlier, "overtaken")
        self.left = [earlier for earlier in self.left if earlier.symbol != signal.symbol]

    async def _enter(
        self,
        signal: TradeSignal,
        view: VenueView,
        market: MarketView,
        rules: MarketRules,
        direction: Direction,
    ) -> bool:
        assert market.quote is not None
        assert self.terms is not None
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
                fees=view.fees,
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

    async def _leave(self, signal: TradeSignal, leaving: Sequence[Position]) -> None:
        """Make the exits of what the signal closes, by the same rules as the guard's.

        An entry on its way is asked for too; the guard makes its exit once it has filled.
        """
        for position in leaving:
            row = (
                await self.session.exec(
                    select(Position)
                    .where(Position.id == position.id)
                    .with_for_update()
                    .execution_options(populate_existing=True)
                )
            ).one()
            if row.close_requested is None:
                row.close_requested = ExitReason.SIGNAL_CLOSE
                row.close_cause = cause_of(signal)
                self.session.add(row)
            if row.state == PositionState.OPEN and row.run_id == self.run.id:
                exit_ = await leave(self.session, self.run, self.bot.id, row, self.wall.now())
                if exit_.order is not None:
                    self.orders.append(exit_.order)
                is_left = exit_.retry_seconds is not None
            else:
                is_left = row.run_id != self.run.id
            # The rest is nobody's yet: a fill finds that its position shall leave, and an exit that
            # is under way is followed to its end.
            self.exits_requested = self.exits_requested or is_left
        self._note(signal, ExitReason.SIGNAL_CLOSE.value, position_id=leaving[0].id)
        reason = ExitReason.SIGNAL_CLOSE.value
        self._conclude(signal, AlertState.ACCEPTED, reason, leaving[0].id)

    def _refuse(self, signal: TradeSignal, reason: str) -> None:
        self._note(signal, reason)
        self._conclude(signal, AlertState.REFUSED, reason)

    def _note(self, signal: TradeSignal, reason: str, *, position_id: UUID | None = None) -> None:
        self.session.add(
            note_decision(
                self.bot,
                self.run,
                cause=cause_of(signal),
                symbol=signal.symbol,
                action="exit" if position_id else "none",
                reason=reason,
                at=self.at,
                position_id=position_id,
            )
        )

    def _conclude(
        self, signal: TradeSignal, state: AlertState, reason: str, trade_id: UUID | None = None
    ) -> None:
        if signal.signal_id in self.alerts:
            self.outcomes.append(AlertOutcome(signal.signal_id, state, reason, trade_id))


def cause_of(signal: TradeSignal) -> str:
    """What a signal's decision and orders are caused by; unique in a run."""
    return f"signal:{signal.signal_id}"


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
                Order.leg == Leg.ENTRY.value,
                Order.state == OrderState.INTENDED.value,
            )
        )
    ).all()
    return tuple(
        OrderTask(order_id=order.id, state=OrderState.INTENDED, leg=order.leg, symbol=order.symbol)
        for order in orders
    )
