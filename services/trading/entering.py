"""From a decision to an intent: gates, position, order and decision row in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import OrderTask
from domain.markets import FeeRates, MarketRules, Mode
from domain.orders import Leg, OrderState, derive_client_order_id
from domain.positions import Direction
from domain.risk import trading_day
from domain.strategies.apex import (
    ApexConfig,
    EntryConditions,
    EntryPlan,
    EntryRefusal,
    EntryRequest,
    EntrySource,
    Gate,
    ReasonCode,
    plan_entry,
)
from models.bots import Bot, BotRun, BotState, Decision, RunState
from models.columns import new_id
from models.connections import Account
from models.trading import Order, Position
from services.notices import NoticeKind, tell
from services.orders.market_rules import rules_record
from services.trading.context import active_kill_switch
from services.trading.entry_terms import EntryTerms
from services.trading.figures import AccountStanding, account_standing


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody wants to enter: the strategy on a bar, or an outside signal."""

    cause: str
    source: EntrySource
    symbol: str
    direction: Direction
    price: Decimal
    atr: Decimal | None
    score: int | None
    reason: str
    data_fresh: bool
    hole_blocks_entry: bool
    bar_at: datetime | None = None
    evaluation_id: UUID | None = None
    position_id: UUID | None = None
    size_usd: Decimal | None = None
    quantity: Decimal | None = None


@dataclass
class GateFacts:
    """What the gates ask of the database; asked once, and anew where an entry changed it.

    Holds only as long as the transaction that locks the account and lets entries pass.
    """

    standing: AccountStanding | None = None
    killed: bool | None = None


@dataclass(frozen=True, slots=True)
class EntryDecision:
    """How a wish was judged: with an order it is granted, else `reason` names the failed gate."""

    order: OrderTask | None
    reason: str


@dataclass(frozen=True, slots=True)
class EntryScene:
    """The rows and rates an entry is judged with; the account is locked, the terms are held.

    `facts` may be shared by the scenes of one transaction.
    """

    bot: Bot
    run: BotRun
    account: Account
    terms: EntryTerms
    rules: MarketRules
    fees: FeeRates
    prices: dict[str, Decimal]
    config: ApexConfig
    now: datetime
    wall: datetime
    facts: GateFacts = field(default_factory=GateFacts)


async def enter(session: AsyncSession, scene: EntryScene, wish: Wish) -> EntryDecision:
    """Judge a wish and commit the outcome with the caller's transaction.

    Records one decision, whatever it is; with a plan also the pending position and the intended
    order. The cause is unique in its run: a repeated call must not get here (the caller has
    looked).
    """
    outcome = await _judge(session, scene, wish)
    if isinstance(outcome, EntryRefusal):
        session.add(
            _decision(scene, wish, action="none", reason=outcome.reason, gates=outcome.gates)
        )
        if outcome.reason == ReasonCode.DAILY_LOSS_REACHED:
            await _tell_of_daily_loss(session, scene)
        return EntryDecision(None, outcome.reason)
    scene.facts.standing = None
    position = _position(scene, wish, outcome)
    session.add(position)
    await session.flush()
    order = _order(scene, wish, outcome, position)
    session.add(order)
    session.add(
        _decision(
            scene,
            wish,
            action=f"enter_{wish.direction}",
            reason=wish.reason,
            gates=outcome.gates,
            position_id=position.id,
        )
    )
    await session.flush()
    task = OrderTask(
        order_id=order.id, state=OrderState.INTENDED, leg=order.leg, symbol=order.symbol
    )
    return EntryDecision(task, wish.reason)


async def _tell_of_daily_loss(session: AsyncSession, scene: EntryScene) -> None:
    """Once a day of an account, when the limit first keeps it from an entry."""
    standing, account = scene.facts.standing, scene.account
    if standing is None or standing.common.daily_net_pnl is None:
        return
    await tell(
        session,
        scene.bot.user_id,
        NoticeKind.DAILY_LOSS_REACHED,
        f"{account.id.hex}:{trading_day(scene.now)}",
        now=scene.wall,
        facts={
            "venue": account.venue,
            "mode": account.mode,
            "day_pnl": str(standing.common.daily_net_pnl),
        },
    )


async def _learn(session: AsyncSession, scene: EntryScene) -> tuple[AccountStanding, bool]:
    """Ask what nobody has asked in this transaction yet."""
    facts = scene.facts
    if facts.standing is None:
        facts.standing = await account_standing(session, scene.account, scene.prices, scene.now)
    if facts.killed is None:
        found = await active_kill_switch(session, scene.bot.user_id, scene.run.venue)
        facts.killed = found is not None
    return facts.standing, facts.killed


