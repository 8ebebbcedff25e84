"""What a user's bot is doing and why: pure reads from PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.markets import Realm
from domain.ports import WallClock
from models.bots import BotState
from services.orders.unfilled import unfilled_reason
from services.reads import Caller, Reads

DECISIONS_MAX = 200

_STATUS = """
SELECT b.id AS bot_id, b.state, b.last_scan_at, b.next_scan_at,
       -- An exit that fails is what matters most, then one that cannot be made.
       coalesce((
           SELECT concat(p.symbol, ': ',
                         CASE p.exit_state WHEN 'failing' THEN 'the exit fails: ' END,
                         coalesce(p.exit_error, 'not through yet'))
           FROM positions p
           WHERE p.user_id = u.user_id AND p.state = 'open'
             AND p.exit_state IN ('failing', 'no_keys')
           ORDER BY p.exit_state, p.exit_due_at LIMIT 1
       ), b.last_error) AS last_error,
       r.id AS run_id, r.state AS run_state, r.venue, r.mode, r.realm, r.risk_level, r.strategy,
       r.config_hash, r.code_version, r.started_at, u.paper_trading, u.risk_level AS usual_risk,
       s.clock_at, k.scope AS kill_scope, k.reason AS kill_reason, k.engaged_at,
       (SELECT count(*) FROM positions p
        WHERE p.user_id = u.user_id AND p.account_id = r.account_id
          AND p.state IN ('pending', 'open') AND p.open_quantity > 0
       ) AS active_positions,
       (SELECT count(*) FROM positions p
        WHERE p.user_id = u.user_id AND p.account_id <> r.account_id
          AND p.state IN ('pending', 'open') AND p.open_quantity > 0
       ) AS other_positions,
       (SELECT count(*) FROM positions p
        WHERE p.user_id = u.user_id AND p.account_id = r.account_id AND p.state <> 'cancelled'
          AND p.opened_at >= CASE  -- not COALESCE: row-level security would keep the index out
              WHEN s.clock_at IS NULL THEN date_trunc('day', %(now)s, 'UTC')
              ELSE date_trunc('day', s.clock_at, 'UTC') END
          AND NOT EXISTS (
              SELECT FROM flows f
              WHERE f.user_id = p.user_id AND f.account_id = p.account_id AND f.kind = 'reset'
                AND f.at >= p.opened_at
          )
       ) AS today_trades
FROM user_settings u
LEFT JOIN bots b ON b.user_id = u.user_id AND b.kind = 'apex'
LEFT JOIN LATERAL (
    SELECT * FROM bot_runs
    WHERE user_id = u.user_id AND bot_id = b.id
    ORDER BY (id IS NOT DISTINCT FROM b.current_run_id) DESC, number DESC
    LIMIT 1
) r ON true
LEFT JOIN venue_states s ON s.venue = r.venue AND s.realm = r.realm
LEFT JOIN LATERAL (
    SELECT scope, reason, engaged_at FROM kill_switches
    WHERE released_at IS NULL
      AND (scope = 'global' OR user_id = u.user_id OR (scope = 'broker' AND venue = r.venue))
    ORDER BY engaged_at
    LIMIT 1
) k ON true
WHERE u.user_id = %(user_id)s
"""
_LAST_RUN = """
last_run AS (
    SELECT r.id FROM bots b JOIN bot_runs r ON r.user_id = b.user_id AND r.bot_id = b.id
    WHERE b.user_id = %(user_id)s AND b.kind = 'apex'
    ORDER BY (r.id IS NOT DISTINCT FROM b.current_run_id) DESC, r.number DESC
    LIMIT 1
)
"""
_LATEST = """
SELECT DISTINCT ON (d.symbol) d.*
FROM last_run JOIN decisions d ON d.run_id = last_run.id AND d.user_id = %(user_id)s
ORDER BY d.symbol, d.decided_at DESC
"""
_OF_SYMBOL = """
SELECT d.*
FROM last_run JOIN decisions d ON d.run_id = last_run.id AND d.user_id = %(user_id)s
WHERE d.symbol = %(symbol)s
ORDER BY d.decided_at DESC
LIMIT %(limit)s
"""
_EXPLAINED = """
SELECT w.id, w.symbol, w.bar_at, w.decided_at, w.action, w.score, w.reason, w.gates,
       w.position_id, w.cause, e.record, o.state AS order_state, o.refusal_code
