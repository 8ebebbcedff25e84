"""When stops were crossed, seen from outside.

The stops come from the database and the prices from the exchange's public pages; nothing that the
platform's own watch has noted is used.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import psycopg
from psycopg.rows import dict_row

LOOK_SECONDS = 0.25
_ANSWER_SECONDS = 2.0
_STOPS = """
SELECT t.id, t.position_id, t.symbol, t.price FROM triggers t
JOIN positions p ON p.id = t.position_id
WHERE t.leg = 'stop' AND t.state IN ('armed', 'fired') AND t.direction = 'at_or_below'
  AND p.state = 'open'
"""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A stop at or above the price of its market.

    Attributes:
        seen_at: when that price had been read, seconds since 1970.
    """

    trigger_id: UUID
    position_id: UUID
    symbol: str
    stop: Decimal
    price: Decimal
    seen_at: float


class Crossings:
    """Watches prices and stops.

    Attributes:
        seen: the first crossing of each stop.
    """

    def __init__(self, simulator_url: str, system_url: str) -> None:
        self._products = f"{simulator_url}/api/v3/brokerage/market/products"
        self._system_url = system_url
        self._stops: list[dict[str, Any]] = []
        self.seen: dict[UUID, Crossing] = {}

    async def watch(self) -> None:
        """Look until cancelled."""
        async with httpx.AsyncClient(timeout=_ANSWER_SECONDS) as client:
            while True:
                began = time.monotonic()
                try:
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        await self._read_stops()
                except (psycopg.Error, OSError, TimeoutError):
                    pass  # stops that were committed still stand
                await self._judge(client)
                await asyncio.sleep(max(0.05, LOOK_SECONDS - (time.monotonic() - began)))

    async def _read_stops(self) -> None:
        async with await psycopg.AsyncConnection.connect(
            self._system_url, autocommit=True, row_factory=dict_row
        ) as connection:
            self._stops = await (await connection.execute(_STOPS)).fetchall()

    async def _judge(self, client: httpx.AsyncClient) -> None:
        try:
            answer = (await client.get(self._products)).raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            return
        now = time.time()
        prices = _prices(answer)
        for stop in self._stops:
            price = prices.get(stop["symbol"])
            if price is not None and price <= stop["price"] and stop["id"] not in self.seen:
                self.seen[stop["id"]] = Crossing(
                    stop["id"], stop["position_id"], stop["symbol"], stop["price"], price, now
                )


def _prices(answer: Any) -> dict[str, Decimal]:
    return {
        product["product_id"]: Decimal(product["price"])
        for product in answer["products"]
        if product.get("price")
    }
