"""Protocols that the outside implements: venues, clocks, the vault, the workflow service.

Services depend on these; adapters implement them; `bootstrap` joins the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from domain.contracts.bots import BotSignal, Nudge, TradeSignal
from domain.key_leases import NEVER_READ
from domain.markets import (
    Candle,
    FeeRates,
    MarketRules,
    Mode,
    OrderBook,
    Quote,
    Realm,
    Timeframe,
    VenueClock,
    VenueKey,
)
from domain.orders import (
    Balances,
    FillReport,
    OrderReport,
    OrderRequest,
    PlaceOutcome,
)


class WallClock(Protocol):
    """The time people live in: tokens, audit, limits, request signatures."""

    def now(self) -> datetime:
        """Aware UTC."""
        ...


class VenueUnavailable(Exception):
    """A venue could not be asked, or did not answer, a question that changes nothing there."""


class VenueRefusedKeys(Exception):
    """The venue does not accept these keys."""


class MarketData(Protocol):
    """Public data of one venue of one realm, fetched once and shared by all bots of a process.

    Raises:
        VenueUnavailable: from every method, when the venue gives no usable answer. Absence of
            data is never
            returned as empty data.
    """

    @property
    def key(self) -> VenueKey:
        """Which venue and realm this is."""
        ...

    @property
    def settling(self) -> timedelta:
        """How long after its close a candle may still appear or change; younger ones are not told.

        Candles are final, so to say, from then on: what is revised later still is told as revised.
        """
        ...

    async def clock(self) -> VenueClock:
        """The venue's own time and epoch."""
        ...

    async def rules(self) -> Mapping[str, MarketRules]:
        """Markets by symbol (`BTC-USD`): the last good list, refreshed at least hourly.

        Waits only in a process that never had an answer, and not for long.
        """
        ...

    def known_rules(self) -> Mapping[str, MarketRules]:
        """The last good list or nothing: for an exit, which waits for no metadata."""
        ...

    async def fresh_rules(self) -> Mapping[str, MarketRules]:
        """Rules of a few seconds ago where the venue answers at once, else the last good ones."""
        ...

    def rules_age_seconds(self) -> float | None:
        """Seconds since the list of markets was last read; None before it was first asked for."""
        ...

    def malformed_markets(self) -> Mapping[str, str]:
        """Rows of the last list that could not be read, and why, by symbol."""
        ...

    def known_clock(self) -> VenueClock | None:
        """The last seen clock, gone on by this machine's; None before it was ever seen."""
        ...

    async def public_fees(self) -> FeeRates:
        """Fees of a new account at this venue; what paper accounts pay."""
        ...

    async def candles(
        self, symbol: str, timeframe: Timeframe, *, since: datetime, until: datetime
    ) -> Sequence[Candle]:
        """Closed candles with since <= opened_at and close <= until, oldest first."""
        ...

    async def last_bars(
        self, symbol: str, timeframe: Timeframe, *, count: int, until: datetime
    ) -> Sequence[Candle]:
        """The last `count` existing closed candles up to `until`; fewer if the venue has fewer."""
        ...

    async def quote(self, symbol: str) -> Quote:
        """Best bid, best ask, last."""
        ...

    async def quotes(self, symbols: Sequence[str], *, at: datetime) -> Mapping[str, Quote]:
        """Quotes of many markets within about a second; a market that gives none is left out.

        `symbols` has the most urgent first, `at` is a venue time before the call: the time of the
        quotes, which are at least as new. Bid and ask may be the last price.
        """
        ...

    async def order_book(self, symbol: str) -> OrderBook:
        """The visible order book."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


@dataclass(frozen=True, slots=True)
class KeyPermissions:
    """What venue keys may do."""

    can_read: bool
    can_trade: bool
    can_withdraw: bool

    @property
    def names(self) -> list[str]:
        """As the NIJA contract lists them."""
        pairs = (
            ("read", self.can_read),
            ("trade", self.can_trade),
            ("withdraw", self.can_withdraw),
        )
        return [name for name, granted in pairs if granted]


class VenueAccount(Protocol):
    """One trading account at a venue, live or paper, seen the same way.

    Reading methods raise VenueUnavailable or VenueRefusedKeys; `place` and `cancel` never raise
    those: a command ends confirmed, refused or unknown.
    """

    @property
    def repeats_known_orders(self) -> bool:
        """Whether `place` answers a client order id that the venue knows with the order it has.

        True only where that is certain while listings lag; a repetition is safe then.
        """
        ...

    async def balances(self) -> Balances:
        """Every currency the account holds, with what open orders hold of it."""
        ...

    async def fees(self) -> FeeRates:
        """Fee rates of the account's own tier."""
        ...

    async def place(self, request: OrderRequest) -> PlaceOutcome:
        """Send one order once. Repeating a client order id never makes a second order."""
        ...

    async def cancel(self, venue_order_id: str, symbol: str) -> PlaceOutcome:
        """Ask to cancel. Accepted means the request was taken; the order's report tells the end."""
        ...

    async def order(self, venue_order_id: str, symbol: str) -> OrderReport | None:
        """One order by the venue's id; None when the venue says it does not know it."""
        ...

    async def find_order(
        self, client_order_id: str, symbol: str, *, since: datetime
    ) -> OrderReport | None:
        """Look an order up by client order id. None means *not listed*, not *absent*."""
        ...

    async def open_orders(self) -> Sequence[OrderReport]:
        """Every resting order of the account."""
        ...

    async def fills(
        self, *, symbol: str | None = None, venue_order_id: str | None = None, since: datetime
    ) -> Sequence[FillReport]:
        """Executions since a venue time, oldest first."""
        ...

    async def permissions(self) -> KeyPermissions:
        """What the keys may do."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


@dataclass(frozen=True, slots=True)
class VenueCredentials:
    """Decrypted venue keys. Never logged: the repr hides them."""

    api_key: str
    api_secret: str
    params: Mapping[str, str]

    def __repr__(self) -> str:
        return "VenueCredentials(***)"


@dataclass(frozen=True, slots=True)
class AccountRef:
    """Which trading account is meant: what a venue gateway needs to know, without any secret.

    `connection_version` is 0 where there are no keys: of paper accounts, and after a removal.
    `keys_read_at` is a time by the monotonic clock right before the connection's row was read.
    """

    account_id: UUID
    user_id: UUID
    venue: str
    realm: Realm
    mode: Mode
    connection_id: UUID | None
    connection_version: int = 0
    keys_read_at: float = field(default=NEVER_READ, compare=False)


class Venues(Protocol):
    """The venues this installation can trade at."""

    def supported(self) -> Mapping[str, str]:
        """Venue name to display name."""
        ...

    def market_data(self, key: VenueKey) -> MarketData:
        """The shared market data of a venue."""
        ...

    def usable_keys(self, key: VenueKey, credentials: VenueCredentials) -> VenueCredentials:
        """Keys as the venue takes them, from however they were pasted.

        Raises:
            VenueRefusedKeys: they cannot be keys of the venue; the message says why, for people,
                and quotes nothing of a secret.
        """
        ...

    async def account(self, ref: AccountRef) -> VenueAccount:
        """The gateway of one account; cached per connection version, keys opened at first use.

        No request of it leaves with keys that were removed or replaced before; see
        `domain.key_leases`.
        """
        ...

    async def account_with(self, key: VenueKey, credentials: VenueCredentials) -> VenueAccount:
        """A short-lived gateway for keys that are not stored yet (adding or rotating)."""
        ...

    async def close(self) -> None:
        """Release everything."""
        ...


class RequestBudget(Protocol):
    """How many requests a venue allows, over all processes; see `domain.requests` for purposes."""

    async def take(self, scope: str, *, per_second: int) -> None:
        """Take one request out of a budget for the purpose in force.

        Raises:
            VenueUnavailable: there is none left for a scan. Nothing else is ever refused.
        """
        ...


class PaperLedger(Protocol):
    """The durable books of paper accounts. A service implements it; the paper venue speaks no SQL.

    Every method is one transaction and idempotent by its ids.
    """

    async def balances(self, ref: AccountRef) -> Balances:
        """What the account holds."""
        ...

    async def find(
        self,
        ref: AccountRef,
        *,
        client_order_id: str | None = None,
        venue_order_id: str | None = None,
    ) -> OrderReport | None:
        """A paper order, or None."""
        ...

    async def execute(
        self,
        ref: AccountRef,
        request: OrderRequest,
        *,
        base: str,
        quote: str,
        fills: Sequence[FillReport],
        state: str,
        at: datetime,
    ) -> OrderReport | PlaceOutcome:
        """Record an order with its immediate fills and move the balances, all or nothing.

        A client order id that exists returns that order and changes nothing. Insufficient funds
        give `Refused` and change nothing.
        """
        ...

    async def open_orders(self, ref: AccountRef) -> Sequence[OrderReport]:
        """Resting paper orders."""
        ...

    async def fills(
        self,
        ref: AccountRef,
        *,
        symbol: str | None,
        venue_order_id: str | None,
        since: datetime,
    ) -> Sequence[FillReport]:
        """Executions of the account."""
        ...


class CredentialSource(Protocol):
    """Where a venue gateway gets the keys of a connection."""

    async def credentials(self, user_id: UUID, connection_id: UUID) -> VenueCredentials:
        """Decrypt the keys of a user's connection."""
        ...

    async def version(self, user_id: UUID, connection_id: UUID) -> int | None:
        """Which version of its keys a connection has at this moment; None where it has none.

        Raises:
            VenueUnavailable: that cannot be found out now.
        """
        ...


