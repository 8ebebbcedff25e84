"""People made by the installation itself: the administrator and the demo user."""

from __future__ import annotations

from domain.ports import WallClock
from domain.principal import Role
from services.database import Database
from services.errors import EmailAlreadyExists
from services.identity.identity import IdentityPolicy
from services.identity.passwords import Passwords
from services.identity.registration import Registration
from services.paper_accounts import PaperAccounts


async def ensure_person(
    database: Database,
    clock: WallClock,
    paper: PaperAccounts,
    policy: IdentityPolicy,
    *,
    email: str,
    password: str,
    full_name: str,
    role: str,
) -> bool:
    """Make a user unless the address is taken; answers whether one was made.

    Raises:
        InvalidEmail: the address has no valid syntax.
        WeakPassword: the password is too short or too common.
    """
    passwords = Passwords()
    registration = Registration(database, clock, passwords, paper, trial=policy.trial)
    try:
        await registration.register(
            email=email,
            password=password,
            full_name=full_name,
            accept_terms=True,
            role=Role(role),
        )
    except EmailAlreadyExists:
        return False
    finally:
        passwords.close()
    return True
