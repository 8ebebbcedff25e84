"""Exits at an exchange that takes orders while the listing of orders fails."""

from __future__ import annotations

import asyncio

import pytest

from tests.credentials.processes import Installation

pytestmark = pytest.mark.integration

WAITED_SECONDS = 30
"""Six times as long as an exit waits for an answer before it is sent again."""


async def test_an_exit_that_never_arrived_is_sent_again_while_only_the_listing_fails(
    installation: Installation,
) -> None:
    """All else is served; the exchange answers a known id with its order."""
    position = await installation.open_position()
    await installation.ask_to_leave(position)
    worker = installation.workers[0]
    worker.workflows.is_down = True  # so that everything is carried out here
    faults = (
        {"kind": "reset", "call": "place", "count": 1, "applied": False},
        {"kind": "server_error", "call": "list_orders", "count": 100_000},
    )
    for fault in faults:
        installation.simulator.post("/control/faults", fault)
    try:
        await worker.prompt.wake_exits(installation.trader.user_id, installation.bot.bot_id)
        for _ in range(WAITED_SECONDS * 2):
            await asyncio.sleep(0.5)
            if installation.sold_at_the_venue():
                break
        sold = installation.sold_at_the_venue()
        stands = [(it.state, it.sends, it.refusal_code) for it in await installation.exits()]
    finally:
        installation.simulator.lift_faults()
        await worker.prompt.close(1)

    assert sold == ["FILLED"], f"nothing was sold within {WAITED_SECONDS} s: {stands}"
