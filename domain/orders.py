"""Orders: identity, states, and what a venue answers.

An order row is made with its intent, before anything is sent. Its client order id is a function of
the intent's key, so every retry of the same intent is the same order at the venue. A command to a
venue ends *confirmed*, *refused* or *unknown*; only a look-up at the venue turns unknown into a
fact.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from domain.money import ZERO

_CLIENT_ORDER_NAMESPACE = uuid.UUID("6e1a7c0e-5d3b-5f0a-9c53-4f2b7c9d1e10")


class Side(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for buy, -1 for sell."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """Order types the core uses."""

    LIMIT = "limit"
    MARKET = "market"


class TimeInForce(StrEnum):
    """How long an order may rest."""

    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


class Liquidity(StrEnum):
    """Whether a fill added (maker) or removed (taker) liquidity."""

    MAKER = "maker"
    TAKER = "taker"


class Leg(StrEnum):
    """Which part of a plan an order is."""

    ENTRY = "entry"
    STOP = "stop"
    TARGET_1 = "target_1"
    TARGET_2 = "target_2"
    TARGET_3 = "target_3"
    EXIT = "exit"
    FLATTEN = "flatten"
    REDUCE = "reduce"

    @property
    def is_entry(self) -> bool:
        """Whether this leg adds risk; whatever stops entries never stops the others."""
        return self is Leg.ENTRY


class OrderState(StrEnum):
    """Life of an order.

    intended -> sending -> open | filled | cancelled | refused | unknown; unknown and sending are
    settled by looking the order up. `denied` is our own refusal before anything was sent; `absent`
    means the venue never had it, or that nobody can ask it any more (`outcome_unknown`).
    """

    INTENDED = "intended"
    SENDING = "sending"
    UNKNOWN = "unknown"
    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    DENIED = "denied"
    ABSENT = "absent"

    @property
    def is_final(self) -> bool:
        """Whether nothing more can happen to the order."""
        return self in FINAL_STATES

    @property
    def needs_lookup(self) -> bool:
        """Whether only the venue knows what became of it."""
        return self in {OrderState.SENDING, OrderState.UNKNOWN}


FINAL_STATES = frozenset(
    {
        OrderState.FILLED,
        OrderState.CANCELLED,
        OrderState.REFUSED,
        OrderState.DENIED,
        OrderState.ABSENT,
    }
)
LIVE_STATES = tuple(state for state in OrderState if state not in FINAL_STATES)


def derive_client_order_id(
    account_id: uuid.UUID, run_id: uuid.UUID, cause: str, leg: Leg, attempt: int
) -> uuid.UUID:
    """The client order id of an intent: a uuid5 of its unique key, the same on every retry."""
    return uuid.uuid5(_CLIENT_ORDER_NAMESPACE, f"{account_id}|{run_id}|{cause}|{leg}|{attempt}")


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What is sent to a venue: `quantity` in base currency, `limit_price` in quote currency.

    A repetition is sent under an id that the venue may know. Rules that the market has by now do
    not keep it back: an order that arrived before is answered whatever they say.
    """

    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.IOC
    post_only: bool = False
    is_repetition: bool = False


@dataclass(frozen=True, slots=True)
class FillReport:
    """One execution as the venue reports it; `fee` is in `fee_currency`."""

    venue_fill_id: str
    venue_order_id: str
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_currency: str
    liquidity: Liquidity
    filled_at: datetime


@dataclass(frozen=True, slots=True)
class OrderReport:
    """An order as the venue reports it."""

    venue_order_id: str
    client_order_id: str | None
    symbol: str
    side: Side
    state: OrderState
    quantity: Decimal | None
    filled_quantity: Decimal
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The venue has the order."""

    venue_order_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The venue (or a local check) proved it does not have the order."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The command may or may not have taken effect."""

    reason: str


PlaceOutcome = Accepted | Refused | Unknown


@dataclass(frozen=True, slots=True)
class CurrencyBalance:
    """What an account holds of one currency. `held` is the part reserved by open orders.

    Where the venue's row of a currency cannot be read, `is_known` is False and the amounts mean
    nothing: neither that it is there nor that it is not.
    """

    currency: str
    total: Decimal
    held: Decimal = ZERO
    is_known: bool = True

    @property
    def available(self) -> Decimal:
        """What can be used for a new order."""
        return self.total - self.held


Balances = dict[str, CurrencyBalance]
