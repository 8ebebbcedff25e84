"""A crossed stop with hanging candle, product and fee endpoints: when its exit is at the exchange.

The market stands still until it is advanced by a minute, so the moment in which a price crosses a
stop is the moment of a call. Before that, the endpoints begin to hang and every bot hears of a
closed bar, so hundreds of decisions hang too. Then a few stops at a time are put right below the
price, through the API, and minutes pass until they are crossed.

Counted from the moment before the market is advanced to the exchange's own note of when it received
the sell order. Both clocks are this machine's.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

import httpx

from adapters.temporal.client import TemporalWorkflows
from bench.figures import spread
from bench.kill_switch import rows, send_buys, until
from bench.population import Bot, Trader, populate, wait_running
from bench.processes import Processes
from bench.stages import Exit, exits_at_the_exchange, shares
from tests.support.up import RunningStack, running_stack

BOTS = 300
POSITIONS = 120
AT_A_TIME = 4
PAIR = "BTC-USD"
HANGING = ("candles", "products", "product", "fees")
HANG_SECONDS = 60
BOUGHT_SECONDS_MAX = 60.0
CROSSED_SECONDS_MAX = 30.0
BELOW = Decimal("0.9999")
FAR = Decimal(2)
"""Of the price: a stop that the next minute crosses, a target that no minute reaches."""

MINUTES_MAX = 400

_OPEN = """
SELECT p.id, p.user_id, p.rules->>'price_step' AS step FROM positions p
WHERE p.state = 'open' AND p.symbol = %s AND p.close_requested IS NULL AND NOT EXISTS (
  SELECT FROM triggers t WHERE t.position_id = p.id AND t.state = 'fired')
ORDER BY p.id
"""
_UNDECIDED = """
SELECT (SELECT count(*) FROM unnest(%s::text[]) AS c (cause)
        WHERE NOT EXISTS (SELECT FROM decisions d WHERE d.cause = c.cause)) +
       (SELECT count(*) FROM orders WHERE state NOT IN
         ('filled', 'cancelled', 'refused', 'denied', 'absent')) AS waiting
