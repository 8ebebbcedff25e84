"""Number a user's events

Every change that users are told about becomes a numbered event by triggers, so that no code path
can forget it. The triggers are deferred: when everything else of the transaction is done they note
its events, and then these are numbered together. The users' counters are the very last locks of the
transaction and held until it has committed. Hence numbers have no gaps and follow the order of
commits, and taking them cannot wait for anything that waits for them.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ROW_LEVEL_SECURITY = (
    "ALTER TABLE event_streams ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON event_streams USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON event_streams TO nija_app",
    "ALTER TABLE stream_events ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON stream_events USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON stream_events TO nija_app",
    "ALTER TABLE pending_events ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_rows ON pending_events USING (user_id = nullif(current_setting('nija.user_id', true), '')::uuid) WITH CHECK (user_id = nullif(current_setting('nija.user_id', true), '')::uuid)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON pending_events TO nija_app",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON pending_events TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON event_streams TO nija_system",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON stream_events TO nija_system",
)

FUNCTIONS = {
    "emit_event(uuid, text, text, jsonb)": """
CREATE FUNCTION emit_event(owner uuid, told_on text, what text, facts jsonb) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO pending_events (xact, user_id, channel, kind, data)
    VALUES (pg_current_xact_id()::text::bigint, owner, told_on, what, facts)
$$
""",
    # Numbers all events of the transaction at once, when the first of them comes to its turn: one
    # update of a counter however many there are, and users in the order of their ids, so that two
    # transactions never wait for each other. The last thousand of a user are kept.
    "number_events()": """
CREATE FUNCTION number_events() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mine bigint := pg_current_xact_id()::text::bigint;
    owner uuid;
    amount bigint;
    newest bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM pending_events WHERE xact = mine AND id = NEW.id) THEN
        RETURN NULL;  -- numbered with an earlier one
    END IF;
    FOR owner, amount IN
        SELECT user_id, count(*) FROM pending_events WHERE xact = mine GROUP BY 1 ORDER BY 1
    LOOP
        UPDATE event_streams SET last_seq = last_seq + amount WHERE user_id = owner
        RETURNING last_seq INTO newest;
        IF NOT FOUND THEN
            INSERT INTO event_streams (user_id, last_seq)
            SELECT id, amount FROM users WHERE id = owner
            ON CONFLICT (user_id) DO UPDATE SET last_seq = event_streams.last_seq + amount
            RETURNING last_seq INTO newest;
            CONTINUE WHEN NOT FOUND;  -- the same transaction deletes the user
        END IF;
        INSERT INTO stream_events (user_id, seq, channel, kind, data, created_at)
        SELECT owner, newest - back, channel, kind, data, clock_timestamp()
        FROM (SELECT *, row_number() OVER (ORDER BY id DESC) - 1 AS back
              FROM pending_events WHERE xact = mine AND user_id = owner) AS event
        WHERE back < 1000;
        DELETE FROM stream_events WHERE user_id = owner AND seq <= newest - 1000;
        PERFORM pg_notify('nija_events', 'e:' || owner || ':' || newest);
    END LOOP;
    DELETE FROM pending_events WHERE xact = mine;
    RETURN NULL;
END $$
""",
    "tell_position()": """
CREATE FUNCTION tell_position() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    place record;
    facts jsonb;
    action text;
    executed numeric;
    worth numeric;
