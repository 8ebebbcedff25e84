"""Know what flows were worth

A deposit is no profit: returns are cut at every flow, which needs its worth in the account's
currency at that moment. A trigger notes it, whoever stores the flow; null where there was no price.

Revision ID: 0022
Revises: 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

VALUE_FLOW = """
CREATE FUNCTION value_flow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT NEW.amount * m.price INTO NEW.value
    FROM accounts a
    LEFT JOIN LATERAL market_price(a.venue, a.realm, NEW.currency, a.currency) m ON true
    WHERE a.id = NEW.account_id;
    RETURN NEW;
END $$
"""


def upgrade() -> None:
    op.add_column("flows", sa.Column("value", sa.Numeric(), nullable=True))
    # Of flows in other currencies nobody knows any more what they were worth then.
    op.execute(
        "UPDATE flows f SET value = f.amount FROM accounts a"
        " WHERE a.id = f.account_id AND a.currency = f.currency"
    )
    op.execute(VALUE_FLOW)
    op.execute(
        "CREATE TRIGGER value_flow BEFORE INSERT ON flows"
        " FOR EACH ROW WHEN (NEW.value IS NULL) EXECUTE FUNCTION value_flow()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER value_flow ON flows")
    op.execute("DROP FUNCTION value_flow()")
    op.drop_column("flows", "value")
