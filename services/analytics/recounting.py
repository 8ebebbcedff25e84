"""The roll-ups computed from scratch: what they must equal, and how they are made anew."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlmodel.ext.asyncio.session import AsyncSession

from services.analytics.counting import SUMS
from services.database import Database

COLUMNS = (
    "account_id",
    "hour",
    "symbol",
    "grain",
    "bucket",
    "user_id",
    *SUMS,
    "best_net",
    "best_id",
    "worst_net",
    "worst_id",
)

RECOUNTED = """
SELECT t.account_id, h.hour, s.symbol, g.grain, g.bucket, t.user_id,
       count(*), count(*) FILTER (WHERE t.won > 0), count(*) FILTER (WHERE t.won < 0),
       sum(t.pnl), sum(t.net), sum(t.fees),
       coalesce(sum(t.won) FILTER (WHERE t.won > 0), 0),
       coalesce(sum(t.won) FILTER (WHERE t.won < 0), 0),
       sum(t.entry_notional), sum(t.entry_notional + t.exit_notional),
       sum(extract(epoch FROM t.closed_at - t.opened_at) * 1000000),
       max(t.won), (array_agg(t.id ORDER BY t.won DESC, t.id) FILTER (WHERE t.won IS NOT NULL))[1],
       min(t.won), (array_agg(t.id ORDER BY t.won, t.id) FILTER (WHERE t.won IS NOT NULL))[1]
FROM (
    SELECT p.*, coalesce(p.realized_pnl, 0) AS pnl, coalesce(p.realized_pnl, 0) - p.fees AS net,
           CASE WHEN p.exit_notional <> 0 THEN coalesce(p.realized_pnl, 0) - p.fees END AS won,
           (p.closed_at AT TIME ZONE 'UTC')::date AS day
    FROM positions p
    WHERE p.state = 'closed' AND p.account_id = :account_id AND p.closed_at > coalesce(
        (SELECT max(f.at) FROM flows f WHERE f.account_id = p.account_id AND f.kind = 'reset'),
        '-infinity'
    )
) t
CROSS JOIN LATERAL (
    VALUES ('day', t.day), ('month', date_trunc('month', t.day::timestamp)::date)
) g (grain, bucket)
CROSS JOIN LATERAL (VALUES (''), (t.symbol)) s (symbol)
CROSS JOIN LATERAL (
    VALUES (-1), (extract(hour FROM t.closed_at AT TIME ZONE 'UTC')::int)
) h (hour)
GROUP BY t.account_id, h.hour, s.symbol, g.grain, g.bucket, t.user_id
"""
"""Every roll-up row of an account, from its closed positions alone."""

_LISTED = ", ".join(COLUMNS)
_KEPT = f"SELECT {_LISTED} FROM trade_rollups WHERE account_id = :account_id AND trades <> 0"  # noqa: S608 - literals
_LOCK = text("SELECT id FROM accounts WHERE id = :account_id FOR UPDATE")
_DIFFERENT = text(
    f"SELECT count(*) FROM (({_KEPT} EXCEPT {RECOUNTED}) UNION ALL ({RECOUNTED} EXCEPT {_KEPT})) d"  # noqa: S608 - literals
)
_EMPTY = text("DELETE FROM trade_rollups WHERE account_id = :account_id")
_EMPTY_DAYS = text("DELETE FROM daily_results WHERE account_id = :account_id")
_FILL = text(f"INSERT INTO trade_rollups ({_LISTED}) {RECOUNTED}")


@dataclass(frozen=True, slots=True)
class Recount:
    """What a look at all accounts found."""

    accounts: int
    wrong: tuple[UUID, ...]


async def count_differences(session: AsyncSession, account_id: UUID) -> int:
    """How many roll-up rows of an account differ from a full recomputation; 0 when all is well."""
    parameters = {"account_id": account_id}
    found: int = (await (await session.connection()).execute(_DIFFERENT, parameters)).scalar_one()
    return found


async def rebuild(session: AsyncSession, account_id: UUID) -> None:
    """Make an account's roll-ups anew; fills of the account wait meanwhile."""
    await _run(session, _LOCK, account_id)
    await _run(session, _EMPTY, account_id)
    await _run(session, _FILL, account_id)


async def forget(session: AsyncSession, account_id: UUID) -> None:
    """Begin anew: an account that is reset keeps its trades, but they count no more.

    Neither in roll-ups nor in the day's result, by which the next entry is judged.
    """
    await _run(session, _EMPTY, account_id)
    await _run(session, _EMPTY_DAYS, account_id)


async def recount_all(database: Database, *, mend: bool) -> Recount:
    """Compare every account's roll-ups with its trades, one account a transaction.

    Args:
        database: where they are.
        mend: rebuild those that are wrong.
    """
    async with database.as_system() as session:
        connection = await session.connection()
        accounts = (await connection.execute(text("SELECT id FROM accounts ORDER BY id"))).scalars()
        ids = list(accounts)
    wrong = []
    for account_id in ids:
        async with database.as_system() as session:
            await _run(session, _LOCK, account_id)
            if await count_differences(session, account_id):
                wrong.append(account_id)
                if mend:
                    await rebuild(session, account_id)
    return Recount(len(ids), tuple(wrong))


async def recount_everything(system_database_url: str, *, mend: bool) -> Recount:
    """The same for a command that has nothing but an address of the database."""
    database = Database(system_database_url, system_database_url, pool_size=1)
    try:
        return await recount_all(database, mend=mend)
    finally:
        await database.close()


async def _run(session: AsyncSession, statement: TextClause, account_id: UUID) -> None:
    await (await session.connection()).execute(statement, {"account_id": account_id})
