"""Sums over closed trades, kept in the transaction that closes each of them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from domain.money import ZERO
from models.columns import amount_field, one_of, owned_by

ALL_SYMBOLS = ""
"""The `symbol` of rows that sum over all of them."""

ALL_HOURS = -1
"""The `hour` of rows that sum over the whole day."""


class Grain(StrEnum):
    """How long a bucket is."""

    DAY = "day"
    MONTH = "month"


class TradeRollup(SQLModel, table=True):
    """Closed trades of an account by UTC day and by month, symbol and UTC hour of their closing.

    Every trade counts in eight rows: day and month, its symbol and all of them, its hour and all of
    them. So any period that ends now is some days and then whole months, and no question about it
    reads single trades. A reset of a paper account begins anew.

    `gross_profit` and `gross_loss` sum the net P&L of wins and of losses, `entry_notional` is what
    percentages are of, `volume` counts entries and exits. `best_*` and `worst_*` name the trades of
    the highest and lowest net P&L (the smaller id where two are equal); a row whose trades were all
    taken off again is all zeros.
    """

    __tablename__ = "trade_rollups"
    __table_args__ = (
        owned_by("account_id", "accounts"),
        one_of("grain", Grain),
        Index(
            "ix_trade_rollups_symbols",
            "account_id",
            "grain",
            "bucket",
            postgresql_where=text("hour = -1 AND symbol <> ''"),
        ),
    )

    account_id: UUID = Field(primary_key=True)
    hour: int = Field(primary_key=True)
    symbol: str = Field(primary_key=True)
    grain: str = Field(primary_key=True)
    bucket: date = Field(primary_key=True)
    user_id: UUID
    trades: int = 0
    wins: int = 0
    losses: int = 0
    price_pnl: Decimal = amount_field(default=ZERO)
    net_pnl: Decimal = amount_field(default=ZERO)
    fees: Decimal = amount_field(default=ZERO)
    gross_profit: Decimal = amount_field(default=ZERO)
    gross_loss: Decimal = amount_field(default=ZERO)
    entry_notional: Decimal = amount_field(default=ZERO)
    volume: Decimal = amount_field(default=ZERO)
    held_microseconds: Decimal = amount_field(default=ZERO)
    best_net: Decimal | None = amount_field(nullable=True)
    best_id: UUID | None = None
    worst_net: Decimal | None = amount_field(nullable=True)
    worst_id: UUID | None = None
