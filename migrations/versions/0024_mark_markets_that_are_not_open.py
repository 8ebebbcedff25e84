"""Mark markets that are not open

Positions in a market that its venue suspended or delisted are marked; after a quarter of an hour
its last price is none any more. Events of positions tell of the market, of exits that do not get
through, and of parts that left by other hands or were written off.

Revision ID: 0024
Revises: 0023
"""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

# `since` and `seen_at` are wall time, all others venue time.
CURRENT_QUOTES = """
CREATE FUNCTION current_quotes(of_venue text, of_realm text)
RETURNS TABLE (symbol text, last numeric, at timestamptz) LANGUAGE sql STABLE AS $$
    SELECT q.symbol, q.last, q.at
    FROM venue_states s
    JOIN venue_quotes q ON q.venue = s.venue AND q.realm = s.realm AND q.epoch = s.epoch
    WHERE s.venue = of_venue AND s.realm = of_realm
        AND q.last > 0 AND q.at >= s.clock_at - interval '15 minutes'
        AND NOT EXISTS (
            SELECT FROM market_states m
            WHERE m.venue = q.venue AND m.realm = q.realm AND m.symbol = q.symbol
                AND m.status = 'halted' AND m.since < s.seen_at - interval '15 minutes'
        )
$$
"""

MARKET_PRICE = """
CREATE OR REPLACE FUNCTION market_price(
    of_venue text, of_realm text, held text, into_currency text
)
RETURNS TABLE (price numeric, at timestamptz) LANGUAGE sql STABLE AS $$
    SELECT ways.price, ways.at FROM (
        SELECT 0 AS rank, 1::numeric AS price, NULL::timestamptz AS at
        WHERE held = into_currency
        UNION ALL
        SELECT 1, q.last, q.at FROM current_quotes(of_venue, of_realm) q
        WHERE q.symbol = held || '-' || into_currency
        UNION ALL
        SELECT 2, 1, NULL FROM stablecoins c WHERE c.coin = held AND c.currency = into_currency
        UNION ALL
        SELECT 2 + c.rank, q.last * coalesce(par.last, 1), q.at
        FROM stablecoins c
        JOIN current_quotes(of_venue, of_realm) q ON q.symbol = held || '-' || c.coin
        LEFT JOIN current_quotes(of_venue, of_realm) par
            ON par.symbol = c.coin || '-' || into_currency
        WHERE c.currency = into_currency
    ) ways
    ORDER BY ways.rank LIMIT 1
$$
"""

# Before, the function had the rule of age in each of its ways.
MARKET_PRICE_BEFORE = """
CREATE OR REPLACE FUNCTION market_price(
    of_venue text, of_realm text, held text, into_currency text
)
RETURNS TABLE (price numeric, at timestamptz) LANGUAGE sql STABLE AS $$
    SELECT ways.price, ways.at FROM (
        SELECT 0 AS rank, 1::numeric AS price, NULL::timestamptz AS at
        WHERE held = into_currency
        UNION ALL
        SELECT 1, q.last, q.at
        FROM venue_states s
        JOIN venue_quotes q ON q.venue = s.venue AND q.realm = s.realm AND q.epoch = s.epoch
            AND q.symbol = held || '-' || into_currency
        WHERE s.venue = of_venue AND s.realm = of_realm
            AND q.last > 0 AND q.at >= s.clock_at - interval '15 minutes'
        UNION ALL
        SELECT 2, 1, NULL FROM stablecoins c WHERE c.coin = held AND c.currency = into_currency
        UNION ALL
        SELECT 2 + c.rank, q.last * coalesce(par.last, 1), q.at
        FROM stablecoins c
        JOIN venue_states s ON s.venue = of_venue AND s.realm = of_realm
        JOIN venue_quotes q ON q.venue = s.venue AND q.realm = s.realm AND q.epoch = s.epoch
            AND q.symbol = held || '-' || c.coin
        LEFT JOIN venue_quotes par ON par.venue = s.venue AND par.realm = s.realm
            AND par.epoch = s.epoch AND par.symbol = c.coin || '-' || into_currency
            AND par.last > 0 AND par.at >= s.clock_at - interval '15 minutes'
        WHERE c.currency = into_currency
            AND q.last > 0 AND q.at >= s.clock_at - interval '15 minutes'
    ) ways
    ORDER BY ways.rank LIMIT 1
$$
"""

_TELL_POSITION = """
CREATE OR REPLACE FUNCTION tell_position() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    place record;
    facts jsonb;
    action text;
    executed numeric;
    worth numeric;
BEGIN
    SELECT a.venue, a.mode, s.clock_at, {place} INTO place
    FROM accounts a
    LEFT JOIN venue_states s ON s.venue = a.venue AND s.realm = a.realm
    {joined}
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
        {more}
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
"""

