"""The row-level-security registry: whose rows a table holds, and what each role may do.

Migrations call `statements()`; a test walks every table and fails when one is in neither list.
"""

from __future__ import annotations

from collections.abc import Iterator

APP_ROLE = "nija_app"
SYSTEM_ROLE = "nija_system"
USER_SETTING = "nija.user_id"

_CURRENT_USER = f"nullif(current_setting('{USER_SETTING}', true), '')::uuid"

USER_TABLES: tuple[str, ...] = (
    "accounts",
    "alerts",
    "api_call_counts",
    "balances",
    "billing_commands",
    "bot_runs",
    "bots",
    "call_windows",
    "connections",
    "daily_results",
    "decisions",
    "deliveries",
    "equity_snapshots",
    "event_streams",
    "exit_requests",
    "exports",
    "fills",
    "flows",
    "idempotency_keys",
    "mailed_links",
    "messages",
    "notices",
    "notification_channels",
    "notification_preferences",
    "orders",
    "paper_balances",
    "paper_fills",
    "paper_orders",
    "positions",
    "recovery_codes",
    "refresh_tokens",
    "second_factors",
    "sessions",
    "stream_events",
    "subscriptions",
    "trade_rollups",
    "triggers",
    "usage_periods",
    "user_settings",
    "webhook_keys",
)
"""Tables whose every row belongs to the user in its `user_id` column."""

SHARED_TABLES: tuple[str, ...] = (
    "announced_bars",
    "evaluations",
    "market_states",
    "request_budgets",
    "stablecoins",
    "venue_quotes",
    "venue_states",
)
"""Market facts, the same for everybody: readable by all roles, written by the system role."""

SPECIAL_POLICIES: dict[str, tuple[str, ...]] = {
    "users": (
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        (
            f"CREATE POLICY own_row ON users USING (id = {_CURRENT_USER})"
            f" WITH CHECK (id = {_CURRENT_USER})"
        ),
        f"GRANT SELECT, UPDATE ON users TO {APP_ROLE}",
    ),
    "kill_switches": (
        "ALTER TABLE kill_switches ENABLE ROW LEVEL SECURITY",
        (
            "CREATE POLICY visible ON kill_switches FOR SELECT"
            f" USING (user_id IS NULL OR user_id = {_CURRENT_USER})"
        ),
        (
            "CREATE POLICY own_write ON kill_switches"
            f" FOR INSERT WITH CHECK (user_id = {_CURRENT_USER})"
        ),
        (
            "CREATE POLICY own_release ON kill_switches FOR UPDATE"
            f" USING (user_id = {_CURRENT_USER})"
            f" WITH CHECK (user_id = {_CURRENT_USER})"
        ),
        f"GRANT SELECT, INSERT, UPDATE ON kill_switches TO {APP_ROLE}",
    ),
    # Outlives its user: asked for by them, worked off and kept by the system role.
    "account_deletions": (
        "ALTER TABLE account_deletions ENABLE ROW LEVEL SECURITY",
        (
            "CREATE POLICY own_write ON account_deletions"
            f" FOR INSERT WITH CHECK (user_id = {_CURRENT_USER})"
        ),
        f"GRANT INSERT ON account_deletions TO {APP_ROLE}",
    ),
    # Callers without a token, by address: the app role counts them through `enter_door` only.
    "door_windows": ("ALTER TABLE door_windows ENABLE ROW LEVEL SECURITY",),
    # Gone when its transaction has committed: no key to the user that would lock that row.
    "pending_events": (
        "ALTER TABLE pending_events ENABLE ROW LEVEL SECURITY",
        (
            f"CREATE POLICY own_rows ON pending_events USING (user_id = {_CURRENT_USER})"
            f" WITH CHECK (user_id = {_CURRENT_USER})"
        ),
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON pending_events TO {APP_ROLE}",
    ),
    # Of no user until it is processed: nobody but the system role sees it.
    "stripe_events": ("ALTER TABLE stripe_events ENABLE ROW LEVEL SECURITY",),
    "audit_log": (
        "ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY own_rows ON audit_log FOR SELECT USING (user_id = {_CURRENT_USER})",
        (
            "CREATE POLICY own_write ON audit_log"
            f" FOR INSERT WITH CHECK (user_id = {_CURRENT_USER} AND sequence IS NULL)"
        ),
        f"GRANT SELECT, INSERT ON audit_log TO {APP_ROLE}",
        # Sealing into the chain; a trigger lets it happen once a row.
        f"GRANT UPDATE (sequence, previous_hash, hash) ON audit_log TO {SYSTEM_ROLE}",
    ),
    # Of the platform, not of a user: nobody but the system role sees these.
    "audit_chains": ("ALTER TABLE audit_chains ENABLE ROW LEVEL SECURITY",),
    "user_notes": ("ALTER TABLE user_notes ENABLE ROW LEVEL SECURITY",),
    "api_minutes": ("ALTER TABLE api_minutes ENABLE ROW LEVEL SECURITY",),
}
"""Tables whose rule is not simply *rows of the user*."""

APPEND_ONLY: tuple[str, ...] = ("audit_log", "fills", "flows")
"""Tables no role may change or delete rows of, except by deleting the whole user."""


def statements() -> Iterator[str]:
    """The SQL that puts the registry in force; the tables exist, the roles exist."""
    yield f"GRANT USAGE ON SCHEMA public TO {APP_ROLE}, {SYSTEM_ROLE}"
    for table in USER_TABLES:
        yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
        yield (
            f"CREATE POLICY own_rows ON {table} USING (user_id = {_CURRENT_USER})"
            f" WITH CHECK (user_id = {_CURRENT_USER})"
        )
        rights = "SELECT, INSERT" if table in APPEND_ONLY else "SELECT, INSERT, UPDATE, DELETE"
        yield f"GRANT {rights} ON {table} TO {APP_ROLE}"
    for table in SHARED_TABLES:
        yield f"GRANT SELECT ON {table} TO {APP_ROLE}"
    for special in SPECIAL_POLICIES.values():
        yield from special
    for table in (*USER_TABLES, *SHARED_TABLES, *SPECIAL_POLICIES):
        rights = "SELECT, INSERT" if table in APPEND_ONLY else "SELECT, INSERT, UPDATE, DELETE"
        yield f"GRANT {rights} ON {table} TO {SYSTEM_ROLE}"