BEGIN
    SELECT a.venue, a.mode, s.clock_at, q.last INTO place
    FROM accounts a
    LEFT JOIN venue_states s ON s.venue = a.venue AND s.realm = a.realm
    LEFT JOIN venue_quotes q ON q.venue = s.venue AND q.realm = s.realm AND q.epoch = s.epoch
        AND q.symbol = NEW.symbol
    WHERE a.id = NEW.account_id;
    IF NOT FOUND THEN
        RETURN NULL;  -- the same transaction deletes the account
    END IF;
    facts := jsonb_build_object(
        'id', NEW.id, 'symbol', NEW.symbol, 'side', NEW.side, 'state', NEW.state,
        'entry_quantity', NEW.entry_quantity, 'entry_notional', NEW.entry_notional,
        'exit_quantity', NEW.exit_quantity, 'exit_notional', NEW.exit_notional,
        'open_quantity', NEW.open_quantity, 'fees', NEW.fees,
        'stop_loss', NEW.stop_loss, 'take_profit', NEW.take_profit,
        'close_requested', NEW.close_requested, 'realized_pnl', NEW.realized_pnl,
        'exit_reason', NEW.exit_reason, 'opened_at', NEW.opened_at, 'closed_at', NEW.closed_at,
        'venue', place.venue, 'mode', place.mode, 'last', place.last, 'clock_at', place.clock_at
    );
    action := CASE
        WHEN NEW.state = 'open' AND OLD.state IN ('closed', 'cancelled') THEN 'reopened'
        WHEN NEW.state = 'open' AND OLD.state <> 'open' THEN 'opened'
        WHEN NEW.state = 'closed' AND OLD.state <> 'closed' THEN 'closed'
        WHEN NEW.state = 'cancelled' AND OLD.state <> 'cancelled' THEN 'cancelled'
        WHEN NEW.entry_quantity > OLD.entry_quantity AND NEW.state = 'open' THEN 'increased'
        WHEN NEW.exit_quantity > OLD.exit_quantity AND NEW.state = 'open' THEN 'reduced'
        WHEN NEW.entry_quantity <> OLD.entry_quantity OR NEW.exit_quantity <> OLD.exit_quantity
            THEN 'corrected'
    END;
    IF action IS NOT NULL THEN
        IF NEW.exit_quantity <> OLD.exit_quantity THEN
            executed := NEW.exit_quantity - OLD.exit_quantity;
            worth := NEW.exit_notional - OLD.exit_notional;
        ELSE
            executed := NEW.entry_quantity - OLD.entry_quantity;
            worth := NEW.entry_notional - OLD.entry_notional;
        END IF;
        PERFORM emit_event(NEW.user_id, 'trades', 'trade', facts || jsonb_build_object(
            'action', action, 'executed_quantity', executed, 'executed_notional', worth
        ));
    END IF;
    PERFORM emit_event(NEW.user_id, 'positions', 'position', facts);
    RETURN NULL;
END $$
""",
    # Several currencies of an account may move at once; its own one tells for all of them.
    "tell_balance()": """
CREATE FUNCTION tell_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    facts jsonb;
BEGIN
    SELECT jsonb_build_object(
        'id', a.id, 'venue', a.venue, 'mode', a.mode, 'currency', a.currency,
        'cash', b.total, 'clock_at', s.clock_at, 'observed_at', b.observed_at,
        'equity', (
            SELECT CASE WHEN bool_and(h.currency = a.currency OR q.last IS NOT NULL)
                   THEN sum(h.total * CASE WHEN h.currency = a.currency THEN 1 ELSE q.last END) END
            FROM balances h
            LEFT JOIN venue_quotes q ON q.venue = s.venue AND q.realm = s.realm
                AND q.epoch = s.epoch AND q.symbol = h.currency || '-' || a.currency
            WHERE h.account_id = a.id AND (h.total <> 0 OR h.currency = a.currency)
        ),
        'unrealized_pnl', (
            SELECT CASE WHEN bool_and(q.last IS NOT NULL) IS NOT FALSE
                   THEN coalesce(sum(CASE WHEN p.side = 'long' THEN 1 ELSE -1 END * p.open_quantity
                                     * (q.last - p.entry_notional / p.entry_quantity)), 0) END
            FROM positions p
            LEFT JOIN venue_quotes q ON q.venue = s.venue AND q.realm = s.realm
                AND q.epoch = s.epoch AND q.symbol = p.symbol
            WHERE p.user_id = a.user_id AND p.account_id = a.id
                AND p.state IN ('pending', 'open') AND p.open_quantity > 0
        )
    ) INTO facts
    FROM accounts a
    JOIN balances b ON b.account_id = a.id AND b.currency = a.currency
    LEFT JOIN venue_states s ON s.venue = a.venue AND s.realm = a.realm
    WHERE a.id = NEW.account_id AND a.currency = NEW.currency;
    IF FOUND THEN
        PERFORM emit_event(NEW.user_id, 'account', 'balance', facts);
    END IF;
    RETURN NULL;
