"""Documentation pages that work without internet: Swagger UI from an installed package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

ASSETS_PATH = "/docs-assets"
_NO_ICON = "data:,"


def mount_assets(app: FastAPI) -> None:
    """Serve Swagger UI's files at the server's root, for every dialect's page."""
    folder = Path(str(files("fastapi_offline") / "static"))
    app.mount(ASSETS_PATH, StaticFiles(directory=folder), name="docs-assets")


def add_docs_page(app: FastAPI) -> None:
    """Add `/docs` to a dialect; its OpenAPI document is beside it."""

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        base = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{base}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{ASSETS_PATH}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS_PATH}/swagger-ui.css",
            swagger_favicon_url=_NO_ICON,
            swagger_ui_parameters={"persistAuthorization": False, "tryItOutEnabled": True},
        )
