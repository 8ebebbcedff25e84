"""What the watcher last saw of each venue. Shared by all users; readable by every role."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlmodel import Field, SQLModel

from domain.markets import MarketStatus
from models.columns import amount_field, one_of, timestamp_field


class VenueState(SQLModel, table=True):
    """A venue's clock as last seen, when that was, and how far its watcher has come.

    Every one-minute candle closed at or before `judged_until` has been judged against the
    triggers. `listed_at` is when (wall
    time) the list of markets was last read, `malformed` how many of its rows could not be read.
    """

    __tablename__ = "venue_states"

    venue: str = Field(primary_key=True)
    realm: str = Field(primary_key=True)
    epoch: str
    clock_at: datetime = timestamp_field()
    seen_at: datetime = timestamp_field()
    judged_until: datetime | None = timestamp_field(nullable=True)
    last_error: str | None = None
    listed_at: datetime | None = timestamp_field(nullable=True)
    malformed: int = 0


class AnnouncedBar(SQLModel, table=True):
    """When the newest bar closed (venue time) that the bots of a venue were told of.

    Written by the main worker alone: nothing of it may lock a row that the watch needs.
    """

    __tablename__ = "announced_bars"

    venue: str = Field(primary_key=True)
    realm: str = Field(primary_key=True)
    epoch: str
    closed_at: datetime = timestamp_field()


class MarketState(SQLModel, table=True):
    """What a venue's list last said of a market that somebody holds or trades.

    `status` is a `domain.markets.MarketStatus`: `halted` also where the list names the market no
    more; `reason` says so. `since` is wall time.
    """

    __tablename__ = "market_states"
    __table_args__ = (one_of("status", MarketStatus),)

    venue: str = Field(primary_key=True)
    realm: str = Field(primary_key=True)
    symbol: str = Field(primary_key=True)
    status: str
    reason: str | None = None
    since: datetime = timestamp_field()


class VenueQuote(SQLModel, table=True):
    """The last quote of a symbol that somebody holds or trades."""

    __tablename__ = "venue_quotes"

    venue: str = Field(primary_key=True)
    realm: str = Field(primary_key=True)
    symbol: str = Field(primary_key=True)
    epoch: str
    bid: Decimal = amount_field()
    ask: Decimal = amount_field()
    last: Decimal = amount_field()
    at: datetime = timestamp_field()


class Stablecoin(SQLModel, table=True):
    """A coin that counts at par with a currency where it has no market; the lowest rank first."""

    __tablename__ = "stablecoins"

    coin: str = Field(primary_key=True)
    currency: str
    rank: int


class RequestBudgetRow(SQLModel, table=True):
    """The tokens left in one request budget at a time of the database's clock.

    Less than none is debt of exits. `scope` names a venue's address or one key, without any secret.
    """

    __tablename__ = "request_budgets"

    scope: str = Field(primary_key=True)
    tokens: Decimal = amount_field()
    refilled_at: datetime = timestamp_field()
