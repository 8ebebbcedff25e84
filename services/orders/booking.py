"""Booking what a venue reported: fills, order state, position, protection, balances, daily results.

One transaction, and repeating it changes nothing: fills are unique by the venue's id, and
everything else is folded again from all fills of the position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import structlog
from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import MarketRules
from domain.money import ZERO
from domain.orders import FillReport, Leg, OrderState
from domain.positions import Direction, PositionState
from domain.positions import Position as FoldedPosition
from domain.reconciliation import flows_of
from domain.strategies.apex import (
    ExitPlan,
    ExitReason,
    on_entry_filled,
    on_exit_filled,
    on_target_filled,
    plan_exit,
)
from models.bots import BotRun, RunState
from models.connections import Account, Connection, ConnectionStatus
from models.controls import KillScope, KillSwitch
from models.ledgers import Balance
from models.trading import Fill, Order, Position
from services.analytics.counting import count_trade, counted
from services.notices import NoticeKind, tell
from services.orders.dust import DUST, TOO_SMALL, is_dust, learn_rules
from services.orders.exit_progress import note_executed, note_whether_due
from services.orders.exit_requests import conclude_requests, request_of
from services.orders.folding import apply_fold, fold_of
from services.orders.market_rules import rules_from_record
from services.orders.news import have_woken
from services.orders.protection import cancel_triggers, sync_triggers
from services.orders.recording import record_execution
from services.orders.row_locks import lock_position_and_order
from services.orders.telling import TARGET_LEGS, tell_of_trade

_TAKEN = frozenset({OrderState.OPEN, OrderState.FILLED, OrderState.CANCELLED})

_log = structlog.get_logger("nija.orders")


async def book(
    session: AsyncSession,
    order_id: UUID,
    *,
    fills: Sequence[FillReport],
    state: OrderState,
    venue_order_id: str | None = None,
    at: datetime,
    wall: datetime,
    refusal: tuple[str, str] | None = None,
    came_back: bool = False,
    market: MarketRules | None = None,
    waits: bool = True,
) -> Order:
    """Book a report about one order.

    Args:
        session: a transaction of the order's user.
        order_id: the order.
        fills: executions the venue reports for it; known ones are skipped.
        state: what the order's state now is.
        venue_order_id: the venue's id, once known.
        at: venue time.
        wall: wall time.
        refusal: code and reason, when refused or denied.
        came_back: the venue has an order that was taken for over; its own word replaces our end.
        market: what the venue publishes now, where an exit was refused for the market's rules.
        waits: whether rows that are locked are waited for.

    Returns:
        The order after booking.

    Raises:
        RowsLocked: another transaction has its rows locked, and they were not to be waited for.
    """
    position, order = await lock_position_and_order(session, order_id, waits=waits)
    if venue_order_id is not None:
        order.venue_order_id = venue_order_id
    is_revived = came_back and (state.is_final or order.leg == Leg.ENTRY)
    if OrderState(order.state).is_final and order.state != state and not is_revived:
        # A final state stands, with its reason; late fills of it are still facts and are booked
        # below. An exit that came back and is not over yet keeps its end until it is: its
        # replacement may be live.
        state = OrderState(order.state)
    elif refusal is not None or state in _TAKEN:
        # What another send of it met with is no refusal once the venue has the order.
        order.refusal_code, order.refusal_reason = refusal or (None, None)
    order.state = state
    if state.is_final and order.settled_at is None:
        order.settled_at = wall
    new_fills = await _insert_fills(session, order, position, fills)
    order.filled_quantity += sum((fill.quantity for fill in new_fills), ZERO)
    if state is OrderState.REFUSED:
        await _learn(session, position, order, market)
    session.add(order)
    await session.flush()
    if new_fills:
        await _move_balances(session, order, rules_from_record(position.rules), new_fills, at)
        await record_execution(session, order, new_fills, wall)
    if new_fills or _changes_position(order, is_by_rules=market is not None):
        await _refold(session, position, order, at, wall)
    elif state.is_final:
        await conclude_requests(session, position, order, wall)
    if state.is_final and order.leg != Leg.ENTRY:
        await note_whether_due(session, position)
    return order


def _changes_position(order: Order, *, is_by_rules: bool) -> bool:
    """Whether the end of an order may change its position without a new fill.

    An exit that filled nothing leaves everything as it was, unless it showed that the rest is dust
    or taught rules of the market. It may be refused for weeks, of a position with many fills.
    """
    if not OrderState(order.state).is_final:
        return False
    is_entry = order.leg == Leg.ENTRY
    return is_entry or is_by_rules or order.filled_quantity > ZERO or order.refusal_code == DUST


async def _learn(
    session: AsyncSession, position: Position, order: Order, market: MarketRules | None
) -> None:
    """Note what a refusal tells about what is left of a position."""
    if market is not None:
        learn_rules(position, order, market)
    if order.refusal_code in TOO_SMALL:
        position.sellable_quantity = None  # cut to that it is too little, whatever is free now
        session.add(position)
    await _mark_dust(session, position, order)


async def _mark_dust(session: AsyncSession, position: Position, order: Order) -> None:
    """Let go of a remainder that the venue takes no order for, instead of asking for ever."""
    rules = rules_from_record(position.rules)
    if await is_dust(session, position, order, order.refusal_code or "", rules):
        order.refusal_code = DUST
        _log.warning(
            "position.dust",
            position_id=str(position.id),
            symbol=position.symbol,
            quantity=str(position.open_quantity),
        )


async def _insert_fills(
    session: AsyncSession, order: Order, position: Position, reports: Sequence[FillReport]
) -> list[FillReport]:
    rules = rules_from_record(position.rules)
    booked: list[FillReport] = []
    for report in reports:
        statement = (
            insert(Fill)
            .values(
                user_id=order.user_id,
                account_id=order.account_id,
                order_id=order.id,
                position_id=order.position_id,
                venue_fill_id=report.venue_fill_id,
                symbol=order.symbol,
                side=report.side,
                price=report.price,
                quantity=report.quantity,
                fee=report.fee,
                fee_currency=report.fee_currency,
                fee_quote=report.fee * report.price
                if report.fee_currency == rules.base
                else report.fee,
                liquidity=report.liquidity,
                filled_at=report.filled_at,
            )
            .on_conflict_do_nothing(index_elements=["account_id", "venue_fill_id"])
            .returning(col(Fill.id))
        )
        if (await session.exec(statement)).first() is not None:
            booked.append(report)
    return booked


async def _move_balances(
    session: AsyncSession,
    order: Order,
    rules: MarketRules,
    fills: Sequence[FillReport],
    at: datetime,
) -> None:
    deltas: dict[str, Decimal] = {}
    for fill in fills:
        for currency, amount in flows_of(fill, base=rules.base, quote=rules.quote).items():
            deltas[currency] = deltas.get(currency, ZERO) + amount
    await move_balances(session, order, deltas, at)


async def move_balances(
    session: AsyncSession, order: Order, deltas: Mapping[str, Decimal], at: datetime
) -> None:
    """Move the balances of an order's account, always in the same sequence of currencies."""
    for currency in sorted(deltas):
        moved = await session.exec(
            update(Balance)
            .where(col(Balance.account_id) == order.account_id, col(Balance.currency) == currency)
            .values(total=col(Balance.total) + deltas[currency], observed_at=at)
        )
        if not moved.rowcount:
            session.add(
                Balance(
                    account_id=order.account_id,
                    currency=currency,
                    user_id=order.user_id,
                    total=deltas[currency],
                    observed_at=at,
                )
            )
            await session.flush()


