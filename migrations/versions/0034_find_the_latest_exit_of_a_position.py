"""Find the latest exit of a position without reading the others

An exit that is refused for weeks leaves thousands of orders. Whatever asks about its position or its
account finds what it needs by an index, whatever their number.

Revision ID: 0032
Revises: 0031
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

_FORM_REFUSED = "'notional_maximum', 'quantity_maximum', 'unsupported_order_type'"


def upgrade() -> None:
    op.drop_index("ix_orders_position", table_name="orders")
    op.create_index("ix_orders_position", "orders", ["position_id", "intended_at", "attempt"])
    op.create_index(
        "ix_orders_entries",
        "orders",
        ["user_id", "intended_at"],
        postgresql_where=sa.text("leg = 'entry'"),
    )
    op.create_index(
        "ix_orders_traded",
        "orders",
        ["account_id", "settled_at"],
        postgresql_where=sa.text("filled_quantity > 0"),
    )
    op.create_index(
        "ix_orders_form_refused",
        "orders",
        ["position_id", "refusal_code", "settled_at"],
        postgresql_where=sa.text(f"refusal_code IN ({_FORM_REFUSED})"),
    )


def downgrade() -> None:
    op.drop_index("ix_orders_form_refused", table_name="orders")
    op.drop_index("ix_orders_traded", table_name="orders")
    op.drop_index("ix_orders_entries", table_name="orders")
    op.drop_index("ix_orders_position", table_name="orders")
    op.create_index("ix_orders_position", "orders", ["position_id"])
