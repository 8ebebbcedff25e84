"""Wire models of Account Management: positions, balance, trades."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field, SkipValidation, StrictStr
from typing_extensions import TypedDict

from api.kit.wire import (
    Amount,
    Price,
    Quantity,
    Ratio,
    Request,
    ShownPrice,
    Symbol,
    VenueTime,
    View,
    base_quantity,
    quote_amount,
    quote_price,
    ratio,
    wire_id,
)
from api.nija.schemas.common import Pagination
from domain.markets import MarketStatus, Mode
from domain.positions import PositionState
from services.account_views.balance import BalanceView
from services.account_views.history import PER_PAGE_MAX, TradeFilter, TradePage, TradeView
from services.account_views.positions import PositionsView, PositionView
from services.paper_accounts import PaperReset

POSITION = "pos"
TRADE = "trd"
_BTC = ["BTC-USD"]
_DATE_LENGTH = 10
_STRANGE_TIME = "Input should be a date like 2026-01-31 or a time like 2026-01-31T10:42:00Z"
# Nothing is older or newer. Clients write *since ever* and *for ever* as the ends of their own
# calendars, to which no day can be added and which other zones put into other years.
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 30, tzinfo=UTC)
_PAGE_MAX = 1_000_000


class AccountQuery(Request):
    """Which account; by default the one of the bot's current or last run."""

    mode: Mode | None = Field(default=None, description="paper or live")
    broker: StrictStr | None = Field(default=None, max_length=50, examples=["coinbase"])


class PositionsQuery(AccountQuery):
    """Which positions."""

    symbol: Symbol | None = None


def _moment(value: object) -> object:
    """Dates as midnight; times without a zone as UTC."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError(_STRANGE_TIME)  # noqa: TRY004 - pydantic wants ValueError
    try:
        if len(value) == _DATE_LENGTH:
            moment = datetime.combine(date.fromisoformat(value), time(), UTC)
        else:
            moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(_STRANGE_TIME) from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(_FIRST, min(aware, _LAST)).astimezone(UTC)


def _end(value: object) -> object:
    """As `_moment`, but a date means the whole day; the result is exclusive."""
    moment = _moment(value)
    is_day = isinstance(value, str) and len(value) == _DATE_LENGTH
    return moment + timedelta(days=1) if is_day and isinstance(moment, datetime) else moment


Start = Annotated[datetime, BeforeValidator(_moment)]
End = Annotated[datetime, BeforeValidator(_end)]


class HistoryQuery(PositionsQuery):
    """Which trades; dates are of the opening, on the venue's clock."""

    page: int = Field(default=1, ge=1, le=_PAGE_MAX)
    per_page: int = Field(default=50, ge=1, le=PER_PAGE_MAX)
    start_date: Start | None = Field(default=None, description="ISO 8601, inclusive.")
    end_date: End | None = Field(default=None, description="ISO 8601; a date includes its day.")
    status: PositionState | None = Field(default=None, description="All when left out.")

    def to_filter(self) -> TradeFilter:
        """What the service is asked for."""
        return TradeFilter(self.status, self.symbol, self.start_date, self.end_date)


class PositionPatch(Request):
    """New protection: a stop, or a target that replaces the remaining ones."""

    stop_loss: Price | None = None
    take_profit: Price | None = None


