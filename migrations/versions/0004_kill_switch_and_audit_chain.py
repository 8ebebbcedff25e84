"""Engage kill switches for everybody, chain the audit log

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ROW_LEVEL_SECURITY = (
    "ALTER POLICY own_write ON audit_log WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid AND sequence IS NULL)",
    "GRANT UPDATE (sequence, previous_hash, hash) ON audit_log TO nija_system",
    "ALTER TABLE audit_chains ENABLE ROW LEVEL SECURITY",
    "GRANT SELECT, INSERT, UPDATE ON audit_chains TO nija_system",
    "ALTER TABLE user_notes ENABLE ROW LEVEL SECURITY",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON user_notes TO nija_system",
    "ALTER TABLE api_minutes ENABLE ROW LEVEL SECURITY",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON api_minutes TO nija_system",
)

# A sealed row is sealed for good, whoever holds the right to seal.
SEALED_ONCE = """
CREATE FUNCTION audit_log_is_sealed_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$
"""
SEALED_ONCE_TRIGGER = """
CREATE TRIGGER audit_log_is_sealed_once BEFORE UPDATE ON audit_log
FOR EACH ROW WHEN (OLD.sequence IS NOT NULL) EXECUTE FUNCTION audit_log_is_sealed_once()
"""


def upgrade() -> None:
    _extend_kill_switches()
    _extend_audit_log()
    op.create_table(
        "audit_chains",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_audit_chains")),
    )
    op.create_table(
        "user_notes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_user_notes_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_notes")),
    )
    op.create_index(
        "ix_user_notes_user_time", "user_notes", ["user_id", sa.literal_column("created_at DESC")]
    )
    op.create_table(
        "api_minutes",
        sa.Column("process_id", sa.Uuid(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("server_errors", sa.Integer(), nullable=False),
        sa.Column("microseconds", sa.BigInteger(), nullable=False),
        sa.Column("buckets", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("process_id", "minute", name=op.f("pk_api_minutes")),
    )
    op.create_index("ix_api_minutes_minute", "api_minutes", ["minute"])
    for statement in (*ROW_LEVEL_SECURITY, SEALED_ONCE, SEALED_ONCE_TRIGGER):
        op.execute(statement)


def _extend_kill_switches() -> None:
    for column in (
        sa.Column("close_positions", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("notify_users", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("handled_revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    ):
        op.add_column("kill_switches", column)
    # What was engaged by hand before needs no round of telling.
    op.execute("UPDATE kill_switches SET handled_revision = revision")
    op.create_index(
        "ix_kill_switches_unhandled",
        "kill_switches",
        ["id"],
        postgresql_where=sa.text("handled_revision < revision"),
    )


def _extend_audit_log() -> None:
    op.add_column("audit_log", sa.Column("sequence", sa.BigInteger(), nullable=True))
    op.add_column("audit_log", sa.Column("previous_hash", sa.String(), nullable=True))
    op.add_column("audit_log", sa.Column("hash", sa.String(), nullable=True))
    op.create_unique_constraint(op.f("uq_audit_log_sequence"), "audit_log", ["sequence"])
    op.create_check_constraint(
        op.f("ck_audit_log_sealed_whole"),
        "audit_log",
        "(sequence IS NULL) = (hash IS NULL) AND (hash IS NULL) = (previous_hash IS NULL)",
    )
    op.create_index(
        "ix_audit_log_time", "audit_log", [sa.literal_column("at DESC"), sa.literal_column("id DESC")]
    )
    op.create_index(
        "ix_audit_log_unsealed",
        "audit_log",
        ["at", "id"],
        postgresql_where=sa.text("sequence IS NULL"),
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER audit_log_is_sealed_once ON audit_log")
    op.execute("DROP FUNCTION audit_log_is_sealed_once()")
    op.drop_table("api_minutes")
    op.drop_table("user_notes")
    op.drop_table("audit_chains")
    op.drop_index("ix_audit_log_unsealed", table_name="audit_log")
    op.drop_index("ix_audit_log_time", table_name="audit_log")
    op.drop_constraint(op.f("ck_audit_log_sealed_whole"), "audit_log")
    op.drop_constraint(op.f("uq_audit_log_sequence"), "audit_log")
    for column in ("hash", "previous_hash", "sequence"):
        op.drop_column("audit_log", column)
    op.drop_index("ix_kill_switches_unhandled", table_name="kill_switches")
    for column in ("report", "handled_revision", "revision", "notify_users", "close_positions"):
        op.drop_column("kill_switches", column)
