"""Faults of the exchange, drawn from a seed and put in force while bots trade."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import httpx

Fault = dict[str, Any]

PAUSE_SECONDS = (0.5, 2.0)
KEPT_MAX = 40
"""Faults in force at once; the oldest are lifted."""

_ANSWER_SECONDS = 5.0
_TRADING_CALLS = ("place", "place", "place", "get_order", "list_orders", "list_fills", "balances")
_MARKET_CALLS = ("products", "candles", "fees", "time", "ticker", "book", "permissions")
_BLINDING_CALLS = frozenset({None, "quotes", "ticker", "product"})
_BLINDING_KINDS = frozenset({"keys_refused", "maintenance", "product_delisted", "product_mode"})
_TRANSPORT = frozenset(
    {"timeout", "reset", "server_error", "rate_limited", "cut_off", "empty_body", "slow"}
    | {"keys_refused", "maintenance"}
)


def blinds(fault: Mapping[str, Any]) -> bool:
    """Whether the exchange shows no price or takes no exit while it lasts."""
    if fault["kind"] in _BLINDING_KINDS:
        return True
    return fault["kind"] in _TRANSPORT and fault.get("call") in _BLINDING_CALLS


def draw(rng: Random, products: Sequence[str], speed: float) -> Fault:
    """One fault.

    Args:
        rng: decides everything.
        products: the markets there are.
        speed: venue seconds a wall second; faults that last are given in venue seconds.
    """
    (make,) = rng.choices([one for one, _ in _MENU], [weight for _, weight in _MENU])
    fault = make(rng, speed)
    if rng.random() < _ONE_PRODUCT_SHARE and "product" not in fault:
        fault["product"] = rng.choice(products)
    if fault["kind"].startswith("product_"):
        fault["product"] = rng.choice(products)
    return fault


class Faults:
    """Puts faults in force until it is stopped.

    Attributes:
        given: how many of each kind were put in force.
        hits: how often each kind acted, by the exchange's own count.
        blind_until: when the last blinding fault ends, seconds since 1970.
    """

    def __init__(
        self, simulator_url: str, rng: Random, products: Sequence[str], speed: float
    ) -> None:
        self._url = f"{simulator_url}/control/faults"
        self._rng = rng
        self._products = products
        self._speed = speed
        self.given: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.blind_until = 0.0

    @property
    def is_blind(self) -> bool:
        """Whether the exchange may show no price or take no exit at present."""
        return time.time() < self.blind_until

    async def inject(self) -> None:
        """Go on until cancelled."""
        async with httpx.AsyncClient(timeout=_ANSWER_SECONDS) as client:
            while True:
                fault = draw(self._rng, self._products, self._speed)
                if blinds(fault):
                    lasts = fault.get("for_seconds", 0) / self._speed
                    self.blind_until = max(self.blind_until, time.time() + lasts + 1)
                try:
                    answer = await client.post(self._url, json=fault)
                    answer.raise_for_status()
                    self.given[fault["kind"]] += 1
                    await self._lift_oldest(client, KEPT_MAX)
                except httpx.TransportError:
                    pass  # the exchange is dead at the moment
                await asyncio.sleep(self._rng.uniform(*PAUSE_SECONDS))

    async def end(self) -> None:
        """Lift everything."""
        async with httpx.AsyncClient(timeout=_ANSWER_SECONDS) as client:
            await self._lift_oldest(client, 0)
        self.blind_until = 0.0

    async def _lift_oldest(self, client: httpx.AsyncClient, kept: int) -> None:
        listed = (await client.get(self._url)).raise_for_status().json()["faults"]
        for fault in listed[: max(0, len(listed) - kept)]:
            lifted = (await client.delete(f"{self._url}/{fault['id']}")).raise_for_status().json()
            self.hits[lifted["kind"]] += lifted["hits"]


_ONE_PRODUCT_SHARE = 0.3


def _for(rng: Random, speed: float, least: float, most: float) -> dict[str, float]:
    """So many wall seconds, as venue seconds."""
    return {"for_seconds": round(rng.uniform(least, most) * speed, 1)}


def _lost_call(rng: Random, _speed: float) -> Fault:
    kind = rng.choice(("timeout", "reset", "server_error", "empty_body"))
    fault: Fault = {
        "kind": kind,
        "call": rng.choice(_TRADING_CALLS),
        "count": rng.randint(1, 3),
        "applied": rng.random() < 0.5,  # noqa: PLR2004 - an even chance
    }
    if kind == "timeout":
        fault["seconds"] = rng.choice((1, 4, 8))
    if kind == "server_error":
        fault["status"] = rng.choice((500, 502, 503, 504))
    return fault


def _odd_answer(rng: Random, _speed: float) -> Fault:
    kind = rng.choice(("cut_off", "rate_limited", "slow"))
    fault: Fault = {"kind": kind, "call": rng.choice(_TRADING_CALLS), "count": rng.randint(1, 3)}
    if kind == "slow":
        fault["seconds"] = round(rng.uniform(0.5, 6), 1)
    if kind == "rate_limited":
        fault["retry_after"] = rng.choice((None, 1, 3))
    return fault


def _fate(rng: Random, speed: float) -> Fault:
    kind = rng.choice(
        (
            "order_stuck",
            "partial_fill",
            "ioc_rests",
            "order_listed_late",
            "fills_late",
            "fills_in_pieces",
            "fills_twice",
            "fills_shuffled",
            "commission_late",
        )
    )
    fault: Fault = {"kind": kind, "probability": 0.4, **_for(rng, speed, 3, 10)}
    if kind in {"order_stuck", "ioc_rests", "order_listed_late", "fills_late", "commission_late"}:
        fault["seconds"] = round(rng.uniform(0.2, 6) * speed, 1)
    if kind == "order_stuck":
        fault["status"] = rng.choice(("PENDING", "QUEUED", "UNKNOWN_ORDER_STATUS"))
        fault["executed"] = rng.random() < _SELDOM
    if kind == "order_listed_late":
        fault["by_id"] = rng.random() < _SELDOM
    if kind == "ioc_rests":
        fault["share"] = rng.choice((0, 0.5))
    if kind == "fills_in_pieces":
        fault |= {"pieces": rng.randint(2, 5), "seconds": round(rng.uniform(0, 2) * speed, 1)}
    return fault


def _failing_endpoint(rng: Random, speed: float) -> Fault:
    kind = rng.choice(("server_error", "timeout", "slow"))
    fault: Fault = {"kind": kind, "call": rng.choice(_MARKET_CALLS), **_for(rng, speed, 2, 8)}
    if kind != "server_error":
        fault["seconds"] = rng.choice((2, 6))
    return fault


def _bad_data(rng: Random, speed: float) -> Fault:
    kind = rng.choice(("candle_late", "candle_missing", "candle_revised", "candle_malformed"))
    fault: Fault = {"kind": kind, "probability": 0.3, **_for(rng, speed, 3, 12)}
    if kind == "candle_malformed":
        fault["form"] = rng.choice(("low_zero", "high_below_low", "empty_cell", "null_cell"))
    return fault


def _odd_product(rng: Random, speed: float) -> Fault:
    kind = rng.choice(("product_malformed", "product_mode", "product_delisted"))
    fault: Fault = {"kind": kind, **_for(rng, speed, 2, 6)}
    if kind == "product_mode":
        fault["mode"] = rng.choice(("limit_only", "auction_mode", "cancel_only"))
    return fault


def _away(rng: Random, speed: float) -> Fault:
    kind = rng.choice(("maintenance", "keys_refused", "clock"))
    fault: Fault = {"kind": kind, **_for(rng, speed, 1, 4)}
    if kind == "clock":
        fault |= {"offset_seconds": rng.choice((-20, 20)), "jump_seconds": rng.choice((0, 5))}
    return fault


_SELDOM = 0.3
_MENU: tuple[tuple[Callable[[Random, float], Fault], int], ...] = (
    (_lost_call, 35),
    (_odd_answer, 15),
    (_fate, 25),
    (_failing_endpoint, 10),
    (_bad_data, 7),
    (_odd_product, 4),
    (_away, 4),
)
