"""Verify addresses and second factors, reset passwords, delete accounts

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ROW_LEVEL_SECURITY = (
    "ALTER TABLE mailed_links ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON mailed_links USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON mailed_links TO nija_app",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON mailed_links TO nija_system",
    "ALTER TABLE recovery_codes ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON recovery_codes USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON recovery_codes TO nija_app",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON recovery_codes TO nija_system",
    "ALTER TABLE second_factors ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON second_factors USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON second_factors TO nija_app",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON second_factors TO nija_system",
    "ALTER TABLE account_deletions ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_write ON account_deletions FOR INSERT WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT INSERT ON account_deletions TO nija_app",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON account_deletions TO nija_system",
)

# Fills and flows are append-only for every role. Their rows go with their user and with nothing
# else, so the one way to delete them asks whether that user is being deleted.
ERASE_FUNCTION = """
CREATE FUNCTION erase_user_rows(erased uuid, of_table text, at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    gone bigint;
BEGIN
    IF of_table = 'audit_log' OR NOT EXISTS (
        SELECT 1 FROM public.account_deletions
        WHERE user_id = erased AND finished_at IS NULL
    ) THEN
        RAISE insufficient_privilege USING MESSAGE = 'this user is not being deleted';
    END IF;
    EXECUTE format(
        'DELETE FROM public.%1$I WHERE ctid = ANY (ARRAY('
        'SELECT ctid FROM public.%1$I WHERE user_id = $1 LIMIT $2))', of_table
    ) USING erased, at_most;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$
"""
ERASE_RIGHTS = (
    "REVOKE ALL ON FUNCTION erase_user_rows(uuid, text, integer) FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION erase_user_rows(uuid, text, integer) TO nija_system",
)


def upgrade() -> None:
    op.add_column(
        "users", sa.Column("email_verified_at", sa.DateTime(timezone=True), nullable=True)
    )
    # Nobody could verify an address before; whoever trades must not be stopped by that.
    op.execute("UPDATE users SET email_verified_at = now()")
    op.create_table(
        "mailed_links",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "purpose IN ('verify_email', 'reset_password', 'change_email')",
            name=op.f("ck_mailed_links_purpose"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_mailed_links_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailed_links")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_mailed_links_user_id_id")),
    )
    op.create_index(
        "ix_mailed_links_recent",
        "mailed_links",
        ["user_id", "purpose", sa.literal_column("created_at DESC")],
        unique=False,
    )
    op.create_table(
        "second_factors",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("enabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_step", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_second_factors_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_second_factors")),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_recovery_codes_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_codes")),
        sa.UniqueConstraint("user_id", "id", name=op.f("uq_recovery_codes_user_id_id")),
        sa.UniqueConstraint(
            "user_id", "code_hash", name=op.f("uq_recovery_codes_user_id_code_hash")
        ),
    )
    op.create_table(
        "account_deletions",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_account_deletions")),
    )
    op.create_index(
        "ix_account_deletions_unfinished",
        "account_deletions",
        ["requested_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    for statement in (*ROW_LEVEL_SECURITY, ERASE_FUNCTION, *ERASE_RIGHTS):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION erase_user_rows(uuid, text, integer)")
    op.drop_index(
        "ix_account_deletions_unfinished",
        table_name="account_deletions",
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.drop_table("account_deletions")
    op.drop_table("recovery_codes")
    op.drop_table("second_factors")
    op.drop_index("ix_mailed_links_recent", table_name="mailed_links")
    op.drop_table("mailed_links")
    op.drop_column("users", "email_verified_at")
