"""What the generated groups of methods stand on: send, decode, go through pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol, TypeAlias, TypeVar

from nija_sdk._calls import Operation, make_call
from nija_sdk._json import decode
from nija_sdk._transport import AsyncTransport, Transport

T = TypeVar("T")

Number: TypeAlias = Decimal | int | float
"""An amount in a request; Decimal is exact."""

Moment: TypeAlias = datetime | date | str
"""A time in a request: aware, a date, or ISO 8601."""


class _Pagination(Protocol):
    @property
    def has_next(self) -> bool: ...


class _Page(Protocol):
    @property
    def pagination(self) -> _Pagination: ...


P = TypeVar("P", bound=_Page)


class Resource:
    """A group of endpoints, blocking."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _call(self, operation: Operation, kind: type[T], **parts: Any) -> T:
        return decode(kind, self._transport.request(make_call(operation, **parts)))


class AsyncResource:
    """A group of endpoints, asynchronous."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def _call(self, operation: Operation, kind: type[T], **parts: Any) -> T:
        return decode(kind, await self._transport.request(make_call(operation, **parts)))


def iterate(
    fetch: Callable[[int], P], items: Callable[[P], Sequence[T]], key: Callable[[T], object]
) -> Iterator[T]:
    """Go through the items of all pages.

    What is added meanwhile pushes items onto the next page; each is still given once.
    """
    seen: set[object] = set()
    number = 1
    while True:
        page = fetch(number)
        for item in items(page):
            if key(item) not in seen:
                seen.add(key(item))
                yield item
        if not page.pagination.has_next:
            return
        number += 1


async def iterate_async(
    fetch: Callable[[int], Awaitable[P]],
    items: Callable[[P], Sequence[T]],
    key: Callable[[T], object],
) -> AsyncIterator[T]:
    """As `iterate`, asynchronously."""
    seen: set[object] = set()
    number = 1
    while True:
        page = await fetch(number)
        for item in items(page):
            if key(item) not in seen:
                seen.add(key(item))
                yield item
        if not page.pagination.has_next:
            return
        number += 1