END $$
""",
    # A start makes the bot's state first and its run afterwards: the row as it commits tells both.
    "tell_bot()": """
CREATE FUNCTION tell_bot() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    facts jsonb;
BEGIN
    SELECT jsonb_build_object(
        'id', b.id, 'state', b.state, 'last_error', b.last_error,
        'state_changed_at', b.state_changed_at, 'clock_at', s.clock_at,
        'previous_state', CASE WHEN TG_OP = 'UPDATE' THEN OLD.state END,
        'run_id', r.id, 'run_state', r.state, 'venue', r.venue, 'mode', r.mode,
        'risk_level', r.risk_level
    ) INTO facts
    FROM bots b
    LEFT JOIN bot_runs r ON r.id = b.current_run_id
    LEFT JOIN venue_states s ON s.venue = r.venue AND s.realm = r.realm
    WHERE b.id = NEW.id;
    IF FOUND THEN
        PERFORM emit_event(NEW.user_id, 'bot', 'bot', facts);
    END IF;
    RETURN NULL;
END $$
""",
    "tell_run()": """
CREATE FUNCTION tell_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM emit_event(NEW.user_id, 'bot', 'run', jsonb_build_object(
        'id', NEW.id, 'bot_id', NEW.bot_id, 'state', NEW.state, 'previous_state', OLD.state,
        'end_reason', NEW.end_reason, 'venue', NEW.venue, 'mode', NEW.mode,
        'ended_at', NEW.ended_at
    ));
    RETURN NULL;
END $$
""",
    "tell_decision()": """
CREATE FUNCTION tell_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM emit_event(NEW.user_id, 'bot', 'decision', jsonb_build_object(
        'id', NEW.id, 'symbol', NEW.symbol, 'action', NEW.action, 'score', NEW.score,
        'reason', NEW.reason, 'cause', NEW.cause, 'position_id', NEW.position_id,
        'bar_at', NEW.bar_at, 'decided_at', NEW.decided_at
    ));
    RETURN NULL;
END $$
""",
    "tell_kill_switch()": """
CREATE FUNCTION tell_kill_switch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.user_id IS NULL THEN
        PERFORM pg_notify('nija_events', 'k');  -- of everybody: no user's event
    ELSE
        PERFORM emit_event(NEW.user_id, 'bot', 'kill_switch', jsonb_build_object(
            'scope', NEW.scope, 'venue', NEW.venue, 'reason', NEW.reason,
            'engaged_at', NEW.engaged_at, 'released_at', NEW.released_at
        ));
    END IF;
    RETURN NULL;
END $$
""",
    "tell_session()": """
CREATE FUNCTION tell_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('nija_events', 'a:' || NEW.user_id);
    RETURN NULL;
END $$
""",
    "tell_person()": """
CREATE FUNCTION tell_person() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('nija_events', 'a:' || NEW.id);
    RETURN NULL;
END $$
""",
}

_DEFERRED = "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
TRIGGERS = {
    ("number_events", "pending_events"): f"""
CREATE CONSTRAINT TRIGGER number_events AFTER INSERT ON pending_events {_DEFERRED}
EXECUTE FUNCTION number_events()
""",
    ("tell_position", "positions"): f"""
CREATE CONSTRAINT TRIGGER tell_position AFTER UPDATE ON positions {_DEFERRED}
WHEN ((OLD.state, OLD.entry_quantity, OLD.exit_quantity, OLD.open_quantity, OLD.stop_loss,
       OLD.take_profit, OLD.close_requested, OLD.realized_pnl)
      IS DISTINCT FROM
      (NEW.state, NEW.entry_quantity, NEW.exit_quantity, NEW.open_quantity, NEW.stop_loss,
       NEW.take_profit, NEW.close_requested, NEW.realized_pnl))
