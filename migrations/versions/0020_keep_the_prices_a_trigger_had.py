"""Keep the prices a trigger had

A candle that is listed late, or in whose minute a stop moved more than once, is judged at every
price that was in force during it. When a row got its present price is noted by the database itself,
so that no code path can forget it.

Revision ID: 0020
Revises: 0019
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_NOTE = """
CREATE FUNCTION note_trigger_set_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.set_at := clock_timestamp();
    RETURN NEW;
END $$
"""


def upgrade() -> None:
    op.add_column(
        "triggers",
        sa.Column(
            "past_prices",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
    )
    op.alter_column("triggers", "past_prices", server_default=None)
    op.execute(
        """
        UPDATE triggers SET past_prices = jsonb_build_array(
            jsonb_build_object('price', price_before::text, 'until', to_jsonb(moved_at) #>> '{}'))
        WHERE moved_at IS NOT NULL AND price_before IS NOT NULL
        """
    )
    op.drop_column("triggers", "price_before")
    op.add_column("triggers", sa.Column("set_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE triggers SET set_at = armed_at")
    op.execute(_NOTE)
    op.execute(
        "CREATE TRIGGER note_set_at_inserted BEFORE INSERT ON triggers"
        " FOR EACH ROW EXECUTE FUNCTION note_trigger_set_at()"
    )
    op.execute(
        "CREATE TRIGGER note_set_at_moved BEFORE UPDATE ON triggers"
        " FOR EACH ROW WHEN (OLD.price IS DISTINCT FROM NEW.price)"
        " EXECUTE FUNCTION note_trigger_set_at()"
    )
    op.create_index(
        "ix_triggers_moved",
        "triggers",
        ["venue", "realm", "symbol", "moved_at"],
        postgresql_where=sa.text("state='armed' AND moved_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_triggers_moved", table_name="triggers")
    op.execute("DROP TRIGGER note_set_at_moved ON triggers")
    op.execute("DROP TRIGGER note_set_at_inserted ON triggers")
    op.execute("DROP FUNCTION note_trigger_set_at()")
    op.drop_column("triggers", "set_at")
    op.add_column("triggers", sa.Column("price_before", sa.Numeric(), nullable=True))
    op.execute(
        """
        UPDATE triggers SET price_before = (past_prices -> -1 ->> 'price')::numeric
        WHERE jsonb_array_length(past_prices) > 0
        """
    )
    op.drop_column("triggers", "past_prices")
