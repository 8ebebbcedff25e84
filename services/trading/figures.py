"""The figures an entry is judged by: cash, equity, exposure, counts, the day's P&L.

Read inside the intent's transaction with the account locked, so no other intent of the account can
slip between; read again where a booking did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ColumnElement, text
from sqlalchemy import select as sql_select
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.money import ZERO
from domain.orders import OrderState
from domain.positions import Direction, PositionState
from domain.risk import trading_day
from domain.strategies.apex import AccountFigures
from domain.valuation import AccountValue, markets_pricing, price_of, value
from models.bots import BotRun
from models.connections import Account
from models.ledgers import Balance, DailyResult, Flow, FlowKind
from models.markets import VenueQuote
from models.trading import Order, Position
from services.database import all_rows
from services.markets.last_known import last_known_prices
from services.orders.conditions import is_entry, is_in, is_live
from services.valuing import stablecoins_in_force

LIVE_POSITIONS = (PositionState.PENDING.value, PositionState.OPEN.value)
_PRICES = text("SELECT symbol, last FROM current_quotes(:venue, :realm)")

READS_MAX = 5
"""How often an account's figures are read until no booking falls between them.

The lock of intents keeps no booking out, so that it keeps no exit waiting. Without this an order
that ends between two reads would be counted twice or not at all.
"""


@dataclass(frozen=True, slots=True)
class Valuation:
    """What an account is worth.

    Attributes:
        worth: cash and equity, and what is left out of it for want of a price.
        unrealized_pnl: of the open positions; None where one of them has no price.
    """

    worth: AccountValue
    unrealized_pnl: Decimal | None


async def lock_account(session: AsyncSession, account_id: UUID) -> Account:
    """Lock an account: intents of one account are made one after the other.

    Not against foreign keys: an exit refers to the account, and waits for no decision on entries.
    """
    return (
        await session.exec(
            select(Account).where(Account.id == account_id).with_for_update(key_share=True)
        )
    ).one()


async def live_positions(session: AsyncSession, account_id: UUID) -> Sequence[Position]:
    """Open and pending positions of an account."""
    return (
        await session.exec(
            select(Position)
            .where(Position.account_id == account_id, col(Position.state).in_(LIVE_POSITIONS))
            .order_by(col(Position.id))
            .execution_options(populate_existing=True)
        )
    ).all()


async def live_positions_of_bot(session: AsyncSession, bot_id: UUID) -> Sequence[Position]:
    """Open and pending positions of a bot, of whatever account and run."""
    return (
        await session.exec(
            select(Position)
            .join(BotRun, col(BotRun.id) == Position.run_id)
            .where(BotRun.bot_id == bot_id, col(Position.state).in_(LIVE_POSITIONS))
            .order_by(col(Position.id))
            .execution_options(populate_existing=True)
        )
    ).all()


async def last_prices(session: AsyncSession, account: Account) -> dict[str, Decimal]:
    """Last prices of the account's venue by symbol, as the watcher saw them a moment ago."""
    found = await (await session.connection()).execute(
        _PRICES, {"venue": account.venue, "realm": account.realm}
    )
    return {row.symbol: row.last for row in found}


async def _known_prices(
    session: AsyncSession,
    account: Account,
    positions: Sequence[Position],
    prices: Mapping[str, Decimal],
) -> Mapping[str, Decimal]:
    """Prices and, for positions that have none among them, the last ones there ever were.

    Limits count what the bot itself holds. While its market gives no price any more, the last one
    serves for that, so that a delisted market does not keep the bot out of all others.
    """
    silent = {it.symbol for it in positions if it.entry_quantity and it.symbol not in prices}
    if not silent:
        return prices
    known = await last_known_prices(
        session, account, col(VenueQuote.symbol).in_(silent), col(VenueQuote.last) > ZERO
    )
    return {**known, **prices}


