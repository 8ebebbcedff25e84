"""Find what is to be forgotten; let whoever looks up live connections count their logins

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ENTER_DOOR = "FUNCTION enter_door(text, text, timestamptz, integer)"


def upgrade() -> None:
    op.create_index("ix_sessions_expires", "sessions", ["expires_at"])
    op.create_index("ix_refresh_tokens_expires", "refresh_tokens", ["expires_at"])
    op.create_index(
        "ix_messages_forgettable",
        "messages",
        ["finished_at"],
        postgresql_where=sa.text("category IN ('trades', 'reports')"),
    )
    op.create_index(
        "ix_alerts_forgettable",
        "alerts",
        ["received_at"],
        postgresql_where=sa.text(
            "dedup_key IS NULL AND state IN ('duplicate', 'stale', 'refused')"
        ),
    )
    op.execute(f"GRANT EXECUTE ON {ENTER_DOOR} TO nija_system")


def downgrade() -> None:
    op.execute(f"REVOKE EXECUTE ON {ENTER_DOOR} FROM nija_system")
    op.drop_index("ix_alerts_forgettable", table_name="alerts")
    op.drop_index("ix_messages_forgettable", table_name="messages")
    op.drop_index("ix_refresh_tokens_expires", table_name="refresh_tokens")
    op.drop_index("ix_sessions_expires", table_name="sessions")
