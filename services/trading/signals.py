"""Outside signals: entries and exits somebody else wishes for, by the same gates."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import HuntResult, OrderTask, SignalAction, TradeSignal
from domain.markets import FeeRates, MarketRules, Quote, VenueClock
from domain.orders import Leg, OrderState
from domain.ports import Venues, WallClock
from domain.positions import Direction
from domain.strategies.apex import BAR, EntrySource, ExitReason
from models.bots import Bot, BotRun
from models.trading import Order, Position
from services.accounts import let_entries_pass
from services.database import Database
from services.markets.evaluating import EvaluationService, StoredEvaluation
from services.trading.context import BotContext, RunContext
from services.trading.entering import (
    EntryScene,
    Wish,
    earlier_decision,
    enter,
    note_decision,
)
from services.trading.figures import last_prices, live_positions, lock_account

FRESH_BARS = 3
"""An evaluation older than this many bars is no ground for a stop."""

_log = structlog.get_logger("nija.bots")


class SignalHandling:
    """Turns one trade signal into one recorded decision."""

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
        signal: TradeSignal,
        *,
        rules: Mapping[str, MarketRules],
        fees: FeeRates,
        clock: VenueClock,
    ) -> HuntResult:
        """Decide on a signal once; a repeated one returns what is left to do of the first.

        Raises:
            VenueUnavailable: the price could not be had.
        """
        cause = f"signal:{signal.signal_id}"
        known = rules.get(signal.symbol)
        quote, latest = None, None
        if known is not None and signal.action is not SignalAction.CLOSE:
            quote = await self._venues.market_data(run.key).quote(signal.symbol)
            found = await self._evaluations.since(run.key, clock, signal.symbol, None)
            latest = found[-1] if found else None
        async with self._database.for_user(context.bot.user_id) as session:
            await let_entries_pass(session)
            bot = (
                await session.exec(
                    select(Bot).where(Bot.id == context.bot.id).with_for_update(read=True)
                )
            ).one()
            account = await lock_account(session, run.ref.account_id)
            row = (await session.exec(select(BotRun).where(BotRun.id == run.run.id))).one()
            if await _was_taken(session, row, signal, cause):
                return HuntResult(orders=await _unsent(session, row, cause), exits_requested=True)
            if known is None:
                session.add(
                    note_decision(
                        bot,
                        row,
                        cause=cause,
                        symbol=signal.symbol,
                        action="none",
                        reason="unknown_symbol",
                        at=clock.now,
                    )
                )
                return HuntResult()
            scene = EntryScene(
                bot=bot,
                run=row,
                account=account,
                settings=context.settings,
                rules=known,
                fees=fees,
                prices=await last_prices(session, account),
                config=self._evaluations.config,
                now=clock.now,
                wall=self._clock.now(),
            )
            return await self._act(session, scene, signal, cause, quote, latest)

    async def _act(
        self,
        session: AsyncSession,
        scene: EntryScene,
        signal: TradeSignal,
        cause: str,
        quote: Quote | None,
        latest: StoredEvaluation | None,
    ) -> HuntResult:
        held = [
            position
            for position in await live_positions(session, scene.account.id)
            if position.symbol == signal.symbol
        ]
        against = Direction.LONG if signal.action is SignalAction.SELL else Direction.SHORT
        leaving = [
            position
            for position in held
            if signal.action is SignalAction.CLOSE or position.side == against
        ]
        if leaving or signal.action is SignalAction.CLOSE:
            return await self._leave(session, scene, signal, cause, leaving)
        assert quote is not None
        scene.prices[signal.symbol] = quote.last
        evaluation = latest.evaluation if latest else None
        is_fresh = (
            evaluation is not None and scene.now - evaluation.closed_at < BAR.length * FRESH_BARS
        )
        task = await enter(
            session,
            scene,
            Wish(
                cause=cause,
                source=EntrySource.SIGNAL,
                symbol=signal.symbol,
                direction=against.opposite,
                price=quote.last,
                atr=evaluation.atr if evaluation else None,
                score=None,
                reason="outside_signal",
                data_fresh=is_fresh,
                hole_blocks_entry=bool(evaluation and evaluation.hole_blocks_entry),
                evaluation_id=latest.id if latest else None,
                position_id=signal.signal_id,
                size_usd=signal.size_usd,
                quantity=signal.quantity,
            ),
        )
        return HuntResult(orders=(task,) if task else ())

    async def _leave(
        self,
        session: AsyncSession,
        scene: EntryScene,
        signal: TradeSignal,
        cause: str,
        leaving: list[Position],
    ) -> HuntResult:
        """Ask for the exit of what the signal closes; the guard makes the orders.

        An entry on its way is asked for too: it leaves once it has filled.
        """
        for position in leaving:
            row = (
                await session.exec(
                    select(Position).where(Position.id == position.id).with_for_update()
                )
            ).one()
            if row.close_requested is None:
                row.close_requested = ExitReason.SIGNAL_CLOSE
                row.close_cause = cause
                session.add(row)
        session.add(
            note_decision(
                scene.bot,
                scene.run,
                cause=cause,
                symbol=signal.symbol,
                action="exit" if leaving else "none",
                reason=ExitReason.SIGNAL_CLOSE.value if leaving else "no_position",
                at=scene.now,
                position_id=leaving[0].id if leaving else None,
            )
        )
        return HuntResult(exits_requested=bool(leaving))


async def _was_taken(session: AsyncSession, run: BotRun, signal: TradeSignal, cause: str) -> bool:
    """Whether the signal was decided on before, in this run or, with a position, in an earlier."""
    if await earlier_decision(session, run.id, cause) is not None:
        return True
    return await session.get(Position, signal.signal_id) is not None


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
