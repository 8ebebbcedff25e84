"""JSON over HTTP to our own processes on loopback; numbers arrive as exact decimals."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode, urlsplit

from demo.failures import DemoFailed

TIMEOUT_SECONDS = 30.0
IDLE_SECONDS_MAX = 2.0
"""Servers close a connection that was idle for some seconds; a new one is opened before that."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a decoded body."""

    status: int
    body: Any

    @property
    def is_success(self) -> bool:
        """Whether the status is of the 200s."""
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP's own numbers


class Wire:
    """One kept-alive connection to one server."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._prefix = parts.path.rstrip("/")
        self._connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS
        )
        self._used_at = time.monotonic()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask once.

        Raises:
            DemoFailed: the server cannot be reached, or does not speak JSON.
        """
        target = self._prefix + path + (f"?{urlencode(query)}" if query else "")
        payload = None if body is None else json.dumps(body).encode()
        if time.monotonic() - self._used_at > IDLE_SECONDS_MAX:
            self._connection.close()
        self._used_at = time.monotonic()
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            self._connection.request(method, target, payload, sent)
            response = self._connection.getresponse()
            text = response.read()
            return Answer(response.status, json.loads(text, parse_float=Decimal))
        except (OSError, http.client.HTTPException, ValueError) as failed:
            self._connection.close()
            raise DemoFailed(f"{method} {path} got no answer: {failed}") from failed

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