class PositionItem(View):
    """An open position; values are of what is still open, null where there is no quote."""

    position_id: str = Field(examples=["pos_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"])
    symbol: str = Field(examples=_BTC)
    side: str = Field(examples=["long"])
    entry_price: ShownPrice = Field(examples=[43210.50])
    current_price: ShownPrice | None = Field(examples=[43650.00])
    size_usd: Amount = Field(examples=[500.00])
    quantity: Quantity = Field(examples=[0.01157])
    unrealized_pnl: Amount | None = Field(examples=[5.09])
    unrealized_pnl_pct: Ratio | None = Field(examples=[1.02])
    stop_loss: ShownPrice | None = Field(examples=[42800.00])
    take_profit: ShownPrice | None = Field(examples=[44500.00], description="The next target.")
    opened_at: VenueTime
    broker: str = Field(examples=["coinbase"])
    realized_pnl: Amount = Field(
        examples=[2.15], description="Price P&L of what was sold so far, before fees."
    )
    fees: Amount = Field(examples=[1.64], description="All that were paid so far.")
    sold_quantity: Quantity = Field(
        examples=[0.004], description="What exits have traded so far; `quantity` is the rest."
    )
    closed_elsewhere_quantity: Quantity = Field(
        examples=[0],
        description="What left the account by a manual action at the venue, at no known price.",
    )
    written_off_quantity: Quantity = Field(examples=[0], description="What you gave up.")
    market_status: MarketStatus = Field(
        description="`halted`: suspended, renamed or delisted; exits are tried all the same."
    )
    closing: bool = Field(description="Whether all of it has been asked to leave.")
    exit_state: str | None = Field(
        examples=["failing"],
        description="Of an exit that is due: `working` or `failing`. `no_keys`: the broker was"
        " removed, and nothing can be sold.",
    )
    exit_due_at: datetime | None = Field(description="Since when an exit is due; wall time.")
    exit_attempts: int = Field(examples=[0], description="Orders in a row that filled nothing.")
    exit_error: str | None = Field(description="Why the latest of them did not.")

    @classmethod
    def from_domain(cls, view: PositionView) -> PositionItem:
        """Render a position."""
        return cls(
            position_id=wire_id(POSITION, view.id),
            symbol=view.symbol,
            side=view.side.value,
            entry_price=view.entry_price,
            current_price=view.current_price,
            size_usd=view.size_usd,
            quantity=view.quantity,
            unrealized_pnl=view.unrealized_pnl,
            unrealized_pnl_pct=view.unrealized_pnl_pct,
            stop_loss=view.stop_loss,
            take_profit=view.take_profit,
            opened_at=view.opened_at,
            broker=view.broker,
            realized_pnl=view.realized_pnl,
            fees=view.fees,
            sold_quantity=view.sold_quantity,
            closed_elsewhere_quantity=view.closed_elsewhere_quantity,
            written_off_quantity=view.written_off_quantity,
            market_status=MarketStatus(view.market_status),
            closing=view.closing,
            exit_state=view.exit_state,
            exit_due_at=view.exit_due_at,
            exit_attempts=view.exit_attempts,
            exit_error=view.exit_error,
        )


class PositionsSummary(View):
    """Sums over the listed positions."""

    total_positions: int = Field(examples=[2])
    total_value_usd: Amount = Field(examples=[800.00], description="At entry prices.")
    total_unrealized_pnl: Amount | None = Field(examples=[10.78])
    total_unrealized_pnl_pct: Ratio | None = Field(examples=[1.3475])


class PositionsData(View):
    """Open positions of an account."""

    positions: list[PositionItem]
    summary: PositionsSummary

    @classmethod
    def from_domain(cls, view: PositionsView) -> PositionsData:
        """Render open positions."""
        return cls(
            positions=[PositionItem.from_domain(position) for position in view.positions],
            summary=PositionsSummary(
                total_positions=len(view.positions),
                total_value_usd=view.total_value_usd,
                total_unrealized_pnl=view.total_unrealized_pnl,
                total_unrealized_pnl_pct=view.total_unrealized_pnl_pct,
            ),
        )


class BalanceData(View):
    """What an account is worth: cash plus the market value of everything that has a price."""

    broker: str = Field(examples=["coinbase"])
    cash: Amount = Field(examples=[9850.50])
    equity: Amount = Field(
        examples=[10450.75], description="Stablecoins without a market count at par."
    )
    unpriced: list[str] = Field(
        examples=[["STAKED"]], description="Held, without a price, and left out of equity."
    )
    equity_is_lower_bound: bool = Field(description="Whether anything is left out.")
    unrealized_pnl: Amount | None = Field(
        examples=[600.25], description="Null while an open position has no quote."
    )
    buying_power: Amount = Field(examples=[9850.50])
    currency: str = Field(examples=["USD"])
    last_updated: VenueTime | None
    mode: Mode

    @classmethod
    def from_domain(cls, view: BalanceView) -> BalanceData:
        """Render a balance."""
        return cls(
            broker=view.broker,
            cash=view.cash,
            equity=view.equity,
            unpriced=list(view.unpriced),
            equity_is_lower_bound=view.equity_is_lower_bound,
            unrealized_pnl=view.unrealized_pnl,
            buying_power=view.buying_power,
            currency=view.currency,
            last_updated=view.last_updated,
            mode=Mode(view.mode),
        )


