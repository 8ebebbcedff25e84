"""The kill switch closing 80 positions among 500 running bots: when each exit is at the exchange.

Two acts. The first closes positions while nothing else happens. In the second every bot has just
been told to buy another pair, and the switch is engaged, to close positions, once that many entries
have left: the entries that it denies must not keep the exits waiting.

Only exits of positions that were open at the call are timed: no other can leave before its entry
has filled. Counted from the moment before the call is sent to the exchange's own note of when it
received each sell order. Both clocks are this machine's.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from bench.figures import spread
from bench.kill_switch import Show, execute, rows, until
from bench.population import Bot, populate, wait_running
from bench.processes import Processes
from bench.stages import exits_at_the_exchange, shares
from tests.support.up import RunningStack, running_stack

BOTS = 500
POSITIONS = 80
QUIET_PAIR, BUSY_PAIR = "BTC-USD", "ETH-USD"
SECONDS_MAX = 240.0
ENTERED_SECONDS_MAX = 60.0
"""How long the second act waits for the positions that it closes."""

_OPEN = "SELECT count(*) AS open FROM positions WHERE state = 'open' AND symbol = %s"
_OPEN_IDS = "SELECT id FROM positions WHERE state = 'open' AND symbol = %s"
_LIVE = "SELECT count(*) AS live FROM positions WHERE state IN ('pending', 'open')"


def measure(bots: int = BOTS, positions: int = POSITIONS) -> dict[str, Any]:
    """Start a stack with so many live bots and play the two acts."""
    with running_stack(NIJA_RATE_LIMITS="off", NIJA_SIMULATOR_FEE_TIER="vip") as stack:
        return asyncio.run(_measure(stack, bots, positions))


async def _measure(stack: RunningStack, count: int, positions: int) -> dict[str, Any]:
    began = time.monotonic()
    admin = stack.register("admin@bench.example")
    await execute(stack, "UPDATE users SET role = 'admin' WHERE email = %s", admin.email)
    await populate(stack, count, live=True, pairs=(QUIET_PAIR, BUSY_PAIR))
    await execute(stack, "UPDATE users SET subscription_tier = %s", "enterprise")
    bots = await wait_running(stack, count)
    populated_after = time.monotonic() - began
    acts = _Acts(stack, Show(stack, admin, bots), positions)
    quiet = await acts.quiet(bots[:positions])
    await asyncio.to_thread(
        stack.data, "DELETE", "/admin/kill-switch", admin, reason="the first act is over"
    )
    return {
        "bots": count,
        "seconds_to_populate": round(populated_after, 1),
        "quiet": quiet,
        "while_all_bots_enter": await acts.busy(bots),
    }


class _Acts:
    def __init__(self, stack: RunningStack, show: Show, positions: int) -> None:
        self._stack = stack
        self._show = show
        self._positions = positions

    async def quiet(self, bots: Sequence[Bot]) -> dict[str, Any]:
        """Close what these bots have bought, with nothing else to do."""
        signals = [uuid.uuid4() for _ in bots]
        await self._show.send(QUIET_PAIR, signals)
        # Some may be refused: what was decided is waited for, what has opened is closed.
        causes = [f"signal:{signal_id}" for signal_id in signals]
        await until(lambda: self._show.is_quiet(causes), SECONDS_MAX)
        return await self._close(QUIET_PAIR)

    async def busy(self, bots: Sequence[Bot]) -> dict[str, Any]:
        """Close what has been bought so far, while the rest of the bots are about to buy."""

        async def close() -> dict[str, Any]:
            with suppress(TimeoutError):  # then as many as there are by now
                await until(lambda: self._are_open(BUSY_PAIR, self._positions), ENTERED_SECONDS_MAX)
            return await self._close(BUSY_PAIR)

        sending = self._show.send(BUSY_PAIR, [uuid.uuid4() for _ in bots])
        closed: dict[str, Any]
        _sent, closed = await asyncio.gather(sending, close())
        return closed

    async def _close(self, symbol: str) -> dict[str, Any]:
        processes = Processes(self._stack.run["pids"])
        open_ids = {row["id"] for row in await rows(self._stack, _OPEN_IDS, (symbol,))}
        began, began_at = time.monotonic(), time.time()
        answer = await self._show.engage(close_positions=True)
        took = time.monotonic() - began
        with suppress(TimeoutError):  # what is still live then is told
            await until(self._is_flat, SECONDS_MAX)
        flat_after = time.monotonic() - began
        (left,) = await rows(self._stack, _LIVE, ())
        used = processes.used()
        every = [it for it in await exits_at_the_exchange(self._stack) if it.symbol == symbol]
        exits = [it for it in every if it.position_id in open_ids]
        return {
            "positions": answer["active_positions"],
            "positions_open_at_the_call": len(open_ids),
            "exits_of_entries_that_filled_later": len(every) - len(exits),
            "call_took_s": round(took, 2),
            "call_to_exit_at_the_exchange_s": spread(
                [it.received_at - began_at for it in exits], digits=2
            ),
            **shares([(began_at, it) for it in exits]),
            "all_flat_after_s": round(flat_after, 2),
            "still_live": left["live"],
            "processes": used,
        }

    async def _are_open(self, symbol: str, count: int) -> bool:
        (row,) = await rows(self._stack, _OPEN, (symbol,))
        return bool(row["open"] >= count)

    async def _is_flat(self) -> bool:
        (row,) = await rows(self._stack, _LIVE, ())
        return not row["live"]
