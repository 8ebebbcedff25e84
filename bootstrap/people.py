"""The part of `bootstrap` that is about people: what registration needs, and the first logins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from adapters.clock import SystemClock
from domain.markets import Realm
from domain.ports import WallClock
from services.database import Database
from services.identity.identity import IdentityPolicy
from services.identity.people import ensure_person
from services.paper_accounts import PaperAccounts
from settings import Settings


def paper_accounts(settings: Settings, database: Database, clock: WallClock) -> PaperAccounts:
    """Opens and resets paper accounts."""
    return PaperAccounts(
        database, clock, realm=Realm(settings.venues), opening_balance=settings.paper_balance
    )


def identity_policy(settings: Settings) -> IdentityPolicy:
    """How long logins and trials last."""
    return IdentityPolicy(
        access_ttl=settings.access_token_ttl,
        refresh_ttl=settings.refresh_token_ttl,
        trial=timedelta(days=settings.trial_days),
    )


async def ensure_people(
    system_database_url: str, people: Sequence[tuple[str, str, str, str]]
) -> list[bool]:
    """Make each (email, password, full name, role) a user; one that exists is left as it is.

    Returns:
        Of each, whether it was made.
    """
    settings = Settings()
    database = Database(
        settings.app_database_url or system_database_url, system_database_url, pool_size=2
    )
    clock = SystemClock()
    paper = paper_accounts(settings, database, clock)
    try:
        return [
            await ensure_person(
                database,
                clock,
                paper,
                identity_policy(settings),
                email=email,
                password=password,
                full_name=full_name,
                role=role,
            )
            for email, password, full_name, role in people
        ]
    finally:
        await database.close()
