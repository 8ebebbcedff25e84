"""Whether watcher and bots have finished with a venue time, read by the system role.

In step mode a venue's clock stands still until it is advanced. What a run does is the same every
time only if each minute is finished before the next begins: every price judged, every bar decided
on, every order settled. After that the watcher must have looked once more, because a stop that was
armed or moved meanwhile may be crossed by the standing price.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

from domain.markets import VenueKey
from domain.orders import FINAL_STATES
from models.bots import BotState

LOOK_SECONDS = 0.01
PATIENCE_SECONDS = 20.0

_COUNTS = """
SELECT
    (SELECT count(*) FROM bots WHERE state = %(starting)s OR seen_revision < revision)
        AS "bots that have not seen their row",
    (SELECT count(*) FROM triggers WHERE state = 'fired') AS "fired triggers",
    (SELECT count(*) FROM positions WHERE state = 'open' AND close_requested IS NOT NULL)
        AS "positions being left",
    (SELECT count(*) FROM exit_requests WHERE state = 'open') AS "partial exits",
    (SELECT count(*) FROM orders WHERE state <> ALL(%(final)s)) AS "orders not final"
"""
_VENUE = """
SELECT judged_until, seen_at, now() AS wall
FROM venue_states WHERE venue = %(venue)s AND realm = %(realm)s
"""
_RUNS = """
SELECT r.last_bars, CASE r.state WHEN 'entering' THEN u.allowed_pairs ELSE '[]' END AS pairs,
       ARRAY(SELECT DISTINCT symbol FROM positions WHERE run_id = r.id AND state = 'open') AS held
FROM bot_runs r JOIN user_settings u ON u.user_id = r.user_id
WHERE r.state <> 'ended' AND r.venue = %(venue)s AND r.realm = %(realm)s
"""


class StillBusy(Exception):
    """Something is left to do after all this time; the message says what."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand; `unfinished` says in words what is left to do."""

    unfinished: tuple[str, ...]
    seen_at: datetime | None
    wall: datetime | None


class Progress:
    """Looks at one venue of an installation until everything there is done.

    Args:
        system_database_url: PostgreSQL as the system role.
        key: the venue whose clock stands.
    """

    def __init__(self, system_database_url: str, key: VenueKey) -> None:
        self._connection = psycopg.connect(
            system_database_url, autocommit=True, row_factory=dict_row, connect_timeout=5
        )
        self._venue = {"venue": key.venue, "realm": key.realm.value}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def wait(
        self,
        now: datetime,
        newest_bars: Mapping[str, datetime],
        *,
        seconds_max: float = PATIENCE_SECONDS,
    ) -> None:
        """Wait until nothing is left to do at venue time `now`.

        Args:
            now: where the venue's clock stands.
            newest_bars: open time of the newest closed bar that exists, by symbol; bars in which
                nobody traded do not exist, so only the venue can tell.
            seconds_max: wall time.

        Raises:
            StillBusy: it does not end.
        """
        deadline = time.monotonic() + seconds_max
        quiet_since: datetime | None = None
        while True:
            standing = self.standing(now, newest_bars)
            if standing.unfinished:
                quiet_since = None
            elif quiet_since is None:
                quiet_since = standing.wall
            elif standing.seen_at is not None and standing.seen_at > quiet_since:
                return
            if time.monotonic() > deadline:
                left = ", ".join(standing.unfinished) or "the watcher looks no more"
                raise StillBusy(f"At venue time {now.isoformat()}: {left}")
            time.sleep(LOOK_SECONDS)

    def standing(self, now: datetime, newest_bars: Mapping[str, datetime]) -> Standing:
        """How things stand at venue time `now`, from one snapshot."""
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            counts = self._rows(
                _COUNTS,
                {"starting": BotState.STARTING.value, "final": [one.value for one in FINAL_STATES]},
            )[0]
            venue = next(iter(self._rows(_VENUE, self._venue)), None)
            runs = self._rows(_RUNS, self._venue)
        unfinished = [f"{number} {what}" for what, number in counts.items() if number]
        if venue is None or venue["judged_until"] is None or venue["judged_until"] < now:
            unfinished.append("prices to judge")
        unfinished += [f"the bar of {symbol}" for symbol in sorted(_behind(runs, newest_bars))]
        return Standing(
            tuple(unfinished),
            seen_at=venue["seen_at"] if venue else None,
            wall=venue["wall"] if venue else None,
        )

    def _rows(self, sql: Any, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._connection.execute(sql, params).fetchall()


def _behind(
    runs: Iterable[Mapping[str, Any]], newest_bars: Mapping[str, datetime]
) -> Iterator[str]:
    """Symbols of which some run has not handled the newest bar yet."""
    for run in runs:
        handled: Mapping[str, str] = run["last_bars"]
        for symbol in {*run["pairs"], *run["held"]} & newest_bars.keys():
            last = handled.get(symbol)
            if last is None or datetime.fromisoformat(last) < newest_bars[symbol]:
                yield symbol
