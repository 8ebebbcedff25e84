"""SQLModel tables, their constraints, and the row-level-security registry. No behaviour.

Importing this package registers every table on `SQLModel.metadata`.
"""

from models import (  # noqa: F401 - registers the tables
    account_life,
    administration,
    alerts,
    billing,
    bots,
    connections,
    controls,
    events,
    exports,
    ledgers,
    limits,
    markets,
    notifications,
    people,
    rollups,
    trading,
)
