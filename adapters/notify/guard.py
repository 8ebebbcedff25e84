"""No connection from a user's channel to an address that is not on the public internet.

A channel's address is chosen by a user, and the connection comes from us: without a guard it could
knock at whatever stands in our own network. Looking the name up beforehand is not enough, since
its owner may answer differently a moment later and servers may redirect. So the connection itself
is watched, by an audit hook of the interpreter, which is asked before every `connect`.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""IPv4 addresses as networks with IPv6 alone write them."""

_guarded: ContextVar[bool] = ContextVar("notify_guarded", default=False)


class PrivateAddress(PermissionError):
    """A connection to an address that is not public was stopped."""


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
    if event != "socket.connect" or not _guarded.get():
        return
    address = args[1]
    if not isinstance(address, tuple) or not is_public(str(address[0])):
        raise PrivateAddress("The server is at an address that is not public")


class _Hook:
    """Hooks cannot be taken off again, so there is one, put on with the first use."""

    is_on = False


def _install() -> None:
    if not _Hook.is_on:
        _Hook.is_on = True
        sys.addaudithook(_watch)
