"""A bot's waiting alerts, and writing down what it decided about them.

Both happen inside the transaction that decides, so an alert and its decision never disagree. Alerts
are locked before the bot and the account.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.alerts import AlertState
from domain.contracts.bots import SignalAction, TradeSignal

TAKEN_AT_ONCE = 100
"""Signals decided on in one look: bounds how long one transaction locks the account."""

_PENDING = text("""
SELECT id, action, symbol, size_usd, quantity, percent, side, expires_at FROM alerts
WHERE user_id = :user_id AND state = 'processing'
ORDER BY received_at, id
LIMIT cast(:at_once AS int)
""")
# Not the whole row: a repeat that refers to it need not wait for the decision.
_LOCK = text("SELECT id, state FROM alerts WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE")
_KEPT = text(
    "SELECT id, exit_positions FROM alerts WHERE id = ANY(:ids) AND exit_positions IS NOT NULL"
)
_KEEP = text("""
UPDATE alerts SET exit_positions = cast(:positions AS jsonb)
WHERE id = :id AND exit_positions IS NULL
""")
_RECORD = text("""
UPDATE alerts a
   SET state = o.state, reason = o.reason, trade_id = coalesce(o.trade_id, a.trade_id),
       duplicate_of = o.joins, decided_at = :now,
       finished_at = CASE WHEN o.state = 'accepted' THEN NULL ELSE cast(:now AS timestamptz) END
  FROM jsonb_to_recordset(cast(:outcomes AS jsonb)) AS o (
       id uuid, state text, reason text, trade_id uuid, joins uuid)
 WHERE a.id = o.id AND a.state = 'processing'
""")


@dataclass(frozen=True, slots=True)
class AlertOutcome:
    """What was decided about an alert.

    Attributes:
        trade_id: where it concerns another trade than its own.
        joins: the alert that asks for the same already, and whose outcome this one has.
    """

    alert_id: UUID
    state: AlertState
    reason: str
    trade_id: UUID | None = None
    joins: UUID | None = None

    @property
    def is_followed(self) -> bool:
        """Whether something is still to come of it by itself."""
        return self.state.is_open and self.joins is None


async def pending_signals(
    session: AsyncSession, user_id: UUID, *, at_once: int | None = TAKEN_AT_ONCE
) -> tuple[TradeSignal, ...]:
    """The oldest alerts that wait for a decision, as they came; None takes all of them.

    Exits are looked for among all: entries that wait in large numbers must not hide one.
    """
    connection = await session.connection()
    rows = await connection.execute(_PENDING, {"user_id": user_id, "at_once": at_once})
    return tuple(
        TradeSignal(
            signal_id=row.id,
            action=SignalAction(row.action),
            symbol=row.symbol,
            size_usd=row.size_usd,
            quantity=row.quantity,
            percent=row.percent,
            side=row.side,
            expires_at=row.expires_at,
        )
        for row in rows
    )


async def lock_alerts(
    session: AsyncSession, signals: Sequence[TradeSignal]
) -> Mapping[UUID, AlertState]:
    """Lock the alerts among some signals; a signal that is no alert is not in the result."""
    connection = await session.connection()
    ids = [signal.signal_id for signal in signals]
    rows = await connection.execute(_LOCK, {"ids": ids})
    return {row.id: AlertState(row.state) for row in rows}


async def positions_kept(
    session: AsyncSession, alert_ids: Sequence[UUID]
) -> dict[UUID, frozenset[UUID]]:
    """The positions that exits which wait for a lock were first decided on."""
    connection = await session.connection()
    rows = await connection.execute(_KEPT, {"ids": list(alert_ids)})
    return {row.id: frozenset(UUID(it) for it in row.exit_positions) for row in rows}


async def keep_positions(
    session: AsyncSession, alert_id: UUID, position_ids: Iterable[UUID]
) -> None:
    """Keep what an exit was first decided on: what is opened later it does not leave."""
    connection = await session.connection()
    ids = json.dumps(sorted(str(it) for it in position_ids))
    await connection.execute(_KEEP, {"id": alert_id, "positions": ids})


async def record_outcomes(
    session: AsyncSession, outcomes: Sequence[AlertOutcome], now: datetime
) -> None:
    """Write down what was decided; `now` is wall time. Signals that are no alerts are skipped."""
    if not outcomes:
        return
    connection = await session.connection()
    await connection.execute(
        _RECORD,
        {
            "now": now,
            "outcomes": json.dumps(
                [
                    {
                        "id": str(outcome.alert_id),
                        "state": outcome.state,
                        "reason": outcome.reason,
                        "trade_id": str(outcome.trade_id) if outcome.trade_id else None,
                        "joins": str(outcome.joins) if outcome.joins else None,
                    }
                    for outcome in outcomes
                ]
            ),
        },
    )
