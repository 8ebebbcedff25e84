"""The database and its three login roles, made so that doing it again changes nothing.

`nija_owner` migrates, `nija_app` is bound by row-level security, `nija_system` bypasses it. None
is a superuser; what the tables grant to the last two is the migrations' business.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

DATABASE = "nija"
SUPERUSER = "postgres"
OWNER = "nija_owner"
APP = "nija_app"
SYSTEM = "nija_system"


@dataclass(frozen=True, slots=True)
class DatabasePasswords:
    """One password a role."""

    superuser: str
    owner: str
    app: str
    system: str

    def __repr__(self) -> str:
        return f"DatabasePasswords({', '.join(field.name for field in fields(self))})"


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """One libpq URL a role, usable by psql and psycopg as it stands."""

    owner: str
    app: str
    system: str
    superuser: str

    @classmethod
    def at(cls, host: str, port: int, passwords: DatabasePasswords) -> DatabaseUrls:
        """The URLs of a server; passwords hold no character that a URL would need escaped."""
        return cls._of(f"{host}:{port}", "", passwords)

    @classmethod
    def inside(cls, folder: Path, port: int, passwords: DatabasePasswords) -> DatabaseUrls:
        """The URLs of the server whose Unix socket is in a folder."""
        return cls._of(
            "", "?" + urlencode({"host": str(folder), "port": port}, quote_via=quote), passwords
        )

    @classmethod
    def _of(cls, where: str, query: str, passwords: DatabasePasswords) -> DatabaseUrls:
        return cls(
            owner=f"postgresql://{OWNER}:{passwords.owner}@{where}/{DATABASE}{query}",
            app=f"postgresql://{APP}:{passwords.app}@{where}/{DATABASE}{query}",
            system=f"postgresql://{SYSTEM}:{passwords.system}@{where}/{DATABASE}{query}",
            superuser=f"postgresql://{SUPERUSER}:{passwords.superuser}@{where}/postgres{query}",
        )

    def __repr__(self) -> str:
        return "DatabaseUrls(...)"  # they hold passwords; a log line must not


def provision(superuser_url: str, passwords: DatabasePasswords) -> None:
    """Make the roles and the database as they must be."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        _ensure_role(connection, OWNER, passwords.owner, "NOBYPASSRLS")
        _ensure_role(connection, APP, passwords.app, "NOBYPASSRLS")
        _ensure_role(connection, SYSTEM, passwords.system, "BYPASSRLS")
        _ensure_database(connection)


def _ensure_role(
    connection: psycopg.Connection[tuple[object, ...]], name: str, password: str, row_security: str
) -> None:
    found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    # Hashed here, so that the password itself reaches neither the wire nor a server log.
    verifier = connection.pgconn.encrypt_password(
        password.encode(), name.encode(), b"scram-sha-256"
    )
    connection.execute(
        sql.SQL(
            "{verb} ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION "
            "{row_security} PASSWORD {verifier}"
        ).format(
            verb=sql.SQL("ALTER" if found else "CREATE"),
            name=sql.Identifier(name),
            row_security=sql.SQL("BYPASSRLS" if row_security == "BYPASSRLS" else "NOBYPASSRLS"),
            verifier=sql.Literal(verifier.decode()),
        )
    )


def _ensure_database(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    found = connection.execute(
        "SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)
    ).fetchone()
    database = sql.Identifier(DATABASE)
    if not found:
        # Owning the database makes nija_owner the owner of its schema `public` too.
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(database, sql.Identifier(OWNER))
        )
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    connection.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}, {}").format(
            database, sql.Identifier(APP), sql.Identifier(SYSTEM)
        )
    )
