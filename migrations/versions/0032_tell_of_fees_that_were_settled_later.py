"""Tell of fees that were settled later

A commission that a venue settles after its fill changes what a trade has made: whoever follows
trades is told. Accounts whose commissions may still change are found by the ends of their orders.

Revision ID: 0032
Revises: 0031
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_TELL_POSITION = """
CREATE OR REPLACE FUNCTION tell_position() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    place record;
    facts jsonb;
    action text;
    executed numeric;
    worth numeric;
BEGIN
    SELECT a.venue, a.mode, s.clock_at, q.last, coalesce(m.status, 'open') AS market_status
    INTO place
    FROM accounts a
    LEFT JOIN venue_states s ON s.venue = a.venue AND s.realm = a.realm
    LEFT JOIN LATERAL current_quotes(a.venue, a.realm) q ON q.symbol = NEW.symbol
    LEFT JOIN market_states m ON m.venue = a.venue AND m.realm = a.realm
        AND m.symbol = NEW.symbol
    WHERE a.id = NEW.account_id;
    IF NOT FOUND THEN
        RETURN NULL;  -- the same transaction deletes the account
    END IF;
    facts := jsonb_build_object(
        'id', NEW.id, 'symbol', NEW.symbol, 'side', NEW.side, 'state', NEW.state,
        'entry_quantity', NEW.entry_quantity, 'entry_notional', NEW.entry_notional,
        'exit_quantity', NEW.exit_quantity, 'exit_notional', NEW.exit_notional,
        'open_quantity', NEW.open_quantity, 'fees', NEW.fees,
        'stop_loss', NEW.stop_loss, 'take_profit', NEW.take_profit,
        'close_requested', NEW.close_requested, 'realized_pnl', NEW.realized_pnl,
        'exit_reason', NEW.exit_reason, 'opened_at', NEW.opened_at, 'closed_at', NEW.closed_at,
        'market_status', place.market_status, 'exit_state', NEW.exit_state,
        'exit_due_at', NEW.exit_due_at, 'exit_attempts', NEW.exit_attempts,
        'exit_error', NEW.exit_error,
        'closed_elsewhere_quantity', NEW.closed_elsewhere_quantity,
        'written_off_quantity', NEW.written_off_quantity,
        'venue', place.venue, 'mode', place.mode, 'last', place.last, 'clock_at', place.clock_at
    );
    action := CASE
        WHEN NEW.state = 'open' AND OLD.state IN ('closed', 'cancelled') THEN 'reopened'
        WHEN NEW.state = 'open' AND OLD.state <> 'open' THEN 'opened'
        WHEN NEW.state = 'closed' AND OLD.state <> 'closed' THEN 'closed'
        WHEN NEW.state = 'cancelled' AND OLD.state <> 'cancelled' THEN 'cancelled'
        WHEN NEW.entry_quantity > OLD.entry_quantity AND NEW.state = 'open' THEN 'increased'
        WHEN NEW.exit_quantity > OLD.exit_quantity AND NEW.state = 'open' THEN 'reduced'
        WHEN NEW.entry_quantity <> OLD.entry_quantity OR NEW.exit_quantity <> OLD.exit_quantity
            %sTHEN 'corrected'
    END;
    IF action IS NOT NULL THEN
        IF NEW.exit_quantity <> OLD.exit_quantity THEN
            executed := NEW.exit_quantity - OLD.exit_quantity;
            worth := NEW.exit_notional - OLD.exit_notional;
        ELSE
            executed := NEW.entry_quantity - OLD.entry_quantity;
            worth := NEW.entry_notional - OLD.entry_notional;
        END IF;
        PERFORM emit_event(NEW.user_id, 'trades', 'trade', facts || jsonb_build_object(
            'action', action, 'executed_quantity', executed, 'executed_notional', worth
        ));
    END IF;
    PERFORM emit_event(NEW.user_id, 'positions', 'position', facts);
    RETURN NULL;
END $$
"""
TELL_POSITION = _TELL_POSITION % "OR NEW.fees <> OLD.fees "
TELL_POSITION_BEFORE = _TELL_POSITION % ""

_TOLD = (
    "state",
    "entry_quantity",
    "exit_quantity",
    "open_quantity",
    "stop_loss",
    "take_profit",
    "close_requested",
    "realized_pnl",
    "exit_state",
    "closed_elsewhere_quantity",
    "written_off_quantity",
)


def upgrade() -> None:
    op.execute(TELL_POSITION)
    _watch_columns(*_TOLD, "fees")
    op.create_index(
        "ix_orders_settled",
        "orders",
        ["account_id", "settled_at"],
        postgresql_where=sa.text("filled_quantity > 0"),
    )


def downgrade() -> None:
    op.drop_index("ix_orders_settled", table_name="orders")
    _watch_columns(*_TOLD)
    op.execute(TELL_POSITION_BEFORE)


def _watch_columns(*columns: str) -> None:
    old, new = (", ".join(f"{row}.{name}" for name in columns) for row in ("OLD", "NEW"))
    op.execute("DROP TRIGGER tell_position ON positions")
    op.execute(
        "CREATE CONSTRAINT TRIGGER tell_position AFTER UPDATE ON positions"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
        f" WHEN (({old}) IS DISTINCT FROM ({new})) EXECUTE FUNCTION tell_position()"
    )
