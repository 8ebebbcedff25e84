"""An HTTP stand-in for Stripe: localstripe, with the parts of billing that it lacks.

localstripe serves customers, payment methods, payments, refunds and products. Ours are prices with
lookup keys, subscriptions of the present shape with proration and renewal, schedules, invoices and
their previews, search, idempotency keys, and the events that follow. Its state is one process-wide
store, so there is one stand-in at a time.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

from aiohttp import web
from localstripe import resources
from localstripe.errors import UserError

from tests.support import stripe_objects as ours

with warnings.catch_warnings():
    # It makes an application of its own while it is imported, in a way that aiohttp deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from localstripe import server

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Fault = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]
"""What becomes of a request, given how it is carried out if nothing goes wrong."""

THEIRS = (
    resources.Charge,
    resources.Customer,
    resources.PaymentIntent,
    resources.PaymentMethod,
    resources.Product,
    resources.Refund,
)
OURS = (ours.Price, ours.Subscription, ours.Schedule, ours.Invoice)
DECLINES = "4000000000000341"
WORKS = "4242424242424242"


@dataclass
class StandIn:
    """The running stand-in, and what a test wants to know of it."""

    url: str = ""
    events: list[Json] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    replays: int = 0
    afterwards: dict[str, Callable[[], object]] = field(default_factory=dict)
    """What to do, once, when such a write (`POST /v1/...`) was carried out, before its answer."""
    faults: dict[str, Fault] = field(default_factory=dict)
    """What goes wrong with such requests (`GET /v1/...`), each time."""
    answers: dict[str, tuple[str, int, bytes]] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)

    # --- what Stripe holds ------------------------------------------------------------------

    def charges(self) -> list[int]:
        """Amounts of payments that succeeded, in cents, oldest first."""
        return [one.amount for one in _stored(resources.PaymentIntent) if one.status == "succeeded"]

    def payments(self) -> list[str]:
        """Ids of what was charged, oldest first."""
        return [one.id for one in _stored(resources.PaymentIntent) if one.status == "succeeded"]

    def refunds(self) -> list[int]:
        return [one.amount for one in _stored(resources.Refund)]

    def subscriptions(self) -> list[Any]:
        return _stored(ours.Subscription)

    def prices(self) -> list[Any]:
        return _stored(ours.Price)

    def products(self) -> list[Any]:
        return _stored(resources.Product)

    def customers(self) -> list[Any]:
        return _stored(resources.Customer)

    def event(self, kind: str) -> Json:
        """The newest event of a type."""
        return next(event for event in reversed(self.events) if event["type"] == kind)

    # --- what happens to it -----------------------------------------------------------------

    def add_card(self, number: str = WORKS) -> str:
        """A payment method as the provider's form in the browser makes it."""
        card = {"number": number, "exp_month": "12", "exp_year": "2030", "cvc": "123"}
        made: str = resources.PaymentMethod(type="card", card=card).id
        return made

    def fail_the_card_of(self, customer_id: str) -> None:
        """From now on the bank declines the customer's card."""
        self._card_of(customer_id)._card_number = DECLINES

    def _card_of(self, customer_id: str) -> Any:
        customer = resources.Customer._api_retrieve(customer_id)
        return resources.PaymentMethod._api_retrieve(
            customer.invoice_settings["default_payment_method"]
        )

    def run_due(self) -> None:
        """Do what Stripe does as time passes: renew, end, change to the scheduled plan."""
        for subscription in self.subscriptions():
            subscription._run_due()

    # --- HTTP -------------------------------------------------------------------------------

    @web.middleware
    async def go_wrong(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The fault of such a request, if a test has set one."""
        fault = self.faults.get(f"{request.method} {request.path}")
        return await (fault(request, handler) if fault else handler(request))

    @web.middleware
    async def once(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Idempotency keys as Stripe keeps them, for every POST."""
        if request.method not in {"POST", "DELETE"}:
            return await handler(request)
        what = f"{request.method} {request.path}"
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        asked = f"{what} {await request.text()}"
        if key in self.running:
            raise UserError(409, "Another request runs", {"code": "idempotency_key_in_use"})
        if key is not None and key in self.answers:
            return self._repeat(key, asked)
        if key is not None:
            self.running.add(key)
        try:
            answer = await _answer(request, handler)
        finally:
            self.running.discard(key or "")
        body = answer.body if isinstance(answer.body, bytes) else b""
        if key is not None:
            self.answers[key] = (asked, answer.status, body)
        self.writes.append(what)
        then = self.afterwards.pop(what, None)
        if then is not None:
            then()
        return answer

    def _repeat(self, key: str, asked: str) -> web.Response:
        first, status, body = self.answers[key]
        if first != asked:
            error = {"type": "idempotency_error", "message": "Key used with other parameters"}
            return web.json_response({"error": error}, status=400)
        self.replays += 1
        headers = {"Idempotent-Replayed": "true"}
        return web.Response(
            body=body, status=status, headers=headers, content_type="application/json"
        )


async def _answer(request: web.Request, handler: Handler) -> web.Response:
    try:
        answer = await handler(request)
    except UserError as error:
        answer = error.to_response()
        body = json.loads(answer.body)
        if answer.status == web.HTTPPaymentRequired.status_code:
            body["error"]["type"] = "card_error"
            answer = web.json_response(body, status=answer.status)
    assert isinstance(answer, web.Response)
    return answer


def _stored(kind: Any) -> list[Any]:
    return [one for key, one in resources.store.items() if key.startswith(f"{kind.object}:")]


def _application(standin: StandIn) -> web.Application:
    app = web.Application(
        middlewares=[
            server.error_middleware,
            server.auth_middleware,
            standin.go_wrong,
            standin.once,
        ]
    )
    for method, url, call in [*ours.EXTRA_CALLS, *_of_theirs()]:
        app.router.add_route(method, url, _handler(call))
    for kind in (*THEIRS, *OURS):
        base = f"/v1/{kind.object}s"
        app.router.add_post(base, _handler(kind._api_create))
        app.router.add_get(base, _handler(partial(kind._api_list_all, base)))
        app.router.add_get(base + "/{id}", _handler(kind._api_retrieve))
        app.router.add_post(base + "/{id}", _handler(kind._api_update))
    return app


def _handler(call: Callable[..., Any]) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        values = await server.get_post_data(request) or {}
        values |= server.unflatten_data(request.query) or {}
        values |= request.match_info
        expand = values.pop("expand", None)
        answer: web.StreamResponse = server.json_response(call(**values)._export(expand=expand))
        return answer

    return handle


def _of_theirs() -> Iterator[tuple[str, str, Any]]:
    for call in resources.extra_apis:
        if len(call) == 3 and call[1].startswith("/v1/payment_methods"):
            yield call
    yield ("GET", "/v1/customers/search", _search_customers)
    yield ("GET", "/v1/customers/{id}", _retrieve_customer)
    yield ("DELETE", "/v1/customers/{id}", _delete_customer)


def _retrieve_customer(id: str, **values: Any) -> Any:  # noqa: A002 - localstripe's own name
    """A deleted customer is still known, as deleted."""
    deleted = resources.store.get(f"deleted:{id}")
    return deleted or resources.Customer._api_retrieve(id, **values)


def _delete_customer(id: str) -> Any:  # noqa: A002 - localstripe's own name
    """What was paid for ends with the customer; once deleted there is none to delete."""
    if f"deleted:{id}" in resources.store:
        raise UserError(404, "No such customer", {"code": "resource_missing", "param": "id"})
    for subscription in _stored(ours.Subscription):
        if subscription.customer == id and subscription.status != "canceled":
            ours.Subscription._api_cancel(subscription.id)
    deleted = resources.Customer._api_delete(id)
    resources.store[f"deleted:{id}"] = deleted
    return deleted


def _search_customers(query: str | None = None, limit: str | None = None) -> Any:
    found = resources.List("/v1/customers/search", limit=limit)
    found._list = [
        customer
        for customer in _stored(resources.Customer)
        if query == f"metadata['nija_user']:'{customer.metadata.get('nija_user')}'"
    ]
    return found


@contextmanager
def _in_place(standin: StandIn, now: Callable[[], datetime]) -> Iterator[None]:
    """Put localstripe's globals to our clock, our event list, and memory only."""
    clock = SimpleNamespace(time=lambda: now().timestamp())

    def emit(event: Any) -> None:
        standin.events.append(json.loads(json.dumps(event._export())))
        del resources.store[f"event:{event.id}"]

    changes: list[tuple[Any, str, Any]] = [
        (resources, "time", clock),
        (resources, "schedule_webhook", emit),
        (resources.Store, "dump_to_disk", lambda _: None),
        (resources.StripeObject, "_get_class_for_id", classmethod(_class_of)),
    ]
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    resources.store.clear()
    try:
        yield
    finally:
        resources.store.clear()
        for owner, name, value in before:
            setattr(owner, name, value)


def _class_of(_: Any, id: str) -> Any:  # noqa: A002 - localstripe's own name
    """The longest prefix wins: `sub_sched_` before `sub_`; ours before theirs."""
    kinds = [*OURS, *THEIRS]
    fitting = [kind for kind in kinds if id.startswith(kind._id_prefix)]
    return max(fitting, key=lambda kind: len(kind._id_prefix))


@asynccontextmanager
async def stripe_standin(now: Callable[[], datetime]) -> AsyncIterator[StandIn]:
    """Serve a stand-in whose clock is `now`, on a free port of this machine."""
    standin = StandIn()
    with _in_place(standin, now):
        runner = web.AppRunner(_application(standin))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        standin.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield standin
        finally:
            with suppress(asyncio.CancelledError):
                await runner.cleanup()
