"""A steady stream of alerts: buys, sells, closes, partial closes.

An alert is sent again, byte for byte, until it is answered; it counts once.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from datetime import UTC, datetime
from random import Random
from typing import Any

import httpx

from bench.population import Trader

RETRY_SECONDS = 0.2
ANSWER_SECONDS = 10.0
STRATEGY = "chaos"
_PATH = "/api/v1/webhooks/tradingview"
_ACTIONS = {"buy": 50, "close": 20, "sell": 15, "part": 15}
_SERVER_ERROR = 500
_STALE = "The alert is older than"


class Alerts:
    """Sends alerts of many users.

    Attributes:
        acknowledged: the reference of each that was taken in, with the seconds that took.
        refused: answers that nothing explains.
        sent: how many of each kind.
    """

    def __init__(
        self, api_url: str, traders: tuple[Trader, ...], pairs: tuple[str, ...], rng: Random
    ) -> None:
        self._client = httpx.AsyncClient(base_url=api_url, timeout=ANSWER_SECONDS)
        self._traders = traders
        self._pairs = pairs
        self._rng = rng
        self._keys: dict[uuid.UUID, str] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._number = 0
        self.acknowledged: dict[str, float] = {}
        self.refused: list[dict[str, Any]] = []
        self.sent: Counter[str] = Counter()

    async def open(self) -> None:
        """Get a webhook key of every user."""
        for trader in self._traders:
            answer = await self._client.post(
                "/api/v1/config/webhooks",
                json={},
                headers={"Authorization": trader.authorization},
            )
            self._keys[trader.user_id] = answer.raise_for_status().json()["data"]["webhook_key"]

    async def close(self) -> None:
        """Wait until all are answered; hang up."""
        await asyncio.gather(*self._under_way)
        await self._client.aclose()

    def send_one(self) -> None:
        """Begin to send an alert of some user."""
        task = asyncio.create_task(self._send(*self._made_up()))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _made_up(self) -> tuple[str, dict[str, Any]]:
        self._number += 1
        (kind,) = self._rng.choices(list(_ACTIONS), list(_ACTIONS.values()))
        trader = self._rng.choice(self._traders)
        body: dict[str, Any] = {
            "symbol": self._rng.choice(self._pairs),
            "action": "close" if kind == "part" else kind,
            "strategy": STRATEGY,
            "id": f"{STRATEGY}-{self._number}",
            "time": datetime.now(UTC).isoformat(),
            "api_key": self._keys[trader.user_id],
        }
        if kind == "part":
            body["quantity"] = str(self._rng.choice((0.001, 0.005, 0.02)))
        self.sent[kind] += 1
        return body["id"], body

    async def _send(self, reference: str, body: dict[str, Any]) -> None:
        began = time.time()
        request = self._client.build_request("POST", _PATH, json=body)
        while True:
            try:
                response = await self._client.send(request)
            except httpx.HTTPError:
                response = None
            if response is not None and response.status_code < _SERVER_ERROR:
                break
            await asyncio.sleep(RETRY_SECONDS)
        if response.is_success:
            self.acknowledged[reference] = time.time() - began
        elif _STALE in response.text:
            self.sent["stale"] += 1  # nothing took it in for two minutes
        else:
            self.refused.append(
                {"alert": reference, "status": response.status_code, "body": response.text[:300]}
            )