async def _judge(session: AsyncSession, scene: EntryScene, wish: Wish) -> EntryPlan | EntryRefusal:
    standing, killed = await _learn(session, scene)
    return plan_entry(
        EntryRequest(
            rules=scene.rules,
            direction=wish.direction,
            source=wish.source,
            decision_price=wish.price,
            atr=wish.atr,
            score=wish.score,
            profile=scene.terms.profile(scene.run),
            limits=scene.terms.limits(Mode(scene.run.mode)),
            fees=scene.fees,
            conditions=EntryConditions(
                kill_switch_active=killed,
                entries_allowed=scene.bot.state in {BotState.RUNNING, BotState.STARTING}
                and scene.run.state == RunState.ENTERING,
                # Everything it is judged by is in the account's currency; so must its price be.
                pair_allowed=wish.symbol in scene.terms.settings.allowed_pairs
                and scene.rules.quote == scene.account.currency,
                mode_allowed=scene.terms.allows_mode(scene.run),
                # The only trouble that reconciling notes down: of others it knows nothing new.
                keys_work=scene.account.reconcile_error is None,
                entries_settled=not standing.sums.has_unsettled_entry,
                data_fresh=wish.data_fresh,
                hole_blocks_entry=wish.hole_blocks_entry,
            ),
            account=standing.figures(wish.symbol),
            size_usd=wish.size_usd,
            quantity=wish.quantity,
        ),
        scene.config,
    )


def _position(scene: EntryScene, wish: Wish, plan: EntryPlan) -> Position:
    return Position(
        id=wish.position_id or new_id(),
        user_id=scene.bot.user_id,
        account_id=scene.account.id,
        run_id=scene.run.id,
        symbol=wish.symbol,
        side=wish.direction,
        source=wish.source,
        planned_quantity=plan.quantity,
        planned_notional=plan.notional,
        decision_price=plan.decision_price,
        atr=plan.atr,
        round_trip_fee_rate=plan.round_trip_rate,
        rules=rules_record(scene.rules),
        stop_loss=plan.stop,
        take_profit=plan.targets[0],
        opened_at=scene.now,
    )


def _order(scene: EntryScene, wish: Wish, plan: EntryPlan, position: Position) -> Order:
    attempt = 1
    return Order(
        user_id=scene.bot.user_id,
        account_id=scene.account.id,
        bot_id=scene.bot.id,
        run_id=scene.run.id,
        position_id=position.id,
        cause=wish.cause,
        leg=Leg.ENTRY,
        attempt=attempt,
        client_order_id=str(
            derive_client_order_id(scene.account.id, scene.run.id, wish.cause, Leg.ENTRY, attempt)
        ),
        symbol=wish.symbol,
        side=wish.direction.entry_side,
        type=plan.order_type,
        time_in_force=plan.time_in_force,
        quantity=plan.quantity,
        limit_price=plan.limit_price,
        reserved_quote=plan.worst_cost,
        created_at=scene.now,
        intended_at=scene.wall,
    )


def _decision(
    scene: EntryScene,
    wish: Wish,
    *,
    action: str,
    reason: str,
    gates: tuple[Gate, ...] = (),
    position_id: UUID | None = None,
) -> Decision:
    return note_decision(
        scene.bot,
        scene.run,
        cause=wish.cause,
        symbol=wish.symbol,
        action=action,
        reason=reason,
        at=scene.now,
        score=wish.score,
        bar_at=wish.bar_at,
        evaluation_id=wish.evaluation_id,
        gates=gates,
        position_id=position_id,
    )


def note_decision(
    bot: Bot,
    run: BotRun,
    *,
    cause: str,
    symbol: str,
    action: str,
    reason: str,
    at: datetime,
    score: int | None = None,
    bar_at: datetime | None = None,
    evaluation_id: UUID | None = None,
    gates: tuple[Gate, ...] = (),
    position_id: UUID | None = None,
) -> Decision:
    """A decision row, not yet added to a session."""
    return Decision(
        user_id=bot.user_id,
        bot_id=bot.id,
        run_id=run.id,
        cause=cause,
        symbol=symbol,
        bar_at=bar_at,
        decided_at=at,
        evaluation_id=evaluation_id,
        action=action,
        score=score,
        reason=reason,
        gates=[gate.to_record() for gate in gates],
        position_id=position_id,
    )


async def decided_causes(session: AsyncSession, run_id: UUID, causes: Sequence[str]) -> set[str]:
    """Those of some causes that were decided already."""
    found = await session.exec(
        select(Decision.cause).where(Decision.run_id == run_id, col(Decision.cause).in_(causes))
    )
    return set(found.all())
