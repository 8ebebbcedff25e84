"""Users with their accounts: made as registration and connecting a broker make them."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from domain.markets import Mode, Realm
from domain.principal import Principal, Role
from models.alerts import WebhookKey
from models.columns import new_id
from models.connections import Account, Connection, UserSettings
from models.ledgers import Balance, PaperBalance
from models.people import User
from simulation.gateways import VENUE
from simulation.system import Ground, Services
from simulation.venue import SYMBOLS

OPENING = Decimal(100_000)
TIERS = ("free", "vip", "pro")


@dataclass(slots=True)
class SimulatedUser:
    """A user, and what the user knows."""

    name: str
    user_id: UUID
    session_id: UUID
    account_ids: dict[Mode, UUID]
    key: str
    opening: dict[str, Decimal]
    pairs: tuple[str, ...]
    size: Decimal
    alerts: int = 0
    entered: set[str] = field(default_factory=set)
    wanted: dict[str, Any] = field(default_factory=dict)

    @property
    def principal(self) -> Principal:
        """The caller that the user's requests come with."""
        return Principal(self.user_id, self.session_id, Role.USER)

    @property
    def accounts(self) -> tuple[str, ...]:
        """All accounts of the user."""
        return tuple(str(account_id) for account_id in self.account_ids.values())


async def add_user(
    services: Services, ground: Ground, number: int, random_: random.Random
) -> SimulatedUser:
    """Make a user with a paper and a live account; what the live one holds is at the venue."""
    now = ground.clock.now()
    user = SimulatedUser(
        name=f"u{number}",
        user_id=new_id(),
        session_id=new_id(),
        account_ids={Mode.PAPER: new_id(), Mode.LIVE: new_id()},
        key="nwk_" + hashlib.sha256(new_id().bytes).hexdigest()[:43],
        opening={"USD": OPENING} | ({"BTC": Decimal("0.5")} if number % 3 == 0 else {}),
        pairs=tuple(sorted(random_.sample(SYMBOLS, random_.choice((2, 3, 5))))),
        size=Decimal(random_.choice((300, 500, 1500))),
    )
    connection_id = new_id()
    async with services.database.as_system() as session:
        session.add(
            User(
                id=user.user_id,
                email=f"{user.name}@example.com",
                full_name=user.name,
                password_hash="-",  # noqa: S106 - nobody logs in
                subscription_tier="enterprise",
                trial_ends_at=now - timedelta(days=1),
                created_at=now,
            )
        )
        await session.flush()
        session.add(
            Connection(
                id=connection_id,
                user_id=user.user_id,
                venue=VENUE,
                realm=Realm.SIMULATED,
                api_key_masked="***",
                permissions=["read", "trade"],
                created_at=now,
            )
        )
        session.add(
            WebhookKey(
                id=new_id(),
                user_id=user.user_id,
                key_hash=hashlib.sha256(user.key.encode()).hexdigest(),
                hint=user.key[-4:],
                created_at=now,
            )
        )
        await session.flush()
        for mode, account_id in user.account_ids.items():
            session.add(
                Account(
                    id=account_id,
                    user_id=user.user_id,
                    venue=VENUE,
                    realm=Realm.SIMULATED,
                    mode=mode,
                    connection_id=connection_id if mode is Mode.LIVE else None,
                    created_at=now,
                    opening_equity=OPENING,
                )
            )
        session.add(
            UserSettings(
                user_id=user.user_id,
                allowed_pairs=list(user.pairs),
                paper_trading=False,
                max_position_size_usd=user.size,
                max_concurrent_positions=5,
                max_daily_loss_usd=Decimal(1_000_000),
                updated_at=now,
            )
        )
        await session.flush()
        for mode, account_id in user.account_ids.items():
            for currency, total in user.opening.items():
                key: Any = {
                    "account_id": account_id,
                    "currency": currency,
                    "user_id": user.user_id,
                }
                session.add(Balance(**key, total=total, observed_at=now))
                if mode is Mode.PAPER:
                    session.add(PaperBalance(**key, total=total))
    ground.venue.open_account(
        str(user.account_ids[Mode.LIVE]), dict(user.opening), random_.choice(TIERS)
    )
    return user