EXECUTE FUNCTION tell_position()
""",
    ("tell_balance", "balances"): f"""
CREATE CONSTRAINT TRIGGER tell_balance AFTER UPDATE ON balances {_DEFERRED}
WHEN (OLD.total IS DISTINCT FROM NEW.total) EXECUTE FUNCTION tell_balance()
""",
    ("tell_first_balance", "balances"): f"""
CREATE CONSTRAINT TRIGGER tell_first_balance AFTER INSERT ON balances {_DEFERRED}
EXECUTE FUNCTION tell_balance()
""",
    ("tell_bot", "bots"): f"""
CREATE CONSTRAINT TRIGGER tell_bot AFTER UPDATE ON bots {_DEFERRED}
WHEN ((OLD.state, OLD.last_error) IS DISTINCT FROM (NEW.state, NEW.last_error))
EXECUTE FUNCTION tell_bot()
""",
    ("tell_new_bot", "bots"): f"""
CREATE CONSTRAINT TRIGGER tell_new_bot AFTER INSERT ON bots {_DEFERRED}
EXECUTE FUNCTION tell_bot()
""",
    ("tell_run", "bot_runs"): f"""
CREATE CONSTRAINT TRIGGER tell_run AFTER UPDATE ON bot_runs {_DEFERRED}
WHEN (OLD.state <> NEW.state AND NEW.state = 'ended') EXECUTE FUNCTION tell_run()
""",
    ("tell_decision", "decisions"): f"""
CREATE CONSTRAINT TRIGGER tell_decision AFTER INSERT ON decisions {_DEFERRED}
WHEN (NEW.action <> 'none' OR NEW.cause LIKE 'signal:%') EXECUTE FUNCTION tell_decision()
""",
    ("tell_kill_switch", "kill_switches"): f"""
CREATE CONSTRAINT TRIGGER tell_kill_switch AFTER INSERT ON kill_switches {_DEFERRED}
EXECUTE FUNCTION tell_kill_switch()
""",
    ("tell_release", "kill_switches"): f"""
CREATE CONSTRAINT TRIGGER tell_release AFTER UPDATE ON kill_switches {_DEFERRED}
WHEN (OLD.released_at IS DISTINCT FROM NEW.released_at) EXECUTE FUNCTION tell_kill_switch()
""",
    ("tell_session", "sessions"): """
CREATE TRIGGER tell_session AFTER UPDATE ON sessions FOR EACH ROW
WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION tell_session()
""",
    ("tell_person", "users"): """
CREATE TRIGGER tell_person AFTER UPDATE ON users FOR EACH ROW
WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION tell_person()
""",
}


def upgrade() -> None:
    op.create_table(
        "event_streams",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("last_seq >= 0", name=op.f("ck_event_streams_counted")),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_event_streams_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_event_streams")),
    )
    op.create_table(
        "stream_events",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "channel IN ('positions', 'trades', 'account', 'bot')",
            name=op.f("ck_stream_events_channel"),
        ),
        sa.CheckConstraint(
            "kind IN ('position', 'trade', 'balance', 'bot', 'run', 'decision', 'kill_switch')",
            name=op.f("ck_stream_events_kind"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["event_streams.user_id"],
            name=op.f("fk_stream_events_user_id_event_streams"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "seq", name=op.f("pk_stream_events")),
    )
    op.create_table(
        "pending_events",
        sa.Column("xact", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("xact", "id", name=op.f("pk_pending_events")),
        prefixes=["UNLOGGED"],
    )
    for statement in (*ROW_LEVEL_SECURITY, *FUNCTIONS.values(), *TRIGGERS.values()):
        op.execute(statement)


def downgrade() -> None:
    for name, table in TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON {table}")
    for function in reversed(FUNCTIONS):
        op.execute(f"DROP FUNCTION {function}")
    op.drop_table("pending_events")
    op.drop_table("stream_events")
    op.drop_table("event_streams")
