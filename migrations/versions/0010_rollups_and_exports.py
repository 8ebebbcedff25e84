"""Keep roll-ups and exports

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
import sqlalchemy.dialects.postgresql
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ROW_SECURITY = (
    "ALTER TABLE exports ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON exports USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON exports TO nija_app",
    "ALTER TABLE trade_rollups ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON trade_rollups USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON trade_rollups TO nija_app",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON exports TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON trade_rollups TO nija_system",
)

BACKFILL = """
INSERT INTO trade_rollups (
    account_id, hour, symbol, grain, bucket, user_id, trades, wins, losses, price_pnl, net_pnl,
    fees, gross_profit, gross_loss, entry_notional, volume, held_microseconds,
    best_net, best_id, worst_net, worst_id
)
SELECT t.account_id, h.hour, s.symbol, g.grain, g.bucket, t.user_id,
       count(*), count(*) FILTER (WHERE t.net > 0), count(*) FILTER (WHERE t.net < 0),
       sum(t.pnl), sum(t.net), sum(t.fees),
       coalesce(sum(t.net) FILTER (WHERE t.net > 0), 0),
       coalesce(sum(t.net) FILTER (WHERE t.net < 0), 0),
       sum(t.entry_notional), sum(t.entry_notional + t.exit_notional),
       sum(extract(epoch FROM t.closed_at - t.opened_at) * 1000000),
       max(t.net), (array_agg(t.id ORDER BY t.net DESC, t.id))[1],
       min(t.net), (array_agg(t.id ORDER BY t.net, t.id))[1]
FROM (
    SELECT p.*, coalesce(p.realized_pnl, 0) AS pnl, coalesce(p.realized_pnl, 0) - p.fees AS net,
           (p.closed_at AT TIME ZONE 'UTC')::date AS day
    FROM positions p
    WHERE p.state = 'closed' AND p.closed_at > coalesce(
        (SELECT max(f.at) FROM flows f WHERE f.account_id = p.account_id AND f.kind = 'reset'),
        '-infinity'
    )
) t
CROSS JOIN LATERAL (
    VALUES ('day', t.day), ('month', date_trunc('month', t.day::timestamp)::date)
) g (grain, bucket)
CROSS JOIN LATERAL (VALUES (''), (t.symbol)) s (symbol)
CROSS JOIN LATERAL (
    VALUES (-1), (extract(hour FROM t.closed_at AT TIME ZONE 'UTC')::int)
) h (hour)
GROUP BY t.account_id, h.hour, s.symbol, g.grain, g.bucket, t.user_id
"""


def upgrade() -> None:
    _make_rollups()
    _make_exports()
    _index_trades()
    for statement in ROW_SECURITY:
        op.execute(statement)
    op.execute(BACKFILL)


def downgrade() -> None:
    op.drop_index("ix_daily_results_account_day", table_name="daily_results")
    for name in ("losses", "wins", "closed"):
        op.drop_index(f"ix_positions_{name}", table_name="positions")
    op.drop_index("ix_positions_account_opened", table_name="positions")
    op.create_index(
        "ix_positions_account_opened",
        "positions",
        ["user_id", "account_id", sa.text("opened_at DESC")],
    )
    op.drop_table("exports")
    op.drop_table("trade_rollups")


def _make_rollups() -> None:
    op.create_table(
        "trade_rollups",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("grain", sa.String(), nullable=False),
        sa.Column("bucket", sa.Date(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("trades", sa.Integer(), nullable=False),
        sa.Column("wins", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("price_pnl", sa.Numeric(), nullable=False),
        sa.Column("net_pnl", sa.Numeric(), nullable=False),
        sa.Column("fees", sa.Numeric(), nullable=False),
        sa.Column("gross_profit", sa.Numeric(), nullable=False),
        sa.Column("gross_loss", sa.Numeric(), nullable=False),
        sa.Column("entry_notional", sa.Numeric(), nullable=False),
        sa.Column("volume", sa.Numeric(), nullable=False),
        sa.Column("held_microseconds", sa.Numeric(), nullable=False),
        sa.Column("best_net", sa.Numeric(), nullable=True),
        sa.Column("best_id", sa.Uuid(), nullable=True),
        sa.Column("worst_net", sa.Numeric(), nullable=True),
        sa.Column("worst_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("grain IN ('day', 'month')", name=op.f("ck_trade_rollups_grain")),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_trade_rollups_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "account_id", "hour", "symbol", "grain", "bucket", name=op.f("pk_trade_rollups")
        ),
    )
    op.create_index(
        "ix_trade_rollups_symbols",
        "trade_rollups",
        ["account_id", "grain", "bucket"],
        postgresql_where=sa.text("hour = -1 AND symbol <> ''"),
    )


def _make_exports() -> None:
    op.create_table(
        "exports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("data_type", sa.String(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("query", sa.dialects.postgresql.JSONB(), nullable=False),
        sa.Column("object_name", sa.String(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("file_size_bytes", sa.Integer(), nullable=True),
        sa.Column("row_count", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("keep_until", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'ready', 'failed', 'expired')", name=op.f("ck_exports_state")
        ),
        sa.CheckConstraint(
            "data_type IN ('trades', 'positions', 'orders', 'audit')",
            name=op.f("ck_exports_data_type"),
        ),
        sa.CheckConstraint("format IN ('csv', 'json')", name=op.f("ck_exports_format")),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_exports_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
        sa.UniqueConstraint("object_name", name=op.f("uq_exports_object_name")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_exports_user_id_id")),
    )
    op.create_index(
        "ix_exports_user_created", "exports", ["user_id", sa.text("created_at DESC")]
    )
    op.create_index(
        "ix_exports_pending",
        "exports",
        ["created_at"],
        postgresql_where=sa.text("state='pending'"),
    )
    op.create_index(
        "ix_exports_kept", "exports", ["keep_until"], postgresql_where=sa.text("state='ready'")
    )


def _index_trades() -> None:
    op.drop_index("ix_positions_account_opened", table_name="positions")
    op.create_index(
        "ix_positions_account_opened",
        "positions",
        ["user_id", "account_id", sa.text("opened_at DESC"), sa.text("id DESC")],
        postgresql_include=["symbol", "state", "closed_at"],
    )
    for name, also in (
        ("closed", ""),
        ("wins", " AND realized_pnl > fees"),
        ("losses", " AND realized_pnl < fees"),
    ):
        op.create_index(
            f"ix_positions_{name}",
            "positions",
            ["account_id", "closed_at", "id"],
            postgresql_where=sa.text(f"state = 'closed'{also}"),
        )
    op.create_index("ix_daily_results_account_day", "daily_results", ["account_id", "day"])
