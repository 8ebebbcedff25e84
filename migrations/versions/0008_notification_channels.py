"""Deliver notices

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ROW_LEVEL_SECURITY = (
    "ALTER TABLE notification_channels ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON notification_channels USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON notification_channels TO nija_app",
    "ALTER TABLE notification_preferences ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON notification_preferences USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON notification_preferences TO nija_app",
    "ALTER TABLE messages ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON messages USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON messages TO nija_app",
    "ALTER TABLE deliveries ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON deliveries USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON deliveries TO nija_app",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON notification_channels TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON notification_preferences TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON messages TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON deliveries TO nija_system",
)


def upgrade() -> None:
    op.create_table(
        "notification_channels",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("is_mail", sa.Boolean(), nullable=False),
        sa.Column("masked", sa.String(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("categories", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("last_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("last_error_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_notification_channels_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_channels")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_notification_channels_user_id_id")),
        sa.UniqueConstraint("user_id", "name", name=op.f("uq_notification_channels_user_id_name")),
    )
    op.create_table(
        "notification_preferences",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("report_hour", sa.Integer(), nullable=False),
        sa.Column("report_minute", sa.Integer(), nullable=False),
        sa.Column("weekly_day", sa.Integer(), nullable=False),
        sa.Column("daily_schedule", sa.String(), nullable=True),
        sa.Column("weekly_schedule", sa.String(), nullable=True),
        sa.Column("schedules_leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_look_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "report_hour BETWEEN 0 AND 23", name=op.f("ck_notification_preferences_report_hour")
        ),
        sa.CheckConstraint(
            "report_minute BETWEEN 0 AND 59",
            name=op.f("ck_notification_preferences_report_minute"),
        ),
        sa.CheckConstraint(
            "weekly_day BETWEEN 1 AND 7", name=op.f("ck_notification_preferences_weekly_day")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_notification_preferences_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_notification_preferences")),
    )
    op.create_index(
        "ix_notification_preferences_next_look",
        "notification_preferences",
        ["next_look_at"],
        unique=False,
    )
    _make_messages()
    _make_deliveries()
    op.drop_index("ix_notices_undelivered", table_name="notices")
    op.add_column("notices", sa.Column("message_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_notices_user_id_message_id_messages"),
        "notices",
        "messages",
        ["user_id", "message_id"],
        ["user_id", "id"],
        ondelete="CASCADE",
    )
    op.create_index(
        "ix_notices_new",
        "notices",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("message_id IS NULL"),
    )
    op.create_index("ix_notices_message", "notices", ["message_id"], unique=False)
    op.create_index(
        "ix_notices_user_time",
        "notices",
        ["user_id", sa.literal_column("created_at DESC")],
        unique=False,
    )
    for statement in ROW_LEVEL_SECURITY:
        op.execute(statement)


def _make_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("send_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('notice', 'digest', 'daily_summary', 'weekly_report')",
            name=op.f("ck_messages_kind"),
        ),
        sa.CheckConstraint(
            "state IN ('open', 'sent', 'failed', 'nowhere', 'stale')",
            name=op.f("ck_messages_state"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_messages_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_messages_user_id_id")),
        sa.UniqueConstraint("user_id", "key", name=op.f("uq_messages_user_id_key")),
    )
    op.create_index(
        "ix_messages_open",
        "messages",
        ["user_id", "send_at"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "ix_messages_user_time",
        "messages",
        ["user_id", sa.literal_column("created_at DESC")],
        unique=False,
    )


def _make_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("channel_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_deliveries_attempts_not_negative")),
        sa.CheckConstraint(
            "state IN ('pending', 'sending', 'sent', 'failed', 'skipped')",
            name=op.f("ck_deliveries_state"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "channel_id"],
            ["notification_channels.user_id", "notification_channels.id"],
            name=op.f("fk_deliveries_user_id_channel_id_notification_channels"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "message_id"],
            ["messages.user_id", "messages.id"],
            name=op.f("fk_deliveries_user_id_message_id_messages"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint(
            "message_id",
            "channel_id",
            name=op.f("uq_deliveries_message_id_channel_id"),
            postgresql_nulls_not_distinct=True,
        ),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_deliveries_user_id_id")),
    )


def downgrade() -> None:
    op.drop_index("ix_notices_user_time", table_name="notices")
    op.drop_index("ix_notices_message", table_name="notices")
    op.drop_index("ix_notices_new", table_name="notices")
    op.drop_constraint(op.f("fk_notices_user_id_message_id_messages"), "notices")
    op.drop_column("notices", "message_id")
    op.create_index(
        "ix_notices_undelivered",
        "notices",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
    op.drop_table("deliveries")
    op.drop_table("messages")
    op.drop_table("notification_preferences")
    op.drop_table("notification_channels")
