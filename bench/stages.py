"""Where an exit's time goes: until its order is made, marked as being sent, and at the exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bench.figures import spread
from bench.kill_switch import rows
from tests.support.up import RunningStack

_EXITS = """
SELECT client_order_id AS id, position_id, intended_at, sent_at FROM orders
WHERE leg <> 'entry' AND sent_at IS NOT NULL
"""


@dataclass(frozen=True)
class Exit:
    """A sell order that the exchange has; all times are Unix seconds of this machine's clock."""

    api_key: str
    position_id: UUID
    symbol: str
    made_at: float
    marked_at: float
    received_at: float


async def exits_at_the_exchange(stack: RunningStack) -> list[Exit]:
    """Every exit of ours by the exchange's own books, with the times of our row."""
    ours = {row["id"]: row for row in await rows(stack, _EXITS, ())}
    books = await asyncio.to_thread(stack.dump)
    return [
        Exit(
            api_key=account["api_key"],
            position_id=row["position_id"],
            symbol=order["product_id"],
            made_at=row["intended_at"].timestamp(),
            marked_at=row["sent_at"].timestamp(),
            received_at=datetime.fromisoformat(order["received_at"]).timestamp(),
        )
        for account in books["accounts"]
        for order in account["orders"]
        if order["side"] == "SELL" and (row := ours.get(order["client_order_id"])) is not None
    ]


def shares(began: Sequence[tuple[float, Exit]]) -> Mapping[str, Any]:
    """The spread of each stage; every exit comes with the moment from which it counts."""
    return {
        "until_the_order_is_made_s": spread([it.made_at - at for at, it in began], digits=2),
        "until_it_is_marked_s": spread([it.marked_at - it.made_at for _at, it in began], digits=2),
        "until_it_is_received_s": spread(
            [it.received_at - it.marked_at for _at, it in began], digits=2
        ),
    }
