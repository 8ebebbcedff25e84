"""The NIJA dialect as one application: routers, error rendering, documentation."""

from __future__ import annotations

from fastapi import FastAPI

from api.kit import link_page, unsubscribe_page
from api.kit.docs import add_docs_page
from api.kit.limits import EVENT_BYTES_MAX
from api.nija.errors import install
from api.nija.routes import (
    account,
    account_life,
    admin,
    analytics,
    auth,
    config,
    exports,
    notifications,
    operations,
    stripe_webhook,
    subscription,
    trading,
    webhooks,
)

PATH = "/api/v1"
LARGER_BODIES = {f"{PATH}/webhooks/stripe": EVENT_BYTES_MAX}
VERSION = "2.0"
_DESCRIPTION = """
Every answer is an envelope: `{success, data, timestamp}` or
`{success, error: {code, message, details}, timestamp}`.

Log in with `POST /auth/login`, then send `Authorization: Bearer <access_token>`. Mutating calls
take an `Idempotency-Key` header. Times are ISO 8601 in UTC, numbers are JSON numbers. Names that a
request does not know are refused.
"""


def build_surface() -> FastAPI:
    """The application that is mounted at `PATH`."""
    app = FastAPI(
        title="NIJA API",
        version=VERSION,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    install(app)
    # Routes are tried in this order, so what is asked most comes first.
    for routes in (
        account,
        trading,
        analytics,
        exports,
        webhooks,
        auth,
        account_life,
        config,
        subscription,
        stripe_webhook,
        notifications,
        admin,
    ):
        app.include_router(routes.router)
    add_docs_page(app)
    return app


def build_root() -> FastAPI:
    """The application behind every other address: the operators' questions, and *not found*."""
    app = FastAPI(
        title="NIJA operations",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    install(app)
    app.include_router(operations.router)
    app.include_router(exports.files)
    app.include_router(link_page.router)
    app.include_router(unsubscribe_page.router)
    return app
