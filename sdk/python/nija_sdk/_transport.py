"""Sends calls, in a blocking and an asynchronous shell around the same decisions."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from nija_sdk._calls import Call, make_call, read_answer
from nija_sdk._retry import RetryPolicy
from nija_sdk._tokens import REFRESH, REFRESH_SECONDS, REFRESH_TRIES, Tokens, TokenStore
from nija_sdk.errors import APIConnectionError, APIError, APITimeoutError

_log = logging.getLogger("nija_sdk")


@dataclass(frozen=True, slots=True)
class Options:
    """How calls are sent.

    Attributes:
        base_url: where the API is, with its version.
        timeout: seconds for each step of one try: connecting, sending, waiting for bytes.
        retries: how often a call is repeated after its first try.
    """

    base_url: str
    timeout: float
    retries: int


class Transport:
    """Blocking; may be used by many threads."""

    def __init__(
        self,
        options: Options,
        tokens: TokenStore,
        on_tokens: Callable[[Tokens], None] | None,
        http: httpx.Client | None,
    ) -> None:
        self.options = options
        self.tokens = tokens
        self._on_tokens = on_tokens
        self._owns_http = http is None
        self._http = http or httpx.Client()
        self._refreshing = threading.RLock()  # `on_tokens` may call

    def close(self) -> None:
        """Close the connections, unless they were handed in."""
        if self._owns_http:
            self._http.close()

    def request(self, call: Call) -> Any:
        """Send a call and return the `data` of its answer.

        Raises:
            NIJAError: see `nija_sdk.errors`.
        """
        used = self.tokens.current
        try:
            return self._send(call, used)
        except APIError as failure:
            if call.operation.public or not self.tokens.is_worth_another_try(used, failure):
                raise
        assert used is not None
        self.refresh(used)
        return self._send(call, self.tokens.current)

    def refresh(self, used: Tokens) -> None:
        """Exchange tokens that turned out to be expired; once, however many calls used them."""
        with self._refreshing:
            if self.tokens.needs_refresh(used):
                call = make_call(REFRESH, body={"refresh_token": used.refresh_token})
                self._refresh(call)

    def _refresh(self, call: Call) -> None:
        for tried in range(1, REFRESH_TRIES + 1):
            try:
                response = self._try(call, None, min(self.options.timeout, REFRESH_SECONDS))
            except httpx.RequestError as error:
                if tried == REFRESH_TRIES:
                    raise _translated(error) from error
            else:
                self._learn(call, read_answer(response))
                return

    def _send(self, call: Call, tokens: Tokens | None) -> Any:
        policy = RetryPolicy(self.options.retries)
        tried = 0
        while True:
            tried += 1
            try:
                response = self._try(call, tokens, self.options.timeout)
            except httpx.RequestError as error:
                wait = policy.after_error(call, error, tried)
                if wait is None:
                    raise _translated(error) from error
            else:
                wait = policy.after_response(call, response, tried)
                if wait is None:
                    return self._learn(call, read_answer(response))
            _note(call, tried, wait)
            _wait(wait)

    def _try(self, call: Call, tokens: Tokens | None, timeout: float) -> httpx.Response:
        return self._http.request(
            call.operation.method,
            self.options.base_url + call.path,
            params=call.query,
            content=call.content,
            headers=_headers(call, tokens),
            timeout=timeout,
        )

    def _learn(self, call: Call, data: Any) -> Any:
        new = self.tokens.adopt(call.operation, data)
        if new is not None and self._on_tokens is not None:
            self._on_tokens(new)
        return data


class AsyncTransport:
    """Asynchronous; for the tasks of one event loop."""

    def __init__(
        self,
        options: Options,
        tokens: TokenStore,
        on_tokens: Callable[[Tokens], Awaitable[None] | None] | None,
        http: httpx.AsyncClient | None,
    ) -> None:
        self.options = options
        self.tokens = tokens
        self._on_tokens = on_tokens
        self._owns_http = http is None
        self._http = http or httpx.AsyncClient()
        self._refreshing: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Close the connections, unless they were handed in."""
        if self._owns_http:
            await self._http.aclose()

    async def request(self, call: Call) -> Any:
        """Send a call and return the `data` of its answer.

        Raises:
            NIJAError: see `nija_sdk.errors`.
        """
        used = self.tokens.current
        try:
            return await self._send(call, used)
        except APIError as failure:
            if call.operation.public or not self.tokens.is_worth_another_try(used, failure):
                raise
        assert used is not None
        await self.refresh(used)
        return await self._send(call, self.tokens.current)

    async def refresh(self, used: Tokens) -> None:
        """Exchange tokens that turned out to be expired; once, however many calls used them.

        The exchange goes on when the call that began it is cancelled: it uses a token up, and
        what it brings must not get lost.
        """
        if self._refreshing is None:
            if not self.tokens.needs_refresh(used):
                return
            call = make_call(REFRESH, body={"refresh_token": used.refresh_token})
            self._refreshing = asyncio.create_task(self._refresh(call))
            self._refreshing.add_done_callback(self._refreshed)
        await asyncio.shield(self._refreshing)

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()  # seen by those who wait, or by nobody

    async def _refresh(self, call: Call) -> None:
        for tried in range(1, REFRESH_TRIES + 1):
            try:
                response = await self._try(call, None, min(self.options.timeout, REFRESH_SECONDS))
            except httpx.RequestError as error:
                if tried == REFRESH_TRIES:
                    raise _translated(error) from error
            else:
                await self._learn(call, read_answer(response))
                return

    async def _send(self, call: Call, tokens: Tokens | None) -> Any:
        policy = RetryPolicy(self.options.retries)
        tried = 0
        while True:
            tried += 1
            try:
                response = await self._try(call, tokens, self.options.timeout)
            except httpx.RequestError as error:
                wait = policy.after_error(call, error, tried)
                if wait is None:
                    raise _translated(error) from error
            else:
                wait = policy.after_response(call, response, tried)
                if wait is None:
                    return await self._learn(call, read_answer(response))
            _note(call, tried, wait)
            await _pause(wait)

    async def _try(self, call: Call, tokens: Tokens | None, timeout: float) -> httpx.Response:  # noqa: ASYNC109 - httpx keeps it, for each step
        return await self._http.request(
            call.operation.method,
            self.options.base_url + call.path,
            params=call.query,
            content=call.content,
            headers=_headers(call, tokens),
            timeout=timeout,
        )

    async def _learn(self, call: Call, data: Any) -> Any:
        new = self.tokens.adopt(call.operation, data)
        if new is not None and self._on_tokens is not None:
            told = self._on_tokens(new)
            if inspect.isawaitable(told):
                await told
        return data


def _wait(seconds: float) -> None:
    time.sleep(seconds)


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


def _headers(call: Call, tokens: Tokens | None) -> dict[str, str]:
    if tokens is None or call.operation.public:
        return dict(call.headers)
    return {**call.headers, "Authorization": tokens.header}


def _translated(error: httpx.RequestError) -> APIConnectionError:
    kind = APITimeoutError if isinstance(error, httpx.TimeoutException) else APIConnectionError
    return kind(str(error) or type(error).__name__)


def _note(call: Call, tried: int, wait: float) -> None:
    _log.info("%s %s: try %d failed, next in %.2f s", call.operation.method, call.path, tried, wait)
