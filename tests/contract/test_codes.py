"""Every published error code is provoked, at its published HTTP status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from starlette.routing import Mount

from adapters.temporal.client import TemporalWorkflows
from api.app import ApiOptions, build_app
from services.trading.commands import TradingService
from tests.api.fakes import FakeVenueAccount
from tests.api.harness import (
    PASSWORD,
    PREFIX,
    REALM,
    Api,
    World,
    client_of,
    open_client,
    open_world,
)
from tests.api.seeding import watch_venue
from tests.contract.seed import FOLDER_VARIABLE, codes, document
from tests.support.databases import nowhere

pytestmark = pytest.mark.integration

LINES = document()
if LINES is None:
    pytest.skip(f"{FOLDER_VARIABLE} names no folder", allow_module_level=True)
TABLE = codes(LINES)
LISTED_WITH_CALLS = {
    "INVALID_EMAIL": 400,
    "WEAK_PASSWORD": 400,
    "TERMS_NOT_ACCEPTED": 400,
    "ACCOUNT_DISABLED": 403,
    "ACCOUNT_SUSPENDED": 403,
    "INVALID_RISK_LEVEL": 400,
    "UNSUPPORTED_BROKER": 400,
}
"""Codes of single calls, which the document lists without a status."""

FAULT = "/fault-of-the-tests"
KEYS = {"broker": "coinbase", "api_key": "key", "api_secret": "secret"}
NEW = {
    "email": "new@example.com",
    "password": PASSWORD,
    "full_name": "John Doe",
    "accept_terms": True,
}


class Scene:
    """A user, the container, and an application that also has a route that breaks."""

    def __init__(self, world: World, user: Api, fault: Api) -> None:
        self.world = world
        self.user = user
        self.fault = fault
        self.anyone = user.sibling()

    async def start(self, *, paper: bool = True) -> tuple[int, str]:
        body = {"broker": "coinbase", "paper_trading": paper}
        answer = await self.user.call("POST", "/trading/start", json=body)
        found = answer.json()
        return answer.status_code, "" if found["success"] else found["error"]["code"]

    async def connect(self) -> tuple[int, str]:
        self.world.venues.accounts["key"] = FakeVenueAccount()
        await self.user.data("POST", "/config/brokers", json=KEYS)
        return await self.user.error("POST", "/config/brokers", json=KEYS)

    async def set_status(self, status: str) -> None:
        await self.world.sql(
            "UPDATE users SET status = %(status)s WHERE id = %(id)s",
            status=status,
            id=self.user.user_id,
        )

    async def change(self, section: str, **values: Any) -> tuple[int, str]:
        return await self.user.error("PUT", "/config/settings", json={section: values})

    async def register(self, **values: Any) -> tuple[int, str]:
        return await self.anyone.error("POST", "/auth/register", json=NEW | values)


Provocation = Callable[[Scene], Awaitable[tuple[int, str]]]
PROVOKED: dict[str, Provocation] = {}


def provokes(code: str) -> Callable[[Provocation], Provocation]:
    def note(provocation: Provocation) -> Provocation:
        PROVOKED[code] = provocation
        return provocation

    return note


@pytest.fixture(scope="module")
def faulty_app() -> FastAPI:
    app = build_app(None, ApiOptions())
    add_fault(app)
    return app


@pytest.fixture
async def scene(world: World, user: Api, faulty_app: FastAPI) -> AsyncIterator[Scene]:
    world.trading = TradingService(  # type: ignore[assignment]
        world.database, world.venues, world.workflows, world.clock, realm=REALM
    )
    await watch_venue(world, BTC="7000", ETH="400")
    async with client_of(faulty_app, world) as client:
        yield Scene(world, user, Api(client, user.token))


def add_fault(app: FastAPI) -> None:
    async def fault() -> None:
        raise ZeroDivisionError("a defect with a secret in its message")

    (surface,) = (
        route.app for route in app.routes if isinstance(route, Mount) and route.path == PREFIX
    )
    assert isinstance(surface, FastAPI)
    surface.add_api_route(FAULT, fault)


def test_the_table_is_read_whole() -> None:
    assert len(TABLE) == 19
    assert not TABLE.keys() & LISTED_WITH_CALLS.keys()
    assert PROVOKED.keys() == TABLE.keys() | LISTED_WITH_CALLS.keys()


@pytest.mark.parametrize("code", sorted(TABLE | LISTED_WITH_CALLS))
async def test_the_code_comes_with_its_status(scene: Scene, code: str) -> None:
    assert await PROVOKED[code](scene) == ((TABLE | LISTED_WITH_CALLS)[code], code)


# --- people ---------------------------------------------------------------------------------------


@provokes("INVALID_CREDENTIALS")
async def _wrong_password(scene: Scene) -> tuple[int, str]:
    body = {"email": scene.user.email, "password": "something else"}
    return await scene.anyone.error("POST", "/auth/login", json=body)


@provokes("TOKEN_EXPIRED")
async def _old_token(scene: Scene) -> tuple[int, str]:
    scene.world.clock.advance(hours=25)
    return await scene.user.error("GET", "/account/balance")


@provokes("TOKEN_INVALID")
async def _no_token(scene: Scene) -> tuple[int, str]:
    return await scene.anyone.error("GET", "/account/balance")


@provokes("UNAUTHORIZED")
async def _not_an_administrator(scene: Scene) -> tuple[int, str]:
    return await scene.user.error("GET", "/admin/users")


@provokes("EMAIL_ALREADY_EXISTS")
async def _taken_email(scene: Scene) -> tuple[int, str]:
    return await scene.register(email=scene.user.email)


@provokes("INVALID_EMAIL")
async def _no_email(scene: Scene) -> tuple[int, str]:
    return await scene.register(email="nobody at all")


@provokes("WEAK_PASSWORD")
async def _weak_password(scene: Scene) -> tuple[int, str]:
    return await scene.register(password="password12")


@provokes("TERMS_NOT_ACCEPTED")
async def _no_terms(scene: Scene) -> tuple[int, str]:
    return await scene.register(accept_terms=False)


@provokes("ACCOUNT_DISABLED")
async def _disabled(scene: Scene) -> tuple[int, str]:
    await scene.set_status("disabled")
    return await scene.user.error("GET", "/account/balance")


@provokes("ACCOUNT_SUSPENDED")
async def _suspended(scene: Scene) -> tuple[int, str]:
    await scene.set_status("suspended")
    return await scene.user.error("GET", "/account/balance")


# --- trading --------------------------------------------------------------------------------------


@provokes("ALREADY_RUNNING")
async def _started_twice(scene: Scene) -> tuple[int, str]:
    assert (await scene.start())[0] == 200
    return await scene.start()


@provokes("NOT_RUNNING")
async def _never_started(scene: Scene) -> tuple[int, str]:
    return await scene.user.error("POST", "/trading/stop", json={})


@provokes("NO_BROKER_CONFIGURED")
async def _no_broker(scene: Scene) -> tuple[int, str]:
    return await scene.start(paper=False)


@provokes("SUBSCRIPTION_REQUIRED")
async def _trial_over(scene: Scene) -> tuple[int, str]:
    await scene.connect()
    await scene.world.sql(
        "UPDATE users SET trial_ends_at = %(at)s WHERE id = %(id)s",
        at=scene.world.clock.now() - timedelta(days=1),
        id=scene.user.user_id,
    )
    return await scene.start(paper=False)


@provokes("KILL_SWITCH_ACTIVE")
async def _emergency_stopped(scene: Scene) -> tuple[int, str]:
    body = {"reason": "a test", "close_positions": False}
    await scene.user.data("POST", "/trading/emergency-stop", json=body)
    return await scene.start()


@provokes("POSITION_NOT_FOUND")
async def _no_such_position(scene: Scene) -> tuple[int, str]:
    return await scene.user.error("POST", f"/account/positions/pos_{uuid4().hex}/close")


# --- configuration --------------------------------------------------------------------------------


@provokes("INVALID_SETTING")
async def _no_such_setting(scene: Scene) -> tuple[int, str]:
    return await scene.change("trading", riks_level="low")


@provokes("INVALID_RISK_LEVEL")
async def _no_such_level(scene: Scene) -> tuple[int, str]:
    return await scene.change("trading", risk_level="yolo")


@provokes("EXCEEDS_TIER_LIMIT")
async def _too_large(scene: Scene) -> tuple[int, str]:
    return await scene.change("trading", max_position_size_usd=1_000_000)


@provokes("UNSUPPORTED_BROKER")
async def _unknown_broker(scene: Scene) -> tuple[int, str]:
    return await scene.user.error("POST", "/config/brokers", json=KEYS | {"broker": "mtgox"})


@provokes("INVALID_API_KEY")
async def _refused_keys(scene: Scene) -> tuple[int, str]:
    return await scene.user.error("POST", "/config/brokers", json=KEYS)


@provokes("BROKER_ALREADY_CONNECTED")
async def _connected_twice(scene: Scene) -> tuple[int, str]:
    return await scene.connect()


# --- what the server depends on -------------------------------------------------------------------


@provokes("BROKER_ERROR")
async def _venue_down(scene: Scene) -> tuple[int, str]:
    scene.world.venues.is_down = True
    return await scene.user.error("POST", "/config/brokers", json=KEYS)


@provokes("SERVICE_UNAVAILABLE")
async def _temporal_down(scene: Scene) -> tuple[int, str]:
    nobody = TemporalWorkflows("127.0.0.1:1", "default", "nija", None)
    scene.world.trading = TradingService(  # type: ignore[assignment]
        scene.world.database, scene.world.venues, nobody, scene.world.clock, realm=REALM
    )
    return await scene.start()


@provokes("DATABASE_ERROR")
async def _postgres_down(scene: Scene) -> tuple[int, str]:
    async with open_world(nowhere(scene.world.urls)) as cut_off, open_client(cut_off) as client:
        body = {"email": scene.user.email, "password": PASSWORD}
        return await Api(client).error("POST", "/auth/login", json=body)


@provokes("INTERNAL_ERROR")
async def _defect(scene: Scene) -> tuple[int, str]:
    answer = await scene.fault.call("GET", FAULT)
    assert "secret" not in answer.text
    return answer.status_code, answer.json()["error"]["code"]
