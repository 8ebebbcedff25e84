"""Asking a venue about keys: do they work, what may they do, what does the account hold.

Keys that may move money out are refused: a bot needs to read and to trade, nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from time import perf_counter

from domain.markets import VenueKey
from domain.money import ZERO
from domain.orders import Balances
from domain.ports import (
    AccountRef,
    KeyPermissions,
    VenueAccount,
    VenueCredentials,
    VenueRefusedKeys,
    Venues,
    VenueUnavailable,
)
from domain.valuation import DEFAULT_STABLECOINS, Stablecoins, markets_pricing, value
from services.errors import InvalidApiKey, VenueFailed

CURRENCY = "USD"
SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class VerifiedKeys:
    """What a venue says about keys that a bot may have.

    Attributes:
        permissions: what the keys may do.
        balances: what the account holds.
        equity: what of it has a price, in `CURRENCY`; None where a price could not be had.
        latency_ms: how long the venue took for one signed question.
        venue_time: the venue's clock.
    """

    permissions: KeyPermissions
    balances: Balances
    equity: Decimal | None
    latency_ms: int
    venue_time: datetime

    @property
    def warning(self) -> str | None:
        """What keeps a bot with these keys from opening positions; None if nothing does."""
        cash = self.balances.get(CURRENCY)
        if cash is not None and cash.total > ZERO:
            return None
        held = sorted(name for name, balance in self.balances.items() if balance.total > ZERO)
        others = f"; it holds {', '.join(held[:SHOWN_MAX])}" if held else ""
        return (
            f"The account has no {CURRENCY} to trade with{others}. Its bot opens no position until"
            f" there is some"
        )


class VenueKeys:
    """Verifies keys at the venues of this installation.

    Args:
        venues: the venues.
        stablecoins: what counts at par.
    """

    def __init__(self, venues: Venues, *, stablecoins: Stablecoins = DEFAULT_STABLECOINS) -> None:
        self._venues = venues
        self._stablecoins = stablecoins

    async def verify(self, key: VenueKey, credentials: VenueCredentials) -> VerifiedKeys:
        """Ask the venue about keys that are not stored.

        Raises:
            InvalidApiKey: the venue refuses them, or they may do too much or too little.
            VenueFailed: the venue does not answer.
        """
        async with self._account(key, credentials) as account:
            return await self._ask(key, account)

    async def verify_stored(self, ref: AccountRef) -> VerifiedKeys:
        """Ask the venue about the stored keys of an account.

        Raises:
            InvalidApiKey: there are none any more, the venue refuses them, or they may do too much
                or too little.
            VenueFailed: the venue does not answer.
        """
        with _as_our_errors():
            account = await self._venues.account(ref)
            return await self._ask(VenueKey(ref.venue, ref.realm), account)

    async def _ask(self, key: VenueKey, account: VenueAccount) -> VerifiedKeys:
        begun = perf_counter()
        permissions = await account.permissions()
        latency_ms = round((perf_counter() - begun) * 1000)
        require_trading_only(permissions)
        balances = await account.balances()
        if unread := sorted(name for name, it in balances.items() if not it.is_known):
            raise VenueUnavailable(f"The balance of {unread[0]} cannot be read")
        market = self._venues.market_data(key)
        return VerifiedKeys(
            permissions=permissions,
            balances=balances,
            equity=await self._equity(key, balances),
            latency_ms=latency_ms,
            venue_time=(await market.clock()).now,
        )

    async def knows_order(
        self, key: VenueKey, credentials: VenueCredentials, *, venue_order_id: str, symbol: str
    ) -> bool:
        """Whether the account behind the keys has an order: how to tell it is the same account.

        Raises:
            InvalidApiKey: the venue refuses the keys.
            VenueFailed: the venue does not answer.
        """
        async with self._account(key, credentials) as account:
            return await account.order(venue_order_id, symbol) is not None

    def usable(self, key: VenueKey, credentials: VenueCredentials) -> VenueCredentials:
        """Keys as the venue takes them: what is to be kept of what was pasted.

        Raises:
            InvalidApiKey: they are no keys of the venue.
        """
        try:
            return self._venues.usable_keys(key, credentials)
        except VenueRefusedKeys as refusal:
            raise InvalidApiKey(str(refusal)) from None

    @asynccontextmanager
    async def _account(
        self, key: VenueKey, credentials: VenueCredentials
    ) -> AsyncIterator[VenueAccount]:
        with _as_our_errors():
            account = await self._venues.account_with(key, credentials)
            try:
                yield account
            finally:
                await account.close()

    async def _equity(self, key: VenueKey, balances: Balances) -> Decimal | None:
        market, coins = self._venues.market_data(key), self._stablecoins
        holdings = {held.currency: held.total for held in balances.values() if held.total}
        wanted = {
            symbol for currency in holdings for symbol in markets_pricing(currency, CURRENCY, coins)
        }
        try:
            listed = await market.rules()
            asked = wanted & listed.keys()
            # All at once: public requests are shared by everybody.
            quotes = await market.quotes(sorted(asked), at=(await market.clock()).now)
        except VenueUnavailable:
            return None
        prices = {symbol: quote.last for symbol, quote in quotes.items()}
        worth = value(holdings, CURRENCY, prices, coins)
        # A price that could not be had is another thing than one that there is none of.
        silent = asked - prices.keys()
        missing = {
            symbol
            for currency in worth.unpriced
            for symbol in markets_pricing(currency, CURRENCY, coins)
        }
        return None if silent & missing else worth.equity


@contextmanager
def _as_our_errors() -> Iterator[None]:
    try:
        yield
    except VenueRefusedKeys:
        raise InvalidApiKey from None
    except VenueUnavailable:
        raise VenueFailed from None


def require_trading_only(permissions: KeyPermissions) -> None:
    """Refuse keys that may do more, or less, than a bot's keys should.

    Raises:
        InvalidApiKey: they may withdraw, or may not read and trade.
    """
    if permissions.can_withdraw:
        raise InvalidApiKey(
            "These API keys may withdraw funds; create keys that may only view and trade",
            details={"permissions": permissions.names},
        )
    if not (permissions.can_read and permissions.can_trade):
        raise InvalidApiKey(
            "These API keys need permission to view and to trade",
            details={"permissions": permissions.names},
        )
