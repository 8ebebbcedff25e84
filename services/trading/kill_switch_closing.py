"""Asking the positions that a kill switch covers to leave, in one statement for all of them.

Done by whoever gets to it first: the call that engages the switch, the exits worker's poll, the
rounds of telling. Only rows that nothing else holds at this moment are taken, so that one locked
position keeps no other waiting; the next poll takes what is left, for as long as the switch is
engaged.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from domain.strategies.apex import ExitReason
from services.database import Database

COVERED = """
(:scope = 'global' OR r.user_id = :user_id OR r.venue = :venue)
"""
"""Which runs a switch covers; parameters `scope`, `user_id`, `venue`, the run is `r`."""

_CLOSING = text("""
SELECT id, scope, user_id, venue FROM kill_switches
WHERE released_at IS NULL AND close_positions ORDER BY engaged_at, id
""")

_ASK = text(f"""
WITH covered AS (
  SELECT p.id FROM positions p JOIN bot_runs r ON r.id = p.run_id
  WHERE p.state IN ('pending', 'open') AND p.close_requested IS NULL
    AND r.state <> 'ended' AND {COVERED}
  ORDER BY p.id FOR NO KEY UPDATE OF p SKIP LOCKED
)
UPDATE positions p SET close_requested = :reason, close_cause = :cause || ':' || p.id
FROM covered WHERE p.id = covered.id
""")  # noqa: S608 - every part is a literal, every value a parameter


async def ask_covered_positions(database: Database) -> int:
    """Ask every position that an engaged switch is to close and that was not asked yet.

    Returns:
        How many were asked now.
    """
    asked = 0
    async with database.as_system() as session:
        connection = await session.connection()
        for switch in (await connection.execute(_CLOSING)).mappings().all():
            asked += (await connection.execute(_ASK, _asking(switch))).rowcount
    return asked


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
