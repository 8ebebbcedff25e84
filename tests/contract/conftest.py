"""The application over a real PostgreSQL, as the tests of the API use it."""

from tests.api.conftest import (  # noqa: F401 - fixtures
    client,
    logging_as_in_production,
    urls,
    user,
    world,
)