async def unpriced(session: AsyncSession, account_id: UUID) -> Sequence[str]:
    """Markets that could price what an account holds and no watcher has seen a price of.

    Where a currency has several, the decisive one comes first. They need not exist.
    """
    account = (await session.exec(select(Account).where(Account.id == account_id))).one()
    prices = await last_prices(session, account)
    coins = await stablecoins_in_force(session)
    found: dict[str, None] = {}
    for currency in sorted(await _holdings(session, account_id)):
        if price_of(currency, account.currency, prices, coins) is None:
            found |= dict.fromkeys(markets_pricing(currency, account.currency, coins))
    return [symbol for symbol in found if symbol not in prices]


async def valuation(
    session: AsyncSession,
    account: Account,
    positions: Sequence[Position],
    prices: Mapping[str, Decimal],
) -> Valuation:
    """Spot equity at these prices, and the P&L of what is open."""
    holdings = await _holdings(session, account.id)
    coins = await stablecoins_in_force(session)
    unrealized: Decimal | None = ZERO
    for position in positions:
        if not position.open_quantity:
            continue
        price = prices.get(position.symbol)
        if price is None or unrealized is None:
            unrealized = None
        else:
            unrealized += open_pnl(position, price)
    return Valuation(value(holdings, account.currency, prices, coins), unrealized)


async def _holdings(session: AsyncSession, account_id: UUID) -> dict[str, Decimal]:
    rows = await session.exec(
        select(col(Balance.currency), col(Balance.total)).where(
            Balance.account_id == account_id, Balance.total != ZERO
        )
    )
    return dict(rows.all())


def open_pnl(position: Position, price: Decimal) -> Decimal:
    """Unrealised price P&L of what is still open, in the quote currency."""
    sign, bought = Direction(position.side).sign, ZERO
    if position.entry_quantity:
        bought = position.entry_notional * position.open_quantity / position.entry_quantity
    return (price * position.open_quantity - bought) * sign


@dataclass(frozen=True, slots=True)
class AccountSums:
    """What one question sums up of an account; amounts in its currency.

    Attributes:
        held: cash that the venue holds for resting orders.
        reserved: cash that our intents reserve and whose orders have not ended.
        entries_today: entries of the venue's UTC day, since the account was last reset.
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
        Order.account_id == account.id, is_live()
    )
    entries = (
        select(func.count())
        .select_from(Position)
        .where(
            Position.account_id == account.id,
            Position.opened_at >= day,
            Position.state != PositionState.CANCELLED.value,
            ~_was_reset_since(),
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
            is_in(OrderState.UNKNOWN),
            is_entry(),
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


def _was_reset_since() -> ColumnElement[bool]:
    """Whether a position's account was reset after its opening: it counts no more."""
    reset = select(Flow.id).where(
        Flow.account_id == Position.account_id,
        Flow.kind == FlowKind.RESET.value,
        Flow.at >= Position.opened_at,
    )
    return reset.correlate(Position).exists()


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
    """Ask how an account stands at these prices; unknown stays None.

    Only a position of the bot's own that never had a price makes anything unknown. What else the
    account holds without one is left out of equity, and every limit drawn from that is the tighter.
    """
    await session.flush()
    sums = await account_sums(session, account, now)
    for _ in range(READS_MAX):
        before = sums
        positions = await live_positions(session, account.id)
        worth = (await valuation(session, account, positions, prices)).worth
        sums = await account_sums(session, account, now)
        if sums == before:
            break  # no order of the account ended between these reads
    known = await _known_prices(session, account, positions, prices)
    common = AccountFigures(
        equity=worth.equity,
        exposure=_exposure(positions, known),
        available_cash=worth.cash - sums.held - sums.reserved,
        positions=len(positions),
        entries_today=sums.entries_today,
        holds_symbol=False,
        daily_net_pnl=_daily_net_pnl(sums.closed_net_pnl, positions, known),
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
    """Net P&L of today's closed trades plus all of what the open ones have made so far.

    A part that left at no known price, by manual actions or as a fee, has made and lost nothing.
    """
    total = closed
    for position in positions:
        if not position.entry_quantity:
            continue
        price = prices.get(position.symbol)
        if price is None:
            return None
        sign = Direction(position.side).sign
        cost = position.entry_notional * position.exit_quantity / position.entry_quantity
        total += (position.exit_notional - cost) * sign + open_pnl(position, price) - position.fees
    return total
