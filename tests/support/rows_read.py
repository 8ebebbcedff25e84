"""How many rows of a table each transaction reads, counted by the server itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, event

from services.database import Database

_READ = """
SELECT sum(pg_stat_get_xact_tuples_returned(id) + pg_stat_get_xact_tuples_fetched(id))
FROM (
    SELECT CAST(%(table)s AS regclass)::oid AS id
    UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = CAST(%(table)s AS regclass)
) relations
"""


@dataclass
class RowsRead:
    """Rows and entries of indexes that were read, a number for each transaction that committed."""

    of_transactions: list[int] = field(default_factory=list)

    @property
    def most(self) -> int:
        """Of the transaction that read the most."""
        return max(self.of_transactions, default=0)


@contextmanager
def rows_read(database: Database, table: str) -> Iterator[RowsRead]:
    """Count what transactions of a database read of a table."""
    counted = RowsRead()
    engines = [door.sync_engine for door in (database._app, database._system)]
    before: dict[Connection, int] = {}

    def read(connection: Connection) -> int:
        cursor = connection.connection.cursor()
        cursor.execute(_READ, {"table": table})
        (number,) = cursor.fetchone() or (0,)
        return int(number)

    def begin(connection: Connection) -> None:
        # The server adds transactions of a connection up until it publishes its counts.
        before[connection] = read(connection)

    def commit(connection: Connection) -> None:
        counted.of_transactions.append(read(connection) - before.pop(connection))

    for engine in engines:
        event.listen(engine, "begin", begin)
        event.listen(engine, "commit", commit)
    try:
        yield counted
    finally:
        for engine in engines:
            event.remove(engine, "begin", begin)
            event.remove(engine, "commit", commit)
