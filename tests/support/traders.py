"""Users who trade: their rows, as registration and adding a broker make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlmodel import SQLModel

from domain.markets import Mode, Realm
from domain.ports import Vault, VenueCredentials
from domain.principal import Principal, Role
from models.connections import Account, Connection, UserSettings
from models.ledgers import Balance, PaperBalance
from models.people import User
from services.database import Database
from services.sealing import seal_credentials

VENUE = "coinbase"
PAIRS = ("BTC-USD", "ETH-USD", "LTC-USD")
OPENING = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class Trader:
    """A user, the trading account, and the caller that the user's requests come with."""

    user_id: UUID
    account_id: UUID
    connection_id: UUID | None = None

    @property
    def principal(self) -> Principal:
        return Principal(self.user_id, uuid4(), Role.USER)


async def add_trader(
    database: Database,
    *,
    mode: Mode = Mode.PAPER,
    credentials: VenueCredentials | None = None,
    vault: Vault | None = None,
    balances: Mapping[str, Decimal] | None = None,
    pairs: Sequence[str] = PAIRS,
    tier: str = "pro",
    settings: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> Trader:
    """Make a user with one account; a live one has a connection with sealed keys."""
    held = {"USD": OPENING} if balances is None else balances
    wall = now or datetime.now(UTC)
    user_id, account_id, connection_id = uuid4(), uuid4(), None
    async with database.as_system() as session:
        session.add(
            User(
                id=user_id,
                email=f"{user_id.hex}@example.com",
                full_name="A Trader",
                password_hash="-",
                subscription_tier=tier,
                trial_ends_at=wall - timedelta(days=1),
                created_at=wall,
            )
        )
        await session.flush()
        if mode is Mode.LIVE:
            connection_id = uuid4()
            session.add(_connection(user_id, connection_id, vault, credentials, wall))
            await session.flush()
        session.add(_account(user_id, account_id, mode, connection_id, held, wall))
        session.add(
            UserSettings(
                user_id=user_id,
                allowed_pairs=list(pairs),
                paper_trading=mode is Mode.PAPER,
                updated_at=wall,
                **(settings or {}),
            )
        )
        await session.flush()
        session.add_all(_balances(user_id, account_id, mode, held, wall))
    return Trader(user_id, account_id, connection_id)


async def add_account(
    database: Database, user_id: UUID, *, mode: Mode, now: datetime, connection: UUID | None = None
) -> UUID:
    """Give a user one more account."""
    account_id, held = uuid4(), {"USD": OPENING}
    async with database.as_system() as session:
        session.add(_account(user_id, account_id, mode, connection, held, now))
        await session.flush()
        session.add_all(_balances(user_id, account_id, mode, held, now))
    return account_id


def _account(
    user_id: UUID,
    account_id: UUID,
    mode: Mode,
    connection_id: UUID | None,
    held: Mapping[str, Decimal],
    now: datetime,
) -> Account:
    return Account(
        id=account_id,
        user_id=user_id,
        venue=VENUE,
        realm=Realm.SIMULATED,
        mode=mode,
        connection_id=connection_id,
        created_at=now,
        opening_equity=held.get("USD"),
    )


def _balances(
    user_id: UUID, account_id: UUID, mode: Mode, held: Mapping[str, Decimal], now: datetime
) -> list[SQLModel]:
    rows: list[SQLModel] = []
    for currency, total in held.items():
        key: Any = {"account_id": account_id, "currency": currency, "user_id": user_id}
        rows.append(Balance(**key, total=total, observed_at=now))
        if mode is Mode.PAPER:
            rows.append(PaperBalance(**key, total=total))
    return rows


def _connection(
    user_id: UUID,
    connection_id: UUID,
    vault: Vault | None,
    credentials: VenueCredentials | None,
    now: datetime,
) -> Connection:
    sealed = None
    if vault is not None and credentials is not None:
        sealed = seal_credentials(vault, credentials, user_id=user_id, connection_id=connection_id)
    return Connection(
        id=connection_id,
        user_id=user_id,
        venue=VENUE,
        realm=Realm.SIMULATED,
        api_key_masked="***",
        sealed=sealed,
        permissions=["read", "trade"],
        created_at=now,
    )