# A page is full of these. Dictionaries are the cheapest to make and to render. They are not
# validated on their way out, so `_trade` rounds the numbers.
class TradeItem(TypedDict):
    """A trade: price P&L is before fees, `net_pnl` after; percent is of the entry notional.

    While it is open, all of these are of what was sold so far, and `fees` those paid so far.
    """

    trade_id: Annotated[str, Field(examples=["trd_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"])]
    symbol: Annotated[str, Field(examples=_BTC)]
    side: Annotated[str, Field(examples=["long"])]
    status: Annotated[str, Field(examples=["closed"])]
    entry_price: Annotated[ShownPrice | None, Field(examples=[42800.00])]
    exit_price: Annotated[ShownPrice | None, Field(examples=[43200.00])]
    size_usd: Annotated[Amount, Field(examples=[500.00])]
    quantity: Annotated[Quantity, Field(examples=[0.01168])]
    sold_quantity: Annotated[Quantity, Field(examples=[0.01168])]
    closed_elsewhere_quantity: Annotated[
        Quantity,
        Field(examples=[0], description="Left by a manual action at the venue; not in the P&L."),
    ]
    written_off_quantity: Annotated[
        Quantity, Field(examples=[0], description="Given up; not in the P&L.")
    ]
    realized_pnl: Annotated[Amount, Field(examples=[4.67])]
    realized_pnl_pct: Annotated[Ratio, Field(examples=[0.93])]
    fees: Annotated[Amount, Field(examples=[3.28])]
    net_pnl: Annotated[Amount, Field(examples=[1.39])]
    opened_at: VenueTime
    closed_at: VenueTime | None
    duration_minutes: Annotated[
        int | None, Field(examples=[1125], description="So far, while open.")
    ]
    exit_reason: Annotated[str | None, Field(examples=["take_profit"])]
    source: Annotated[str, Field(examples=["strategy"])]
    broker: Annotated[str, Field(examples=["coinbase"])]
    mode: Mode


class HistoryData(View):
    """A page of trades, newest first."""

    trades: SkipValidation[list[TradeItem]]
    pagination: Pagination

    @classmethod
    def from_domain(cls, found: TradePage, query: HistoryQuery) -> HistoryData:
        """Render a page."""
        return cls(
            trades=[_trade(trade) for trade in found.trades],
            pagination=Pagination.of(
                page=query.page, per_page=query.per_page, total_items=found.total
            ),
        )


def _trade(view: TradeView) -> TradeItem:
    entry_price, exit_price = view.entry_price, view.exit_price
    return {
        "trade_id": wire_id(TRADE, view.id),
        "symbol": view.symbol,
        "side": view.side,
        "status": view.status,
        "entry_price": None if entry_price is None else quote_price(entry_price),
        "exit_price": None if exit_price is None else quote_price(exit_price),
        "size_usd": quote_amount(view.size_usd),
        "quantity": base_quantity(view.quantity),
        "sold_quantity": base_quantity(view.sold_quantity),
        "closed_elsewhere_quantity": base_quantity(view.closed_elsewhere_quantity),
        "written_off_quantity": base_quantity(view.written_off_quantity),
        "realized_pnl": quote_amount(view.realized_pnl),
        "realized_pnl_pct": ratio(view.realized_pnl_pct),
        "fees": quote_amount(view.fees),
        "net_pnl": quote_amount(view.net_pnl),
        "opened_at": view.opened_at,
        "closed_at": view.closed_at,
        "duration_minutes": view.duration_minutes,
        "exit_reason": view.exit_reason,
        "source": view.source,
        "broker": view.broker,
        "mode": view.mode,
    }


class PaperResetData(View):
    """A paper account is as new."""

    message: str
    broker: str = Field(examples=["coinbase"])
    balance: Amount = Field(examples=[10000.00])
    currency: str = Field(examples=["USD"])

    @classmethod
    def from_domain(cls, reset: PaperReset) -> PaperResetData:
        """Render a reset."""
        return cls(
            message="Paper account reset",
            broker=reset.venue,
            balance=reset.balance,
            currency=reset.currency,
        )
