"""Alarming when no exits worker polls or none watches prices: exits are not seen, or not due."""

from __future__ import annotations

import structlog

from services.database import Database
from services.session_lock import EXITS_LOCK, WATCH_LOCK, is_held_anywhere

_log = structlog.get_logger("nija.exits")


class ExitsAlarm:
    """A chore of the main worker."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._was_missing = False

    async def sweep(self) -> int:
        """Log an error while none polls or none watches, from the second look on; 1 while so.

        One that was just started again, or whose lock another one is taking over, is no reason.
        """
        async with self._database.as_system() as session:
            is_polled = await is_held_anywhere(session, EXITS_LOCK)
            is_watched = await is_held_anywhere(session, WATCH_LOCK)
        is_missing = not (is_polled and is_watched)
        if is_missing and self._was_missing:
            _log.error(
                "exits.no_worker",
                polls=is_polled,
                watches=is_watched,
                hint="start `python -m worker exits`",
            )
        self._was_missing = is_missing
        return int(is_missing)
