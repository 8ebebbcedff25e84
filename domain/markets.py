"""What a venue publishes: markets and their rules, candles, quotes, order books, fees."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

MINUTE = timedelta(minutes=1)


class Realm(StrEnum):
    """Whether a venue is the real one or the exchange simulator standing in for it."""

    SIMULATED = "simulated"
    REAL = "real"


class Mode(StrEnum):
    """Whether an account's orders go to the venue or to the paper ledger."""

    PAPER = "paper"
    LIVE = "live"


class Timeframe(StrEnum):
    """Candle lengths that strategies use."""

    M1 = "1m"
    M5 = "5m"

    @property
    def length(self) -> timedelta:
        """Duration of one candle."""
        return timedelta(minutes=int(self.value[:-1]))

    def floor(self, at: datetime) -> datetime:
        """Open time of the candle that contains `at` (candles are aligned to the UTC epoch)."""
        seconds = int(self.length.total_seconds())
        return at - timedelta(seconds=int(at.timestamp()) % seconds, microseconds=at.microsecond)


class MarketStatus(StrEnum):
    """Which orders a market takes at present, as its venue publishes it.

    Metadata may be stale, so none of these ever keeps an exit from being sent; `LIMIT_ONLY` says in
    which form to send it.
    """

    OPEN = "open"
    LIMIT_ONLY = "limit_only"
    """Limit orders only; market orders are refused."""
    POST_ONLY = "post_only"
    """Resting limit orders only."""
    AUCTION = "auction"
    """Limit orders are collected for an auction; nothing trades before it."""
    CANCEL_ONLY = "cancel_only"
    """Resting orders can be cancelled; no new ones are taken."""
    HALTED = "halted"
    """Disabled, delisted or view-only."""


@dataclass(frozen=True, slots=True)
class MarketRules:
    """Precision and limits of one market, from the venue's metadata.

    Steps and limits are in the unit their name says: `quantity_*` in the base currency,
    `price_step` and `notional_*` in the quote currency. A maximum is that of one order; None where
    the venue publishes none. `active` is whether new positions may be opened, `is_unlisted` that
    the venue names the market no more and these are its last rules.
    """

    symbol: str
    base: str
    quote: str
    quantity_step: Decimal
    price_step: Decimal
    quantity_min: Decimal
    notional_min: Decimal
    active: bool = True
    can_short: bool = False
    quantity_max: Decimal | None = None
    notional_max: Decimal | None = None
    status: MarketStatus = MarketStatus.OPEN
    is_unlisted: bool = False


@dataclass(frozen=True, slots=True)
class Candle:
    """One candle; `opened_at` is the UTC time of its open, volume is in the base currency."""

    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid, best ask and last price of a symbol at a venue time."""

    symbol: str
    bid: Decimal
    ask: Decimal
    last: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class BookLevel:
    """A price and the quantity (base currency) resting there."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class OrderBook:
    """Bids from the highest, asks from the lowest; `at` is its venue time, where that is told."""

    symbol: str
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FeeRates:
    """Maker and taker fees of an account's tier, as fractions of the notional."""

    maker_rate: Decimal
    taker_rate: Decimal

    @property
    def round_trip_rate(self) -> Decimal:
        """What entering and leaving as a taker costs, as a fraction of the notional."""
        return self.taker_rate * 2


@dataclass(frozen=True, slots=True)
class VenueClock:
    """A venue's own time and the epoch it belongs to.

    A restarted replay is a new epoch; evaluations of two epochs are never mixed. Real venues have
    the epoch `real`.
    """

    now: datetime
    epoch: str


@dataclass(frozen=True, slots=True)
class VenueKey:
    """Names one set of shared market data: a venue of a realm."""

    venue: str
    realm: Realm

    def __str__(self) -> str:
        return f"{self.venue}:{self.realm.value}"
