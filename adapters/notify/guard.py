"""No connection from a user's channel to an address that is not public, and none without an end.

A channel's address is chosen by a user, and the connection comes from us: without a guard it could
knock at whatever stands in our own network. Looking the name up beforehand is not enough, since
its owner may answer differently a moment later and servers may redirect. So the connection itself
is watched, by an audit hook of the interpreter, which is asked before every `connect`.

The same hook notes the connections of an attempt, so that they can be cut off. A server that sends
a byte now and then never runs into a timeout of reading, and would keep its thread for ever.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""IPv4 addresses as networks with IPv6 alone write them."""

_guarded: ContextVar[bool] = ContextVar("notify_guarded", default=False)
_noted: ContextVar[Connections | None] = ContextVar("notify_connections", default=None)


class PrivateAddress(PermissionError):
    """A connection to an address that is not public was stopped."""


class Connections:
    """The connections of one attempt, which another thread may cut off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: list[int] = []
        self._is_over = self._is_cut = False

    def note(self, connecting: socket.socket) -> None:
        """Remember a connection that is about to be made.

        Raises:
            ConnectionAbortedError: they have been cut off.
        """
        with self._lock:
            if self._is_cut:
                raise ConnectionAbortedError("The attempt has ended")
            if not self._is_over:
                # A copy, since encrypting takes the socket's own number away from it.
                self._numbers.append(os.dup(connecting.fileno()))

    def end(self, *, cut: bool) -> None:
        """Forget them all; cut off, whoever waits for one gets an error at once."""
        with self._lock:
            self._is_over, self._is_cut = True, cut
            while self._numbers:
                with socket.socket(fileno=self._numbers.pop()) as copy:
                    if cut:
                        with suppress(OSError):
                            copy.shutdown(socket.SHUT_RDWR)


@contextmanager
def deadline() -> Iterator[None]:
    """Note the connections made in here, also by threads with this context.

    They are cut off when it ends with a TimeoutError.
    """
    _install()
    connections = Connections()
    token = _noted.set(connections)
    is_late = False
    try:
        yield
    except TimeoutError:
        is_late = True
        raise
    finally:
        _noted.reset(token)
        connections.end(cut=is_late)


@contextmanager
def public_only() -> Iterator[None]:
    """Let this thread connect to public addresses alone."""
    _install()
    token = _guarded.set(True)
    try:
        yield
    finally:
        _guarded.reset(token)


def is_public(address: str) -> bool:
    """Whether an address is one that anybody on the internet means the same host by."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo and found.teredo[1])
        if inner:
            return is_public(str(inner))
        if found in _TRANSLATED:
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
    return found.is_global and not found.is_multicast


def resolves_publicly(host: str) -> bool:
    """Whether every address of a host is public.

    Raises:
        OSError: the name cannot be resolved.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(is_public(str(entry[4][0])) for entry in found)


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event != "socket.connect":
        return
    connecting, address = args
    if _guarded.get() and not (isinstance(address, tuple) and is_public(str(address[0]))):
        raise PrivateAddress("The server is at an address that is not public")
    connections = _noted.get()
    if connections is not None:
        connections.note(connecting)


class _Hook:
    """Hooks cannot be taken off again, so there is one, put on with the first use."""

    is_on = False


def _install() -> None:
    if not _Hook.is_on:
        _Hook.is_on = True
        sys.addaudithook(_watch)
