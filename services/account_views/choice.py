"""Which trading account a view is of.

Asked for nothing, it is the account of the bot's current or last run, else the paper account. Asked
for a mode or a venue, it is the best match: again the run's account if it matches, else one whose
connection stands, paper before live, the newest first. Accounts of the other realm are never shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.markets import Mode
from services.errors import NoBrokerConfigured

CHOSEN = """
chosen AS (
    SELECT a.id, a.user_id, a.venue, a.realm, a.mode, a.currency, a.opening_equity
    FROM accounts a
    LEFT JOIN connections c ON c.user_id = a.user_id AND c.id = a.connection_id
    WHERE a.user_id = %(user_id)s AND a.realm = %(realm)s
      AND (%(mode)s::text IS NULL OR a.mode = %(mode)s)
      AND (%(venue)s::text IS NULL OR a.venue = %(venue)s)
    ORDER BY
        a.id IS NOT DISTINCT FROM (
            SELECT r.account_id
            FROM bots b JOIN bot_runs r ON r.user_id = b.user_id AND r.bot_id = b.id
            WHERE b.user_id = %(user_id)s AND b.kind = 'apex'
            ORDER BY (r.id IS NOT DISTINCT FROM b.current_run_id) DESC, r.number DESC
            LIMIT 1
        ) DESC,
        c.status IS NOT DISTINCT FROM 'removed',
        a.mode = 'paper' DESC,
        a.created_at DESC
    LIMIT 1
)
"""
"""A common table expression of one row, or none; parameters `realm`, `mode`, `venue`."""

QUOTED = """
LEFT JOIN LATERAL current_quotes(chosen.venue, chosen.realm) q ON true
"""
"""Joins what prices there are at present; the caller adds `AND q.symbol = ...`."""


@dataclass(frozen=True, slots=True)
class AccountChoice:
    """What a caller asked for; None leaves it open."""

    mode: Mode | None = None
    venue: str | None = None


def first_row(rows: Sequence[Mapping[str, Any]], choice: AccountChoice) -> Mapping[str, Any]:
    """The row that tells about the chosen account.

    Raises:
        NoBrokerConfigured: the caller has no such account.
    """
    if not rows:
        wanted = " ".join(part for part in (choice.mode, choice.venue) if part)
        raise NoBrokerConfigured(f"There is no {wanted} account".replace("  ", " "))
    return rows[0]
