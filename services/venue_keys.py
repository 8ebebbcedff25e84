"""Asking a venue about keys: do they work, what may they do, what does the account hold.

Keys that may move money out are refused: a bot needs to read and to trade, nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from time import perf_counter

from domain.markets import VenueKey
from domain.money import ZERO
from domain.orders import Balances
from domain.ports import (
    KeyPermissions,
    VenueAccount,
    VenueCredentials,
    VenueRefusedKeys,
    Venues,
    VenueUnavailable,
)
from services.errors import InvalidApiKey, VenueFailed

CURRENCY = "USD"
QUOTES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class VerifiedKeys:
    """What a venue says about keys that a bot may have.

    Attributes:
        permissions: what the keys may do.
        balances: what the account holds.
        equity: all of it in `CURRENCY`; None where something held could not be valued.
        latency_ms: how long the venue took for one signed question.
        venue_time: the venue's clock.
    """

    permissions: KeyPermissions
    balances: Balances
    equity: Decimal | None
    latency_ms: int
    venue_time: datetime


class VenueKeys:
    """Verifies keys at the venues of this installation."""

    def __init__(self, venues: Venues) -> None:
        self._venues = venues

    async def verify(self, key: VenueKey, credentials: VenueCredentials) -> VerifiedKeys:
        """Ask the venue about keys.

        Raises:
            InvalidApiKey: the venue refuses them, or they may do too much or too little.
            VenueFailed: the venue does not answer.
        """
        async with self._account(key, credentials) as account:
            begun = perf_counter()
            permissions = await account.permissions()
            latency_ms = round((perf_counter() - begun) * 1000)
            require_trading_only(permissions)
            balances = await account.balances()
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

    @asynccontextmanager
    async def _account(
        self, key: VenueKey, credentials: VenueCredentials
    ) -> AsyncIterator[VenueAccount]:
        try:
            account = await self._venues.account_with(key, credentials)
            try:
                yield account
            finally:
                await account.close()
        except VenueRefusedKeys:
            raise InvalidApiKey from None
        except VenueUnavailable:
            raise VenueFailed from None

    async def _equity(self, key: VenueKey, balances: Balances) -> Decimal | None:
        market = self._venues.market_data(key)
        limit = asyncio.Semaphore(QUOTES_AT_ONCE)

        async def value(currency: str, total: Decimal) -> Decimal | None:
            if currency == CURRENCY or not total:
                return total
            async with limit:
                try:
                    return total * (await market.quote(f"{currency}-{CURRENCY}")).last
                except VenueUnavailable:
                    return None

        held = (value(balance.currency, balance.total) for balance in balances.values())
        parts = await asyncio.gather(*held)
        known = [part for part in parts if part is not None]
        return sum(known, ZERO) if len(known) == len(parts) else None


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
