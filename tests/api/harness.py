"""A container over a real PostgreSQL and fakes, the application on it, and users that call it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
from fastapi import FastAPI
from psycopg.rows import dict_row
from pwdlib.hashers.argon2 import Argon2Hasher

from adapters.embedded.postgres_roles import DatabaseUrls
from adapters.notify.notifier import AppriseNotifier
from adapters.vault import Vault, generate_key
from api.app import ApiOptions, attach, build_app
from bootstrap.api import CONNECTIONS_OF_A_USER
from domain.markets import Realm, VenueKey
from domain.principal import Principal, Role
from services.account_views.views import AccountViews
from services.admin.assembly import Administration, assemble
from services.alerts.intake import AlertIntake
from services.alerts.keys import WebhookKeys
from services.alerts.views import AlertViews
from services.analytics.views import Analytics
from services.bot_views import BotViews
from services.connections import Connections
from services.database import Database
from services.exports.requests import Exports
from services.idempotency import IdempotencyKeys
from services.identity.identity import Identity, IdentityPolicy
from services.identity.mailed_links import MailedLinks
from services.identity.passwords import Passwords
from services.limits.policy import AddressLimits
from services.notifying.assembly import Notifying
from services.paper_accounts import PaperAccounts
from services.reads import Reads
from services.stored_credentials import StoredCredentials
from services.user_settings import UserSettingsService
from tests.api.fakes import (
    FakeClock,
    FakeDeletions,
    FakeDispatch,
    FakeTrading,
    FakeVenues,
    FakeWorkflows,
)
from tests.support.exports import exports_in_memory
from tests.support.notifications import FakeNotificationWorkflows
from tests.support.switched import FakeSwitchWorkflows

JWT_SECRET = "a-secret-of-the-tests-that-is-long-enough"
PASSWORD = "SecurePassword123!"
PREFIX = "/api/v1"
REALM = Realm.SIMULATED
ALERT_AGE = timedelta(seconds=120)
ALERTS_A_MINUTE = 20
VAULT = Vault(generate_key("k1"))

_spare_apps: dict[ApiOptions, list[FastAPI]] = {}


@dataclass
class World:
    """The container, and the fakes in it."""

    urls: DatabaseUrls
    clock: FakeClock
    database: Database
    reads: Reads
    venues: FakeVenues
    workflows: FakeWorkflows
    deletions: FakeDeletions
    trading: FakeTrading
    vault: Vault
    identity: Identity
    idempotency: IdempotencyKeys
    user_settings: UserSettingsService
    connections: Connections
    paper: PaperAccounts
    views: AccountViews
    analytics: Analytics
    exports: Exports
    bot_views: BotViews
    alert_intake: AlertIntake
    webhook_keys: WebhookKeys
    alert_views: AlertViews
    administration: Administration
    notifying: Notifying

    async def sql(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """Run a statement as the system role."""
        async with await psycopg.AsyncConnection.connect(
            self.urls.system, autocommit=True, row_factory=dict_row
        ) as connection:
            cursor = await connection.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    def principal(self, user_id: UUID) -> Principal:
        """Somebody who was authenticated elsewhere."""
        return Principal(user_id, uuid4(), Role.USER)


@asynccontextmanager
async def open_world(
    urls: DatabaseUrls, address_limits: AddressLimits | None = None
) -> AsyncIterator[World]:
    """Build a container for one test; without limits of addresses, no call is limited."""
    clock, trading = FakeClock(), FakeTrading()
    workflows, deletions = FakeWorkflows(), FakeDeletions()
    notifier = AppriseNotifier(None, private_allowed=True)
    database = Database(urls.app, urls.system, pool_size=4, of_a_user=CONNECTIONS_OF_A_USER)
    venues = FakeVenues(StoredCredentials(database, VAULT))
    reads = Reads(
        urls.app,
        clock,
        pool_size=4,
        of_a_caller=CONNECTIONS_OF_A_USER,
        address_limits=address_limits,
    )
    await reads.open()
    alert_intake = AlertIntake(
        urls.app,
        urls.system,
        database,
        clock,
        FakeDispatch(),
        age_max=ALERT_AGE,
        a_minute=ALERTS_A_MINUTE,
    )
    await alert_intake.open()
    paper = PaperAccounts(database, clock, realm=REALM, opening_balance=Decimal(10_000))
    passwords = Passwords(Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1))
    identity = Identity(
        database,
        reads,
        clock,
        paper,
        IdentityPolicy(timedelta(hours=24), timedelta(days=30), timedelta(days=14)),
        VAULT,
        deletions,
        workflows,
        jwt_secret=JWT_SECRET,
        base_url="http://test",
        passwords=passwords,
    )
    world = World(
        urls=urls,
        clock=clock,
        database=database,
        reads=reads,
        venues=venues,
        workflows=workflows,
        deletions=deletions,
        trading=trading,
        vault=VAULT,
        identity=identity,
        idempotency=IdempotencyKeys(database, clock, wait_seconds=2),
        user_settings=UserSettingsService(
            database, reads, clock, venues, trading, venue=VenueKey("coinbase", REALM)
        ),
        connections=Connections(database, reads, clock, venues, VAULT, trading, realm=REALM),
        paper=paper,
        views=AccountViews(reads, realm=REALM),
        analytics=Analytics(AccountViews(reads, realm=REALM)),
        exports=exports_in_memory(database, reads, clock)[0],
        bot_views=BotViews(reads, clock, realm=REALM),
        alert_intake=alert_intake,
        webhook_keys=WebhookKeys(database, reads, clock),
        alert_views=AlertViews(reads),
        administration=assemble(database, workflows, FakeSwitchWorkflows(), clock, realm=REALM),
        notifying=Notifying(
            database=database,
            notifier=notifier,
            workflows=FakeNotificationWorkflows(),
            links=MailedLinks(database, VAULT, clock, base_url="http://test"),
            vault=VAULT,
            clock=clock,
            base_url="http://test",
        ),
    )
    try:
        yield world
    finally:
        notifier.close()
        identity.close()
        await alert_intake.close()
        await reads.close()
        await database.close()


@asynccontextmanager
async def open_client(
    world: World, options: ApiOptions | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """Call the application without a network.

    An application that no test uses any more serves the next one: it keeps nothing but its
    container, and working out its routes at the first request costs more than most tests do.
    """
    options = options or ApiOptions()
    spare = _spare_apps.setdefault(options, [])
    app = spare.pop() if spare else build_app(None, options)
    async with client_of(app, world) as client:
        yield client
    spare.append(app)


@asynccontextmanager
async def client_of(app: FastAPI, world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Call one application, over this world."""
    attach(app, world)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


