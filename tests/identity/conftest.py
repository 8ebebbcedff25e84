"""The API over a real PostgreSQL, as its own tests have it."""

from tests.api.conftest import anyone, client, logging_as_in_production, other, urls, user, world

__all__ = ["anyone", "client", "logging_as_in_production", "other", "urls", "user", "world"]
