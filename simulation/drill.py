"""The exits' drill: all fails that an exit does not need, and exits still reach the venue."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

from domain.markets import Mode
from simulation.books import read
from simulation.database import SteppedDatabase
from simulation.violations import Violation

if TYPE_CHECKING:
    from simulation.scenario import Scenario

SETTLED_SECONDS = 20.0
"""After the trouble, before the drill: processes that died are back, sends have ended."""

EXIT_SECONDS_MAX = 30.0
DRILLED_MAX = 6

_OPEN = """
SELECT p.id, p.symbol, p.account_id, p.user_id FROM positions p
JOIN accounts a ON a.id = p.account_id
WHERE p.state = 'open' AND p.open_quantity > 0 AND p.close_requested IS NULL AND a.mode = :mode
  AND NOT EXISTS (SELECT FROM orders o WHERE o.position_id = p.id
                  AND o.state NOT IN ('filled','cancelled','refused','denied','absent'))
  AND NOT EXISTS (SELECT FROM triggers t WHERE t.position_id = p.id AND t.state = 'fired')
ORDER BY p.id
"""
_EXITS = "SELECT client_order_id FROM orders WHERE position_id = :id AND leg <> 'entry'"


async def drill(scenario: Scenario, database: SteppedDatabase) -> None:
    """Have some positions closed while nothing answers but what an exit needs.

    Raises:
        Violation: an exit did not reach the venue in time.
    """
    loop = asyncio.get_running_loop()
    await asyncio.sleep(SETTLED_SECONDS)
    scenario.faults.fail_beside_exits(loop.time() + 2 * EXIT_SECONDS_MAX)
    began = loop.time()
    taken = scenario.venue.taken()
    found = [
        row
        for row in await read(database, _OPEN, mode=Mode.LIVE.value)
        # There may be nothing left to sell; what is due then comes with the reconciliation.
        if (str(row["account_id"]), row["symbol"][:-4]) not in taken
    ][:DRILLED_MAX]
    by_user = {user.user_id: user for user in scenario.users}
    asked: list[tuple[UUID, str]] = []
    for row in found:
        principal, position_id = by_user[row["user_id"]].principal, row["id"]
        outcome, _ = await scenario.callers.call(
            "drill",
            f"close {row['symbol']}",
            lambda services, who=principal, which=position_id: services.trading.close_position(  # type: ignore[misc]
                who, which
            ),
        )
        if outcome == "done":
            asked.append((position_id, row["symbol"]))
    await asyncio.sleep(EXIT_SECONDS_MAX)
    sent = {it.request.client_order_id for it in scenario.venue.sent if it.at >= began}
    for position_id, symbol in asked:
        exits = await read(database, _EXITS, id=position_id)
        if not any(exit_["client_order_id"] in sent for exit_ in exits):
            raise Violation(
                "exit_waits",
                f"the exit of {symbol} {position_id} did not reach the venue within"
                f" {EXIT_SECONDS_MAX:.0f} s while what exits do not need was failing",
            )
    scenario.faults.outages.clear()