async def _refold(
    session: AsyncSession, position: Position, order: Order, at: datetime, wall: datetime
) -> None:
    rules = rules_from_record(position.rules)
    folded = await fold_of(session, position)
    before = counted(position)
    await _note_what_came_back(session, position, order, folded, wall)
    has_entered = folded.entry_quantity != position.entry_quantity
    apply_fold(position, folded)
    if folded.state is PositionState.OPEN:
        await _protect(session, position, order, folded, rules, at, has_entered=has_entered)
    elif folded.state is PositionState.CLOSED:
        await _close(session, position, order, folded, at)
    elif folded.state is PositionState.CANCELLED:
        position.closed_at = at
    if order.leg != Leg.ENTRY and order.filled_quantity and OrderState(order.state).is_final:
        position.sellable_quantity = None
        note_executed(position, order)
    await conclude_requests(session, position, order, wall)
    await count_trade(session, position, before, counted(position))
    await tell_of_trade(session, position, order, folded, wall)
    session.add(position)
    await session.flush()


async def _note_what_came_back(
    session: AsyncSession, position: Position, order: Order, folded: FoldedPosition, wall: datetime
) -> None:
    """An order that was taken for lost filled after all: its position stands, wherever it is now.

    Another position may have taken its place since, and its run may be over: then it goes on in the
    run that trades the account now, which guards it, and its own where there is none.
    """
    was_over = position.state in {PositionState.CANCELLED, PositionState.CLOSED}
    if was_over and folded.state is PositionState.OPEN:
        position.came_back = True
        position.exit_reason = None
        position.run_id = await _guarding_run(session, position, order)
        await _ask_to_leave_if_killed(session, position, order)
        _log.error("position.came_back", position_id=str(position.id), symbol=position.symbol)
        facts = {"position_id": position.id.hex, "symbol": position.symbol}
        about = f"{position.id.hex}:{folded.entry_quantity}"
        kind = NoticeKind.POSITION_CAME_BACK
        await tell(session, position.user_id, kind, about, now=wall, facts=facts)
    if folded.surplus_quantity > position.surplus_quantity:
        surplus = {"symbol": position.symbol, "quantity": str(folded.surplus_quantity)}
        _log.error("position.surplus_exit", position_id=str(position.id), **surplus)
        facts = {"position_id": position.id.hex, "side": order.side, **surplus}
        about = f"{position.id.hex}:{folded.surplus_quantity}"
        await tell(session, position.user_id, NoticeKind.SURPLUS_EXIT, about, now=wall, facts=facts)
    position.surplus_quantity = folded.surplus_quantity


