"""Decisions on bars: each once, entries on the newest, in one transaction a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import OrderTask
from domain.ports import WallClock
from domain.positions import Direction
from domain.strategies.apex import BAR, EntrySource, Evaluation, ExitReason
from models.bots import Bot, BotRun
from models.connections import Account
from models.ledgers import EquitySnapshot
from models.trading import Position
from services.markets.evaluating import EvaluationService, StoredEvaluation
from services.trading.entering import EntryScene, Wish, decided_causes, enter, note_decision
from services.trading.entry_terms import EntryTerms, hold_terms
from services.trading.figures import last_prices, live_positions, lock_account, valuation
from services.trading.quiet_bars import LATE_BAR
from services.trading.scans import Scan, cause_of


@dataclass(frozen=True, slots=True)
class _Scene:
    """The rows that all bars of a run are decided with; the account is locked."""

    bot: Bot
    run: BotRun
    terms: EntryTerms
    account: Account
    prices: dict[str, Decimal]
    wall: datetime


class BarDecisions:
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
            await session.exec(
                select(BotRun).where(BotRun.id == run_id).with_for_update(key_share=True)
            )
        ).one()
        prices = await last_prices(session, account)
        self._scene = _Scene(bot, run, terms, account, prices, self._clock.now())
        self._decided = await decided_causes(
            session, run_id, [cause_of(symbol, stored) for symbol, stored in self._scan.bars]
        )
        self._positions = await live_positions(session, account.id)
        # The price a bar is decided at is its close, for sizing and for valuing alike.
        for symbol, stored in self._scan.bars:
            if stored.evaluation is not None:
                prices[symbol] = stored.evaluation.close
        for symbol, stored in self._scan.bars:
            await self._decide_bar(session, self._scene, symbol, stored)
            run.last_bars = {**run.last_bars, symbol: stored.opened_at.isoformat()}
        session.add(run)
        await self._snapshot_equity(session, self._scene)

    async def _decide_bar(
        self, session: AsyncSession, scene: _Scene, symbol: str, stored: StoredEvaluation
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
        scene: _Scene,
        symbol: str,
        stored: StoredEvaluation,
        evaluation: Evaluation,
        side: Direction,
        cause: str,
    ) -> None:
        facts = self._scan.facts
        missing = facts.missing(symbol)
        if missing is not None or facts.rules is None or facts.fees is None:
            self._note(session, scene, symbol, stored, "none", missing or "", cause)
            return
        decided = await enter(
            session,
            EntryScene(
                bot=scene.bot,
                run=scene.run,
                account=scene.account,
                terms=scene.terms,
                rules=facts.rules[symbol],
                fees=facts.fees,
                prices=scene.prices,
                config=self._evaluations.config,
                now=self._scan.clock.now,
                wall=scene.wall,
            ),
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
        scene: _Scene,
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
                at=self._scan.clock.now,
                score=evaluation.score if evaluation and evaluation.side else None,
                bar_at=stored.opened_at,
                evaluation_id=stored.id,
            )
        )
        self.decisions += 1

    async def _snapshot_equity(self, session: AsyncSession, scene: _Scene) -> None:
        found = await valuation(session, scene.account, self._positions, scene.prices)
        closed_at = BAR.floor(self._scan.clock.now)
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
