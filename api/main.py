"""The API's entry point: settings, container, metrics, uvicorn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from api.app import ApiOptions, attach, attach_hub, attach_traffic, build_app
from api.kit.metrics import is_shared, serve_metrics, share_metrics_of_processes
from api.kit.stream.hub import Hub
from api.kit.stream.protocol import WEBSOCKETS
from bootstrap import build_container, settle_memory
from observability import configure_logging
from settings import Settings, load

SHUTDOWN_SECONDS_MAX = 8
CONNECTIONS_WAITING_MAX = 2_048
SILENT_SECONDS_MAX = 30
"""How long one of several processes may not answer its parent; while it imports, it does not."""

__all__ = ["ApiOptions", "build_app", "create_app", "main"]


def create_app() -> FastAPI:
    """The application of one process, from the environment; uvicorn calls this in each."""
    settings = load()
    configure_logging(settings.log_level, settings.log_format, service="api")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not is_shared():
            serve_metrics(settings.bind_host, settings.metrics_port)
        async with (
            build_container(settings) as services,
            services.administration.traffic.kept(),
        ):
            attach(app, services)
            attach_traffic(app, services.administration.traffic)
            hub = Hub(services.live, services.identity.access_tokens)
            async with hub.running():
                attach_hub(app, hub)
                settle_memory()
                yield

    return build_app(None, options_of(settings), lifespan=lifespan)


def options_of(settings: Settings) -> ApiOptions:
    """The narrow values the HTTP side needs."""
    return ApiOptions(
        cors_origins=settings.cors_origin_list, trusted_proxies=settings.trusted_proxy_list
    )


def main() -> None:
    """Serve until told to stop."""
    settings = load()
    configure_logging(settings.log_level, settings.log_format, service="api")
    if settings.api_processes > 1:
        share_metrics_of_processes(settings.bind_host, settings.metrics_port, settings.data_dir)
    uvicorn.run(
        "api.main:create_app",
        factory=True,
        host=settings.bind_host,
        port=settings.api_port,
        workers=settings.api_processes,
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=CONNECTIONS_WAITING_MAX,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX,
        timeout_worker_healthcheck=SILENT_SECONDS_MAX,
        **WEBSOCKETS,
    )


if __name__ == "__main__":
    main()
