"""uvicorn's WebSocket protocol with an outlet for prebuilt frames.

A server's frames are not masked, so an event is the same bytes for everybody: it is encoded once
and written to each transport. ASGI would encode it again for every client, and would wait for a
slow one; the outlet never waits, it tells how far behind a client is.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request

CLOSING_SECONDS_MAX = 5.0
"""How long a client may take to read what is left and confirm a close; then it is cut off."""

UNREAD_BYTES_MAX = 512 * 1024
"""What may wait for a client that goes on sending pings."""

WEBSOCKETS: Mapping[str, Any] = {
    "ws": "api.kit.stream.protocol:StreamProtocol",
    "ws_max_size": 16 * 1024,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
    # Small frames of changing numbers: compressing each for each client costs more than it saves.
    "ws_per_message_deflate": False,
}
"""uvicorn's options of live connections."""

_STATE = "outlet"
# Two lines a connection say nothing; at the debug level every frame would be one, tokens included.
_log = logging.getLogger("nija.websockets")
_log.setLevel(logging.WARNING)
_FINAL_TEXT = 0x81
_LENGTH_16, _LENGTH_64 = 126, 127
_SHORT_MAX, _MEDIUM_MAX = 125, 0xFFFF


def text_frame(payload: bytes) -> bytes:
    """One unmasked, final WebSocket text frame around UTF-8 text."""
    length = len(payload)
    if length <= _SHORT_MAX:
        return bytes((_FINAL_TEXT, length)) + payload
    if length <= _MEDIUM_MAX:
        return struct.pack("!BBH", _FINAL_TEXT, _LENGTH_16, length) + payload
    return struct.pack("!BBQ", _FINAL_TEXT, _LENGTH_64, length) + payload


class Outlet(Protocol):
    """Where the frames of one connection go."""

    @property
    def backlog(self) -> int:
        """Bytes that were written and that the client has not taken yet."""
        ...

    def write(self, frame: bytes) -> None:
        """Send a frame; never waits. Nothing happens once the connection is closing."""
        ...

    async def drained(self) -> None:
        """Wait until the client has taken most of what was written."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Begin to close; a client that does not follow is cut off."""
        ...


class StreamProtocol(WebSocketsSansIOProtocol):
    """Serves WebSockets; the application finds the connection's outlet in its scope."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = self.conn.logger = _log
        self.conn.debug = False

    def handle_connect(self, event: Request) -> None:
        """Accept the handshake and start the application."""
        super().handle_connect(event)
        if self.response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return
        # Nothing of ours reads it, and a token that a client wrongly puts there would be logged.
        self.scope["query_string"] = b""
        self.scope["state"][_STATE] = self

    def handle_ping(self) -> None:
        """Answer; a client that reads no answers must not have us keep them without end."""
        super().handle_ping()
        if self.backlog > UNREAD_BYTES_MAX:
            self.transport.abort()

    def keepalive_timeout(self) -> None:
        """A client that does not answer pings will not take what is left either."""
        super().keepalive_timeout()
        self.transport.abort()

    @property
    def backlog(self) -> int:
        """Bytes that were written and that the client has not taken yet."""
        return self.transport.get_write_buffer_size()

    def write(self, frame: bytes) -> None:
        """Send a frame; never waits. Nothing happens once the connection is closing."""
        if not self.close_sent and not self.transport.is_closing():
            self.transport.write(frame)

    async def drained(self) -> None:
        """Wait until the client has taken most of what was written."""
        await self.writable.wait()

    def close(self, code: int, reason: str) -> None:
        """Begin to close; a client that does not follow is cut off."""
        if self.close_sent or self.transport.is_closing():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        try:
            self.conn.send_close(code, reason)
        except InvalidState:  # the client was faster
            self.transport.close()
            return
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = asyncio.get_running_loop().call_later(
            CLOSING_SECONDS_MAX, self.transport.abort
        )


def outlet_of(scope: Any) -> Outlet:
    """The outlet of a WebSocket that `StreamProtocol` serves.

    Raises:
        RuntimeError: another protocol serves it.
    """
    outlet: Outlet | None = scope.get("state", {}).get(_STATE)
    if outlet is None:
        raise RuntimeError("Serve WebSockets with api.kit.stream.protocol.StreamProtocol")
    return outlet
