"""Value flows a moment later

Money that came in a coin whose price nobody had asked for is worth the first price there is. Flows
stay append-only otherwise: nothing but their worth may be filled in, and by the system's role only.

Revision ID: 0031
Revises: 0030
"""

from __future__ import annotations

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("GRANT UPDATE (value) ON flows TO nija_system")


def downgrade() -> None:
    op.execute("REVOKE UPDATE (value) ON flows FROM nija_system")
