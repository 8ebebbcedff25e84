"""The ccxt client of Coinbase: made, asked with a deadline, and with errors that keep answers."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import ccxt
import ccxt.async_support

from adapters.venues.coinbase.keys import usable_keys
from adapters.venues.errors import (
    VenueAnswerMalformedError,
    VenueRejectedQuestionError,
    question_failure,
)
from adapters.venues.pace import RequestPace
from domain.ports import RequestBudget, VenueCredentials, VenueRefusedKeys, VenueUnavailable

DEADLINE_SECONDS = 10.0
# Coinbase allows an address 10 public requests a second. ccxt counts each of them as three of its
# ticks of 34 ms; market data has two lanes, and each lane half of the allowance.
PUBLIC_LANE_MILLISECONDS = 68
PUBLIC_PER_SECOND = 10
PRIVATE_PER_SECOND = 30
_HTTP_UNAUTHORIZED = 401
_HTTP_FORBIDDEN = 403
_HTTP_REJECTED = frozenset({400, 404})

_SILENT = logging.getLogger("nija.ccxt")
_SILENT.setLevel(logging.WARNING)

Params = Mapping[str, object]
Endpoint = Callable[[dict[str, object]], Awaitable[object]]
Answer = dict[str, Any]
MayLeave = Callable[[], Awaitable[None]]
"""Returns where a signed request may leave now, and raises where it must not."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the venue answered when ccxt raised: the status, and the body if a JSON object."""

    status: int
    body: Answer


class AnsweredError(Exception):
    """ccxt raised because of an answer; `error` is what it raised."""

    def __init__(self, error: ccxt.BaseError, answer: HttpAnswer) -> None:
        super().__init__(type(error).__name__)
        self.error = error
        self.answer = answer


class CoinbaseClient(ccxt.async_support.coinbase):  # type: ignore[misc]  # ccxt ships no types
    """ccxt's client whose errors keep the answer they were raised for.

    ccxt puts the body into the message and forgets the status. An order's fate must not be read
    out of a message, and `last_json_response` belongs to whichever request of the client ended
    last.
    """

    number = str
    pace: RequestPace
    budget: RequestBudget | None = None
    budget_scope = ""
    budget_per_second = 0
    may_leave: MayLeave | None = None
    logger = _SILENT  # ccxt's debug lines hold the headers of signed requests.

    async def throttle(self, cost: float | None = None) -> None:
        """Wait for this process's own limit, then for a share of what all processes may ask."""
        milliseconds: float = self.rateLimit
        await self.pace.wait((1.0 if cost is None else cost) * milliseconds / 1000)
        if self.budget is not None:
            await self.budget.take(self.budget_scope, per_second=self.budget_per_second)

    def open(self, lazy: bool = False) -> None:
        """Do what ccxt does, and have the session ask before a request leaves.

        Limits, signing and connecting may take their time: the question comes after all of them,
        before the first byte is written.
        """
        before = self.session
        super().open(lazy)
        if self.may_leave is not None and self.session is not before:
            self.session.trace_configs.append(_asking(self.may_leave))

    def handle_errors(self, code: int, *args: Any) -> object:
        """Do what ccxt does, and keep status and body (the sixth argument) with the error."""
        try:
            return super().handle_errors(code, *args)
        except ccxt.BaseError as error:
            response = args[5]
            raise AnsweredError(error, _http_answer(code, response)) from error

    def handle_http_status_code(self, code: int, *args: Any) -> None:
        """Do what ccxt does, and keep the status with the error."""
        try:
            super().handle_http_status_code(code, *args)
        except ccxt.BaseError as error:
            raise AnsweredError(error, _http_answer(code, self.parse_json(args[-1]))) from error


def public_client(base_url: str | None, budget: RequestBudget | None = None) -> CoinbaseClient:
    """Make a client for public data. `base_url` is the simulator's; None is the real venue."""
    client = _client({"rateLimit": PUBLIC_LANE_MILLISECONDS}, base_url)
    client.budget, client.budget_per_second = budget, PUBLIC_PER_SECOND
    client.budget_scope = "coinbase:address"
    return client


