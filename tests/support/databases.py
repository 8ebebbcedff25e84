"""Migrated databases on one server: each is a copy of its own one, so a fresh one costs little."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from adapters.embedded.postgres_roles import APP, DATABASE, OWNER, SYSTEM, DatabaseUrls


def fresh_database(urls: DatabaseUrls) -> DatabaseUrls:
    """A new database with the newest schema and no rows, on a server of `migrated_postgres`.

    Its URLs are of the same kind as those given: a server's `local_urls` cost less than its `urls`.

    Nobody may be connected to the server's own database, which is copied. Its files are: through
    the log, as PostgreSQL does it by default, a copy takes four times as long.
    """
    name = f"test_{uuid4().hex}"
    copy, template = sql.Identifier(name), sql.Identifier(DATABASE)
    with psycopg.connect(urls.superuser, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY FILE_COPY").format(
                copy, sql.Identifier(OWNER), template
            )
        )
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}, {}").format(
                copy, sql.Identifier(APP), sql.Identifier(SYSTEM)
            )
        )
    return replace(
        urls, owner=_at(urls.owner, name), app=_at(urls.app, name), system=_at(urls.system, name)
    )


def nowhere(urls: DatabaseUrls) -> DatabaseUrls:
    """The same database at a port where nobody listens."""

    def moved(url: str) -> str:
        there = make_url(url).set(host="127.0.0.1", port=1, query={})
        return there.render_as_string(hide_password=False)

    return DatabaseUrls(
        owner=moved(urls.owner),
        app=moved(urls.app),
        system=moved(urls.system),
        superuser=moved(urls.superuser),
    )


def _at(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
