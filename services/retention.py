"""What is forgotten with time: rows that nobody looks at any more, in batches.

Everything else stays: orders, fills, positions, what money came from, bills and the audit log are
kept for ever, because a larger plan shows old history again. Events, counters, idempotency keys and
minutes of traffic are bounded where they are written or counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString

import structlog
from sqlalchemy import text

from domain.ports import WallClock
from services.database import Database
from services.isolation import isolated

EVERY = timedelta(hours=6)
"""How often there is anything to do, once nothing is left from before."""

AT_ONCE = 1_000
"""Rows of one transaction: it is short, and holds nobody up."""

BATCHES_MAX = 5
"""Transactions of one rule in one round; the other chores wait meanwhile."""

_log = structlog.get_logger("nija.retention")


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows of one table, and how long they are kept.

    Attributes:
        table: where they are.
        kept: how long; `:before` is the moment that long ago by wall time.
        found: names their `ctid`s, at most `:at_once` of them.
    """

    table: LiteralString
    kept: timedelta
    found: LiteralString


RULES = (
    # A used token betrays a thief until it expires itself; one that comes later is told that it
    # expired. So those of a session that goes on for years are not all kept.
    Rule(
        "refresh_tokens",
        timedelta(days=30),
        "SELECT t.ctid FROM refresh_tokens t WHERE t.expires_at < :before",
    ),
    # A login is told of as one from a new device where no session knows address and client; and as
    # nobody's first one while there is any, so each user keeps the newest.
    Rule(
        "sessions",
        timedelta(days=365),
        """
        SELECT t.ctid FROM sessions t WHERE t.expires_at < :before AND EXISTS (
            SELECT FROM sessions newer
            WHERE newer.user_id = t.user_id AND (newer.created_at, newer.id) > (t.created_at, t.id)
        )
        """,
    ),
    Rule(
        "mailed_links",
        timedelta(days=30),
        "SELECT t.ctid FROM mailed_links t WHERE t.expires_at < :before",
    ),
    # With the notices they told, and their deliveries. Of trades and reports only: another notice
    # may have to be known for ever as one that was told.
    Rule(
        "messages",
        timedelta(days=400),
        """
        SELECT t.ctid FROM messages t
        WHERE t.finished_at < :before AND t.category IN ('trades', 'reports')
        """,
    ),
    # What was never handed to a bot or not acted on, and by which no other alert is known; also
    # what asked for nothing but what another alert asked for, which alone has an outcome.
    Rule(
        "alerts",
        timedelta(days=400),
        """
        SELECT t.ctid FROM alerts t
        WHERE t.received_at < :before AND t.dedup_key IS NULL
          AND (t.state IN ('duplicate', 'stale', 'refused')
               OR t.state = 'accepted' AND t.duplicate_of IS NOT NULL)
          AND NOT EXISTS (SELECT FROM alerts again WHERE again.duplicate_of = t.id)
        """,
    ),
    # Far longer than the provider sends one again.
    Rule(
        "stripe_events",
        timedelta(days=90),
        "SELECT t.ctid FROM stripe_events t WHERE t.handled_at < :before",
    ),
    Rule(
        "exports",
        timedelta(days=90),
        """
        SELECT t.ctid FROM exports t
        WHERE t.keep_until < :before AND t.state IN ('expired', 'failed')
        """,
    ),
    # Bars that nothing came of, the bulk of all decisions. They carry the venue's time.
    Rule(
        "decisions",
        timedelta(days=90),
        """
        SELECT t.ctid
        FROM bot_runs r
        JOIN venue_states v ON v.venue = r.venue AND v.realm = r.realm AND v.epoch = r.epoch
        CROSS JOIN LATERAL (
            SELECT d.ctid FROM decisions d
            WHERE d.user_id = r.user_id AND d.run_id = r.id AND d.action = 'none'
              AND d.cause LIKE 'bar:%' AND d.decided_at < v.clock_at - :kept
            LIMIT :at_once
        ) t
        WHERE r.state <> 'ended'
        """,
    ),
    Rule(
        "decisions",
        timedelta(days=90),
        """
        SELECT t.ctid FROM bot_runs r CROSS JOIN LATERAL (
            SELECT d.ctid FROM decisions d
            WHERE d.run_id = r.id AND d.action = 'none' AND d.cause LIKE 'bar:%'
            LIMIT :at_once
        ) t
        WHERE r.state = 'ended' AND r.ended_at < :before
        """,
    ),
    # The last of each day stays, and the very first, which an account's opening equity may be.
    Rule(
        "equity_snapshots",
        timedelta(days=90),
        """
        SELECT t.ctid
        FROM accounts a
        JOIN venue_states v ON v.venue = a.venue AND v.realm = a.realm
        CROSS JOIN LATERAL (
            SELECT e.ctid FROM equity_snapshots e
            WHERE e.account_id = a.id AND e.at < v.clock_at - :kept
              AND EXISTS (
                  SELECT FROM equity_snapshots later
                  WHERE later.account_id = a.id AND later.at > e.at
                    AND later.at < date_trunc('day', e.at, 'UTC') + interval '1 day'
                    AND later.equity IS NOT NULL)
              AND EXISTS (
                  SELECT FROM equity_snapshots sooner
                  WHERE sooner.account_id = a.id AND sooner.at < e.at
                    AND sooner.equity IS NOT NULL)
            LIMIT :at_once
        ) t
        """,
    ),
)


class Retention:
    """Forgets what is over its time; the worker's sweeper calls it.

    Args:
        database: all users' rows.
        clock: wall time.
    """

    def __init__(self, database: Database, clock: WallClock) -> None:
        self._database = database
        self._clock = clock
        self._next_at: datetime | None = None

    async def sweep(self) -> int:
        """Do what is due; answers how many rows were forgotten. Mostly nothing is due."""
        now = self._clock.now()
        if self._next_at is not None and now < self._next_at:
            return 0
        forgotten, is_through = 0, True
        for rule in RULES:
            gone = AT_ONCE * BATCHES_MAX
            with isolated("retention.not_forgotten", table=rule.table):
                gone = await self._forget(rule, now)
                forgotten += gone
            is_through = is_through and gone < AT_ONCE * BATCHES_MAX
        if is_through:
            self._next_at = now + EVERY
        if forgotten:
            _log.info("retention.forgotten", rows=forgotten)
        return forgotten

    async def _forget(self, rule: Rule, now: datetime) -> int:
        """Delete batch by batch; rows that are locked are left for the next round."""
        statement = text(
            f"DELETE FROM {rule.table} WHERE ctid = ANY (ARRAY("  # noqa: S608 - our own words
            f"{rule.found} LIMIT :at_once FOR UPDATE OF t SKIP LOCKED))"
        )
        forgotten = 0
        for _ in range(BATCHES_MAX):
            async with self._database.as_system() as session:
                gone = await (await session.connection()).execute(
                    statement, {"before": now - rule.kept, "kept": rule.kept, "at_once": AT_ONCE}
                )
            forgotten += gone.rowcount
            if gone.rowcount < AT_ONCE:
                break
        return forgotten
