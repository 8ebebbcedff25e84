"""Tell of a new bot once

A start makes the bot's row and then its state, in one transaction: both told of the state that was
committed.

Revision ID: 0016
Revises: 0015
"""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TELL_BOT = """
CREATE OR REPLACE FUNCTION tell_bot() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    facts jsonb;
BEGIN
    SELECT jsonb_build_object(
        'id', b.id, 'state', b.state, 'last_error', b.last_error,
        'state_changed_at', b.state_changed_at, 'clock_at', s.clock_at,
        'previous_state', CASE WHEN TG_OP = 'UPDATE' THEN OLD.state END,
        'run_id', r.id, 'run_state', r.state, 'venue', r.venue, 'mode', r.mode,
        'risk_level', r.risk_level
    ) INTO facts
    FROM bots b
    LEFT JOIN bot_runs r ON r.id = b.current_run_id
    LEFT JOIN venue_states s ON s.venue = r.venue AND s.realm = r.realm
    WHERE b.id = NEW.id{unless};
    IF FOUND THEN
        PERFORM emit_event(NEW.user_id, 'bot', 'bot', facts);
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    # What was changed again before it was committed is told by that change.
    op.execute(TELL_BOT.format(unless=" AND (TG_OP = 'UPDATE' OR b.state = NEW.state)"))


def downgrade() -> None:
    op.execute(TELL_BOT.format(unless=""))
