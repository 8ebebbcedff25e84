"""Value accounts by one rule

What has no price is named and left out of equity instead of making it unknown; a stablecoin without
a market counts at par; what trades only against a stablecoin is priced through it. `market_price`
is `domain.valuation.price_of` in SQL.

Revision ID: 0018
Revises: 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

DEFAULTS = (
    ("USDC", "USD"),
    ("USDT", "USD"),
    ("DAI", "USD"),
    ("PYUSD", "USD"),
    ("USDS", "USD"),
    ("GUSD", "USD"),
    ("PAX", "USD"),
    ("EURC", "EUR"),
)

MARKET_PRICE = """
CREATE FUNCTION market_price(of_venue text, of_realm text, held text, into_currency text)
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

_TELL_BALANCE = """
CREATE OR REPLACE FUNCTION tell_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    facts jsonb;
BEGIN
    SELECT jsonb_build_object(
        'id', a.id, 'venue', a.venue, 'mode', a.mode, 'currency', a.currency,
        'cash', b.total, 'clock_at', s.clock_at, 'observed_at', b.observed_at,
        {equity}
        'unrealized_pnl', (
            SELECT CASE WHEN bool_and(q.last IS NOT NULL) IS NOT FALSE
                   THEN coalesce(sum(CASE WHEN p.side = 'long' THEN 1 ELSE -1 END * p.open_quantity
                                     * (q.last - p.entry_notional / p.entry_quantity)), 0) END
            FROM positions p
            LEFT JOIN venue_quotes q ON q.venue = s.venue AND q.realm = s.realm
                AND q.epoch = s.epoch AND q.symbol = p.symbol{fresh}
            WHERE p.user_id = a.user_id AND p.account_id = a.id
                AND p.state IN ('pending', 'open') AND p.open_quantity > 0
        )
    ) INTO facts
    FROM accounts a
    JOIN balances b ON b.account_id = a.id AND b.currency = a.currency
    LEFT JOIN venue_states s ON s.venue = a.venue AND s.realm = a.realm
    {also}WHERE a.id = NEW.account_id AND a.currency = NEW.currency;
    IF FOUND THEN
        PERFORM emit_event(NEW.user_id, 'account', 'balance', facts);
    END IF;
    RETURN NULL;
END $$
"""

TELL_BALANCE = _TELL_BALANCE.format(
    equity="'equity', worth.equity, 'unpriced', worth.unpriced,",
    fresh="\n                AND q.at >= s.clock_at - interval '15 minutes'",
    also="""CROSS JOIN LATERAL (
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
    """,
)

TELL_BALANCE_BEFORE = _TELL_BALANCE.format(
    equity="""'equity', (
            SELECT CASE WHEN bool_and(h.currency = a.currency OR q.last IS NOT NULL)
                   THEN sum(h.total * CASE WHEN h.currency = a.currency THEN 1 ELSE q.last END) END
            FROM balances h
            LEFT JOIN venue_quotes q ON q.venue = s.venue AND q.realm = s.realm
                AND q.epoch = s.epoch AND q.symbol = h.currency || '-' || a.currency
            WHERE h.account_id = a.id AND (h.total <> 0 OR h.currency = a.currency)
        ),""",
    fresh="",
    also="",
)


def upgrade() -> None:
    stablecoins = op.create_table(
        "stablecoins",
        sa.Column("coin", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("coin", name=op.f("pk_stablecoins")),
    )
    op.bulk_insert(
        stablecoins,
        [
            {"coin": coin, "currency": currency, "rank": rank}
            for rank, (coin, currency) in enumerate(DEFAULTS, start=1)
        ],
    )
    op.execute("GRANT SELECT ON stablecoins TO nija_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON stablecoins TO nija_system")
    op.add_column(
        "equity_snapshots",
        sa.Column("is_lower_bound", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.alter_column("equity_snapshots", "is_lower_bound", server_default=None)
    op.execute(MARKET_PRICE)
    op.execute(TELL_BALANCE)


def downgrade() -> None:
    op.execute(TELL_BALANCE_BEFORE)
    op.execute("DROP FUNCTION market_price(text, text, text, text)")
    op.drop_column("equity_snapshots", "is_lower_bound")
    op.drop_table("stablecoins")
