"""Count API calls

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ROW_LEVEL_SECURITY = (
    "ALTER TABLE api_call_counts ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON api_call_counts USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON api_call_counts TO nija_app",
    "ALTER TABLE call_windows ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON call_windows USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON call_windows TO nija_app",
    "ALTER TABLE door_windows ENABLE ROW LEVEL SECURITY",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON api_call_counts TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON call_windows TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON door_windows TO nija_system",
)

# A call is remembered during its own second and the 60 after it, so no 60 seconds ever hold more
# calls than the limit. `resets_at` is the first second in which the window has room again, or more
# room than now.
SLIDE_WINDOW = """
CREATE FUNCTION slide_window(
    INOUT counts integer[], INOUT second bigint, asked_at bigint, call_limit integer,
    OUT is_taken boolean, OUT remaining integer, OUT resets_at bigint
) LANGUAGE plpgsql IMMUTABLE AS $$
#variable_conflict use_variable
DECLARE
    newest CONSTANT bigint := greatest(second, asked_at);
    kept CONSTANT integer[] := counts;
    known CONSTANT bigint := second;
    total integer := 0;
    freed integer := 0;
BEGIN
    counts := array_fill(0, ARRAY[61]);
    FOR i IN newest - 60 .. newest LOOP
        IF i <= known AND i > known - 61 THEN
            counts[i % 61 + 1] := kept[i % 61 + 1];
            total := total + kept[i % 61 + 1];
        END IF;
    END LOOP;
    second := newest;
    is_taken := total < call_limit;
    IF is_taken THEN
        counts[newest % 61 + 1] := counts[newest % 61 + 1] + 1;
        total := total + 1;
    END IF;
    remaining := greatest(call_limit - total, 0);
    resets_at := newest + 61;
    FOR i IN newest - 60 .. newest LOOP
        freed := freed + counts[i % 61 + 1];
        IF freed > 0 AND total - freed < call_limit THEN
            resets_at := i + 61;
            EXIT;
        END IF;
    END LOOP;
END
$$
"""

# Who calls, whether they may, and the count of the call: one statement, first in the transaction
# of the read. It binds the user for row-level security and closes the transaction for writing.
# A call that is not let in counts nowhere and leaves the transaction without a user.
ENTER_CALL = """
CREATE FUNCTION enter_call(
    caller uuid, caller_session uuid, asked_at timestamptz, is_counted boolean, limits jsonb,
    OUT outcome text, OUT role text, OUT call_limit integer, OUT remaining integer,
    OUT resets_at bigint
) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
    found record;
    held record;
    slid record;
    seconds CONSTANT bigint := floor(extract(epoch FROM asked_at));
