"""Where the present request came from: set by the HTTP edge, read by the audit log.

Outside a request (worker, command line) the origin is empty.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from dataclasses import dataclass

USER_AGENT_LENGTH_MAX = 400


@dataclass(frozen=True, slots=True)
class Origin:
    """Address and client of a request; the address is behind trusted proxies the client's own."""

    ip: str | None = None
    user_agent: str | None = None


_NOWHERE = Origin()
_origin: ContextVar[Origin] = ContextVar("origin", default=_NOWHERE)


def current_origin() -> Origin:
    """Where the request being served came from."""
    return _origin.get()


def set_origin(origin: Origin) -> Token[Origin]:
    """Note where the request being served comes from."""
    return _origin.set(origin)


def reset_origin(token: Token[Origin]) -> None:
    """Forget what `set_origin` noted."""
    _origin.reset(token)
