"""Where the API is: one base address, and the WebSocket beside it."""

from __future__ import annotations

import os
from urllib.parse import urlsplit, urlunsplit

VARIABLE = "NIJA_BASE_URL"
DEFAULT = "https://api.nija.com/api/v1"
_API, _WS = "/api/v1", "/ws/v1"
_SECURE = {"https": "wss", "http": "ws"}


def api_address(base_url: str | None) -> str:
    """The address that paths are appended to.

    Args:
        base_url: a server, with or without `/api/v1`; by default that of the environment
            variable `NIJA_BASE_URL`, else the public one.

    Raises:
        ValueError: this is no web address.
    """
    parts = urlsplit(base_url or os.environ.get(VARIABLE) or DEFAULT)
    if parts.scheme not in _SECURE or not parts.hostname:
        raise ValueError("base_url must be an http or https address")
    path = parts.path.rstrip("/")
    path = path if path.endswith(_API) else path + _API
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def ws_address(api: str) -> str:
    """The WebSocket's address for an API's."""
    parts = urlsplit(api)
    path = parts.path.removesuffix(_API) + _WS
    return urlunsplit((_SECURE[parts.scheme], parts.netloc, path, "", ""))
