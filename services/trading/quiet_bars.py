"""Bars on which nothing can happen: noted in one statement.

Nearly every bar is one of these: nothing is held on the account and the strategy calls for no
entry that the venue could make. Such a bar needs no lock and no gates, only its record, and there
are hundreds of bots that record one at the same moment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import MarketRules
from domain.positions import Direction
from domain.strategies.apex import BAR, Gate, GateName, ReasonCode
from services.markets.evaluating import StoredEvaluation
from services.trading.scans import Scan, cause_of

LATE_BAR = "late_bar"

_NOTE = text("""
WITH noted AS (
    INSERT INTO decisions (id, user_id, bot_id, run_id, cause, symbol, bar_at, decided_at,
                           evaluation_id, action, score, reason, gates)
    SELECT gen_random_uuid(), :user_id, :bot_id, :run_id, d.cause, d.symbol, d.bar_at, :now,
           d.evaluation_id, 'none', d.score, d.reason, d.gates
      FROM jsonb_to_recordset(cast(:decisions AS jsonb)) AS d (
           cause text, symbol text, bar_at timestamptz, evaluation_id uuid, score integer,
           reason text, gates jsonb)
        ON CONFLICT (run_id, cause) DO NOTHING
), went AS (
    UPDATE bot_runs SET last_bars = last_bars || cast(:bars AS jsonb) WHERE id = :run_id
)
INSERT INTO equity_snapshots
       (account_id, at, user_id, cash, equity, is_lower_bound, unrealized_pnl)
SELECT a.id, :closed_at, a.user_id,
       coalesce(sum(b.total) FILTER (WHERE b.currency = a.currency), 0),
       coalesce(sum(b.total * m.price), 0),
       coalesce(bool_or(b.total <> 0 AND m.price IS NULL), false),
       0
  FROM accounts a
  LEFT JOIN balances b ON b.account_id = a.id AND b.total <> 0
  LEFT JOIN LATERAL market_price(a.venue, a.realm, b.currency, a.currency) m ON true
 WHERE a.id = :account_id
 GROUP BY a.id, a.user_id
    ON CONFLICT DO NOTHING
""")


def are_quiet(scan: Scan) -> bool:
    """Whether nothing is held and no bar calls for an entry that could be made."""
    return not scan.context.has_positions and not any(
        _can_enter(scan, symbol, stored) for symbol, stored in scan.bars
    )


async def note_quiet_bars(session: AsyncSession, scan: Scan) -> int:
    """Record the decisions of quiet bars, how far the run has come, and the account's equity.

    Returns:
        How many decisions there were to record.
    """
    run, ref = scan.context.run, scan.context.ref
    decisions = [_decision(scan, symbol, stored) for symbol, stored in scan.bars]
    if not scan.context.may_enter:
        decisions = []
    connection = await session.connection()
    await connection.execute(
        _NOTE,
        {
            "user_id": ref.user_id,
            "bot_id": run.bot_id,
            "run_id": run.id,
            "account_id": ref.account_id,
            "now": scan.clock.now,
            "closed_at": BAR.floor(scan.clock.now),
            "decisions": json.dumps(decisions),
            "bars": json.dumps({symbol: _iso(stored.opened_at) for symbol, stored in scan.bars}),
        },
    )
    return len(decisions)


def _can_enter(scan: Scan, symbol: str, stored: StoredEvaluation) -> bool:
    evaluation = stored.evaluation
    return (
        scan.context.may_enter
        and evaluation is not None
        and evaluation.side is not None
        and _is_possible(evaluation.side, scan.facts.rules or {}, symbol)
        and scan.is_newest(stored)
    )


def _is_possible(side: Direction, rules: Mapping[str, MarketRules], symbol: str) -> bool:
    market = rules.get(symbol)
    return side is Direction.LONG or (market is not None and market.can_short)


def _decision(scan: Scan, symbol: str, stored: StoredEvaluation) -> dict[str, Any]:
    evaluation = stored.evaluation
    gates: list[dict[str, Any]] = []
    if evaluation is None:
        reason: str = ReasonCode.NOT_ENOUGH_BARS
    elif evaluation.side is None:
        reason = ReasonCode.NO_SETUP
    elif not _is_possible(evaluation.side, scan.facts.rules or {}, symbol):
        reason = ReasonCode.SHORT_NOT_SUPPORTED
        detail = "the venue cannot short this market"
        gates = [Gate(GateName.DIRECTION, passed=False, detail=detail).to_record()]
    else:
        reason = LATE_BAR
    return {
        "cause": cause_of(symbol, stored),
        "symbol": symbol,
        "bar_at": _iso(stored.opened_at),
        "evaluation_id": str(stored.id) if stored.id else None,
        "score": evaluation.score if evaluation and evaluation.side else None,
        "reason": reason,
        "gates": gates,
    }


def _iso(at: datetime) -> str:
    return at.isoformat()
