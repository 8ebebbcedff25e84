"""Transactions on behalf of a user (bound by row-level security) or of the system (not bound).

Row-level security reads a transaction-local setting, so it is safe with pooled connections and
gone at commit. Code that serves a user opens `for_user`; `as_system` is for the sweeper, the
watcher, look-ups that precede authentication, and administrators.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Executable, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from models.tenancy import USER_SETTING
from services.caller_connections import CallerConnections

LOCK_TIMEOUT_MS = 5_000
STATEMENT_TIMEOUT_MS = 30_000
IDLE_TIMEOUT_MS = 15_000
"""How long a transaction may do nothing. None of ours waits for anything but the database, so one
that does belongs to a process that froze or vanished, and its locks would keep exits waiting."""

PREPARED_MAX = 250
"""Statements that a connection keeps prepared. A worker uses more than psycopg's default of 100, so
that most would be planned anew at each use, which takes the server as long as carrying them out."""

BRIEF_IDLE_TIMEOUT_MS = 3_000
BRIEF_LOCK_TIMEOUT_MS = 200
"""The same two for transactions of the price watch. Another process watches once this one has been
frozen for as long as the first: what it needs must be free by then. And what somebody has locked
must not keep a look from judging prices; the next one is a second away."""

POOL_SECONDS = 10
"""How long a transaction waits for a connection."""

SNAPSHOT_IDLE_TIMEOUT_MS = 600_000
"""The same for snapshots, which hold no locks and whose readers wait for a disk between pages."""


def driver_url(url: str) -> URL:
    """The SQLAlchemy form (psycopg 3) of a plain `postgresql://` URL."""
    return make_url(url).set(drivername="postgresql+psycopg")


def connection_options(*settings: str, statement_timeout_ms: int | None = None) -> str:
    """What every connection is opened with: bounds on waiting, and UTC.

    Args:
        settings: more of the kind `name=value`.
        statement_timeout_ms: None is the usual one.
    """
    bounds = (
        f"lock_timeout={LOCK_TIMEOUT_MS}",
        f"statement_timeout={statement_timeout_ms or STATEMENT_TIMEOUT_MS}",
        f"idle_in_transaction_session_timeout={IDLE_TIMEOUT_MS}",
        "timezone=UTC",
    )
    return " ".join(f"-c {setting}" for setting in (*bounds, *settings))


class Database:
    """PostgreSQL as two roles: bound and unbound by row-level security.

    Args:
        app_url: as the role that row-level security binds.
        system_url: as the role that it does not.
        pool_size: connections as each role.
        ping_first: ask whether a pooled connection lives before each use. A server that was killed
            leaves dead ones; where nobody repeats what fails, as the API's callers, one more round
            trip is cheaper than an error after every restart. Activities are repeated anyway.
        of_a_user: connections that one user may have at a time, where users' calls decide how many
            are wanted: calls that wait for that user's own rows must leave some to the others.
    """

    def __init__(
        self,
        app_url: str,
        system_url: str,
        *,
        pool_size: int = 10,
        ping_first: bool = True,
        of_a_user: int | None = None,
    ) -> None:
        self._users = CallerConnections(of_a_user)
        self._app = self._engine(app_url, pool_size, ping_first)
        self._system = self._engine(system_url, pool_size, ping_first)

    @staticmethod
    def _engine(url: str, pool_size: int, ping_first: bool) -> AsyncEngine:
        engine = create_async_engine(
            driver_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_SECONDS,
            pool_pre_ping=ping_first,
            # The connection that came back last has the most statements prepared.
            pool_use_lifo=True,
            # Error texts end in logs and workflow histories; values must not.
            hide_parameters=True,
            connect_args={
                "connect_timeout": 5,
                "options": connection_options(),
            },
        )
        event.listen(engine.sync_engine, "connect", _keep_statements)
        return engine

    @asynccontextmanager
    async def for_user(self, user_id: UUID) -> AsyncIterator[AsyncSession]:
        """One transaction that sees and touches only this user's rows; commits at the end.

        Raises:
            sqlalchemy.exc.TimeoutError: no connection became free in time.
        """
        async with (
            self._one_of(user_id),
            AsyncSession(self._app, expire_on_commit=False) as session,
            session.begin(),
        ):
            connection = await session.connection()
            await connection.execute(
                text("SELECT set_config(:name, :value, true)"),
                {"name": USER_SETTING, "value": str(user_id)},
            )
            yield session

    @asynccontextmanager
    async def _one_of(self, user_id: UUID) -> AsyncIterator[None]:
        """Wait, without a connection, until the user has few enough of them."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(
                    self._users.one_for(user_id, wait_seconds=POOL_SECONDS)
                )
            except TimeoutError:
                raise PoolTimeout("The user's other calls have all connections of theirs") from None
            yield

    @asynccontextmanager
    async def snapshot_for_user(self, user_id: UUID) -> AsyncIterator[AsyncSession]:
        """One read-only transaction whose statements all see the same moment of a user's rows."""
        snapshot = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        async with AsyncSession(self._app, expire_on_commit=False) as session, session.begin():
            connection = await session.connection(execution_options=snapshot)
            await connection.execute(
                text(
                    "SELECT set_config(:name, :value, true),"
                    " set_config('idle_in_transaction_session_timeout', :idle, true)"
                ),
                {
                    "name": USER_SETTING,
                    "value": str(user_id),
                    "idle": str(SNAPSHOT_IDLE_TIMEOUT_MS),
                },
            )
            yield session

    @asynccontextmanager
    async def as_system(self) -> AsyncIterator[AsyncSession]:
        """One transaction that sees every user's rows; commits at the end."""
        async with AsyncSession(self._system, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def as_system_briefly(self) -> AsyncIterator[AsyncSession]:
        """As `as_system`; its locks are kept and waited for a moment only.

        Whatever takes time is done before: nothing but statements belongs into it.
        """
        async with self.as_system() as session:
            connection = await session.connection()
            await connection.execute(
                text(
                    "SELECT set_config('idle_in_transaction_session_timeout', :idle, true),"
                    " set_config('lock_timeout', :lock, true)"
                ),
                {"idle": str(BRIEF_IDLE_TIMEOUT_MS), "lock": str(BRIEF_LOCK_TIMEOUT_MS)},
            )
            yield session

    async def ping(self) -> None:
        """Ask the database for one row.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: it does not answer.
        """
        async with self._app.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close both pools."""
        await self._app.dispose()
        await self._system.dispose()


async def wait_briefly(session: AsyncSession) -> None:
    """Have this transaction, or what is left of its savepoint, wait for locks a moment only."""
    connection = await session.connection()
    await connection.execute(text(f"SET LOCAL lock_timeout = {BRIEF_LOCK_TIMEOUT_MS}"))


async def all_rows(session: AsyncSession, statement: Executable) -> Sequence[Any]:
    """Every row of a statement that is wider than SQLModel's own `select` can be typed for."""
    # SQLModel deprecates `execute`, and the types of its `exec` know its own statements only.
    found: Sequence[Any] = (await cast("Any", session).exec(statement)).all()
    return found


def _keep_statements(connection: Any, _record: object) -> None:
    connection.driver_connection.prepared_max = PREPARED_MAX
