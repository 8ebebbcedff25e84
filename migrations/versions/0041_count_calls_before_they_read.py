"""Count calls before they read

`enter_call` stays for processes of the version before: it counted in the transaction of the read, so
that calls of one user waited for each other's queries.

Revision ID: 0041
Revises: 0040
"""

from __future__ import annotations

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

# Who calls, whether they may, and the count of the call: one statement, a transaction of its own.
# It leaves the name of the batch on the connection where the caller is let in; the transaction after
# it binds the user only where it finds its own. A call that is not let in counts nowhere.
ADMIT_CALL = """
CREATE FUNCTION admit_call(
    caller uuid, caller_session uuid, asked_at timestamptz, is_counted boolean, limits jsonb,
    batch text,
    OUT outcome text, OUT role text, OUT call_limit integer, OUT remaining integer,
    OUT resets_at bigint
) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
    found_caller record;
    held record;
    slid record;
    seconds CONSTANT bigint := floor(extract(epoch FROM asked_at));
BEGIN
    PERFORM set_config('nija.user_id', caller::text, true);
    SELECT s.expires_at, u.status, u.role AS user_role, u.subscription_tier, u.trial_ends_at,
           b.granted_tier, b.billed_until
    INTO found_caller
    FROM sessions s
    JOIN users u ON u.id = s.user_id
    LEFT JOIN subscriptions b ON b.user_id = u.id
    WHERE s.id = caller_session AND s.user_id = caller AND s.revoked_at IS NULL;
    role := found_caller.user_role;
    outcome := CASE
        WHEN found_caller.status IS NULL THEN 'unknown'
        WHEN found_caller.expires_at <= asked_at THEN 'expired'
        ELSE found_caller.status
    END;
    IF outcome = 'active' AND is_counted THEN
        IF limits IS NOT NULL THEN
            -- The plan that domain.billing.entitled_plan would name; a test compares the two.
            call_limit := (limits ->> CASE
                WHEN found_caller.granted_tier = found_caller.subscription_tier
                     AND found_caller.billed_until <= asked_at
                THEN 'free' ELSE found_caller.subscription_tier END)::integer;
            IF found_caller.trial_ends_at > asked_at THEN
                call_limit := greatest(call_limit, (limits ->> 'trial')::integer);
            END IF;
            IF role = 'admin' THEN
                call_limit := greatest(call_limit, (limits ->> 'admin')::integer);
            END IF;
            -- A window that is full is found so without a lock: calls too many wait for nobody.
            -- One that another call changed meanwhile is looked at again.
            LOOP
                SELECT w.second, w.counts INTO held FROM call_windows w WHERE w.user_id = caller;
                IF NOT FOUND THEN
                    INSERT INTO call_windows (user_id, second, counts)
                    VALUES (caller, seconds, array_fill(0, ARRAY[61]))
                    ON CONFLICT (user_id) DO NOTHING;
                    SELECT seconds AS second, array_fill(0, ARRAY[61]) AS counts INTO held;
                END IF;
                SELECT * INTO slid
                FROM slide_window(held.counts, held.second, seconds, call_limit);
                EXIT WHEN NOT slid.is_taken;
                UPDATE call_windows w SET second = slid.second, counts = slid.counts
                WHERE w.user_id = caller AND w.second = held.second AND w.counts = held.counts;
                EXIT WHEN FOUND;
            END LOOP;
            remaining := slid.remaining;
            resets_at := slid.resets_at;
            IF NOT slid.is_taken THEN
                outcome := 'limited';
            END IF;
        END IF;
        IF outcome = 'active' THEN
            INSERT INTO api_call_counts AS c (user_id, day, shard, calls)
            VALUES (caller, (asked_at AT TIME ZONE 'UTC')::date, pg_backend_pid() % 16, 1)
            ON CONFLICT (user_id, day, shard) DO UPDATE SET calls = c.calls + 1;
        END IF;
    END IF;
    PERFORM set_config(
        'nija.admitted_batch', CASE WHEN outcome = 'active' THEN batch ELSE '' END, false
    );
END
$$
"""


def upgrade() -> None:
    op.execute(ADMIT_CALL)


def downgrade() -> None:
    op.execute("DROP FUNCTION admit_call(uuid, uuid, timestamptz, boolean, jsonb, text)")