"""


@dataclass(frozen=True)
class Crossed:
    """A stop that the price crossed, and the account whose sell order is waited for."""

    api_key: str
    at: float


def measure(bots: int = BOTS, positions: int = POSITIONS) -> dict[str, Any]:
    """Start a stack with so many live bots, let endpoints hang, cross stops."""
    with running_stack(
        NIJA_RATE_LIMITS="off", NIJA_SIMULATOR_FEE_TIER="vip", NIJA_SIMULATOR_MODE="step"
    ) as stack:
        return asyncio.run(_measure(stack, bots, positions))


async def _measure(stack: RunningStack, count: int, positions: int) -> dict[str, Any]:
    traders = await populate(stack, count, live=True, pairs=(PAIR,))
    bots = await wait_running(stack, count)
    run = _Run(stack, traders)
    await run.buy(bots[:positions])
    await run.keep_targets_away()
    calm = await run.cross(positions // 4)
    await run.hang()
    return {
        "bots": count,
        "hanging": ", ".join(HANGING),
        "before": calm,
        "while_hanging": await run.cross(positions),
    }


class _Run:
    def __init__(self, stack: RunningStack, traders: Sequence[Trader]) -> None:
        self._stack = stack
        self._traders = {trader.user_id: trader for trader in traders}
        self._workflows = TemporalWorkflows(stack.run["temporal_address"], "default", "nija")
        self._simulator = httpx.AsyncClient(base_url=stack.run["simulator_url"], timeout=30)
        self._api = httpx.AsyncClient(base_url=stack.run["api_url"], timeout=30)

    async def buy(self, bots: Sequence[Bot]) -> None:
        """Have bots buy, and wait for what comes of it."""
        signals = [uuid.uuid4() for _ in bots]
        await send_buys(self._workflows, PAIR, bots, signals)
        causes = [f"signal:{signal_id}" for signal_id in signals]
        # An entry whose fate is open stays so while the market stands still: its clock does too.
        with suppress(TimeoutError):
            await until(lambda: self._is_quiet(causes), BOUGHT_SECONDS_MAX)

    async def keep_targets_away(self) -> None:
        """Leave positions to their stops: the market would reach their targets meanwhile."""
        far = FAR * await self._price()
        for position in await rows(self._stack, _OPEN, (PAIR,)):
            target = far.quantize(Decimal(position["step"]), ROUND_DOWN)
            await self._modify(position, take_profit=target)

    async def hang(self) -> None:
        """Let the endpoints hang, and give every bot a bar to decide on."""
        faults = [{"kind": "slow", "call": call, "seconds": HANG_SECONDS} for call in HANGING]
        answer = await self._simulator.post("/control/faults", json={"faults": faults})
        answer.raise_for_status()
        for _ in range(5):
            await self._advance()
            await asyncio.sleep(1)

    async def cross(self, count: int) -> dict[str, Any]:
        """Cross so many stops, or as many as there are, a few at a time."""
        processes = Processes(self._stack.run["pids"])
        crossed: list[Crossed] = []
        for _ in range(MINUTES_MAX):
            positions = (await rows(self._stack, _OPEN, (PAIR,)))[:AT_A_TIME]
            if not positions or len(crossed) >= count:
                break
            crossed += await self._cross_some(positions)
        used = processes.used()
        exits = await exits_at_the_exchange(self._stack)
        # The minute before may have crossed a stop at its low, which its candle shows a look later.
        crossed = [it for it in crossed if not _has_left(it, exits)]
        left = [(it.at, found) for it in crossed if (found := _exit_of(it, exits)) is not None]
        return {
            "stops_crossed": len(crossed),
            "never_at_the_exchange": len(crossed) - len(left),
            "crossing_to_exit_at_the_exchange_s": spread(
                [found.received_at - at for at, found in left], digits=2
            ),
            **shares(left),
            "processes": used,
        }

    async def _cross_some(self, positions: Sequence[dict[str, Any]]) -> list[Crossed]:
        """Put stops below the price and let a minute pass; those that it crossed."""
        price = await self._price()
        stops = await asyncio.gather(*(self._put_stop(it, price) for it in positions))
        at = time.time()
        await self._advance()
        price = await self._price()
        crossed = [
            (Crossed(self._traders[it["user_id"]].api_key or "", at), it["id"])
            for it, stop in zip(positions, stops, strict=True)
            if stop is not None and price <= stop
        ]
        if crossed:
            ids = [position_id for _crossed, position_id in crossed]
            with suppress(TimeoutError):  # it is counted as one that never was at the exchange
                await until(lambda: self._have_left(ids), CROSSED_SECONDS_MAX)
        return [it for it, _position_id in crossed]

    async def _put_stop(self, position: dict[str, Any], price: Decimal) -> Decimal | None:
        stop = (price * BELOW).quantize(Decimal(position["step"]), ROUND_DOWN)
        return stop if await self._modify(position, stop_loss=stop) else None

    async def _modify(self, position: dict[str, Any], **prices: Decimal) -> bool:
        """Move a stop or targets; False where the position has left by now."""
        answer = await self._api.patch(
            f"/api/v1/account/positions/pos_{position['id'].hex}",
            json={name: float(price) for name, price in prices.items()},  # their digits survive
            headers={"Authorization": self._traders[position["user_id"]].authorization},
        )
        if answer.status_code == httpx.codes.NOT_FOUND:
            return False
        answer.raise_for_status()
        return True

    async def _advance(self) -> None:
        answer = await self._simulator.post("/control/advance", json={"minutes": 1})
        answer.raise_for_status()

    async def _price(self) -> Decimal:
        answer = await self._simulator.get(f"/api/v3/brokerage/market/products/{PAIR}/ticker")
        return Decimal(answer.raise_for_status().json()["trades"][0]["price"])

    async def _is_quiet(self, causes: Sequence[str]) -> bool:
        (row,) = await rows(self._stack, _UNDECIDED, (list(causes),))
        return not row["waiting"]

    async def _have_left(self, ids: Sequence[uuid.UUID]) -> bool:
        (row,) = await rows(
            self._stack,
            "SELECT count(*) AS left FROM positions WHERE id = ANY(%s) AND state = 'open'",
            (list(ids),),
        )
        return not row["left"]


def _has_left(crossed: Crossed, exits: Sequence[Exit]) -> bool:
    """Whether the one position of that account had left before."""
    return any(it.api_key == crossed.api_key and it.received_at < crossed.at for it in exits)


def _exit_of(crossed: Crossed, exits: Sequence[Exit]) -> Exit | None:
    mine = (it for it in exits if it.api_key == crossed.api_key and it.received_at >= crossed.at)
    return min(mine, key=lambda it: it.received_at, default=None)