TELL_POSITION = _TELL_POSITION.format(
    place="q.last, coalesce(m.status, 'open') AS market_status",
    joined="""LEFT JOIN LATERAL current_quotes(a.venue, a.realm) q ON q.symbol = NEW.symbol
    LEFT JOIN market_states m ON m.venue = a.venue AND m.realm = a.realm
        AND m.symbol = NEW.symbol""",
    more="""'market_status', place.market_status, 'exit_state', NEW.exit_state,
        'exit_due_at', NEW.exit_due_at, 'exit_attempts', NEW.exit_attempts,
        'exit_error', NEW.exit_error,
        'closed_elsewhere_quantity', NEW.closed_elsewhere_quantity,
        'written_off_quantity', NEW.written_off_quantity,""",
)
TELL_POSITION_BEFORE = _TELL_POSITION.format(
    place="q.last",
    joined="""LEFT JOIN venue_quotes q ON q.venue = s.venue AND q.realm = s.realm
        AND q.epoch = s.epoch AND q.symbol = NEW.symbol""",
    more="",
)

_TOLD = (
    "state",
    "entry_quantity",
    "exit_quantity",
    "open_quantity",
    "stop_loss",
    "take_profit",
    "close_requested",
    "realized_pnl",
)
_TOLD_TOO = ("exit_state", "closed_elsewhere_quantity", "written_off_quantity")


# Whatever a row of positions holds, the transaction that moves a balance is not refused for it.
TELL_BALANCE = """
CREATE OR REPLACE FUNCTION tell_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    facts jsonb;
BEGIN
    SELECT jsonb_build_object(
        'id', a.id, 'venue', a.venue, 'mode', a.mode, 'currency', a.currency,
        'cash', b.total, 'clock_at', s.clock_at, 'observed_at', b.observed_at,
        'equity', worth.equity, 'unpriced', worth.unpriced,
        'unrealized_pnl', (
            SELECT CASE WHEN bool_and(q.last IS NOT NULL) IS NOT FALSE
                   THEN coalesce(sum(CASE WHEN p.side = 'long' THEN 1 ELSE -1 END * p.open_quantity
                                     * (q.last - {entry})), 0) END
            FROM positions p
            LEFT JOIN LATERAL (
                {quotes}
            ) q ON true
            WHERE p.user_id = a.user_id AND p.account_id = a.id
                AND p.state IN ('pending', 'open') AND p.open_quantity > 0
        )
    ) INTO facts
    FROM accounts a
    JOIN balances b ON b.account_id = a.id AND b.currency = a.currency
    LEFT JOIN venue_states s ON s.venue = a.venue AND s.realm = a.realm
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(h.total * m.price), 0) AS equity,
               coalesce(
                   jsonb_agg(h.currency ORDER BY h.currency COLLATE "C")
                       FILTER (WHERE m.price IS NULL),
                   '[]'
               ) AS unpriced
        FROM balances h
        LEFT JOIN LATERAL market_price(a.venue, a.realm, h.currency, a.currency) m ON true
        WHERE h.account_id = a.id AND h.total <> 0
    ) worth
    WHERE a.id = NEW.account_id AND a.currency = NEW.currency;
    IF FOUND THEN
        PERFORM emit_event(NEW.user_id, 'account', 'balance', facts);
    END IF;
    RETURN NULL;
END $$
"""
_CURRENT = "SELECT c.last FROM current_quotes(a.venue, a.realm) c WHERE c.symbol = p.symbol"
_STORED = """SELECT v.last FROM venue_quotes v
                WHERE v.venue = s.venue AND v.realm = s.realm AND v.epoch = s.epoch
                    AND v.symbol = p.symbol AND v.at >= s.clock_at - interval '15 minutes'"""


def upgrade() -> None:
    op.execute(CURRENT_QUOTES)
    op.execute(MARKET_PRICE)
    op.execute(TELL_POSITION)
    entry = "coalesce(p.entry_notional / nullif(p.entry_quantity, 0), 0)"
    op.execute(TELL_BALANCE.format(entry=entry, quotes=_CURRENT))
    _watch_columns(*_TOLD, *_TOLD_TOO)


def downgrade() -> None:
    _watch_columns(*_TOLD)
    op.execute(TELL_POSITION_BEFORE)
    op.execute(TELL_BALANCE.format(entry="p.entry_notional / p.entry_quantity", quotes=_STORED))
    op.execute(MARKET_PRICE_BEFORE)
    op.execute("DROP FUNCTION current_quotes(text, text)")


def _watch_columns(*columns: str) -> None:
    old, new = (", ".join(f"{row}.{name}" for name in columns) for row in ("OLD", "NEW"))
    op.execute("DROP TRIGGER tell_position ON positions")
    op.execute(
        "CREATE CONSTRAINT TRIGGER tell_position AFTER UPDATE ON positions"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
        f" WHEN (({old}) IS DISTINCT FROM ({new})) EXECUTE FUNCTION tell_position()"
    )
