"""Users with running bots, all made through the API as anybody's are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from bench.http import Connection, HttpFailed, prepared
from tests.support.up import PASSWORD, RunningStack

AT_ONCE = 4
SETTLED_SECONDS_MAX = 180.0


@dataclass(frozen=True)
class Trader:
    """A user whose bot runs."""

    user_id: UUID
    token: str

    @property
    def authorization(self) -> str:
        """The header's value."""
        return f"Bearer {self.token}"


@dataclass(frozen=True)
class Bot:
    """A bot and its owner."""

    user_id: UUID
    bot_id: UUID


async def populate(
    stack: RunningStack, count: int, *, live: bool, pairs: Sequence[str]
) -> list[Trader]:
    """Register that many users and start their bots; live ones get an account each."""
    numbers = iter(range(count))
    api_url: str = stack.run["api_url"]

    async def some() -> list[Trader]:
        calls = _Calls(await Connection.open(api_url))
        return [await _trader(stack, calls, number, live=live, pairs=pairs) for number in numbers]

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


async def _trader(
    stack: RunningStack, calls: _Calls, number: int, *, live: bool, pairs: Sequence[str]
) -> Trader:
    login = {"email": f"trader{number}@bench.example", "password": PASSWORD}
    user = await calls.data(
        "POST", "/auth/register", {**login, "full_name": "Bench", "accept_terms": True}
    )
    token = (await calls.data("POST", "/auth/login", login))["access_token"]
    trader = Trader(UUID(hex=user["user_id"].removeprefix("usr_")), token)
    calls.authorization = trader.authorization
    await calls.data("PUT", "/config/settings", {"trading": {"allowed_pairs": list(pairs)}})
    if live:
        account = await asyncio.to_thread(stack.open_venue_account, fee_tier="vip")
        keys = {name: account[name] for name in ("api_key", "api_secret")}
        await calls.data("POST", "/config/brokers", {"broker": "coinbase", **keys})
    await calls.data("POST", "/trading/start", {"broker": "coinbase", "paper_trading": not live})
    calls.authorization = None
    return trader


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
