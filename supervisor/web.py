"""Plain HTTP to our own children on loopback, past any proxy the environment names."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from adapters.embedded.errors import EmbeddedError

TIMEOUT_SECONDS = 5.0
HTTP_OK = 200

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str) -> bool:
    """Whether a page answers 200."""
    try:
        with _direct.open(url, timeout=TIMEOUT_SECONDS) as response:
            return bool(response.status == HTTP_OK)
    except (OSError, HTTPException):  # an error status is an OSError too
        return False


def says(url: str, what: re.Pattern[str]) -> bool:
    """Whether a page answers 200 with a text that holds something."""
    try:
        with _direct.open(url, timeout=TIMEOUT_SECONDS) as response:
            return response.status == HTTP_OK and what.search(response.read().decode()) is not None
    except (OSError, HTTPException, ValueError):
        return False


def post_json(url: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Post a JSON object, get a JSON object.

    Raises:
        EmbeddedError: the child did not answer with one.
    """
    request = urllib.request.Request(  # noqa: S310 - our own http URL
        url,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    try:
        with _direct.open(request, timeout=TIMEOUT_SECONDS) as response:
            answer = json.load(response)
    except (OSError, HTTPException, ValueError) as failed:
        raise EmbeddedError(f"POST {url} failed: {failed}") from failed
    if not isinstance(answer, dict):
        raise EmbeddedError(f"POST {url} answered with something else than an object.")
    return answer
