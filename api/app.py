"""The whole HTTP application: every dialect mounted, the edge around them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount

import api.nija.surface as nija
import api.nija.ws as nija_stream
from api.kit.container import ApiServices
from api.kit.docs import mount_assets
from api.kit.edge import REQUEST_ID, Edge
from api.kit.limits import BodyLimit
from api.kit.proxies import TrustedProxies
from api.kit.rate_limits import HEADERS as RATE_LIMIT_HEADERS
from api.kit.stream.hub import Hub
from api.nija.errors import install
from services.admin.traffic import Traffic

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_HEADERS = ["Authorization", "Content-Type", "Idempotency-Key", REQUEST_ID]
_EXPOSED = [REQUEST_ID, "Idempotency-Replayed", *RATE_LIMIT_HEADERS]


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """What the HTTP side needs to know from the settings.

    Attributes:
        cors_origins: browser origins that may call; none by default.
        trusted_proxies: addresses or networks whose X-Forwarded-For is believed.
    """

    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()


def build_app(
    services: ApiServices | None, options: ApiOptions, *, lifespan: Lifespan | None = None
) -> FastAPI:
    """Put the application together.

    Args:
        services: the container; None when `lifespan` attaches one.
        options: narrow values of the settings.
        lifespan: opens and closes what the process needs.
    """
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=_middleware(options),
    )
    install(app)
    app.mount(nija.PATH, nija.build_surface(), name="nija")
    mount_assets(app)
    app.router.routes.append(nija_stream.stream_route(options.cors_origins))
    app.mount("", nija.build_root(), name="root")
    if services is not None:
        attach(app, services)
    return app


def attach(app: FastAPI, services: ApiServices) -> None:
    """Hand the container to the application and to every dialect."""
    app.state.services = services
    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, FastAPI):
            route.app.state.services = services


def attach_hub(app: FastAPI, hub: Hub) -> None:
    """Hand the hub of live connections to the application; without one it takes none."""
    app.state.hub = hub


def attach_traffic(app: FastAPI, traffic: Traffic) -> None:
    """Let the edge count what this process answers; without it nothing is counted."""
    app.state.traffic = traffic


def _middleware(options: ApiOptions) -> list[Middleware]:
    layers = [Middleware(Edge, proxies=TrustedProxies(options.trusted_proxies))]
    if options.cors_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(options.cors_origins),
                allow_methods=_METHODS,
                allow_headers=_HEADERS,
                expose_headers=_EXPOSED,
                allow_credentials=False,
            )
        )
    return [*layers, Middleware(BodyLimit, larger=nija.LARGER_BODIES)]