class Vault(Protocol):
    """Authenticated encryption of secrets at rest, bound to the row and user they belong to."""

    def seal(self, plaintext: bytes, *, bound_to: str) -> bytes:
        """Encrypt with the current key; the key's id is part of the result."""
        ...

    def open(self, sealed: bytes, *, bound_to: str) -> bytes:
        """Decrypt.

        Raises:
            ValueError: wrong key, changed bytes, or another row's ciphertext.
        """
        ...


class WorkflowService(Protocol):
    """Delivers messages to durable workflows; the rows were committed before, this only informs."""

    async def is_available(self) -> bool:
        """Whether the workflow service answers at present."""
        ...

    async def signal_bot(
        self, user_id: UUID, bot_id: UUID, signal: BotSignal, message: Nudge | TradeSignal
    ) -> None:
        """Deliver a message to a bot's workflow, starting the workflow if it does not run.

        Raises:
            WorkflowServiceUnavailable: not delivered; the sweeper will see the rows.
        """
        ...

    async def wake_exits(self, user_id: UUID, bot_id: UUID) -> None:
        """Have a bot's exits carried out: the rows that make them due were committed before.

        Raises:
            WorkflowServiceUnavailable: not delivered; the exits worker will see the rows.
        """
        ...

    async def ensure_watch(self, key: VenueKey) -> None:
        """Start the watch of a venue if it does not run.

        Raises:
            WorkflowServiceUnavailable: it could not be started.
        """
        ...


class KillSwitchWorkflows(Protocol):
    """Starts the telling of bots and users; the switch itself is a row and holds without it."""

    async def tell_of_switch(self, switch_id: UUID) -> None:
        """Start the switch's workflow, or make the one that runs look at the row again.

        Raises:
            WorkflowServiceUnavailable: it could not be started.
        """
        ...


class WorkflowServiceUnavailable(Exception):
    """The workflow service did not answer."""


class WorkflowServiceRefused(WorkflowServiceUnavailable):
    """The workflow service answered, and did not take this message; it may take every other."""