def private_client(
    base_url: str | None,
    credentials: VenueCredentials,
    budget: RequestBudget | None = None,
    may_leave: MayLeave | None = None,
) -> CoinbaseClient:
    """Make a client for one account; `may_leave` is asked before each of its requests leaves.

    Raises:
        VenueRefusedKeys: the keys cannot even sign a request, so no venue would accept them.
    """
    keys = usable_keys(credentials)
    client = _client({"apiKey": keys.api_key, "secret": keys.api_secret}, base_url)
    client.may_leave = may_leave
    client.budget, client.budget_per_second = budget, PRIVATE_PER_SECOND
    client.budget_scope = f"coinbase:key:{hashlib.sha256(keys.api_key.encode()).hexdigest()[:32]}"
    if not _can_sign(client):
        # What went wrong is not told: the parsers' texts may quote the secret.
        raise VenueRefusedKeys("The API key or its secret is not in a form that Coinbase issues")
    return client


def _asking(may_leave: MayLeave) -> aiohttp.TraceConfig:
    async def ask_first(*_: object) -> None:
        await may_leave()

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(ask_first)  # called before the headers are written
    trace.freeze()
    return trace


def _can_sign(client: CoinbaseClient) -> bool:
    """Whether signing works, and makes headers that HTTP can carry."""
    try:
        signed = client.sign("brokerage/key_permissions", ["v3", "private"], "GET", {})
    except Exception:  # noqa: BLE001 - signing raises whatever its parsers raise
        return False
    headers: Mapping[str, str] = signed["headers"]
    return all(value.isascii() and value.isprintable() for value in headers.values())


async def ask(endpoint: Endpoint, params: Params, *, seconds: float = DEADLINE_SECONDS) -> Answer:
    """Ask a question that changes nothing at the venue, and wait for its answer some seconds.

    Raises:
        VenueUnavailable: no usable answer within the deadline.
        VenueRefusedKeys: the venue does not accept the keys, or not for this.
    """
    try:
        async with asyncio.timeout(seconds):
            answer = await endpoint(dict(params))
    except TimeoutError:
        raise VenueUnavailable("Coinbase did not answer in time") from None
    except AnsweredError as failure:
        raise _answered_failure(failure) from failure
    except ccxt.BaseError as error:
        raise question_failure(error, f"Coinbase: {type(error).__name__}") from error
    return as_object(answer)


def as_object(answer: object) -> Answer:
    """The JSON object of an answer.

    Raises:
        VenueAnswerMalformedError: it is something else, such as the HTML page of a proxy.
    """
    if not isinstance(answer, dict):
        raise VenueAnswerMalformedError("Coinbase did not answer with a JSON object")
    return answer


def _answered_failure(failure: AnsweredError) -> VenueUnavailable | VenueRefusedKeys:
    status = failure.answer.status
    name = type(failure.error).__name__
    # ccxt files 403 under "not available" and some 401 under the bare class: the status is
    # clearer. A 403 without Coinbase's error object is a firewall's, and says nothing about the
    # keys.
    if status == _HTTP_UNAUTHORIZED or (status == _HTTP_FORBIDDEN and failure.answer.body):
        return VenueRefusedKeys(f"Coinbase answered {status} to these keys")
    if status in _HTTP_REJECTED and failure.answer.body:
        return VenueRejectedQuestionError(f"Coinbase answered {status}: {name}")
    return question_failure(failure.error, f"Coinbase answered {status}: {name}")


def _client(config: dict[str, object], base_url: str | None) -> CoinbaseClient:
    client = CoinbaseClient(
        {
            "timeout": int(DEADLINE_SECONDS * 1000),
            # The simulator is ours and local; only a real venue's limits need respecting.
            "enableRateLimit": base_url is None,
            "options": {"maxRetriesOnFailure": 0},
            **config,
        }
    )
    # ccxt waits this many milliseconds on close for the transports of https sessions.
    client.pace = RequestPace()
    client.timeout_on_exit = 250 if base_url is None else 0
    if base_url is None:
        client.ssl_context = _shared_ssl_context(client.cafile)
    else:
        client.verify = False
        client.urls["api"]["rest"] = base_url.rstrip("/")
    return client


@functools.cache
def _shared_ssl_context(cafile: str) -> ssl.SSLContext:
    # 15 ms and 0.7 MB each: one for all accounts, not one for each.
    return ssl.create_default_context(cafile=cafile)


def _http_answer(status: int, body: object) -> HttpAnswer:
    return HttpAnswer(status, body if isinstance(body, dict) else {})
