"""One user's way through every published call, on one running stack; each answer is kept."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from adapters.temporal.client import TemporalWorkflows
from domain.contracts.bots import BotSignal, SignalAction, TradeSignal
from tests.contract.seed import SeedCall
from tests.support.stripe_standin import StandIn
from tests.support.up import Person, RunningStack, eventually

EMAIL = "user@example.com"
ADMIN_EMAIL, ADMIN_PASSWORD = "admin@nija.example", "violet-Tractor-42-moonlight"
PAIRS = ("BTC-USD", "ETH-USD")
NEW_PASSWORD = "NewPassword456!-of-tests"
EXECUTIONS = "GET /admin/audit-logs of executions"
HEARD_SECONDS = 60.0
ENTRY_SECONDS = 10.0


@dataclass
class Story:
    """The calls in the order in which they make sense.

    A step that fails is kept as its failure, so that it fails its own test and no other.
    """

    stack: RunningStack
    standin: StandIn
    published: Mapping[str, SeedCall]
    said: Mapping[str, Any]
    answers: dict[str, httpx.Response | Exception] = field(default_factory=dict)
    heard: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    person: Person | None = None
    admin: Person | None = None

    def tell(self) -> None:
        """Make every call."""
        for chapter in (
            self._register,
            self._configure,
            self._trade,
            self._look,
            self._pay,
            self._administrate,
            self._alert,
            self._end,
        ):
            self._try(chapter.__name__, chapter)

    def _try(self, name: str, step: Callable[[], Any]) -> None:
        try:
            step()
        except (
            AssertionError,
            KeyError,
            TimeoutError,
            WebSocketException,
            httpx.HTTPError,
            psycopg.Error,
        ) as failure:
            self.answers[name] = failure

    def call(
        self, name: str, body: Any = None, *, by: Person | None = None, **parts: str
    ) -> httpx.Response:
        """Make a published call; with its own sample body unless another is given."""
        published = self.published[name]
        answer = self.stack.call(
            published.method,
            published.path.format(**parts),
            by,
            published.request if body is None else body,
        )
        self.answers[name] = answer
        return answer

    def data(self, name: str, body: Any = None, *, by: Person | None = None, **parts: str) -> Any:
        """The data of a call that must succeed."""
        answer = self.call(name, body, by=by, **parts)
        assert answer.is_success, f"{name}: {answer.status_code} {answer.text}"
        return answer.json()["data"]

    # --- chapters ---------------------------------------------------------------------------

    def _register(self) -> None:
        self.data("POST /auth/register")
        login = self.data("POST /auth/login")
        user = self.data("POST /auth/login")["user"]
        self.person = Person(EMAIL, user["user_id"], login["access_token"])
        self.data("POST /auth/refresh", {"refresh_token": login["refresh_token"]})

    def _configure(self) -> None:
        self.data("GET /config/settings", by=self.person)
        self.data("PUT /config/settings", by=self.person)
        self.stack.data(
            "PUT", "/config/settings", self.person, {"trading": {"allowed_pairs": list(PAIRS)}}
        )
        account = self.stack.open_venue_account()
        keys = {name: account[name] for name in ("api_key", "api_secret")}
        sample = self.published["POST /config/brokers"].request
        added = self.data("POST /config/brokers", {**sample, **keys}, by=self.person)
        self.facts["broker_id"] = added["broker_id"]
        self.data("GET /config/brokers", by=self.person)
        self.data("POST /config/brokers/{broker_id}/test", by=self.person, **self.facts)

    def _trade(self) -> None:
        self.data("POST /trading/start", by=self.person)
        eventually(lambda: self._status()["status"] == "running", what="a running bot")
        eventually(lambda: self._status()["last_scan"], what="a scan")
        with self._listening() as listen:
            for pair in PAIRS:
                self._enter(pair)
            listen()
        # A price is there once the venue's watcher has looked at the market of the new position.
        held = eventually(
            lambda: (
                len(found := [row for row in self._positions() if row["current_price"]])
                == len(PAIRS)
                and found
            ),
            what="positions with a price",
        )
        self.data("GET /account/positions", by=self.person)
        self.data("GET /account/balance", by=self.person)
        closed = held[0]["position_id"]
        self.stack.data("POST", f"/account/positions/{closed}/close", self.person)
        eventually(lambda: len(self._positions()) == 1, what="a closed trade")
        self.data("GET /trading/status", by=self.person)

    def _look(self) -> None:
        history = self.stack.data("GET", "/account/history", self.person, status="closed")
        assert history["trades"]
        self.answers["GET /account/history"] = self.stack.call(
            "GET", "/account/history", self.person, status="closed"
        )
        for name in (
            "GET /account/performance",
            "GET /account/stats",
            "GET /analytics/dashboard",
            "GET /analytics/trades",
            "GET /subscription/plans",
            "GET /subscription/usage",
        ):
            self.call(name, by=self.person)
        self.call("POST /analytics/export", by=self.person)

    def _pay(self) -> None:
        card = self.standin.add_card()
        wish = self.published["POST /subscription/upgrade"].request
        first = {**wish, "tier": "pro", "interval": "monthly", "payment_method_id": card}
        self.stack.data("POST", "/subscription/upgrade", self.person, first)
        self.data("GET /subscription/current", by=self.person)
        self.data("POST /subscription/upgrade", {**wish, "payment_method_id": card}, by=self.person)

    def _administrate(self) -> None:
        login = self.stack.data(
            "POST", "/auth/login", body={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        )
        self.admin = Person(ADMIN_EMAIL, login["user"]["user_id"], login["access_token"])
        assert self.person is not None
        for name in (
            "GET /admin/users",
            "GET /admin/users/{user_id}",
            "PUT /admin/users/{user_id}",
            "GET /admin/metrics",
        ):
            self.call(name, by=self.admin, user_id=self.person.user_id)
        self.answers["GET /admin/audit-logs"] = self.stack.call(
            "GET", "/admin/audit-logs", self.admin, event_type="user_login"
        )
        self.answers[EXECUTIONS] = self.stack.call(
            "GET", "/admin/audit-logs", self.admin, event_type="trade_executed"
        )

    def _alert(self) -> None:
        key = self.stack.data("POST", "/config/webhooks", self.person)
        sample = self.published["POST /webhooks/tradingview"].request
        self.call("POST /webhooks/tradingview", {**sample, "api_key": key["webhook_key"]})

    def _end(self) -> None:
        self.data("POST /subscription/cancel", by=self.person)
        self.data("POST /trading/stop", by=self.person)
        self.data("DELETE /config/brokers/{broker_id}", by=self.person, **self.facts)
        self.data("POST /trading/emergency-stop", by=self.person)
        self.call("POST /admin/kill-switch", by=self.admin)
        self.call("POST /auth/reset-password")
        self.data(
            "PUT /auth/change-password",
            {
                "current_password": self.published["POST /auth/login"].request["password"],
                "new_password": NEW_PASSWORD,
            },
            by=self.person,
        )
        self.data("POST /auth/logout", by=self.person)

    # --- looking and steering ---------------------------------------------------------------

    def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.stack.data("GET", "/trading/status", self.person)
        return found

    def _positions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.stack.data("GET", "/account/positions", self.person)[
            "positions"
        ]
        return found

    @contextmanager
    def _listening(self) -> Iterator[Callable[[], None]]:
        """Live updates, asked for as published; what is given hears until all kinds came."""
        assert self.person is not None
        url = self.stack.run["api_url"].replace("http", "ws", 1) + "/ws/v1"
        with connect(url) as socket:
            socket.send(json.dumps(self.said["auth"] | {"token": f"Bearer {self.person.token}"}))
            self.heard["auth_success"] = json.loads(socket.recv(HEARD_SECONDS))
            for channel in ("positions", "trades"):
                socket.send(json.dumps(self.said[f"subscribe {channel}"]))
            yield lambda: self._hear(socket)

    def _hear(self, socket: ClientConnection) -> None:
        deadline = time.monotonic() + HEARD_SECONDS
        wanted = {"position_update positions", "trade_executed trades"}
        while wanted - self.heard.keys():
            frame = json.loads(socket.recv(max(0.0, deadline - time.monotonic())))
            # Before its market's first look a position has no price.
            if frame["type"] != "position_update" or frame["data"]["current_price"] is not None:
                self.heard[f"{frame['type']} {frame.get('channel')}"] = frame

    def _enter(self, pair: str) -> None:
        """Buy until it is held: an entry may find its price gone, or be sent too late."""
        again_at = 0.0

        def is_held() -> bool:
            nonlocal again_at
            if time.monotonic() >= again_at:
                asyncio.run(self._buy(pair))
                again_at = time.monotonic() + ENTRY_SECONDS
            return pair in {row["symbol"] for row in self._positions()}

        eventually(is_held, what=f"a position in {pair}")

    async def _buy(self, pair: str) -> None:
        async with await psycopg.AsyncConnection.connect(
            self.stack.run["system_database_url"]
        ) as connection:
            row = await (await connection.execute("SELECT user_id, id FROM bots")).fetchone()
        assert row is not None
        user_id, bot_id = row
        workflows = TemporalWorkflows(self.stack.run["temporal_address"], "default", "nija")
        signal = TradeSignal(signal_id=uuid.uuid4(), action=SignalAction.BUY, symbol=pair)
        await workflows.signal_bot(user_id, bot_id, BotSignal.TRADE_SIGNAL, signal)
