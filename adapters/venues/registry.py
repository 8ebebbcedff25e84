"""Which venues this installation can trade at, and one gateway for each account.

Market data is shared by all accounts of a venue; an account's gateway lives as long as its
connection version, and asks the database before a request leaves whether its keys still stand
(`key_lease`). A replaced or long unused gateway is not closed at once: an order may still be in
flight on it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from uuid import UUID

from adapters.venues.coinbase import CoinbaseAccount, CoinbaseMarketData
from adapters.venues.coinbase.keys import usable_keys
from adapters.venues.key_lease import KeyLease
from adapters.venues.paper import PaperAccount, PaperFees
from domain.markets import Mode, Realm, VenueKey
from domain.ports import (
    AccountRef,
    CredentialSource,
    PaperLedger,
    RequestBudget,
    VenueAccount,
    VenueCredentials,
    VenueRefusedKeys,
)

ACCOUNTS_MAX = 2_000
RETIREMENT_SECONDS = 60.0
_DISPLAY_NAMES: Mapping[str, str] = MappingProxyType({"coinbase": "Coinbase Advanced Trade"})
_AccountKey = tuple[UUID, int]


@dataclass(frozen=True, slots=True)
class _Gateway:
    """An open account, and the lease that its requests leave by."""

    account: CoinbaseAccount
    lease: KeyLease


class UnsupportedVenueError(LookupError):
    """This installation does not trade at that venue, or not in that realm."""


class VenueRegistry:
    """Implements `domain.ports.Venues`.

    Args:
        realm: which kind of venue this installation is configured for; the other kind is refused.
        simulator_url: base address of the exchange simulator; needed in the simulated realm,
            ignored in the real one.
        credentials: where stored keys are decrypted.
        ledger: the books of paper accounts.
        paper_fees: fee rates that replace the venue's public ones for paper accounts.
        budget: what all processes together may ask of a real venue.
    """

    def __init__(
        self,
        *,
        realm: Realm,
        simulator_url: str | None,
        credentials: CredentialSource,
        ledger: PaperLedger,
        paper_fees: PaperFees | None = None,
        budget: RequestBudget | None = None,
    ) -> None:
        if realm is Realm.SIMULATED and not simulator_url:
            raise ValueError("The simulated realm needs the address of the exchange simulator")
        self._realm = realm
        self._simulator_url = simulator_url if realm is Realm.SIMULATED else None
        self._credentials = credentials
        self._ledger = ledger
        self._budget = budget
        self._paper_fees = paper_fees or PaperFees()
        self._market_data: dict[VenueKey, CoinbaseMarketData] = {}
        self._live: OrderedDict[_AccountKey, _Gateway] = OrderedDict()
        self._opening = asyncio.Lock()
        self._retired: list[tuple[float, CoinbaseAccount]] = []

    def supported(self) -> Mapping[str, str]:
        """Venue name to display name."""
        return _DISPLAY_NAMES

    def market_data(self, key: VenueKey) -> CoinbaseMarketData:
        """The shared market data of a venue.

        Raises:
            UnsupportedVenueError: this installation does not trade there.
        """
        if key not in self._market_data:
            self._require(key)
            self._market_data[key] = CoinbaseMarketData(
                simulator_url=self._simulator_url, budget=self._budget
            )
        return self._market_data[key]

    def usable_keys(self, key: VenueKey, credentials: VenueCredentials) -> VenueCredentials:
        """Keys as the venue takes them, from however they were pasted.

        Raises:
            UnsupportedVenueError: this installation does not trade there.
            VenueRefusedKeys: they cannot be keys of the venue; the message says why.
        """
        self._require(key)
        return usable_keys(credentials)

    async def account(self, ref: AccountRef) -> VenueAccount:
        """The gateway of one account; cached per connection version, keys decrypted at first use.

        Raises:
            UnsupportedVenueError: this installation does not trade there.
            VenueRefusedKeys: there are no keys any more, or they cannot sign a request.
        """
        market_data = self.market_data(VenueKey(ref.venue, ref.realm))
        if ref.mode is Mode.PAPER:
            return PaperAccount(
                ref=ref, market_data=market_data, ledger=self._ledger, fees=self._paper_fees
            )
        return await self._live_account(ref, market_data)

    async def account_with(self, key: VenueKey, credentials: VenueCredentials) -> VenueAccount:
        """A short-lived gateway for keys that are not stored yet; its user closes it.

        Raises:
            UnsupportedVenueError: this installation does not trade there.
            VenueRefusedKeys: the keys cannot sign a request.
        """
        return self._open(credentials, self.market_data(key))

    async def close(self) -> None:
        """Release everything."""
        accounts = [gateway.account for gateway in self._live.values()]
        accounts += [account for _, account in self._retired]
        self._live.clear()
        self._retired.clear()
        await asyncio.gather(*(account.close() for account in accounts))
        for market_data in self._market_data.values():
            await market_data.close()
        self._market_data.clear()

    async def _live_account(
        self, ref: AccountRef, market_data: CoinbaseMarketData
    ) -> CoinbaseAccount:
        if ref.connection_id is None:
            raise UnsupportedVenueError("A live account needs a connection")
        key = (ref.account_id, ref.connection_version)
        await self._retire_others(key)
        if not ref.connection_version:
            raise VenueRefusedKeys("The connection was removed")
        if key not in self._live:
            async with self._opening:
                if key not in self._live:
                    self._live[key] = await self._open_stored(ref, ref.connection_id, market_data)
        gateway = self._live[key]
        gateway.lease.renew(ref.keys_read_at)
        self._live.move_to_end(key)
        return gateway.account

    async def _open_stored(
        self, ref: AccountRef, connection_id: UUID, market_data: CoinbaseMarketData
    ) -> _Gateway:
        keys = await self._credentials.credentials(ref.user_id, connection_id)
        lease = KeyLease(self._credentials, ref)
        return _Gateway(self._open(keys, market_data, lease), lease)

    async def _retire_others(self, key: _AccountKey) -> None:
        """Put removed, replaced and long unused gateways aside; close those put aside long ago.

        There is room for one more afterwards.
        """
        now = asyncio.get_running_loop().time()
        account_id, version = key
        others = [
            other
            for other in self._live
            if other[0] == account_id and (other[1] < version or not version)
        ]
        excess = max(0, len(self._live) - len(others) - ACCOUNTS_MAX + (key not in self._live))
        unused = (used for used in self._live if used not in others and used != key)
        for other in [*others, *islice(unused, excess)]:
            self._retired.append((now, self._live.pop(other).account))
        due = [account for at, account in self._retired if now - at > RETIREMENT_SECONDS]
        self._retired = [pair for pair in self._retired if now - pair[0] <= RETIREMENT_SECONDS]
        await asyncio.gather(*(account.close() for account in due))

    def _open(
        self,
        credentials: VenueCredentials,
        market_data: CoinbaseMarketData,
        lease: KeyLease | None = None,
    ) -> CoinbaseAccount:
        return CoinbaseAccount(
            credentials=credentials,
            market_data=market_data,
            simulator_url=self._simulator_url,
            may_leave=lease.require if lease is not None else None,
        )

    def _require(self, key: VenueKey) -> None:
        if key.venue not in _DISPLAY_NAMES:
            raise UnsupportedVenueError(f"This installation does not trade at {key.venue!r}")
        if key.realm is not self._realm:
            raise UnsupportedVenueError(
                f"This installation trades at {self._realm.value} venues, not at {key.realm.value}"
            )
