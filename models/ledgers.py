"""Balances and equity of accounts, daily roll-ups, and the paper venue's own books."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from domain.money import ZERO
from domain.orders import Liquidity, OrderState, OrderType, Side, TimeInForce
from models.columns import amount_field, new_id, one_of, owned_by, timestamp_field


class Balance(SQLModel, table=True):
    """What an account holds of one currency: moved by every fill, compared with the venue's word.

    The total may be below zero for a moment, when a fill is booked before the money that paid for
    it was noticed. `short_since` (wall time) is when the venue first had less than positions hold.
    """

    __tablename__ = "balances"
    __table_args__ = (
        owned_by("account_id", "accounts"),
        CheckConstraint("held >= 0", name="held_not_negative"),
    )

    account_id: UUID = Field(primary_key=True)
    currency: str = Field(primary_key=True)
    user_id: UUID
    total: Decimal = amount_field()
    held: Decimal = amount_field(default=ZERO)
    observed_at: datetime = timestamp_field()
    short_since: datetime | None = timestamp_field(nullable=True)


class FlowKind(StrEnum):
    """Where money that no fill of ours explains came from."""

    OPENING = "opening"
    EXTERNAL = "external"
    EXTERNAL_TRADE = "external_trade"
    """One side of a trade that was not ours: no money came in or went out."""
    RESET = "reset"


class Flow(SQLModel, table=True):
    """Money that no fill of ours explains: opening balance, deposits, withdrawals, own trades.

    `value` is what it was worth in the account's currency when it was noted, filled in by a
    trigger; null where there was no price. `at` is venue time.
    """

    __tablename__ = "flows"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        owned_by("account_id", "accounts"),
        one_of("kind", FlowKind),
        Index("ix_flows_account", "account_id", "currency"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    account_id: UUID
    currency: str
    amount: Decimal = amount_field()
    value: Decimal | None = amount_field(nullable=True)
    kind: str
    at: datetime = timestamp_field()


class EquitySnapshot(SQLModel, table=True):
    """Equity of an account at a venue time.

    Where something held had no price it is left out, and the figure `is_lower_bound`. Unrealised
    P&L is null where a position of the bot's own had none.
    """

    __tablename__ = "equity_snapshots"
    __table_args__ = (owned_by("account_id", "accounts"),)

    account_id: UUID = Field(primary_key=True)
    at: datetime = timestamp_field(primary_key=True)
    user_id: UUID
    cash: Decimal = amount_field()
    equity: Decimal | None = amount_field(nullable=True)
    is_lower_bound: bool = False
    unrealized_pnl: Decimal | None = amount_field(nullable=True)


class DailyResult(SQLModel, table=True):
    """A run's closed trades of one UTC day (venue clock), kept with the closing fill."""

    __tablename__ = "daily_results"
    __table_args__ = (
        owned_by("account_id", "accounts"),
        owned_by("run_id", "bot_runs"),
        Index("ix_daily_results_account_day", "account_id", "day"),
    )

    run_id: UUID = Field(primary_key=True)
    day: date = Field(primary_key=True)
    account_id: UUID
    user_id: UUID
    trades: int = 0
    wins: int = 0
    price_pnl: Decimal = amount_field(default=ZERO)
    net_pnl: Decimal = amount_field(default=ZERO)
    fees: Decimal = amount_field(default=ZERO)


class PaperBalance(SQLModel, table=True):
    """The paper venue's books: what a paper account holds."""

    __tablename__ = "paper_balances"
    __table_args__ = (
        owned_by("account_id", "accounts"),
        CheckConstraint("total >= 0 AND held >= 0 AND held <= total", name="covered"),
    )

    account_id: UUID = Field(primary_key=True)
    currency: str = Field(primary_key=True)
    user_id: UUID
    total: Decimal = amount_field()
    held: Decimal = amount_field(default=ZERO)


class PaperOrder(SQLModel, table=True):
    """An order at the paper venue; `id` is its venue order id."""

    __tablename__ = "paper_orders"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        UniqueConstraint("account_id", "client_order_id"),
        owned_by("account_id", "accounts"),
        one_of("state", OrderState),
        one_of("side", Side),
        one_of("type", OrderType),
        one_of("time_in_force", TimeInForce),
        Index("ix_paper_orders_open", "account_id", postgresql_where=text("state = 'open'")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    account_id: UUID
    client_order_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    quantity: Decimal = amount_field()
    limit_price: Decimal | None = amount_field(nullable=True)
    filled_quantity: Decimal = amount_field(default=ZERO)
    state: str
    created_at: datetime = timestamp_field()


class PaperFill(SQLModel, table=True):
    """An execution at the paper venue; `id` is its venue fill id."""

    __tablename__ = "paper_fills"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        owned_by("account_id", "accounts"),
        owned_by("order_id", "paper_orders"),
        one_of("side", Side),
        one_of("liquidity", Liquidity),
        Index("ix_paper_fills_account_time", "account_id", "filled_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    account_id: UUID
    order_id: UUID
    symbol: str
    side: str
    price: Decimal = amount_field()
    quantity: Decimal = amount_field()
    fee: Decimal = amount_field()
    fee_currency: str
    liquidity: str
    filled_at: datetime = timestamp_field()
