"""Users with running bots.

They register with a cheap password hash, everything else goes through the API: five hundred real
registrations and logins are minutes of Argon2, which nothing here measures. A stored hash names its
own cost, so their logins are cheap too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from pwdlib.hashers.argon2 import Argon2Hasher

from adapters.clock import SystemClock
from bench.http import Connection, HttpFailed, prepared
from domain.markets import Realm
from services.database import Database
from services.identity.passwords import Passwords
from services.identity.registration import Registration
from services.paper_accounts import PaperAccounts
from settings import Settings
from tests.support.up import PASSWORD, RunningStack

AT_ONCE = 4
SETTLED_SECONDS_MAX = 180.0


@dataclass(frozen=True)
class Trader:
    """A user whose bot runs; `api_key` is of the live account at the exchange, if there is one."""

    user_id: UUID
    token: str
    api_key: str | None = None

    @property
    def authorization(self) -> str:
        """The header's value."""
        return f"Bearer {self.token}"

    @property
    def is_live(self) -> bool:
        """Whether the bot trades at the exchange."""
        return self.api_key is not None


@dataclass(frozen=True)
class Bot:
    """A bot and its owner."""

    user_id: UUID
    bot_id: UUID


async def populate(
    stack: RunningStack, count: int, *, live: bool, pairs: Sequence[str], first: int = 0
) -> list[Trader]:
    """Make that many users and start their bots; live ones get a venue account each.

    Args:
        stack: where.
        count: how many.
        live: whether they trade at the exchange or on paper.
        pairs: what they may trade.
        first: number of the first one; emails are made of it.
    """
    await _register(stack.run, first, count)
    numbers = iter(range(first, first + count))
    api_url: str = stack.run["api_url"]

    async def some() -> list[Trader]:
        connection = await Connection.open(api_url)
        calls = _Calls(connection)
        try:
            return [
                await _trader(stack, calls, number, live=live, pairs=pairs) for number in numbers
            ]
        finally:
            connection.close()

    groups = await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return [trader for group in groups for trader in group]


async def wait_running(stack: RunningStack, count: int) -> list[Bot]:
    """Wait until that many bots run; returns them."""
    async with await psycopg.AsyncConnection.connect(
        stack.run["system_database_url"], autocommit=True
    ) as connection:
        deadline = asyncio.get_running_loop().time() + SETTLED_SECONDS_MAX
        while True:
            found = await connection.execute(
                "SELECT user_id, id FROM bots WHERE state = 'running' AND last_scan_at IS NOT NULL"
            )
            rows = await found.fetchall()
            if len(rows) >= count:
                return [Bot(*row) for row in rows]
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"only {len(rows)} of {count} bots run")
            await asyncio.sleep(0.25)


async def _register(run: Mapping[str, Any], first: int, count: int) -> None:
    settings = Settings()
    database = Database(run["app_database_url"], run["system_database_url"], pool_size=2)
    clock = SystemClock()
    passwords = Passwords(Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1))
    paper = PaperAccounts(
        database, clock, realm=Realm(settings.venues), opening_balance=settings.paper_balance
    )
    trial = timedelta(days=settings.trial_days)
    registration = Registration(database, clock, passwords, paper, trial=trial)
    try:
        for number in range(first, first + count):
            await registration.register(
                email=_email(number), password=PASSWORD, full_name="Bench", accept_terms=True
            )
    finally:
        passwords.close()
        await database.close()


def _email(number: int) -> str:
    return f"trader{number}@bench.example"


async def _trader(
    stack: RunningStack, calls: _Calls, number: int, *, live: bool, pairs: Sequence[str]
) -> Trader:
    login = {"email": _email(number), "password": PASSWORD}
    token = (await calls.data("POST", "/auth/login", login))["access_token"]
    calls.authorization = f"Bearer {token}"
    user = await calls.data("GET", "/auth/me", None)
    user_id, api_key = UUID(hex=user["user_id"].removeprefix("usr_")), None
    await calls.data("PUT", "/config/settings", {"trading": {"allowed_pairs": list(pairs)}})
    if live:
        account = await asyncio.to_thread(stack.open_venue_account, fee_tier="vip")
        keys = {name: account[name] for name in ("api_key", "api_secret")}
        api_key = account["api_key"]
        await calls.data("POST", "/config/brokers", {"broker": "coinbase", **keys})
    await calls.data("POST", "/trading/start", {"broker": "coinbase", "paper_trading": not live})
    calls.authorization = None
    return Trader(user_id, token, api_key)


class _Calls:
    """NIJA calls on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.authorization: str | None = None

    async def data(self, method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": self.authorization} if self.authorization else {}
        request = prepared(method, f"/api/v1{path}", headers=headers, body=body)
        status, answer = await self._connection.exchange(request)
        if not 200 <= status < 300:
            raise HttpFailed(f"{method} {path}: {status} {answer[:300]!r}")
        return json.loads(answer)["data"]
