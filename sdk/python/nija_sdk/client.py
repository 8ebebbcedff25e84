"""The clients: the groups of endpoints, live updates, and what they share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import httpx

from nija_sdk._address import api_address, ws_address
from nija_sdk._tokens import Tokens, TokenStore
from nija_sdk._transport import AsyncTransport, Options, Transport
from nija_sdk.live import AsyncLiveUpdates, LiveUpdates
from nija_sdk.resources import AsyncGroups, Groups

TIMEOUT_SECONDS = 30.0
RETRIES = 3


class NIJAClient(Groups):
    """A client of one NIJA server, for one person; may be used by many threads.

    Args:
        api_key: an access token; `auth.login` gets one too.
        refresh_token: with it, expired access tokens are exchanged for new ones.
        base_url: a server, with or without `/api/v1`; by default `NIJA_BASE_URL` of the
            environment, else the public one.
        timeout: seconds for each step of one try of a call.
        max_retries: how often a call is repeated after its first try, where that is safe.
        on_tokens: told of every new pair of tokens. Store it: the refresh token before it is
            used up.
        http_client: used instead of one made here, and not closed.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        refresh_token: str | None = None,
        base_url: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        max_retries: int = RETRIES,
        on_tokens: Callable[[Tokens], None] | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        options = Options(api_address(base_url), timeout, max_retries)
        store = TokenStore(_tokens(api_key, refresh_token))
        self._transport = Transport(options, store, on_tokens, http_client)
        super().__init__(self._transport)
        self.ws = LiveUpdates(self._transport, ws_address(options.base_url))

    @property
    def tokens(self) -> Tokens | None:
        """The newest tokens; None before a login and after a logout."""
        return self._transport.tokens.current

    def close(self) -> None:
        """End live updates and close all connections."""
        self.ws.close()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<NIJAClient {self._transport.options.base_url}>"


class AsyncNIJAClient(AsyncGroups):
    """As `NIJAClient`, for the tasks of one event loop; `on_tokens` may be asynchronous."""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        refresh_token: str | None = None,
        base_url: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        max_retries: int = RETRIES,
        on_tokens: Callable[[Tokens], Awaitable[None] | None] | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        options = Options(api_address(base_url), timeout, max_retries)
        store = TokenStore(_tokens(api_key, refresh_token))
        self._transport = AsyncTransport(options, store, on_tokens, http_client)
        super().__init__(self._transport)
        self.ws = AsyncLiveUpdates(self._transport, ws_address(options.base_url))

    @property
    def tokens(self) -> Tokens | None:
        """The newest tokens; None before a login and after a logout."""
        return self._transport.tokens.current

    async def close(self) -> None:
        """End live updates and close all connections."""
        await self.ws.close()
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncNIJAClient {self._transport.options.base_url}>"


def _tokens(api_key: str | None, refresh_token: str | None) -> Tokens | None:
    if not api_key:
        if refresh_token:
            raise ValueError("Give api_key too, or exchange the refresh token by auth.refresh")
        return None
    return Tokens(api_key.removeprefix("Bearer "), refresh_token)
