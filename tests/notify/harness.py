"""Notifications over a real PostgreSQL and a real mail server, with a clock moved by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from adapters.embedded.postgres_roles import DatabaseUrls
from adapters.notify.notifier import AppriseNotifier, MailServer
from adapters.vault import Vault, generate_key
from domain.contracts.notifications import DeliverResult
from domain.notifications import Letter
from domain.principal import Principal
from services.database import Database
from services.notices import NoticeKind, tell
from services.notifying.assembly import Notifying
from services.notifying.channels import ChannelView
from tests.support.clocks import BEGAN, FakeWall
from tests.support.notifications import FakeNotificationWorkflows, Mailbox
from tests.support.traders import add_trader

VAULT = Vault(generate_key("k1"))
BASE_URL = "https://nija.example"


@dataclass
class FakeLinks:
    """Links of account mails; a void one is none."""

    void: set[UUID] = field(default_factory=set)

    async def url_for(self, link_id: UUID) -> str | None:
        return None if link_id in self.void else f"{BASE_URL}/links/test#{link_id.hex}-secret"


@dataclass
class Office:
    """All of notifications, and ways to look at their books."""

    database: Database
    wall: FakeWall
    mailbox: Mailbox
    workflows: FakeNotificationWorkflows
    links: FakeLinks
    notifying: Notifying

    async def add_user(self, *, is_verified: bool = True, **settings: Any) -> Principal:
        trader = await add_trader(self.database, now=self.wall.now(), settings=settings)
        if is_verified:
            await self.verify(trader.principal)
        return trader.principal

    async def verify(self, who: Principal) -> None:
        """The address is the user's own."""
        await self.execute(
            "UPDATE users SET email_verified_at = created_at WHERE id = :user", user=who.user_id
        )

    async def tell(
        self, who: Principal, kind: NoticeKind, *, about: str | None = None, **facts: Any
    ) -> None:
        async with self.database.for_user(who.user_id) as session:
            now = self.wall.now()
            await tell(session, who.user_id, kind, about or uuid4().hex, now=now, facts=facts)

    async def trade(self, who: Principal, symbol: str = "BTC-USD") -> None:
        await self.tell(who, NoticeKind.TRADE_OPENED, symbol=symbol, side="long", quantity="0.5")

    async def add_channel(
        self, who: Principal, url: str, categories: Sequence[str] | None = None
    ) -> ChannelView:
        return await self.notifying.channels.add(
            who, name=uuid4().hex[:8], url=url, categories=categories
        )

    async def deliver(self, who: Principal) -> DeliverResult:
        return await self.notifying.delivering.deliver(who.user_id)

    async def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        async with self.database.as_system() as session:
            found = await (await session.connection()).execute(text(statement), values)
            return [dict(row) for row in found.mappings()]

    async def execute(self, statement: str, **values: Any) -> None:
        async with self.database.as_system() as session:
            await (await session.connection()).execute(text(statement), values)

    async def deliveries(self, who: Principal) -> list[dict[str, Any]]:
        return await self.rows(
            "SELECT d.*, m.kind, m.state AS message_state FROM deliveries d"
            " JOIN messages m ON m.id = d.message_id WHERE d.user_id = :user"
            " ORDER BY m.created_at, d.channel_id NULLS FIRST",
            user=who.user_id,
        )

    async def messages(self, who: Principal) -> list[dict[str, Any]]:
        return await self.rows(
            "SELECT * FROM messages WHERE user_id = :user ORDER BY created_at", user=who.user_id
        )


@asynccontextmanager
async def open_office(urls: DatabaseUrls, mailbox: Mailbox) -> AsyncIterator[Office]:
    """Build it all for one test."""
    database, wall = Database(urls.app, urls.system, pool_size=4), FakeWall()
    server = MailServer.parse(mailbox.url, "NIJA <nija@nija.example>")
    notifier = AppriseNotifier(server, private_allowed=True)
    workflows, links = FakeNotificationWorkflows(), FakeLinks()
    try:
        yield Office(
            database=database,
            wall=wall,
            mailbox=mailbox,
            workflows=workflows,
            links=links,
            notifying=Notifying(
                database=database,
                notifier=notifier,
                workflows=workflows,
                links=links,
                vault=VAULT,
                clock=wall,
                base_url=BASE_URL,
            ),
        )
    finally:
        notifier.close()
        await database.close()


def a_letter(**parts: Any) -> Letter:
    """A letter with nothing special about it."""
    return Letter(
        **{
            "id": UUID(int=7),
            "made_at": BEGAN,
            "subject": "Stop hit: BTC-USD",
            "sections": (),
            **parts,
        }
    )


A_CURVE = tuple(
    (date(2026, 2, day), Decimal(10_000 + 25 * (day % 5) * day)) for day in range(1, 29)
)