async def _guarding_run(session: AsyncSession, position: Position, order: Order) -> UUID:
    """The position's own run while it has not ended or is to be closed; else the account's latest.

    The run that a position belongs to decides whether it is to leave: one that is to be closed
    keeps it, also after a later start, and takes none of another run. Where no other run can take
    it its own exits again: a stop must hold without anybody starting the bot, which a kill switch
    or a plan may forbid. Where the connection was removed nothing can be sold, so nothing is woken
    for it either.
    """
    own = col(BotRun.id) == position.run_id
    may_take = (col(BotRun.state) != RunState.ENDED.value) & col(BotRun.close_requested).is_(None)
    # Locked, so that no guard that does not see this position yet ends it at this moment.
    found = await session.exec(
        select(BotRun)
        .where(BotRun.account_id == position.account_id, own | may_take)
        .order_by(col(BotRun.id))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    runs = {run.id: run for run in found.all()}
    run = runs.pop(position.run_id)
    if run.state != RunState.ENDED:
        return run.id
    if run.close_requested is None and runs:
        return max(runs.values(), key=lambda other: other.number).id
    removed = (
        select(Account.id)
        .join(Connection, col(Connection.id) == Account.connection_id)
        .where(Connection.status == ConnectionStatus.REMOVED.value)
    )
    await session.exec(
        update(BotRun)
        .where(col(BotRun.id) == position.run_id, col(BotRun.account_id).not_in(removed))
        .values(state=RunState.EXIT_ONLY.value, ended_at=None)
    )
    await have_woken(session, order.bot_id)
    return position.run_id


async def _ask_to_leave_if_killed(session: AsyncSession, position: Position, order: Order) -> None:
    """Where a kill switch that closes positions is engaged, what comes back leaves too.

    The switch's own workflow asks only for some minutes; an order may come back after half an hour.
    """
    covers = (
        (col(KillSwitch.scope) == KillScope.GLOBAL.value)
        | (col(KillSwitch.user_id) == BotRun.user_id)
        | (col(KillSwitch.venue) == BotRun.venue)
    )
    found = await session.exec(
        select(KillSwitch.id)
        .join(BotRun, covers)
        .where(
            BotRun.id == position.run_id,
            BotRun.state != RunState.ENDED.value,
            col(KillSwitch.released_at).is_(None),
            col(KillSwitch.close_positions),
        )
        .order_by(col(KillSwitch.engaged_at))
    )
    switch_id = found.first()
    if switch_id is not None and position.close_requested is None:
        position.close_requested = ExitReason.KILL_SWITCH
        position.close_cause = f"command:{switch_id}:{position.id}"
    if position.close_requested is not None:  # perhaps since before it was taken for lost
        await have_woken(session, order.bot_id)


async def _protect(
    session: AsyncSession,
    position: Position,
    order: Order,
    folded: FoldedPosition,
    rules: MarketRules,
    at: datetime,
    *,
    has_entered: bool,
) -> None:
    """Attach or move the protection on the fill that calls for it.

    An entry that is booked again without a new fill calls for nothing: since then its user may have
    moved the stop, and bars have closed. A further fill of it takes neither back.
    """
    leg = Leg(order.leg)
    plan = ExitPlan.from_record(position.exit_plan) if position.exit_plan else None
    entry_price = folded.average_entry_price
    if plan is None:
        if entry_price is None:
            return
        plan = plan_exit(
            direction=Direction(position.side),
            entry_price=entry_price,
            quantity=position.open_quantity,
            atr=position.atr,
            filled_at=at,
            round_trip_rate=position.round_trip_fee_rate,
            rules=rules,
        )
    elif has_entered and entry_price is not None and not folded.exit_quantity:
        plan = on_entry_filled(
            plan,
            entry_price=entry_price,
            quantity=position.open_quantity,
            atr=position.atr,
            filled_at=at,
            rules=rules,
        )
    elif leg in TARGET_LEGS and order.filled_quantity and OrderState(order.state).is_final:
        plan = _on_target_order_ended(plan, order, position.open_quantity, rules)
    elif leg is not Leg.ENTRY:
        plan = on_exit_filled(plan, remaining=position.open_quantity, rules=rules)
    store_plan(position, plan)
    await sync_triggers(session, position, order.bot_id, plan, at)


def _on_target_order_ended(
    plan: ExitPlan, order: Order, remaining: Decimal, rules: MarketRules
) -> ExitPlan:
    """Take a target, or what one order could carry of it: it stays due for the rest."""
    target = next((target for target in plan.open_targets[:-1] if target.leg == order.leg), None)
    if target is None or order.quantity >= target.quantity:
        return on_target_filled(plan, Leg(order.leg), remaining=remaining, rules=rules)
    rest = replace(target, quantity=target.quantity - order.filled_quantity)
    targets = tuple(rest if one is target else one for one in plan.targets)
    return on_exit_filled(replace(plan, targets=targets), remaining=remaining, rules=rules)


def store_plan(position: Position, plan: ExitPlan) -> None:
    """Keep an exit plan with its position, with the two figures that the API shows."""
    position.exit_plan = plan.to_record()
    position.stop_loss = plan.stop
    position.take_profit = plan.next_target.price if plan.next_target else None


async def _close(
    session: AsyncSession, position: Position, order: Order, folded: FoldedPosition, at: datetime
) -> None:
    if position.closed_at is None:
        request = await request_of(session, order)
        position.exit_reason = request.reason if request else _exit_reason(position, Leg(order.leg))
    # Dust that nothing was ever sold of is let go of now, not when it was bought.
    if position.closed_at is None or not folded.gone_quantity:
        position.closed_at = folded.closed_at if folded.exit_quantity else position.closed_at or at
    await cancel_triggers(session, position.id)


def _exit_reason(position: Position, leg: Leg) -> str:
    if leg in TARGET_LEGS:
        return ExitReason.TAKE_PROFIT
    if leg is Leg.STOP and position.exit_plan:
        return ExitPlan.from_record(position.exit_plan).stop_reason
    return position.close_requested or ExitReason.MANUAL
