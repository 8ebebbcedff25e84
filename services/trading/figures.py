"""The figures an entry is judged by: cash, equity, exposure, counts, the day's P&L.

Read inside the intent's transaction with the account locked, so no other intent of the account can
slip between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.money import ZERO
from domain.orders import FINAL_STATES, Leg
from domain.positions import Direction, PositionState
from domain.risk import trading_day
from domain.strategies.apex import AccountFigures
from models.connections import Account
from models.ledgers import Balance, DailyResult
from models.markets import VenueQuote, VenueState
from models.trading import Order, Position

LIVE_POSITIONS = (PositionState.PENDING.value, PositionState.OPEN.value)
_FINAL = tuple(state.value for state in FINAL_STATES)


@dataclass(frozen=True, slots=True)
class Valuation:
    """What an account is worth; None where something held has no price."""

    cash: Decimal
    equity: Decimal | None
    unrealized_pnl: Decimal | None


async def lock_account(session: AsyncSession, account_id: UUID) -> Account:
    """Lock an account: intents of one account are made one after the other."""
    return (
        await session.exec(select(Account).where(Account.id == account_id).with_for_update())
    ).one()


async def live_positions(session: AsyncSession, account_id: UUID) -> Sequence[Position]:
    """Open and pending positions of an account."""
    return (
        await session.exec(
            select(Position)
            .where(Position.account_id == account_id, col(Position.state).in_(LIVE_POSITIONS))
            .order_by(col(Position.id))
        )
    ).all()


async def last_prices(session: AsyncSession, account: Account) -> dict[str, Decimal]:
    """Last prices of the account's venue by symbol, as the watcher saw them in this epoch."""
    rows = await session.exec(
        select(col(VenueQuote.symbol), col(VenueQuote.last))
        .join(
            VenueState,
            (col(VenueState.venue) == VenueQuote.venue)
            & (col(VenueState.realm) == VenueQuote.realm)
            & (col(VenueState.epoch) == VenueQuote.epoch),
        )
        .where(VenueQuote.venue == account.venue, VenueQuote.realm == account.realm)
    )
    return dict(rows.all())


async def valuation(
    session: AsyncSession,
    account: Account,
    positions: Sequence[Position],
    prices: Mapping[str, Decimal],
) -> Valuation:
    """Spot equity: cash plus the market value of everything held."""
    balances = (
        await session.exec(
            select(col(Balance.currency), col(Balance.total)).where(
                Balance.account_id == account.id
            )
        )
    ).all()
    cash = next((total for currency, total in balances if currency == account.currency), ZERO)
    equity: Decimal | None = cash
    for currency, total in balances:
        if currency == account.currency or not total:
            continue
        price = prices.get(f"{currency}-{account.currency}")
        equity = None if price is None or equity is None else equity + total * price
    unrealized: Decimal | None = ZERO
    for position in positions:
        if not position.open_quantity:
            continue
        price = prices.get(position.symbol)
        if price is None or unrealized is None:
            unrealized = None
        else:
            unrealized += open_pnl(position, price)
    return Valuation(cash=cash, equity=equity, unrealized_pnl=unrealized)


def open_pnl(position: Position, price: Decimal) -> Decimal:
    """Unrealised price P&L of what is still open, in the quote currency."""
    entry = position.entry_notional / position.entry_quantity
    return (price - entry) * position.open_quantity * Direction(position.side).sign


async def account_figures(
    session: AsyncSession,
    account: Account,
    symbol: str,
    prices: Mapping[str, Decimal],
    now: datetime,
) -> tuple[AccountFigures, Valuation]:
    """Everything the gates ask of an account; unknown stays None."""
    positions = await live_positions(session, account.id)
    worth = await valuation(session, account, positions, prices)
    held, reserved = await _held_and_reserved(session, account)
    return (
        AccountFigures(
            equity=worth.equity,
            exposure=_exposure(positions, prices),
            available_cash=worth.cash - held - reserved,
            positions=len(positions),
            entries_today=await _entries_today(session, account.id, now),
            holds_symbol=any(position.symbol == symbol for position in positions),
            daily_net_pnl=await _daily_net_pnl(session, account.id, positions, prices, now),
        ),
        worth,
    )


def _exposure(positions: Sequence[Position], prices: Mapping[str, Decimal]) -> Decimal | None:
    total = ZERO
    for position in positions:
        if position.state == PositionState.PENDING:
            total += position.planned_notional
            continue
        price = prices.get(position.symbol)
        if price is None:
            return None
        total += position.open_quantity * price
    return total


async def _held_and_reserved(session: AsyncSession, account: Account) -> tuple[Decimal, Decimal]:
    held = (
        await session.exec(
            select(col(Balance.held)).where(
                Balance.account_id == account.id, Balance.currency == account.currency
            )
        )
    ).one_or_none()
    reserved = (
        await session.exec(
            select(func.coalesce(func.sum(col(Order.reserved_quote)), ZERO)).where(
                Order.account_id == account.id, col(Order.state).not_in(_FINAL)
            )
        )
    ).one()
    return held or ZERO, reserved


async def _entries_today(session: AsyncSession, account_id: UUID, now: datetime) -> int:
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return (
        await session.exec(
            select(func.count())
            .select_from(Position)
            .where(
                Position.account_id == account_id,
                Position.opened_at >= day,
                Position.state != PositionState.CANCELLED.value,
            )
        )
    ).one()


async def _daily_net_pnl(
    session: AsyncSession,
    account_id: UUID,
    positions: Sequence[Position],
    prices: Mapping[str, Decimal],
    now: datetime,
) -> Decimal | None:
    """Net P&L of today's closed trades plus all of what the open ones have made so far."""
    total = (
        await session.exec(
            select(func.coalesce(func.sum(col(DailyResult.net_pnl)), ZERO)).where(
                DailyResult.account_id == account_id, DailyResult.day == trading_day(now)
            )
        )
    ).one()
    for position in positions:
        if not position.entry_quantity:
            continue
        price = prices.get(position.symbol)
        if price is None:
            return None
        sign = Direction(position.side).sign
        came_out = position.exit_notional + position.open_quantity * price
        total += (came_out - position.entry_notional) * sign - position.fees
    return total


async def has_unsettled_orders(session: AsyncSession, account_id: UUID) -> bool:
    """Whether some order's outcome is not known; no new risk is taken on top of one."""
    found = await session.exec(
        select(Order.id).where(
            Order.account_id == account_id,
            col(Order.state) == "unknown",
            Order.leg == Leg.ENTRY.value,
        )
    )
    return found.first() is not None
