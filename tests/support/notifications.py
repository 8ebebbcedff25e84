"""A user's notifications: a real mail server, a real web server, and fakes at the ports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any
from uuid import UUID

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from domain.notifications import Report, ReportTime, ReportTimeRefused
from domain.ports import WorkflowServiceUnavailable


@dataclass
class FakeNotificationWorkflows:
    """Remembers who was woken and what is scheduled; some time zones it may not know."""

    woken: list[UUID] = field(default_factory=list)
    schedules: dict[tuple[UUID, Report], ReportTime] = field(default_factory=dict)
    calls: int = 0
    is_away: bool = False
    unknown_zones: set[str] = field(default_factory=set)

    async def wake_notifier(self, user_id: UUID) -> None:
        self._answer()
        self.woken.append(user_id)

    async def schedule_report(self, user_id: UUID, report: Report, time: ReportTime) -> None:
        self._answer()
        if time.timezone in self.unknown_zones:
            raise ReportTimeRefused(time.timezone)
        self.schedules[user_id, report] = time

    async def cancel_report(self, user_id: UUID, report: Report) -> None:
        self._answer()
        self.schedules.pop((user_id, report), None)

    def _answer(self) -> None:
        self.calls += 1
        if self.is_away:
            raise WorkflowServiceUnavailable("away")


@dataclass
class Mailbox:
    """What a mail server took; it may refuse everything, or not know its receivers."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    receivers: list[str] = field(default_factory=list)
    refuses: bool = False
    unknown: str | None = None
    asked: int = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}?tls=none"

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]

    async def handle_RCPT(  # noqa: N802 - named by aiosmtpd
        self, server: SMTP, session: Session, envelope: Envelope, address: str, _: list[str]
    ) -> str:
        self.asked += 1
        if self.unknown is not None:
            return self.unknown
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - named by aiosmtpd
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if self.refuses:
            return "451 Try again later"
        content = envelope.content
        assert isinstance(content, bytes)
        self.mails.append(message_from_bytes(content, _class=EmailMessage, policy=default))
        self.receivers += envelope.rcpt_tos
        return "250 OK"


@asynccontextmanager
async def mail_server(mailbox: Mailbox) -> AsyncIterator[Mailbox]:
    """A real SMTP server; on the same port again after the first time."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(mailbox, hostname="localhost"), "127.0.0.1", mailbox.port
    )
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()
        await server.wait_closed()


@dataclass
class Hook:
    """What a web server was sent; it may answer with an error."""

    url: str = ""
    bodies: list[Any] = field(default_factory=list)
    status: int = 200
    redirect_to: str | None = None

    @property
    def titles(self) -> list[str]:
        return [body["title"] for body in self.bodies]


@asynccontextmanager
async def web_server() -> AsyncIterator[Hook]:
    """A real HTTP endpoint; its `url` is a channel's address."""
    hook = Hook()

    async def take(request: web.Request) -> web.Response:
        if hook.redirect_to is not None:
            raise web.HTTPTemporaryRedirect(hook.redirect_to)
        if hook.status < 300:
            hook.bodies.append(json.loads(await request.read()))
        return web.Response(status=hook.status)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    hook.url = f"json://someone:s3cr3t-pass@{host}:{port}/s3cr3t-path"
    try:
        yield hook
    finally:
        await runner.cleanup()


async def until(is_so: Any, seconds: float = 15.0) -> None:
    """Wait until something (awaitable or not) is so."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = is_so()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert asyncio.get_running_loop().time() < deadline, "it did not come about in time"
        await asyncio.sleep(0.02)
