"""The figures an entry is judged by: cash, equity, exposure, counts, the day's P&L.

Read inside the intent's transaction with the account locked, so no other intent of the account can
slip between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select as sql_select
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.money import ZERO
from domain.orders import FINAL_STATES, Leg, OrderState
from domain.positions import Direction, PositionState
from domain.risk import trading_day
from domain.strategies.apex import AccountFigures
from models.connections import Account
from models.ledgers import Balance, DailyResult
from models.markets import VenueQuote, VenueState
from models.trading import Order, Position
from services.database import all_rows

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


async def unpriced(session: AsyncSession, account_id: UUID) -> Sequence[str]:
    """Markets of what an account holds that no watcher has seen a price of in this epoch."""
    symbol = col(Balance.currency) + "-" + col(Account.currency)
    priced = (
        select(VenueQuote.symbol)
        .join(
            VenueState,
            (col(VenueState.venue) == VenueQuote.venue)
            & (col(VenueState.realm) == VenueQuote.realm)
            & (col(VenueState.epoch) == VenueQuote.epoch),
        )
        .where(
            VenueQuote.venue == Account.venue,
            VenueQuote.realm == Account.realm,
            VenueQuote.symbol == symbol,
        )
        .exists()
    )
    found = await session.exec(
        select(symbol)
        .join(Account, col(Account.id) == Balance.account_id)
        .where(
            Balance.account_id == account_id,
            Balance.total != ZERO,
            Balance.currency != Account.currency,
            ~priced,
        )
        .order_by(symbol)
    )
    return found.all()


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


@dataclass(frozen=True, slots=True)
class AccountSums:
    """What one question sums up of an account; amounts in its currency.

    Attributes:
        held: cash that the venue holds for resting orders.
        reserved: cash that our intents reserve and whose orders have not ended.
        entries_today: entries of the venue's UTC day.
        closed_net_pnl: net P&L of the trades closed on that day.
        has_unsettled_entry: whether some entry's outcome is not known.
    """

    held: Decimal
    reserved: Decimal
    entries_today: int
    closed_net_pnl: Decimal
    has_unsettled_entry: bool


async def account_sums(session: AsyncSession, account: Account, now: datetime) -> AccountSums:
    """Everything the gates need that is a sum, in one round trip."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    held = select(func.coalesce(func.sum(col(Balance.held)), ZERO)).where(
        Balance.account_id == account.id, Balance.currency == account.currency
    )
    reserved = select(func.coalesce(func.sum(col(Order.reserved_quote)), ZERO)).where(
        Order.account_id == account.id, col(Order.state).not_in(_FINAL)
    )
    entries = (
        select(func.count())
        .select_from(Position)
        .where(
            Position.account_id == account.id,
            Position.opened_at >= day,
            Position.state != PositionState.CANCELLED.value,
        )
    )
    closed = select(func.coalesce(func.sum(col(DailyResult.net_pnl)), ZERO)).where(
        DailyResult.account_id == account.id, DailyResult.day == trading_day(now)
    )
    unsettled = (
        select(func.count())
        .select_from(Order)
        .where(
            Order.account_id == account.id,
            Order.state == OrderState.UNKNOWN.value,
            Order.leg == Leg.ENTRY.value,
        )
    )
    (row,) = await all_rows(
        session,
        sql_select(
            held.scalar_subquery(),
            reserved.scalar_subquery(),
            entries.scalar_subquery(),
            closed.scalar_subquery(),
            unsettled.scalar_subquery(),
        ),
    )
    return AccountSums(row[0], row[1], row[2], row[3], bool(row[4]))


@dataclass(frozen=True, slots=True)
class AccountStanding:
    """Everything the gates ask of an account, for whichever symbol."""

    common: AccountFigures
    sums: AccountSums
    symbols: frozenset[str]

    def figures(self, symbol: str) -> AccountFigures:
        """As an entry in one symbol is judged by them."""
        return replace(self.common, holds_symbol=symbol in self.symbols)


async def account_standing(
    session: AsyncSession, account: Account, prices: Mapping[str, Decimal], now: datetime
) -> AccountStanding:
    """Ask how an account stands at these prices; unknown stays None."""
    await session.flush()
    positions = await live_positions(session, account.id)
    worth = await valuation(session, account, positions, prices)
    sums = await account_sums(session, account, now)
    common = AccountFigures(
        equity=worth.equity,
        exposure=_exposure(positions, prices),
        available_cash=worth.cash - sums.held - sums.reserved,
        positions=len(positions),
        entries_today=sums.entries_today,
        holds_symbol=False,
        daily_net_pnl=_daily_net_pnl(sums.closed_net_pnl, positions, prices),
    )
    return AccountStanding(common, sums, frozenset(position.symbol for position in positions))


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


def _daily_net_pnl(
    closed: Decimal, positions: Sequence[Position], prices: Mapping[str, Decimal]
) -> Decimal | None:
    """Net P&L of today's closed trades plus all of what the open ones have made so far."""
    total = closed
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
