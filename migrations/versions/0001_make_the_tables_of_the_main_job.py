"""Make the tables of the main job

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_LEVEL_SECURITY = (
    "GRANT USAGE ON SCHEMA public TO nija_app, nija_system",
    "ALTER TABLE accounts ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON accounts USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON accounts TO nija_app",
    "ALTER TABLE balances ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON balances USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON balances TO nija_app",
    "ALTER TABLE bot_runs ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON bot_runs USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON bot_runs TO nija_app",
    "ALTER TABLE bots ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON bots USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON bots TO nija_app",
    "ALTER TABLE connections ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON connections USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON connections TO nija_app",
    "ALTER TABLE daily_results ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON daily_results USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON daily_results TO nija_app",
    "ALTER TABLE decisions ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON decisions USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON decisions TO nija_app",
    "ALTER TABLE equity_snapshots ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON equity_snapshots USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON equity_snapshots TO nija_app",
    "ALTER TABLE fills ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON fills USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT ON fills TO nija_app",
    "ALTER TABLE flows ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON flows USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT ON flows TO nija_app",
    "ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON idempotency_keys USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO nija_app",
    "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON orders USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO nija_app",
    "ALTER TABLE paper_balances ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON paper_balances USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON paper_balances TO nija_app",
    "ALTER TABLE paper_fills ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON paper_fills USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON paper_fills TO nija_app",
    "ALTER TABLE paper_orders ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON paper_orders USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON paper_orders TO nija_app",
    "ALTER TABLE positions ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON positions USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON positions TO nija_app",
    "ALTER TABLE refresh_tokens ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON refresh_tokens USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON refresh_tokens TO nija_app",
    "ALTER TABLE sessions ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON sessions USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON sessions TO nija_app",
    "ALTER TABLE triggers ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON triggers USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON triggers TO nija_app",
    "ALTER TABLE user_settings ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON user_settings USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON user_settings TO nija_app",
    "GRANT SELECT ON evaluations TO nija_app",
    "GRANT SELECT ON venue_quotes TO nija_app",
    "GRANT SELECT ON venue_states TO nija_app",
    "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_row ON users USING (id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, UPDATE ON users TO nija_app",
    "ALTER TABLE kill_switches ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY visible ON kill_switches FOR SELECT USING (user_id IS NULL OR user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "CREATE POLICY own_write ON kill_switches FOR INSERT WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "CREATE POLICY own_release ON kill_switches FOR UPDATE USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE ON kill_switches TO nija_app",
    "ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON audit_log FOR SELECT USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "CREATE POLICY own_write ON audit_log FOR INSERT WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT ON audit_log TO nija_app",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON accounts TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON balances TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON bot_runs TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON bots TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON connections TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON daily_results TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON decisions TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON equity_snapshots TO nija_system",
    "GRANT SELECT, INSERT ON fills TO nija_system",
    "GRANT SELECT, INSERT ON flows TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON paper_balances TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON paper_fills TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON paper_orders TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON positions TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON refresh_tokens TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON sessions TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON triggers TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON user_settings TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON evaluations TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON venue_quotes TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON venue_states TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON users TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON kill_switches TO nija_system",
    "GRANT SELECT, INSERT ON audit_log TO nija_system",
)


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_type", sa.String(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("ip_address", sa.String(), nullable=True),
        sa.Column("user_agent", sa.String(), nullable=True),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(
        "ix_audit_log_type_time",
        "audit_log",
        ["event_type", sa.literal_column("at DESC")],
        unique=False,
    )
    op.create_index(
        "ix_audit_log_user_time",
        "audit_log",
        ["user_id", sa.literal_column("at DESC")],
        unique=False,
    )
    op.create_table(
        "evaluations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("venue", sa.String(), nullable=False),
        sa.Column("realm", sa.String(), nullable=False),
        sa.Column("epoch", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("bar_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("config_hash", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("code_version", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=True),
        sa.Column("score", sa.Integer(), nullable=True),
        sa.Column("record", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
        sa.UniqueConstraint(
            "venue",
            "realm",
            "epoch",
            "symbol",
            "bar_at",
            "config_hash",
            name=op.f("uq_evaluations_venue_realm_epoch_symbol_bar_at_config_hash"),
        ),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("full_name", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("subscription_tier", sa.String(), nullable=False),
        sa.Column("trial_ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_logins", sa.Integer(), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_active_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('user', 'admin')", name=op.f("ck_users_role")),
        sa.CheckConstraint(
            "status IN ('active', 'suspended', 'disabled')", name=op.f("ck_users_status")
        ),
        sa.CheckConstraint(
            "subscription_tier IN ('free', 'basic', 'pro', 'enterprise')",
            name=op.f("ck_users_subscription_tier"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    op.create_table(
        "venue_quotes",
        sa.Column("venue", sa.String(), nullable=False),
        sa.Column("realm", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("epoch", sa.String(), nullable=False),
        sa.Column("bid", sa.Numeric(), nullable=False),
        sa.Column("ask", sa.Numeric(), nullable=False),
        sa.Column("last", sa.Numeric(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("venue", "realm", "symbol", name=op.f("pk_venue_quotes")),
    )
    op.create_table(
        "venue_states",
        sa.Column("venue", sa.String(), nullable=False),
        sa.Column("realm", sa.String(), nullable=False),
        sa.Column("epoch", sa.String(), nullable=False),
        sa.Column("clock_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("judged_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("venue", "realm", name=op.f("pk_venue_states")),
    )
    op.create_table(
        "bots",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("seen_revision", sa.Integer(), nullable=False),
        sa.Column("current_run_id", sa.Uuid(), nullable=True),
        sa.Column("state_changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_scan_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_scan_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("progressed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('stopped', 'starting', 'running', 'paused', 'error', 'emergency_stopped')",
            name=op.f("ck_bots_state"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "current_run_id"],
            ["bot_runs.user_id", "bot_runs.id"],
            name="fk_bots_current_run",
            use_alter=True,
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_bots_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bots")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_bots_user_id_id")),
    )
    op.create_index(
        "ix_bots_unquiet",
        "bots",
        ["state"],
        unique=False,
        postgresql_where=sa.text("state <> 'stopped'"),
    )
    op.create_index(
        "ix_bots_unseen",
        "bots",
        ["id"],
        unique=False,
        postgresql_where=sa.text("seen_revision < revision"),
    )
    op.create_index(
        "uq_bots_apex_user",
        "bots",
        ["user_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'apex'"),
    )
    op.create_table(
        "connections",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("venue", sa.String(), nullable=False),
        sa.Column("realm", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("api_key_masked", sa.String(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("permissions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("last_connected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("realm IN ('simulated', 'real')", name=op.f("ck_connections_realm")),
        sa.CheckConstraint(
            "status IN ('connected', 'broken', 'exit_only', 'removed')",
            name=op.f("ck_connections_status"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_connections_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connections")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_connections_user_id_id")),
    )
    op.create_index(
        "uq_connections_live_venue",
        "connections",
        ["user_id", "venue", "realm"],
        unique=True,
        postgresql_where=sa.text("status <> 'removed'"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("request_hash", sa.String(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("response", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_idempotency_keys_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency_keys")),
        sa.UniqueConstraint("user_id", "key", name=op.f("uq_idempotency_keys_user_id_key")),
    )
    op.create_index(
        op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False
    )
    op.create_table(
        "kill_switches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("venue", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("engaged_by", sa.Uuid(), nullable=True),
        sa.Column("engaged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_by", sa.Uuid(), nullable=True),
        sa.Column("release_reason", sa.String(), nullable=True),
        sa.CheckConstraint(
            "(scope = 'broker') = (venue IS NOT NULL)", name=op.f("ck_kill_switches_broker_scope")
        ),
        sa.CheckConstraint(
            "(scope = 'user') = (user_id IS NOT NULL)", name=op.f("ck_kill_switches_user_scope")
        ),
        sa.CheckConstraint(
            "scope IN ('global', 'user', 'broker')", name=op.f("ck_kill_switches_scope")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_kill_switches_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kill_switches")),
    )
    op.create_index(
        "uq_kill_switches_active",
        "kill_switches",
        [
            "scope",
            sa.literal_column("coalesce(user_id::text, '')"),
            sa.literal_column("coalesce(venue, '')"),
        ],
        unique=True,
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_reason", sa.String(), nullable=True),
        sa.Column("ip_address", sa.String(), nullable=True),
        sa.Column("user_agent", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_sessions_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_sessions_user_id_id")),
    )
    op.create_index(
        "ix_sessions_live",
        "sessions",
        ["user_id"],
        unique=False,
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.create_table(
        "user_settings",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("risk_level", sa.String(), nullable=False),
        sa.Column("max_position_size_usd", sa.Numeric(), nullable=False),
        sa.Column("max_concurrent_positions", sa.Integer(), nullable=False),
        sa.Column("max_daily_loss_usd", sa.Numeric(), nullable=False),
        sa.Column("allowed_pairs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("paper_trading", sa.Boolean(), nullable=False),
        sa.Column("email_enabled", sa.Boolean(), nullable=False),
        sa.Column("push_enabled", sa.Boolean(), nullable=False),
        sa.Column("trade_notifications", sa.Boolean(), nullable=False),
        sa.Column("daily_summary", sa.Boolean(), nullable=False),
        sa.Column("weekly_report", sa.Boolean(), nullable=False),
        sa.Column("advanced", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "risk_level IN ('low', 'medium', 'high')", name=op.f("ck_user_settings_risk_level")
        ),
        sa.CheckConstraint(
            "jsonb_array_length(allowed_pairs) BETWEEN 1 AND 50",
            name=op.f("ck_user_settings_pairs_range"),
        ),
        sa.CheckConstraint(
            "max_concurrent_positions BETWEEN 1 AND 1000",
            name=op.f("ck_user_settings_positions_range"),
        ),
        sa.CheckConstraint("max_daily_loss_usd > 0", name=op.f("ck_user_settings_loss_positive")),
        sa.CheckConstraint(
            "max_position_size_usd >= 0", name=op.f("ck_user_settings_size_not_negative")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_user_settings_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_user_settings")),
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("venue", sa.String(), nullable=False),
        sa.Column("realm", sa.String(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opening_equity", sa.Numeric(), nullable=True),
        sa.Column("reconciled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reconcile_error", sa.String(), nullable=True),
        sa.CheckConstraint(
            "(mode = 'live') = (connection_id IS NOT NULL)", name=op.f("ck_accounts_live_has_keys")
        ),
        sa.CheckConstraint("mode IN ('paper', 'live')", name=op.f("ck_accounts_mode")),
        sa.CheckConstraint("realm IN ('simulated', 'real')", name=op.f("ck_accounts_realm")),
        sa.ForeignKeyConstraint(
            ["user_id", "connection_id"],
            ["connections.user_id", "connections.id"],
            name=op.f("fk_accounts_user_id_connection_id_connections"),
            ondelete="NO ACTION",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_accounts_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_accounts_user_id_id")),
    )
    op.create_index(
        "uq_accounts_connection",
        "accounts",
        ["connection_id"],
        unique=True,
        postgresql_where=sa.text("mode = 'live'"),
    )
    op.create_index(
        "uq_accounts_paper",
        "accounts",
        ["user_id", "venue", "realm"],
        unique=True,
        postgresql_where=sa.text("mode = 'paper'"),
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id", "session_id"],
            ["sessions.user_id", "sessions.id"],
            name=op.f("fk_refresh_tokens_user_id_session_id_sessions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refresh_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_refresh_tokens_token_hash")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_refresh_tokens_user_id_id")),
    )
    op.create_index(
        "ix_refresh_tokens_session", "refresh_tokens", ["user_id", "session_id"], unique=False
    )
    op.create_table(
        "balances",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("total", sa.Numeric(), nullable=False),
        sa.Column("held", sa.Numeric(), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("held >= 0", name=op.f("ck_balances_held_not_negative")),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_balances_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "currency", name=op.f("pk_balances")),
    )
    op.create_table(
        "bot_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("bot_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("venue", sa.String(), nullable=False),
        sa.Column("realm", sa.String(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("risk_level", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("epoch", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("venue_started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.String(), nullable=True),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("config_hash", sa.String(), nullable=False),
        sa.Column("code_version", sa.String(), nullable=False),
        sa.Column("last_bars", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("mode IN ('paper', 'live')", name=op.f("ck_bot_runs_mode")),
        sa.CheckConstraint("realm IN ('simulated', 'real')", name=op.f("ck_bot_runs_realm")),
        sa.CheckConstraint(
            "risk_level IN ('low', 'medium', 'high')", name=op.f("ck_bot_runs_risk_level")
        ),
        sa.CheckConstraint(
            "state IN ('entering', 'exit_only', 'ended')", name=op.f("ck_bot_runs_state")
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_bot_runs_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "bot_id"],
            ["bots.user_id", "bots.id"],
            name=op.f("fk_bot_runs_user_id_bot_id_bots"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bot_runs")),
        sa.UniqueConstraint("bot_id", "number", name=op.f("uq_bot_runs_bot_id_number")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_bot_runs_user_id_id")),
    )
    op.create_index("ix_bot_runs_account", "bot_runs", ["account_id"], unique=False)
    op.create_index(
        "ix_bot_runs_live",
        "bot_runs",
        ["bot_id"],
        unique=False,
        postgresql_where=sa.text("state <> 'ended'"),
    )
    op.create_index(
        "uq_bot_runs_entering",
        "bot_runs",
        ["bot_id"],
        unique=True,
        postgresql_where=sa.text("state='entering'"),
    )
    op.create_table(
        "equity_snapshots",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("cash", sa.Numeric(), nullable=False),
        sa.Column("equity", sa.Numeric(), nullable=True),
        sa.Column("unrealized_pnl", sa.Numeric(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_equity_snapshots_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "at", name=op.f("pk_equity_snapshots")),
    )
    op.create_table(
        "flows",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('opening', 'external', 'reset')", name=op.f("ck_flows_kind")),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_flows_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flows")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_flows_user_id_id")),
    )
    op.create_index("ix_flows_account", "flows", ["account_id", "currency"], unique=False)
    op.create_table(
        "paper_balances",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("total", sa.Numeric(), nullable=False),
        sa.Column("held", sa.Numeric(), nullable=False),
        sa.CheckConstraint(
            "total >= 0 AND held >= 0 AND held <= total", name=op.f("ck_paper_balances_covered")
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_paper_balances_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "currency", name=op.f("pk_paper_balances")),
    )
    op.create_table(
        "paper_orders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("client_order_id", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("time_in_force", sa.String(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("limit_price", sa.Numeric(), nullable=True),
        sa.Column("filled_quantity", sa.Numeric(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("ck_paper_orders_side")),
        sa.CheckConstraint(
            "state IN ('intended', 'sending', 'unknown', 'open', 'filled', 'cancelled', 'refused', 'denied', 'absent')",
            name=op.f("ck_paper_orders_state"),
        ),
        sa.CheckConstraint(
            "time_in_force IN ('gtc', 'ioc', 'fok')", name=op.f("ck_paper_orders_time_in_force")
        ),
        sa.CheckConstraint("type IN ('limit', 'market')", name=op.f("ck_paper_orders_type")),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_paper_orders_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper_orders")),
        sa.UniqueConstraint(
            "account_id", "client_order_id", name=op.f("uq_paper_orders_account_id_client_order_id")
        ),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_paper_orders_user_id_id")),
    )
    op.create_index(
        "ix_paper_orders_open",
        "paper_orders",
        ["account_id"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "daily_results",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("trades", sa.Integer(), nullable=False),
        sa.Column("wins", sa.Integer(), nullable=False),
        sa.Column("price_pnl", sa.Numeric(), nullable=False),
        sa.Column("net_pnl", sa.Numeric(), nullable=False),
        sa.Column("fees", sa.Numeric(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_daily_results_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "run_id"],
            ["bot_runs.user_id", "bot_runs.id"],
            name=op.f("fk_daily_results_user_id_run_id_bot_runs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "day", name=op.f("pk_daily_results")),
    )
    op.create_table(
        "paper_fills",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("fee", sa.Numeric(), nullable=False),
        sa.Column("fee_currency", sa.String(), nullable=False),
        sa.Column("liquidity", sa.String(), nullable=False),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "liquidity IN ('maker', 'taker')", name=op.f("ck_paper_fills_liquidity")
        ),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("ck_paper_fills_side")),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_paper_fills_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "order_id"],
            ["paper_orders.user_id", "paper_orders.id"],
            name=op.f("fk_paper_fills_user_id_order_id_paper_orders"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper_fills")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_paper_fills_user_id_id")),
    )
    op.create_index(
        "ix_paper_fills_account_time", "paper_fills", ["account_id", "filled_at"], unique=False
    )
    op.create_table(
        "positions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("planned_quantity", sa.Numeric(), nullable=False),
        sa.Column("planned_notional", sa.Numeric(), nullable=False),
        sa.Column("decision_price", sa.Numeric(), nullable=False),
        sa.Column("entry_quantity", sa.Numeric(), nullable=False),
        sa.Column("entry_notional", sa.Numeric(), nullable=False),
        sa.Column("exit_quantity", sa.Numeric(), nullable=False),
        sa.Column("exit_notional", sa.Numeric(), nullable=False),
        sa.Column("open_quantity", sa.Numeric(), nullable=False),
        sa.Column("fees", sa.Numeric(), nullable=False),
        sa.Column("atr", sa.Numeric(), nullable=False),
        sa.Column("round_trip_fee_rate", sa.Numeric(), nullable=False),
        sa.Column("rules", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("exit_plan", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("stop_loss", sa.Numeric(), nullable=True),
        sa.Column("take_profit", sa.Numeric(), nullable=True),
        sa.Column("close_requested", sa.String(), nullable=True),
        sa.Column("close_cause", sa.String(), nullable=True),
        sa.Column("realized_pnl", sa.Numeric(), nullable=True),
        sa.Column("exit_reason", sa.String(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("side IN ('long', 'short')", name=op.f("ck_positions_side")),
        sa.CheckConstraint(
            "state IN ('pending', 'open', 'closed', 'cancelled')", name=op.f("ck_positions_state")
        ),
        sa.CheckConstraint(
            "entry_quantity >= 0 AND exit_quantity >= 0", name=op.f("ck_positions_quantities")
        ),
        sa.CheckConstraint(
            "exit_quantity <= entry_quantity", name=op.f("ck_positions_never_oversold")
        ),
        sa.CheckConstraint("open_quantity >= 0", name=op.f("ck_positions_open_not_negative")),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_positions_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "run_id"],
            ["bot_runs.user_id", "bot_runs.id"],
            name=op.f("fk_positions_user_id_run_id_bot_runs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_positions")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_positions_user_id_id")),
    )
    op.create_index(
        "ix_positions_account_opened",
        "positions",
        ["user_id", "account_id", sa.literal_column("opened_at DESC")],
        unique=False,
    )
    op.create_index(
        "ix_positions_live",
        "positions",
        ["user_id", "account_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('pending', 'open')"),
    )
    op.create_index("ix_positions_run", "positions", ["run_id"], unique=False)
    op.create_index(
        "uq_positions_live_symbol",
        "positions",
        ["account_id", "symbol"],
        unique=True,
        postgresql_where=sa.text("state IN ('pending', 'open')"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("bot_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("bar_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("evaluation_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("gates", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("position_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluations.id"],
            name=op.f("fk_decisions_evaluation_id_evaluations"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "bot_id"],
            ["bots.user_id", "bots.id"],
            name=op.f("fk_decisions_user_id_bot_id_bots"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "position_id"],
            ["positions.user_id", "positions.id"],
            name=op.f("fk_decisions_user_id_position_id_positions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "run_id"],
            ["bot_runs.user_id", "bot_runs.id"],
            name=op.f("fk_decisions_user_id_run_id_bot_runs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("run_id", "cause", name=op.f("uq_decisions_run_id_cause")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_decisions_user_id_id")),
    )
    op.create_index(
        "ix_decisions_latest",
        "decisions",
        ["run_id", "symbol", sa.literal_column("decided_at DESC")],
        unique=False,
    )
    op.create_index(
        "ix_decisions_user_time",
        "decisions",
        ["user_id", sa.literal_column("decided_at DESC")],
        unique=False,
    )
    op.create_table(
        "triggers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("bot_id", sa.Uuid(), nullable=False),
        sa.Column("position_id", sa.Uuid(), nullable=False),
        sa.Column("venue", sa.String(), nullable=False),
        sa.Column("realm", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("leg", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("armed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("price_before", sa.Numeric(), nullable=True),
        sa.Column("fired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fired_price", sa.Numeric(), nullable=True),
        sa.CheckConstraint(
            "direction IN ('at_or_below', 'at_or_above')", name=op.f("ck_triggers_direction")
        ),
        sa.CheckConstraint(
            "state IN ('armed', 'fired', 'done', 'cancelled')", name=op.f("ck_triggers_state")
        ),
        sa.CheckConstraint("price > 0", name=op.f("ck_triggers_price_positive")),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_triggers_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "bot_id"],
            ["bots.user_id", "bots.id"],
            name=op.f("fk_triggers_user_id_bot_id_bots"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "position_id"],
            ["positions.user_id", "positions.id"],
            name=op.f("fk_triggers_user_id_position_id_positions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_triggers")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_triggers_user_id_id")),
    )
    op.create_index(
        "ix_triggers_armed",
        "triggers",
        ["venue", "realm", "symbol", "direction", "price"],
        unique=False,
        postgresql_where=sa.text("state='armed'"),
    )
    op.create_index(
        "ix_triggers_fired",
        "triggers",
        ["bot_id"],
        unique=False,
        postgresql_where=sa.text("state='fired'"),
    )
    op.create_index(
        "uq_triggers_live_leg",
        "triggers",
        ["position_id", "leg"],
        unique=True,
        postgresql_where=sa.text("state IN ('armed', 'fired')"),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("bot_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("position_id", sa.Uuid(), nullable=False),
        sa.Column("trigger_id", sa.Uuid(), nullable=True),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("leg", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("client_order_id", sa.String(), nullable=False),
        sa.Column("venue_order_id", sa.String(), nullable=True),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("time_in_force", sa.String(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("limit_price", sa.Numeric(), nullable=True),
        sa.Column("reserved_quote", sa.Numeric(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("filled_quantity", sa.Numeric(), nullable=False),
        sa.Column("refusal_code", sa.String(), nullable=True),
        sa.Column("refusal_reason", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("intended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("venue_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(type = 'limit') = (limit_price IS NOT NULL)", name=op.f("ck_orders_limit_has_price")
        ),
        sa.CheckConstraint(
            "leg IN ('entry', 'stop', 'target_1', 'target_2', 'target_3', 'exit', 'flatten')",
            name=op.f("ck_orders_leg"),
        ),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("ck_orders_side")),
        sa.CheckConstraint(
            "state IN ('intended', 'sending', 'unknown', 'open', 'filled', 'cancelled', 'refused', 'denied', 'absent')",
            name=op.f("ck_orders_state"),
        ),
        sa.CheckConstraint(
            "time_in_force IN ('gtc', 'ioc', 'fok')", name=op.f("ck_orders_time_in_force")
        ),
        sa.CheckConstraint("type IN ('limit', 'market')", name=op.f("ck_orders_type")),
        sa.CheckConstraint("attempt >= 1", name=op.f("ck_orders_attempt_from_one")),
        sa.CheckConstraint("filled_quantity >= 0", name=op.f("ck_orders_filled_not_negative")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_orders_quantity_positive")),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_orders_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "bot_id"],
            ["bots.user_id", "bots.id"],
            name=op.f("fk_orders_user_id_bot_id_bots"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "position_id"],
            ["positions.user_id", "positions.id"],
            name=op.f("fk_orders_user_id_position_id_positions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "run_id"],
            ["bot_runs.user_id", "bot_runs.id"],
            name=op.f("fk_orders_user_id_run_id_bot_runs"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "trigger_id"],
            ["triggers.user_id", "triggers.id"],
            name=op.f("fk_orders_user_id_trigger_id_triggers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint(
            "account_id", "client_order_id", name=op.f("uq_orders_account_id_client_order_id")
        ),
        sa.UniqueConstraint(
            "account_id",
            "run_id",
            "cause",
            "leg",
            "attempt",
            name=op.f("uq_orders_account_id_run_id_cause_leg_attempt"),
        ),
        sa.UniqueConstraint(
            "account_id", "venue_order_id", name=op.f("uq_orders_account_id_venue_order_id")
        ),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_orders_user_id_id")),
    )
    op.create_index(
        "ix_orders_account_created",
        "orders",
        ["user_id", "account_id", sa.literal_column("created_at DESC")],
        unique=False,
    )
    op.create_index(
        "ix_orders_live",
        "orders",
        ["account_id"],
        unique=False,
        postgresql_where=sa.text(
            "state NOT IN ('absent', 'cancelled', 'denied', 'filled', 'refused')"
        ),
    )
    op.create_index(
        "ix_orders_live_bot",
        "orders",
        ["bot_id"],
        unique=False,
        postgresql_where=sa.text(
            "state NOT IN ('absent', 'cancelled', 'denied', 'filled', 'refused')"
        ),
    )
    op.create_index("ix_orders_position", "orders", ["position_id"], unique=False)
    op.create_index(
        "uq_orders_live_exit",
        "orders",
        ["position_id"],
        unique=True,
        postgresql_where=sa.text(
            "leg <> 'entry' AND state NOT IN ('absent', 'cancelled', 'denied', 'filled', 'refused')"
        ),
    )
    op.create_table(
        "fills",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("position_id", sa.Uuid(), nullable=False),
        sa.Column("venue_fill_id", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("fee", sa.Numeric(), nullable=False),
        sa.Column("fee_currency", sa.String(), nullable=False),
        sa.Column("fee_quote", sa.Numeric(), nullable=False),
        sa.Column("liquidity", sa.String(), nullable=False),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("liquidity IN ('maker', 'taker')", name=op.f("ck_fills_liquidity")),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("ck_fills_side")),
        sa.CheckConstraint("quantity > 0 AND price > 0", name=op.f("ck_fills_positive")),
        sa.ForeignKeyConstraint(
            ["user_id", "account_id"],
            ["accounts.user_id", "accounts.id"],
            name=op.f("fk_fills_user_id_account_id_accounts"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "order_id"],
            ["orders.user_id", "orders.id"],
            name=op.f("fk_fills_user_id_order_id_orders"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "position_id"],
            ["positions.user_id", "positions.id"],
            name=op.f("fk_fills_user_id_position_id_positions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fills")),
        sa.UniqueConstraint(
            "account_id", "venue_fill_id", name=op.f("uq_fills_account_id_venue_fill_id")
        ),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_fills_user_id_id")),
    )
    op.create_index("ix_fills_account_time", "fills", ["account_id", "filled_at"], unique=False)
    op.create_index("ix_fills_position", "fills", ["position_id"], unique=False)

    op.create_foreign_key(
        "fk_bots_current_run", "bots", "bot_runs", ["user_id", "current_run_id"], ["user_id", "id"]
    )
    for statement in ROW_LEVEL_SECURITY:
        op.execute(statement)


def downgrade() -> None:
    op.drop_constraint("fk_bots_current_run", "bots")
    op.drop_index("ix_fills_position", table_name="fills")
    op.drop_index("ix_fills_account_time", table_name="fills")
    op.drop_table("fills")
    op.drop_index(
        "uq_orders_live_exit",
        table_name="orders",
        postgresql_where=sa.text(
            "leg <> 'entry' AND state NOT IN ('absent', 'cancelled', 'denied', 'filled', 'refused')"
        ),
    )
    op.drop_index("ix_orders_position", table_name="orders")
    op.drop_index(
        "ix_orders_live_bot",
        table_name="orders",
        postgresql_where=sa.text(
            "state NOT IN ('absent', 'cancelled', 'denied', 'filled', 'refused')"
        ),
    )
    op.drop_index(
        "ix_orders_live",
        table_name="orders",
        postgresql_where=sa.text(
            "state NOT IN ('absent', 'cancelled', 'denied', 'filled', 'refused')"
        ),
    )
    op.drop_index("ix_orders_account_created", table_name="orders")
    op.drop_table("orders")
    op.drop_index(
        "uq_triggers_live_leg",
        table_name="triggers",
        postgresql_where=sa.text("state IN ('armed', 'fired')"),
    )
    op.drop_index(
        "ix_triggers_fired", table_name="triggers", postgresql_where=sa.text("state='fired'")
    )
    op.drop_index(
        "ix_triggers_armed", table_name="triggers", postgresql_where=sa.text("state='armed'")
    )
    op.drop_table("triggers")
    op.drop_index("ix_decisions_user_time", table_name="decisions")
    op.drop_index("ix_decisions_latest", table_name="decisions")
    op.drop_table("decisions")
    op.drop_index(
        "uq_positions_live_symbol",
        table_name="positions",
        postgresql_where=sa.text("state IN ('pending', 'open')"),
    )
    op.drop_index("ix_positions_run", table_name="positions")
    op.drop_index(
        "ix_positions_live",
        table_name="positions",
        postgresql_where=sa.text("state IN ('pending', 'open')"),
    )
    op.drop_index("ix_positions_account_opened", table_name="positions")
    op.drop_table("positions")
    op.drop_index("ix_paper_fills_account_time", table_name="paper_fills")
    op.drop_table("paper_fills")
    op.drop_table("daily_results")
    op.drop_index(
        "ix_paper_orders_open",
        table_name="paper_orders",
        postgresql_where=sa.text("state = 'open'"),
    )
    op.drop_table("paper_orders")
    op.drop_table("paper_balances")
    op.drop_index("ix_flows_account", table_name="flows")
    op.drop_table("flows")
    op.drop_table("equity_snapshots")
    op.drop_index(
        "uq_bot_runs_entering", table_name="bot_runs", postgresql_where=sa.text("state='entering'")
    )
    op.drop_index(
        "ix_bot_runs_live", table_name="bot_runs", postgresql_where=sa.text("state <> 'ended'")
    )
    op.drop_index("ix_bot_runs_account", table_name="bot_runs")
    op.drop_table("bot_runs")
    op.drop_table("balances")
    op.drop_index("ix_refresh_tokens_session", table_name="refresh_tokens")
    op.drop_table("refresh_tokens")
    op.drop_index(
        "uq_accounts_paper", table_name="accounts", postgresql_where=sa.text("mode = 'paper'")
    )
    op.drop_index(
        "uq_accounts_connection", table_name="accounts", postgresql_where=sa.text("mode = 'live'")
    )
    op.drop_table("accounts")
    op.drop_table("user_settings")
    op.drop_index(
        "ix_sessions_live", table_name="sessions", postgresql_where=sa.text("revoked_at IS NULL")
    )
    op.drop_table("sessions")
    op.drop_index(
        "uq_kill_switches_active",
        table_name="kill_switches",
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.drop_table("kill_switches")
    op.drop_index(op.f("ix_idempotency_keys_created_at"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index(
        "uq_connections_live_venue",
        table_name="connections",
        postgresql_where=sa.text("status <> 'removed'"),
    )
    op.drop_table("connections")
    op.drop_index("uq_bots_apex_user", table_name="bots", postgresql_where=sa.text("kind = 'apex'"))
    op.drop_index(
        "ix_bots_unseen", table_name="bots", postgresql_where=sa.text("seen_revision < revision")
    )
    op.drop_index(
        "ix_bots_unquiet", table_name="bots", postgresql_where=sa.text("state <> 'stopped'")
    )
    op.drop_table("bots")
    op.drop_table("venue_states")
    op.drop_table("venue_quotes")
    op.drop_table("users")
    op.drop_table("evaluations")
    op.drop_index("ix_audit_log_user_time", table_name="audit_log")
    op.drop_index("ix_audit_log_type_time", table_name="audit_log")
    op.drop_table("audit_log")
