"""The tokens of one client, and when they are exchanged for new ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nija_sdk._calls import Operation
from nija_sdk.errors import APIError

LOGIN = "/auth/login"
REFRESH = Operation("POST", "/auth/refresh", public=True)
LOGOUT = "/auth/logout"
TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105 - an error code
REFRESH_SECONDS = 4.0
REFRESH_TRIES = 2
"""A used refresh token may be presented again for ten seconds only; later it ends the session."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What proves who is calling; keep the newest pair, for the older refresh token is used up."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)

    @property
    def header(self) -> str:
        """The value of `Authorization`."""
        return f"Bearer {self.access_token}"


class TokenStore:
    """Holds the newest tokens."""

    def __init__(self, tokens: Tokens | None) -> None:
        self._tokens = tokens

    @property
    def current(self) -> Tokens | None:
        """The newest pair."""
        return self._tokens

    def adopt(self, operation: Operation, data: Any) -> Tokens | None:
        """Learn from a successful answer: login and refresh bring tokens, a logout ends them.

        Returns:
            The new pair, where there is one.
        """
        if operation.path in {LOGIN, REFRESH.path}:
            self._tokens = Tokens(data["access_token"], data["refresh_token"])
            return self._tokens
        if operation.path == LOGOUT:
            self._tokens = None
        return None

    def is_worth_another_try(self, used: Tokens | None, failure: APIError) -> bool:
        """Whether a failed call can succeed with newer tokens."""
        if used is None or failure.code != TOKEN_EXPIRED or self._tokens is None:
            return False
        return self._tokens != used or used.refresh_token is not None

    def needs_refresh(self, used: Tokens) -> bool:
        """Whether the expired tokens of a call are still the newest."""
        return self._tokens == used and used.refresh_token is not None