BEGIN
    PERFORM set_config('nija.user_id', caller::text, true);
    SELECT s.expires_at, u.status, u.role AS user_role, u.subscription_tier, u.trial_ends_at,
           b.granted_tier, b.billed_until
    INTO found
    FROM sessions s
    JOIN users u ON u.id = s.user_id
    LEFT JOIN subscriptions b ON b.user_id = u.id
    WHERE s.id = caller_session AND s.user_id = caller AND s.revoked_at IS NULL;
    role := found.user_role;
    outcome := CASE
        WHEN found.status IS NULL THEN 'unknown'
        WHEN found.expires_at <= asked_at THEN 'expired'
        ELSE found.status
    END;
    IF outcome = 'active' AND is_counted THEN
        IF limits IS NOT NULL THEN
            -- The plan that domain.billing.entitled_plan would name; a test compares the two.
            call_limit := (limits ->> CASE
                WHEN found.granted_tier = found.subscription_tier AND found.billed_until <= asked_at
                THEN 'free' ELSE found.subscription_tier END)::integer;
            IF found.trial_ends_at > asked_at THEN
                call_limit := greatest(call_limit, (limits ->> 'trial')::integer);
            END IF;
            IF role = 'admin' THEN
                call_limit := greatest(call_limit, (limits ->> 'admin')::integer);
            END IF;
            INSERT INTO call_windows (user_id, second, counts)
            VALUES (caller, seconds, array_fill(0, ARRAY[61]))
            ON CONFLICT (user_id) DO NOTHING;
            SELECT w.second, w.counts INTO held FROM call_windows w
            WHERE w.user_id = caller FOR NO KEY UPDATE;
            SELECT * INTO slid
            FROM slide_window(held.counts, held.second, seconds, call_limit);
            remaining := slid.remaining;
            resets_at := slid.resets_at;
            IF slid.is_taken THEN
                UPDATE call_windows w SET second = slid.second, counts = slid.counts
                WHERE w.user_id = caller;
            ELSE
                outcome := 'limited';
            END IF;
        END IF;
        IF outcome = 'active' THEN
            INSERT INTO api_call_counts AS c (user_id, day, shard, calls)
            VALUES (caller, (asked_at AT TIME ZONE 'UTC')::date, pg_backend_pid() % 16, 1)
            ON CONFLICT (user_id, day, shard) DO UPDATE SET calls = c.calls + 1;
        END IF;
    END IF;
    IF outcome <> 'active' THEN
        PERFORM set_config('nija.user_id', '', true);
    END IF;
    PERFORM set_config('transaction_read_only', 'on', true);
END
$$
"""

ENTER_DOOR = """
CREATE FUNCTION enter_door(
    door_name text, caller text, asked_at timestamptz, call_limit integer,
    OUT is_taken boolean, OUT remaining integer, OUT resets_at bigint
) LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    held record;
    slid record;
    seconds CONSTANT bigint := floor(extract(epoch FROM asked_at));
BEGIN
    INSERT INTO door_windows (door, subject, second, counts)
    VALUES (door_name, caller, seconds, array_fill(0, ARRAY[61]))
    ON CONFLICT (door, subject) DO NOTHING;
    SELECT w.second, w.counts INTO held FROM door_windows w
    WHERE w.door = door_name AND w.subject = caller FOR NO KEY UPDATE;
    SELECT * INTO slid FROM slide_window(held.counts, held.second, seconds, call_limit);
    is_taken := slid.is_taken;
    remaining := slid.remaining;
    resets_at := slid.resets_at;
    IF is_taken THEN
        UPDATE door_windows w SET second = slid.second, counts = slid.counts
        WHERE w.door = door_name AND w.subject = caller;
    END IF;
END
$$
"""

GRANTS = (
    "REVOKE EXECUTE ON FUNCTION enter_door(text, text, timestamptz, integer) FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION enter_door(text, text, timestamptz, integer) TO nija_app",
)


def upgrade() -> None:
    op.create_table(
        "api_call_counts",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_api_call_counts_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "day", "shard", name=op.f("pk_api_call_counts")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "call_windows",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("second", sa.BigInteger(), nullable=False),
        sa.Column("counts", sa.ARRAY(sa.Integer()), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_call_windows_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_call_windows")),
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "door_windows",
        sa.Column("door", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("second", sa.BigInteger(), nullable=False),
        sa.Column("counts", sa.ARRAY(sa.Integer()), nullable=False),
        sa.PrimaryKeyConstraint("door", "subject", name=op.f("pk_door_windows")),
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": "50"},
    )
    for statement in (*ROW_LEVEL_SECURITY, SLIDE_WINDOW, ENTER_CALL, ENTER_DOOR, *GRANTS):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION enter_door(text, text, timestamptz, integer)")
    op.execute("DROP FUNCTION enter_call(uuid, uuid, timestamptz, boolean, jsonb)")
    op.execute("DROP FUNCTION slide_window(integer[], bigint, bigint, integer)")
    op.drop_table("door_windows")
    op.drop_table("call_windows")
    op.drop_table("api_call_counts")