FROM wanted w LEFT JOIN evaluations e ON e.id = w.evaluation_id
LEFT JOIN positions p ON p.id = w.position_id AND p.state = 'cancelled' AND w.action LIKE 'enter%%'
LEFT JOIN orders o ON o.position_id = p.id AND o.leg = 'entry'
ORDER BY w.decided_at DESC, w.symbol
LIMIT %(limit)s
"""
_LATEST_DECISIONS = f"WITH {_LAST_RUN}, wanted AS ({_LATEST}) {_EXPLAINED}"
_SYMBOL_DECISIONS = f"WITH {_LAST_RUN}, wanted AS ({_OF_SYMBOL}) {_EXPLAINED}"


@dataclass(frozen=True, slots=True)
class KillSwitchView:
    """A kill switch that blocks the user's entries."""

    scope: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class StatusView:
    """Where the bot stands. What belongs to a run is None until there was one."""

    status: str
    uptime_seconds: int
    broker: str | None
    mode: str | None
    realm: str
    paper_trading: bool
    risk_level: str
    last_scan: datetime | None
    next_scan: datetime | None
    active_positions: int
    other_positions: int
    today_trades: int
    last_error: str | None
    run_id: UUID | None
    run_state: str | None
    started_at: datetime | None
    strategy: str | None
    config_hash: str | None
    code_version: str | None
    venue_time: datetime | None
    kill_switch: KillSwitchView | None


@dataclass(frozen=True, slots=True)
class DecisionView:
    """What the bot did about a bar or a signal, and everything it weighed."""

    id: UUID
    symbol: str
    cause: str
    bar_at: datetime | None
    decided_at: datetime
    action: str
    score: int | None
    reason: str
    gates: list[dict[str, Any]]
    position_id: UUID | None
    unfilled_reason: str | None
    evaluation: Mapping[str, Any] | None


class BotViews:
    """Reads of a user's bot.

    Args:
        reads: the read side.
        clock: wall time, for the uptime.
        realm: the kind of venue this installation trades at.
    """

    def __init__(self, reads: Reads, clock: WallClock, *, realm: Realm) -> None:
        self._reads = reads
        self._clock = clock
        self._realm = realm

    async def status(self, caller: Caller) -> StatusView:
        """Where the bot stands; `stopped` for a user who never started one."""
        now = self._clock.now()
        rows = await self._reads.rows(caller, _STATUS, now=now)
        return self._status(rows[0], now)

    async def decisions(
        self, caller: Caller, *, symbol: str | None = None, limit: int = 50
    ) -> list[DecisionView]:
        """The latest decision on each pair of the present or last run, or the latest on one."""
        sql = _LATEST_DECISIONS if symbol is None else _SYMBOL_DECISIONS
        rows = await self._reads.rows(caller, sql, symbol=symbol, limit=limit)
        return [_decision(row) for row in rows]

    def _status(self, row: Mapping[str, Any], now: datetime) -> StatusView:
        state = BotState(row["state"] or BotState.STOPPED)
        has_run = row["run_id"] is not None
        return StatusView(
            status=state.value,
            uptime_seconds=_uptime(state, row["started_at"], now),
            broker=row["venue"],
            mode=row["mode"],
            realm=row["realm"] or self._realm.value,
            paper_trading=row["mode"] == "paper" if has_run else row["paper_trading"],
            risk_level=row["risk_level"] or row["usual_risk"],
            last_scan=row["last_scan_at"],
            next_scan=row["next_scan_at"] if state.has_entering_run else None,
            active_positions=row["active_positions"],
            other_positions=row["other_positions"],
            today_trades=row["today_trades"],
            last_error=row["last_error"],
            run_id=row["run_id"],
            run_state=row["run_state"],
            started_at=row["started_at"],
            strategy=row["strategy"],
            config_hash=row["config_hash"],
            code_version=row["code_version"],
            venue_time=row["clock_at"],
            kill_switch=_kill_switch(row),
        )


def _uptime(state: BotState, started_at: datetime | None, now: datetime) -> int:
    if started_at is None or not state.has_entering_run:
        return 0
    return max(0, int((now - started_at).total_seconds()))


def _kill_switch(row: Mapping[str, Any]) -> KillSwitchView | None:
    if row["kill_scope"] is None:
        return None
    return KillSwitchView(row["kill_scope"], row["kill_reason"], row["engaged_at"])


def _decision(row: Mapping[str, Any]) -> DecisionView:
    return DecisionView(
        id=row["id"],
        symbol=row["symbol"],
        cause=row["cause"],
        bar_at=row["bar_at"],
        decided_at=row["decided_at"],
        action=row["action"],
        score=row["score"],
        reason=row["reason"],
        gates=row["gates"],
        position_id=row["position_id"],
        unfilled_reason=None
        if row["order_state"] is None
        else unfilled_reason(row["order_state"], row["refusal_code"]),
        evaluation=row["record"],
    )
