"""A user of the platform: everything she does goes through the API."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from demo.exchange import VenueAccount
from demo.failures import DemoFailed
from demo.wire import Wire

PASSWORD_BYTES = 18
_NAME_BYTES = 3


@dataclass(frozen=True, slots=True)
class Look:
    """What she sees of her account at one moment."""

    positions: Sequence[dict[str, Any]]
    balance: dict[str, Any]


class Person:
    """One user and her token; her password is made up and told to nobody."""

    def __init__(self, api_url: str, name: str) -> None:
        self.name = name
        self._wire = Wire(f"{api_url}/api/v1")
        self._token: str | None = None
        self._password = secrets.token_urlsafe(PASSWORD_BYTES)
        self.email = f"{name.lower()}-{secrets.token_hex(_NAME_BYTES)}@nija.example"

    def register(self) -> dict[str, Any]:
        """Become a user, and log in."""
        user = self._data(
            "POST",
            "/auth/register",
            {
                "email": self.email,
                "password": self._password,
                "full_name": f"{self.name} Example",
                "accept_terms": True,
            },
        )
        login = self._data("POST", "/auth/login", {"email": self.email, "password": self._password})
        self._token = login["access_token"]
        return user

    @staticmethod
    def uuid_of(user: dict[str, Any]) -> UUID:
        """The user's id as Temporal's search attributes have it."""
        return UUID(hex=user["user_id"].removeprefix("usr_"))

    def connect(self, account: VenueAccount) -> dict[str, Any]:
        """Hand the exchange's keys over, and have them tested."""
        added = self._data(
            "POST",
            "/config/brokers",
            {
                "broker": "coinbase",
                "api_key": account.api_key,
                "api_secret": account.api_secret,
            },
        )
        tested = self._data("POST", f"/config/brokers/{added['broker_id']}/test")
        listed = self._data("GET", "/config/brokers")["brokers"][0]
        return {**listed, **tested}

    def set(self, **trading: object) -> list[str]:
        """Change trading settings; answers which have another value now."""
        changed = self._data("PUT", "/config/settings", {"trading": trading})
        names: list[str] = changed["updated_fields"]
        return names

    def start(self, *, on_paper: bool) -> dict[str, Any]:
        """Start the bot."""
        return self._data(
            "POST",
            "/trading/start",
            {"broker": "coinbase", "paper_trading": on_paper, "risk_profile": "medium"},
        )

    def stop(self) -> dict[str, Any]:
        """Stop the bot; what is still open is closed."""
        return self._data("POST", "/trading/stop", {"close_positions": True})

    def status(self) -> dict[str, Any]:
        """Where the bot stands."""
        return self._data("GET", "/trading/status")

    def look(self) -> Look:
        """Open positions and the balance."""
        return Look(
            self._data("GET", "/account/positions")["positions"],
            self._data("GET", "/account/balance"),
        )

    def decisions(self) -> list[dict[str, Any]]:
        """The latest decision on each pair."""
        found: list[dict[str, Any]] = self._data("GET", "/trading/decisions")["decisions"]
        return sorted(found, key=lambda one: one["symbol"])

    def trades(self) -> list[dict[str, Any]]:
        """Every trade, oldest first; those of the same moment by symbol."""
        found: list[dict[str, Any]] = self._data("GET", "/account/history")["trades"]
        return sorted(found, key=lambda trade: (trade["opened_at"], trade["symbol"]))

    def performance(self) -> dict[str, Any]:
        """The figures of everything so far."""
        return self._data("GET", "/account/performance?period=all")

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()

    def _data(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        answer = self._wire.call(method, path, body, headers=headers)
        if not answer.is_success:
            error = answer.body.get("error", {}) if isinstance(answer.body, dict) else {}
            raise DemoFailed(
                f"{method} {path.partition('?')[0]} was refused: "
                f"{answer.status} {error.get('code')}: {error.get('message')}"
            )
        data: dict[str, Any] = answer.body["data"]
        return data
