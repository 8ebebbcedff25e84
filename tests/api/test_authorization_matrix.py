"""Who may make which call: every operation of the document, made by every kind of caller.

One running stack serves all cases. Nothing of the victim's is worked on by bots meanwhile, so that
whatever changed in their rows was done by the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import jsonschema
import psycopg
import pytest
from psycopg import sql

from domain.markets import MarketRules
from domain.positions import Direction
from domain.strategies.apex.exits import ExitPlan
from models.tenancy import USER_TABLES
from services.database import Database
from services.identity.tokens import AccessTokens
from services.orders.market_rules import rules_record
from tests.api.harness import World
from tests.api.seeding import make_position, make_run
from tests.api.test_openapi import DOCUMENT, OPERATIONS, body_of, operations
from tests.support.up import PASSWORD, Person, RunningStack, eventually, running_stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ADMIN_EMAIL = "admin@nija.example"
JWT_SECRET = "a-secret-of-the-tests-that-is-long-enough"
PUBLIC = {
    "POST /auth/register",
    "POST /auth/login",
    "POST /auth/refresh",
    "POST /auth/verify-email",
    "POST /auth/reset-password",
    "POST /auth/reset-password/confirm",
    "POST /auth/change-email/confirm",
    "GET /subscription/plans",
    "POST /webhooks/stripe",
    "POST /webhooks/tradingview",
}
"""Calls without a token; whoever adds one has to say so here."""

ENDINGS = ("/auth/logout", "/auth/change-password", "/auth/sessions/", "/auth/delete-account")
"""Calls that end the session they are made with."""

DELIVERED = {"notices", "messages", "deliveries", "notification_preferences"}
"""Tables of news, which a worker delivers in its own time."""

MOVING = [
    *("sequence", "previous_hash", "hash"),
    *("last_scan_at", "next_scan_at", "progressed_at", "last_bars", "seen_revision"),
]
"""What moves by itself: the sealing of the audit log, and a bot that runs."""

CLOSED = [
    case for case in OPERATIONS if f"{str(case.values[0]).upper()} {case.values[1]}" not in PUBLIC
]
FOR_ADMINISTRATORS = [case for case in CLOSED if str(case.values[1]).startswith("/admin/")]
FOR_USERS = [case for case in CLOSED if case not in FOR_ADMINISTRATORS]
ORDER = ("get", "put", "patch", "post", "delete")
DESTRUCTIVE_LAST = sorted(OPERATIONS, key=lambda case: ORDER.index(str(case.values[0])))
OWNED = [case for case in FOR_USERS if "{" in str(case.values[1])]


_STEP = Decimal("0.00000001")
RULES = MarketRules("BTC-USD", "BTC", "USD", _STEP, Decimal("0.01"), _STEP, Decimal(1))
PLAN = ExitPlan(
    direction=Direction.LONG,
    entry_price=Decimal(6800),
    quantity=Decimal("0.5"),
    stop=Decimal(6700),
    targets=(),
    round_trip_rate=Decimal("0.002"),
    trail_multiple=Decimal("1.5"),
    best_close=Decimal(6800),
    is_trailing=False,
    last_bar_closed_at=datetime(2018, 4, 4, tzinfo=UTC),
)
"""How the position that is written for a caller will leave."""


class ClockOfYesterday:
    """Issues tokens that have expired."""

    def now(self) -> datetime:
        return datetime.now(UTC) - timedelta(days=2)


@dataclass
class People:
    """Everybody who calls, and what the victim owns."""

    stack: RunningStack
    victim: Person
    stranger: Person
    administrator: Person
    suspended: Person
    logged_out: Person
    owner: Person
    http: httpx.Client
    books: psycopg.Connection
    ids: dict[str, str] = field(default_factory=dict)
    owned: dict[str, str] = field(default_factory=dict)
    newcomers: int = 0

    def call(
        self, case: tuple[str, str], by: Person | None, ids: Mapping[str, str], body: Any
    ) -> httpx.Response:
        method, path = case
        headers = by.headers if by else None
        return self.http.request(method.upper(), path.format(**ids), json=body, headers=headers)

    def begin(self) -> None:
        """Bring everybody into their state, and wait until nothing of theirs is under way."""
        self.stack.data("POST", "/auth/logout", self.logged_out, {})
        self.books.execute(
            "UPDATE users SET status = 'suspended' WHERE email = %s", (self.suspended.email,)
        )
        self.ids = self.objects_of(self.victim)
        self.owned = self.objects_of(self.owner)
        eventually(
            lambda: (
                self.books.execute("SELECT 1 FROM exports WHERE state = 'pending'").fetchone()
                is None
            ),
            what="the end of the exports",
        )

    def newcomer(self) -> Person:
        """Somebody whose session may end."""
        self.newcomers += 1
        return self.stack.register(f"newcomer{self.newcomers}@nija.example")

    def objects_of(self, person: Person) -> dict[str, str]:
        """One of everything that a path can name."""
        stack = self.stack
        broker_id = stack.connect(person, stack.open_venue_account())
        export = stack.data("POST", "/analytics/export", person, {"format": "csv"})
        channel = stack.data(
            "POST",
            "/config/notifications/channels",
            person,
            {"name": "Phone", "url": "json://localhost/hook"},
        )
        sessions = stack.data("GET", "/auth/sessions", person)["sessions"]
        return {
            "user_id": person.user_id,
            "broker_id": broker_id,
            "export_id": export["export_id"],
            "channel_id": channel["channel_id"],
            "session_id": sessions[-1]["session_id"],
            "position_id": asyncio.run(self._hold(person)),
        }

    async def _hold(self, person: Person) -> str:
        run = self.stack.run
        database = Database(run["app_database_url"], run["system_database_url"], pool_size=1)
        world = cast(World, SimpleNamespace(database=database, clock=ClockOfYesterday()))
        user: Any = SimpleNamespace(user_id=UUID(person.user_id.removeprefix("usr_")))
        try:
            position = await make_position(
                world,
                await make_run(world, user),
                exit_plan=PLAN.to_record(),
                rules=rules_record(RULES),
            )
        finally:
            await database.close()
        return f"pos_{position.id.hex}"

    def rows_of(self, person: Person) -> list[Any]:
        """Everything that is stored of somebody."""
        user_id = UUID(person.user_id.removeprefix("usr_"))
        found = []
        for table in sorted({*USER_TABLES, "audit_log"} - DELIVERED):
            statement = sql.SQL(
                "SELECT to_jsonb(t) - %s::text[] AS row"
                " FROM {} t WHERE user_id = %s ORDER BY to_jsonb(t)::text"
            ).format(sql.Identifier(table))
            found += self.books.execute(statement, (MOVING, user_id)).fetchall()
        return found


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with running_stack(
        NIJA_JWT_SECRET=JWT_SECRET,
        NIJA_ADMIN_EMAIL=ADMIN_EMAIL,
        NIJA_ADMIN_PASSWORD=PASSWORD,
        NIJA_SWEEP_INTERVAL_SECONDS="3600",
        NIJA_NOTIFY_PRIVATE_ADDRESSES="true",
    ) as stack:
        login = stack.data("POST", "/auth/login", body={"email": ADMIN_EMAIL, "password": PASSWORD})
        url = f"{stack.run['api_url']}/api/v1"
        with (
            httpx.Client(base_url=url, timeout=30) as http,
            psycopg.connect(stack.run["system_database_url"], autocommit=True) as books,
        ):
            people = People(
                stack,
                victim=stack.register("victim@nija.example"),
                stranger=stack.register("stranger@nija.example"),
                administrator=Person(ADMIN_EMAIL, login["user"]["user_id"], login["access_token"]),
                suspended=stack.register("suspended@nija.example"),
                logged_out=stack.register("gone@nija.example"),
                owner=stack.register("owner@nija.example"),
                http=http,
                books=books,
            )
            people.begin()
            yield people


def error_of(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    return answer.status_code, "" if body["success"] else body["error"]["code"]


def test_what_is_public_is_meant_to_be() -> None:
    found = {
        f"{method.upper()} {path}"
        for method, path, operation in operations()
        if "security" not in operation
    }
    assert found == PUBLIC


@pytest.mark.parametrize(("method", "path", "operation"), CLOSED)
def test_without_a_good_token_nothing_is_done(
    people: People, method: str, path: str, operation: dict[str, Any]
) -> None:
    body, case = body_of(operation), (method, path)
    tokens = AccessTokens(JWT_SECRET, timedelta(hours=1), ClockOfYesterday())
    current = AccessTokens(JWT_SECRET, timedelta(days=30), ClockOfYesterday())
    expired = tokens.issue(current.verify(people.victim.token))
    before = people.rows_of(people.victim)
    callers = {
        None: (401, "TOKEN_INVALID"),
        "not a token": (401, "TOKEN_INVALID"),
        expired: (401, "TOKEN_EXPIRED"),
        people.logged_out.token: (401, "TOKEN_INVALID"),
        people.suspended.token: (403, "ACCOUNT_SUSPENDED"),
    }
    for token, expected in callers.items():
        caller = None if token is None else Person("", "", token)
        answer = people.call(case, caller, people.ids, body)
        assert error_of(answer) == expected
    assert people.rows_of(people.victim) == before


@pytest.mark.parametrize(("method", "path", "operation"), FOR_ADMINISTRATORS)
def test_users_are_no_administrators(
    people: People, method: str, path: str, operation: dict[str, Any]
) -> None:
    before = people.rows_of(people.victim)
    answer = people.call((method, path), people.stranger, people.ids, body_of(operation))
    assert error_of(answer) == (403, "UNAUTHORIZED")
    assert people.rows_of(people.victim) == before


@pytest.mark.parametrize(("method", "path", "operation"), OWNED)
def test_somebody_else_s_object_is_not_there(
    people: People, method: str, path: str, operation: dict[str, Any]
) -> None:
    missing = {
        name: f"{value.partition('_')[0]}_{uuid4().hex}" for name, value in people.ids.items()
    }
    before = people.rows_of(people.victim)
    body = body_of(operation)
    for caller in (people.stranger, people.administrator):
        theirs = people.call((method, path), caller, people.ids, body)
        nobody_s = people.call((method, path), caller, missing, body)
        assert theirs.status_code == nobody_s.status_code == 404
        assert theirs.json()["error"] == nobody_s.json()["error"]
    assert people.rows_of(people.victim) == before


@pytest.mark.parametrize(("method", "path", "operation"), FOR_USERS)
def test_nobody_reads_or_changes_another_user(
    people: People, method: str, path: str, operation: dict[str, Any]
) -> None:
    caller = people.newcomer() if path.startswith(ENDINGS) else people.stranger
    before = people.rows_of(people.victim)
    answer = people.call((method, path), caller, people.ids, body_of(operation))
    assert people.rows_of(people.victim) == before
    for value in (*people.ids.values(), people.victim.email):
        assert value not in answer.text


@pytest.mark.parametrize(("method", "path", "operation"), DESTRUCTIVE_LAST)
def test_the_right_caller_is_answered_as_documented(
    people: People, method: str, path: str, operation: dict[str, Any]
) -> None:
    caller: Person | None = people.owner
    ids = people.owned
    if path.startswith(ENDINGS):
        caller = people.newcomer()
        (session,) = people.stack.data("GET", "/auth/sessions", caller)["sessions"]
        ids = {"session_id": session["session_id"]}
    if path.startswith("/admin/"):
        caller = people.administrator
    if f"{method.upper()} {path}" in PUBLIC:
        caller = None
    answer = people.call((method, path), caller, ids, filled(body_of(operation)))

    response = operation["responses"][str(answer.status_code)]["content"]["application/json"]
    schema = {**response["schema"], "components": DOCUMENT["components"]}
    jsonschema.validate(answer.json(), schema)
    if answer.status_code != httpx.codes.OK:
        assert answer.json()["error"]["code"] in response["examples"]
    if caller is not None:
        assert error_of(answer)[1] not in {"TOKEN_INVALID", "TOKEN_EXPIRED", "UNAUTHORIZED"}
        assert "{" not in path or answer.status_code != httpx.codes.NOT_FOUND


def filled(body: Any) -> Any:
    """The document's example with the password that our people have."""
    if not isinstance(body, dict):
        return body
    return {
        name: PASSWORD if name in {"password", "current_password"} else value
        for name, value in body.items()
    }
