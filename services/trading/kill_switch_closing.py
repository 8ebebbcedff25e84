"""Asking the positions that a kill switch covers to leave, in one statement for all of them.

Done by the exits worker's poll, some times a second for as long as a switch is engaged, and by the
rounds of telling. Only rows that nothing else holds at this moment are taken, so that one locked
position keeps no other waiting; the next time takes what is left.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.positions import PositionState
from domain.strategies.apex import ExitReason
from services.database import Database
from services.orders.due_exits import HAS_KEYS

COVERED = """
(:scope = 'global' OR r.user_id = :user_id OR r.venue = :venue)
"""
"""Which runs a switch covers; parameters `scope`, `user_id`, `venue`, the run is `r`."""

_CLOSING = text("""
SELECT id, scope, user_id, venue FROM kill_switches
WHERE released_at IS NULL AND close_positions ORDER BY engaged_at, id
""")

# As `services.trading.ending.reopen_runs`; one that is held is taken by the next round.
_REOPEN = text(f"""
UPDATE bot_runs SET state = 'exit_only', ended_at = NULL WHERE id IN (
  SELECT r.id FROM bot_runs r
  WHERE r.state = 'ended' AND {COVERED} AND r.id IN (
    SELECT p.run_id FROM positions p WHERE p.state IN ('pending', 'open') AND {HAS_KEYS})
  FOR NO KEY UPDATE OF r SKIP LOCKED)
""")  # noqa: S608 - every part is a literal, every value a parameter

_ASK = text(f"""
WITH covered AS (
  SELECT p.id, r.bot_id FROM positions p JOIN bot_runs r ON r.id = p.run_id
  WHERE p.state IN ('pending', 'open') AND p.close_requested IS NULL AND {HAS_KEYS} AND {COVERED}
  ORDER BY p.id FOR NO KEY UPDATE OF p SKIP LOCKED
)
UPDATE positions p SET close_requested = :reason, close_cause = :cause || ':' || p.id
FROM covered WHERE p.id = covered.id
RETURNING p.user_id, covered.bot_id, p.state
""")  # noqa: S608 - the same


async def ask_covered_positions(database: Database) -> set[tuple[UUID, UUID]]:
    """Ask every position that an engaged switch is to close and that was not asked yet.

    In whatever run it was opened; runs that were over exit again.

    Returns:
        Users and bots with open positions that were asked now.
    """
    leaving: set[tuple[UUID, UUID]] = set()
    async with database.as_system() as session:
        connection = await session.connection()
        for switch in (await connection.execute(_CLOSING)).mappings().all():
            await connection.execute(_REOPEN, _asking(switch))
            for user_id, bot_id, state in await connection.execute(_ASK, _asking(switch)):
                if state == PositionState.OPEN:
                    leaving.add((user_id, bot_id))
    return leaving


def exit_cause(switch_id: object) -> str:
    """The beginning of the cause that exits of a switch carry; the position's id ends it."""
    return f"command:{switch_id}"


def _asking(switch: Any) -> dict[str, Any]:
    return {
        "scope": switch["scope"],
        "user_id": switch["user_id"],
        "venue": switch["venue"],
        "reason": ExitReason.KILL_SWITCH.value,
        "cause": exit_cause(switch["id"]),
    }
