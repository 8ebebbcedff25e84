"""Migrated databases on one server: each is a copy of a template, so a fresh one costs little."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from adapters.embedded.postgres_roles import APP, DATABASE, OWNER, SYSTEM, DatabaseUrls
from migrations.run import upgrade


def fresh_database(urls: DatabaseUrls) -> DatabaseUrls:
    """A new database with the newest schema and no rows; the server's own one is the template."""
    upgrade(urls.owner)
    name = f"test_{uuid4().hex}"
    copy, template = sql.Identifier(name), sql.Identifier(DATABASE)
    with psycopg.connect(urls.superuser, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
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


def _at(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