class Api:
    """One person's calls; answers are checked to be envelopes."""

    def __init__(self, client: httpx.AsyncClient, token: str | None = None) -> None:
        self._client = client
        self.token = token
        self.user_id = UUID(int=0)
        self.email = ""
        self.refresh_token = ""

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        answer = await self._client.request(method, PREFIX + path, headers=headers, **options)
        check_envelope(answer)
        return answer

    async def data(self, method: str, path: str, **options: Any) -> Any:
        answer = await self.call(method, path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def error(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        answer = await self.call(method, path, **options)
        assert answer.json()["success"] is False, answer.text
        return answer.status_code, answer.json()["error"]["code"]

    async def log_in(self, email: str, password: str = PASSWORD, otp: str | None = None) -> Any:
        body = {"email": email, "password": password, "otp": otp}
        data = await self.data("POST", "/auth/login", json=body)
        self.token, self.refresh_token = data["access_token"], data["refresh_token"]
        self.email = email
        self.user_id = UUID(data["user"]["user_id"].removeprefix("usr_"))
        return data

    def sibling(self) -> Api:
        return Api(self._client)


async def register(client: httpx.AsyncClient) -> Api:
    """A new user, logged in."""
    email = f"{uuid4().hex}@example.com"
    api = Api(client)
    await api.data(
        "POST",
        "/auth/register",
        json={
            "email": email,
            "password": PASSWORD,
            "full_name": "John Doe",
            "accept_terms": True,
        },
    )
    await api.log_in(email)
    return api


def check_envelope(answer: httpx.Response) -> None:
    """Every answer, whatever its status, is one of the two envelopes."""
    body = answer.json()
    assert body["timestamp"].endswith("Z")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    if body["success"]:
        assert set(body) == {"success", "data", "timestamp"}
        assert answer.status_code == 200
    else:
        assert set(body) == {"success", "error", "timestamp"}
        assert set(body["error"]) == {"code", "message", "details"}
        assert answer.status_code >= 400
