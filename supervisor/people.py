"""The logins a new installation starts with, and the demo user's simulated account."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.secrets import Secrets
from settings import Settings
from supervisor.web import post_json

ADMIN_EMAIL = "admin@nija.example"
DEMO_EMAIL = "demo@nija.example"
DEMO_BALANCES = {"USD": "10000"}


PersonFields = tuple[str, str, str, str]  # email, password, full name, role


class Person(NamedTuple):
    """One login that must exist."""

    email: str
    password: str
    full_name: str
    role: str


@dataclass(frozen=True, slots=True)
class People:
    """Who can log in from the start.

    Attributes:
        demo: None unless NIJA_DEMO_USER is on.
    """

    admin: Person = field(repr=False)
    demo: Person | None = field(repr=False)

    def as_list(self) -> list[PersonFields]:
        """All of them."""
        return [self.admin] if self.demo is None else [self.admin, self.demo]


def first_people(settings: Settings, secrets: Secrets) -> People:
    """The administrator, and the demo user where one is wanted."""
    given = settings.admin_password
    admin = Person(
        email=settings.admin_email or ADMIN_EMAIL,
        password=given.get_secret_value() if given else secrets.admin_password,
        full_name="Administrator",
        role="admin",
    )
    demo = Person(DEMO_EMAIL, secrets.demo_password, "Demo User", "user")
    return People(admin=admin, demo=demo if settings.demo_user else None)


def with_demo_account(secrets: Secrets, simulator_url: str) -> Secrets:
    """The secrets including the demo user's simulator account, which is opened once.

    Raises:
        EmbeddedError: the simulator did not open it.
    """
    if secrets.demo_simulator_key is not None:
        return secrets
    opened = post_json(
        f"{simulator_url}/control/accounts", {"balances": DEMO_BALANCES, "name": "demo"}
    )
    try:
        account = {
            "demo_simulator_key": str(opened["api_key"]),
            "demo_simulator_secret": str(opened["api_secret"]),
        }
    except KeyError as missing:
        raise EmbeddedError(f"The simulator's new account lacks {missing}.") from missing
    return secrets.model_copy(update=account)
