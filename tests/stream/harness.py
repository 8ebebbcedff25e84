"""API processes with nothing but `/ws/v1`, users with positions, clients that note all."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Self
from uuid import UUID, uuid4

import psycopg
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from adapters.embedded.postgres_roles import DatabaseUrls
from api.app import ApiOptions, attach_hub, build_app
from api.kit.stream.hub import Hub
from api.kit.stream.protocol import WEBSOCKETS
from domain.markets import Realm
from models.bots import Bot, BotRun
from models.connections import Account
from models.ledgers import Balance
from models.people import Session, User
from models.tenancy import USER_SETTING
from models.trading import Position
from services.database import Database
from services.events.live import LiveEvents
from services.identity.tokens import AccessTokens
from services.limits.policy import AddressLimits
from services.reads import Claims, Reads

SECRET = "a-secret-of-the-tests-that-is-long-enough"
TTL = timedelta(hours=24)
PATIENCE = 20.0
_MOVE = "UPDATE positions SET stop_loss = %s WHERE id = %s"


class Clock:
    """Wall time that can be moved."""

    def __init__(self) -> None:
        self.shift = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift


@dataclass(frozen=True)
class Person:
    """A user with a bot, a run and an open position."""

    user_id: UUID
    session_id: UUID
    account_id: UUID
    bot_id: UUID
    run_id: UUID
    position_id: UUID


@dataclass
class Server:
    """One API process's worth of live updates, in this process."""

    server: uvicorn.Server
    live: LiveEvents
    hub: Hub
    port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/v1"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class World:
    """The database and what tests do to it."""

    urls: DatabaseUrls
    database: Database
    clock: Clock = field(default_factory=Clock)

    @property
    def tokens(self) -> AccessTokens:
        return AccessTokens(SECRET, TTL, self.clock)

    def token(self, person: Person) -> str:
        return self.tokens.issue(Claims(person.user_id, person.session_id))

    @asynccontextmanager
    async def serving(
        self,
        *origins: str,
        price_seconds: float = 0.05,
        limits: AddressLimits | None = None,
        proxies: tuple[str, ...] = (),
    ) -> AsyncIterator[Server]:
        """Serve until the block ends."""
        reads = Reads(self.urls.app, self.clock, pool_size=2, address_limits=limits)
        await reads.open()
        live = LiveEvents(self.urls.system, reads, self.clock, realm=Realm.SIMULATED)
        hub = Hub(live, self.tokens)
        app = build_app(None, ApiOptions(cors_origins=origins, trusted_proxies=proxies))
        attach_hub(app, hub)
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, log_config=None, lifespan="off", **WEBSOCKETS
        )
        server = _Server(config)
        async with live.running(price_seconds=price_seconds), hub.running():
            serving = asyncio.create_task(server.serve())
            await server.is_up.wait()
            port = server.servers[0].sockets[0].getsockname()[1]
            try:
                yield Server(server, live, hub, port)
            finally:
                server.should_exit = True
                await serving
        await reads.close()

    async def person(self, *, tier: str = "pro") -> Person:
        """Make a user who holds half a bitcoin on paper."""
        now = self.clock.now()
        user = User(
            email=f"{uuid4().hex}@example.com",
            full_name="Test Person",
            password_hash="-",
            subscription_tier=tier,
            created_at=now,
        )
        session_row = Session(
            user_id=user.id, created_at=now, last_used_at=now, expires_at=now + timedelta(days=30)
        )
        account = Account(
            user_id=user.id, venue="coinbase", realm="simulated", mode="paper", created_at=now
        )
        cash = Balance(
            account_id=account.id,
            currency="USD",
            user_id=user.id,
            total=Decimal(10_000),
            observed_at=now,
        )
        bot = Bot(user_id=user.id, state="running", state_changed_at=now, created_at=now)
        run = BotRun(
            user_id=user.id,
            bot_id=bot.id,
            account_id=account.id,
            number=1,
            venue="coinbase",
            realm="simulated",
            mode="paper",
            risk_level="medium",
            epoch="e1",
            started_at=now,
            venue_started_at=now,
            config_hash="hash",
            code_version="1",
        )
        position = _position(run, now)
        async with self.database.as_system() as session:
            for row in (user, session_row, account, cash, bot, run, position):
                session.add(row)
                await session.flush()
            bot.current_run_id = run.id
        return Person(user.id, session_row.id, account.id, bot.id, run.id, position.id)

    async def move_stop(self, person: Person, price: int | str) -> None:
        """Commit one event of the positions channel."""
        await self.change(person, _MOVE, Decimal(price), person.position_id)

    async def change(self, person: Person, statement: str, *values: Any) -> None:
        """Run a statement as the user, in a transaction of its own."""
        async with await psycopg.AsyncConnection.connect(self.urls.app) as connection:
            await connection.execute(
                "SELECT set_config(%s, %s, true)", (USER_SETTING, str(person.user_id))
            )
            await connection.execute(statement.encode(), values)

    async def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the system role."""
        async with await psycopg.AsyncConnection.connect(
            self.urls.system, autocommit=True
        ) as connection:
            cursor = await connection.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def latest(self, person: Person) -> int:
        """The number of the user's last event."""
        rows = await self.sql(
            "SELECT last_seq FROM event_streams WHERE user_id = %s", person.user_id
        )
        return int(rows[0][0]) if rows else 0

    async def quote(self, price: str, at: datetime) -> None:
        """What the watcher stores at a look."""
        await self.sql(
            "INSERT INTO venue_states (venue, realm, epoch, clock_at, seen_at, malformed)"
            " VALUES ('coinbase', 'simulated', 'e1', %s, now(), 0)"
            " ON CONFLICT (venue, realm) DO UPDATE SET clock_at = excluded.clock_at",
            at,
        )
        await self.sql(
            "INSERT INTO venue_quotes (venue, realm, symbol, epoch, bid, ask, last, at)"
            " VALUES ('coinbase', 'simulated', 'BTC-USD', 'e1', %(p)s, %(p)s, %(p)s, %(at)s)"
            " ON CONFLICT (venue, realm, symbol) DO UPDATE SET last = excluded.last,"
            " at = excluded.at".replace("%(p)s", f"{Decimal(price)}").replace("%(at)s", "%s"),
            at,
        )


