"""One gateway an account and version, shared market data, one realm."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import pytest

from adapters.venues import registry as registry_module
from adapters.venues.coinbase import CoinbaseAccount
from adapters.venues.paper import PaperAccount
from adapters.venues.registry import UnsupportedVenueError, VenueRegistry
from domain.markets import Mode, Realm, VenueKey
from domain.ports import AccountRef, VenueCredentials, VenueRefusedKeys, Venues
from tests.support.paper_ledger import InMemoryPaperLedger

KEY = VenueKey("coinbase", Realm.SIMULATED)
LIVE = AccountRef(
    uuid.uuid4(), uuid.uuid4(), "coinbase", Realm.SIMULATED, Mode.LIVE, uuid.uuid4(), 1
)


class Keys:
    """A credential source that counts."""

    def __init__(self) -> None:
        self.asked: list[tuple[uuid.UUID, uuid.UUID]] = []
        self.secret = "s" * 10

    async def credentials(self, user_id: uuid.UUID, connection_id: uuid.UUID) -> VenueCredentials:
        self.asked.append((user_id, connection_id))
        await asyncio.sleep(0)
        return VenueCredentials("key", self.secret, {})

    async def version(self, user_id: uuid.UUID, connection_id: uuid.UUID) -> int | None:
        return 1


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
async def venues(keys: Keys) -> AsyncIterator[VenueRegistry]:
    registry = VenueRegistry(
        realm=Realm.SIMULATED,
        simulator_url="http://127.0.0.1:9",
        credentials=keys,
        ledger=InMemoryPaperLedger({"USD": Decimal(1)}),
    )
    yield registry
    await registry.close()


async def test_it_is_the_port(venues: VenueRegistry) -> None:
    port: Venues = venues

    assert port.supported() == {"coinbase": "Coinbase Advanced Trade"}
    assert port.market_data(KEY) is port.market_data(KEY)


async def test_keys_are_decrypted_once_a_version(venues: VenueRegistry, keys: Keys) -> None:
    gateways = await asyncio.gather(*(venues.account(LIVE) for _ in range(20)))
    renewed = await venues.account(replace(LIVE, connection_version=2))

    assert len(set(map(id, gateways))) == 1
    assert renewed is not gateways[0]
    assert len(keys.asked) == 2


async def test_replaced_gateway_is_closed_later(
    venues: VenueRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await venues.account(LIVE)
    assert isinstance(old, CoinbaseAccount)
    old._client.open()
    await venues.account(replace(LIVE, connection_version=2))
    was_open = old._client.session is not None
    monkeypatch.setattr(registry_module, "RETIREMENT_SECONDS", -1.0)
    await venues.account(replace(LIVE, connection_version=2))

    assert was_open
    assert old._client.session is None


async def test_gateways_are_bounded(venues: VenueRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "ACCOUNTS_MAX", 2)
    refs = [replace(LIVE, account_id=uuid.uuid4()) for _ in range(4)]
    for ref in refs:
        await venues.account(ref)

    assert [key[0] for key in venues._live] == [refs[2].account_id, refs[3].account_id]


async def test_paper_accounts_need_no_keys(venues: VenueRegistry, keys: Keys) -> None:
    paper = await venues.account(replace(LIVE, mode=Mode.PAPER, connection_id=None))

    assert isinstance(paper, PaperAccount)
    assert keys.asked == []


async def test_keys_that_cannot_sign_are_refused_every_time(
    venues: VenueRegistry, keys: Keys
) -> None:
    keys.secret = ""
    for _ in range(2):
        with pytest.raises(VenueRefusedKeys):
            await venues.account(LIVE)
    keys.secret = "s" * 10

    assert isinstance(await venues.account(LIVE), CoinbaseAccount)


@pytest.mark.parametrize(
    ("api_key", "api_secret"),
    [
        ("k\r\nX-Injected: 1", "s" * 10),
        ("schl\u00fcssel", "s" * 10),
        ("organizations/o/apiKeys/k", "-----BEGIN EC PRIVATE KEY-----"),
        ("key", "-----BEGIN EC PRIVATE KEY-----\nMHc=\n-----END EC PRIVATE KEY-----"),
    ],
)
async def test_keys_no_request_can_carry_are_refused_before_any(
    venues: VenueRegistry, api_key: str, api_secret: str
) -> None:
    with pytest.raises(VenueRefusedKeys, match="key"):
        await venues.account_with(KEY, VenueCredentials(api_key, api_secret, {}))


async def test_what_is_not_supported_is_said(venues: VenueRegistry) -> None:
    with pytest.raises(UnsupportedVenueError, match="nowhere"):
        venues.market_data(VenueKey("nowhere", Realm.SIMULATED))
    with pytest.raises(UnsupportedVenueError, match="simulated"):
        venues.market_data(VenueKey("coinbase", Realm.REAL))
    with pytest.raises(UnsupportedVenueError, match="simulated"):
        await venues.account(replace(LIVE, realm=Realm.REAL))
    with pytest.raises(UnsupportedVenueError, match="connection"):
        await venues.account(replace(LIVE, connection_id=None))


async def test_short_lived_gateway_is_its_users_to_close(venues: VenueRegistry) -> None:
    gateway = await venues.account_with(KEY, VenueCredentials("key", "s" * 10, {}))
    await gateway.close()

    assert isinstance(gateway, CoinbaseAccount)


def test_simulated_realm_needs_a_simulator(keys: Keys) -> None:
    with pytest.raises(ValueError, match="simulator"):
        VenueRegistry(
            realm=Realm.SIMULATED,
            simulator_url=None,
            credentials=keys,
            ledger=InMemoryPaperLedger({}),
        )
