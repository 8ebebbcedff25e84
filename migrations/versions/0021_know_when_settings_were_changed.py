"""Know when settings were changed that a running bot is bound by

Revision ID: 0021
Revises: 0020
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

CHANGED = ("risk_level_changed_at", "paper_trading_changed_at")


def upgrade() -> None:
    op.add_column(
        "user_settings",
        sa.Column(
            "strategy_may_close_signals", sa.Boolean(), nullable=False, server_default=sa.false()
        ),
    )
    op.alter_column("user_settings", "strategy_may_close_signals", server_default=None)
    for name in CHANGED:
        op.add_column("user_settings", sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for name in CHANGED:
        op.drop_column("user_settings", name)
    op.drop_column("user_settings", "strategy_may_close_signals")
