"""Show what open positions have made

`realized_pnl` was stored when a position closed; one that is sold in part has made something too.
The next fill of a position folds the figure anew, fees in the base currency included.

Revision ID: 0030
Revises: 0029
"""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        UPDATE positions
        SET realized_pnl = CASE WHEN side = 'long' THEN 1 ELSE -1 END
            * (exit_notional - coalesce(entry_notional * exit_quantity
                                        / nullif(entry_quantity, 0), 0))
        WHERE state = 'open'
    """)


def downgrade() -> None:
    op.execute("UPDATE positions SET realized_pnl = NULL WHERE state = 'open'")
