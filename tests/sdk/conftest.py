"""One whole installation for all tests of the SDKs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from tests.support.up import PASSWORD, RunningStack, running_stack

JWT_SECRET = "a-secret-of-the-tests-that-is-long-enough"


@dataclass(frozen=True)
class Login:
    """Somebody who is logged in."""

    email: str
    access_token: str
    refresh_token: str

    def token_for(self, seconds: float) -> str:
        """The same session's access token, good for so long from now on."""
        claims: dict[str, Any] = jwt.decode(self.access_token, options={"verify_signature": False})
        claims["exp"] = int((datetime.now(UTC) + timedelta(seconds=seconds)).timestamp())
        return jwt.encode(claims, JWT_SECRET, algorithm="HS256")


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    with running_stack(
        NIJA_JWT_SECRET=JWT_SECRET,
        NIJA_RATE_LIMITS="off",
        NIJA_REPLAY_SPEED="5",
        NIJA_SIMULATOR_FEE_TIER="vip",
    ) as stack:
        yield stack


_numbers = itertools.count(1)


@pytest.fixture
def new_login(stack: RunningStack) -> Callable[[], Login]:
    """Registers somebody and logs them in."""

    def login() -> Login:
        email = f"sdk{next(_numbers)}@nija.example"
        stack.register(email)
        tokens = stack.data("POST", "/auth/login", body={"email": email, "password": PASSWORD})
        return Login(email, tokens["access_token"], tokens["refresh_token"])

    return login


@pytest.fixture
def login(new_login: Callable[[], Login]) -> Login:
    return new_login()