class Client:
    """A client that keeps everything it is sent."""

    def __init__(self, connection: ClientConnection) -> None:
        self._socket = connection

    @classmethod
    @asynccontextmanager
    async def to(cls, server: Server, **options: Any) -> AsyncIterator[Self]:
        """Connect without a word."""
        async with connect(server.url, compression=None, max_queue=None, **options) as connection:
            yield cls(connection)

    async def say(self, **message: Any) -> None:
        await self._socket.send(json.dumps(message))

    async def say_raw(self, text: str | bytes) -> None:
        await self._socket.send(text)

    async def hear(self) -> dict[str, Any]:
        """The next frame."""
        frame: dict[str, Any] = json.loads(await self.hear_text())
        return frame

    async def hear_text(self) -> str:
        """The next frame as it was sent."""
        async with asyncio.timeout(PATIENCE):
            text = await self._socket.recv()
        return text if isinstance(text, str) else text.decode()

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """The next frame with these values."""
        while True:
            frame = await self.hear()
            if wanted.items() <= frame.items():
                return frame

    async def events(self, count: int) -> list[dict[str, Any]]:
        """The next so many numbered frames."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            frame = await self.hear()
            if "seq" in frame and "data" in frame:
                found.append(frame)
        return found

    async def close_code(self) -> int:
        """Wait for the server to close; its code."""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionClosed):
                while True:
                    await self._socket.recv()
        assert self._socket.close_code is not None
        return self._socket.close_code

    async def enter(self, token: str, *channels: str, **more: Any) -> Mapping[str, Any]:
        """Log in and subscribe; the answer to the subscription."""
        await self.say(type="auth", token=f"Bearer {token}")
        answer = await self.hear()
        assert answer["type"] == "auth_success", answer
        if not channels:
            return answer
        await self.say(type="subscribe", channels=list(channels), **more)
        return await self.until(type="subscribed")


@asynccontextmanager
async def entered(
    world: World, server: Server, person: Person, *channels: str, **more: Any
) -> AsyncIterator[Client]:
    """A client that listens."""
    async with Client.to(server) as client:
        await client.enter(world.token(person), *channels, **more)
        yield client


def _position(run: BotRun, now: datetime) -> Position:
    return Position(
        user_id=run.user_id,
        account_id=run.account_id,
        run_id=run.id,
        symbol="BTC-USD",
        side="long",
        state="open",
        planned_quantity=Decimal("0.5"),
        planned_notional=Decimal(3400),
        decision_price=Decimal(6800),
        entry_quantity=Decimal("0.5"),
        entry_notional=Decimal(3400),
        open_quantity=Decimal("0.5"),
        fees=Decimal("3.4"),
        atr=Decimal(50),
        round_trip_fee_rate=Decimal("0.002"),
        stop_loss=Decimal(6700),
        take_profit=Decimal(7100),
        opened_at=now,
    )
