"""The notifier on Apprise: its services for channels, its mail transport for mails.

Apprise blocks, so every attempt runs in a thread of a small pool with a deadline. One that does not
come back in time has its connections cut off, so that no server keeps threads from others; the
attempt counts as failed, and may turn out to have arrived after all.
"""

from __future__ import annotations

import asyncio
import logging
import re
import smtplib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from adapters.notify.addresses import describe, open_address, without_secrets
from adapters.notify.guard import PrivateAddress, deadline, public_only
from adapters.notify.mail import one_line, write_mail, write_text
from adapters.notify.vendor import (
    AppriseException,
    AppriseSMTPController,
    NotifyEmail,
    NotifyFormat,
    NotifyType,
)
from domain.notifications import (
    ChannelAddress,
    ChannelRefused,
    Letter,
    NotSent,
    ReceiverUnknown,
)

ATTEMPT_SECONDS = 30.0
CONNECT_SECONDS = 8.0
READ_SECONDS = 15.0
CHANNEL_THREADS = 16
MAIL_THREADS = 8
ERROR_LENGTH_MAX = 300
TEXT_ROOM_MIN = 1_000
"""Every service takes this much; some are said to take less, and send it in parts."""
_TITLE_ROOM = 16
_LEFT_OUT = "(There is more than fits here; the API lists it all.)"
_NO_SUCH_MAILBOX = re.compile(rb"5\.1\.(1|2|3|6|10)\b")
"""RFC 3463: bad, moved or unknown mailbox or domain of the receiver; other codes are too vague."""
SMTP_PORTS = {"ssl": 465, "starttls": 587, "insecure": 25}

# What Apprise raises, and what it stumbles over when a server answers strangely.
_FAILURES = (AppriseException, OSError, ValueError, TypeError, LookupError, AttributeError)
_TALKATIVE = ("urllib3", "requests", "requests_oauthlib", "oauthlib")

_T = TypeVar("_T")
_said: ContextVar[list[str] | None] = ContextVar("notify_said", default=None)


class MalformedMailServer(ValueError):
    """The setting of the mail server is not understood; the message holds nothing of it."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """The operator's mail server and what mails say they are from."""

    host: str
    port: int
    security: str
    user: str | None
    password: str | None
    sender: str

    @classmethod
    def parse(cls, url: str, sender: str) -> MailServer:
        """Read `smtp[s]://user:password@host:port[?tls=none]`.

        Raises:
            MalformedMailServer: it is something else, or the sender has no address.
        """
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
        except ValueError:
            raise MalformedMailServer("NIJA_SMTP_URL is malformed") from None
        if parts.scheme not in {"smtp", "smtps"} or not host:
            raise MalformedMailServer("NIJA_SMTP_URL must look like smtp://user:password@host:587")
        if "@" not in parseaddr(sender)[1]:
            raise MalformedMailServer("NIJA_MAIL_FROM must hold an address")
        security = "ssl" if parts.scheme == "smtps" else "starttls"
        if security == "starttls" and parse_qs(parts.query).get("tls") == ["none"]:
            security = "insecure"
        return cls(
            host=host,
            port=port or SMTP_PORTS[security],
            security=security,
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            sender=sender,
        )


class AppriseNotifier:
    """Implements `domain.notifications.Notifier`.

    Args:
        server: for mails to users' own addresses; None where none are sent.
        private_allowed: channels may name servers at addresses that are not public.
    """

    def __init__(self, server: MailServer | None, *, private_allowed: bool = False) -> None:
        _take_over_logging()
        self._server = server
        self._private_allowed = private_allowed
        # Of their own, so that no channel of a user's choice can keep account mails waiting.
        self._mail_threads = ThreadPoolExecutor(MAIL_THREADS, thread_name_prefix="mail")
        self._threads = ThreadPoolExecutor(CHANNEL_THREADS, thread_name_prefix="notify")

    @property
    def has_mail(self) -> bool:
        """Whether there is a mail server."""
        return self._server is not None

    async def inspect(self, url: str) -> ChannelAddress:
        """Look at an address; the lookup of its host is the only thing that leaves us."""
        try:
            return await _in_thread(
                self._threads, lambda: describe(url, private_allowed=self._private_allowed)
            )
        except TimeoutError:
            raise ChannelRefused("The server's name cannot be resolved") from None

    async def send(self, url: str, letter: Letter) -> None:
        """Send to a channel."""
        guard = nullcontext() if self._private_allowed else public_only()
        await _attempt(self._threads, lambda: _send(url, letter, guard), url)

    async def mail(self, address: str, letter: Letter) -> None:
        """Mail to a user's own address."""
        server = self._server
        if server is None:
            raise NotSent("There is no mail server (NIJA_SMTP_URL)")
        mail = _written(letter, sender=server.sender, receiver=address)
        await _attempt(
            self._mail_threads,
            lambda: _submit(
                mail,
                address,
                sender=parseaddr(server.sender)[1],
                host=server.host,
                port=server.port,
                secure_mode=server.security,
                user=server.user,
                password=server.password,
            ),
            f"smtp://{server.user or ''}:{server.password or ''}@",
        )

    def close(self) -> None:
        """Take no more work; attempts under way end by their own timeouts."""
        for threads in (self._threads, self._mail_threads):
            threads.shutdown(wait=False, cancel_futures=True)


async def _attempt(threads: ThreadPoolExecutor, action: Callable[[], None], url: str) -> None:
    """Make one attempt; whatever it says about its failure loses what is secret of `url`."""
    said: list[str] = []
    token = _said.set(said)
    try:
        with deadline():
            await _in_thread(threads, action)
    except TimeoutError:
        raise NotSent(f"No answer within {ATTEMPT_SECONDS:.0f} seconds") from None
    except PrivateAddress as refused:
        raise NotSent(str(refused)) from None
    except NotSent as failure:
        told = " ".join([str(failure), *said[:1]]).strip()
        raise type(failure)(one_line(without_secrets(told, url))[:ERROR_LENGTH_MAX]) from None
    finally:
        _said.reset(token)


async def _in_thread(threads: ThreadPoolExecutor, action: Callable[[], _T]) -> _T:
    loop = asyncio.get_running_loop()
    context = copy_context()
    running = loop.run_in_executor(threads, lambda: context.run(action))
    return await asyncio.wait_for(running, ATTEMPT_SECONDS)


def _send(url: str, letter: Letter, guard: AbstractContextManager[None]) -> None:
    try:
        service = open_address(url)
    except ChannelRefused as refused:
        raise NotSent(str(refused)) from None
    service.socket_connect_timeout, service.socket_read_timeout = CONNECT_SECONDS, READ_SECONDS
    with guard:
        if isinstance(service, NotifyEmail):
            _submit_by(service, letter)
            return
        extras = getattr(service, "payload_extras", None)
        if extras is not None:
            extras.setdefault("message_id", str(letter.id))
        try:
            is_sent = service.notify(
                title=one_line(letter.subject),
                body=_fitting(write_text(letter), service.body_maxlen, letter),
                notify_type=NotifyType.WARNING if letter.is_urgent else NotifyType.INFO,
                body_format=NotifyFormat.TEXT,
            )
        except _FAILURES as failure:
            raise NotSent(type(failure).__name__) from None
        if not is_sent:
            raise NotSent("The service did not take it.")


def _fitting(text: str, most: int, letter: Letter) -> str:
    """As many whole lines as a service takes, which refuses longer texts; the last line says so.

    Cut in between, a number might read as another one.
    """
    room = max(most, TEXT_ROOM_MIN) - len(one_line(letter.subject)) - _TITLE_ROOM
    if len(text) <= room:
        return text
    whole, _, _ = text[: room - len(_LEFT_OUT)].rpartition("\n")
    return f"{whole.rstrip()}\n{_LEFT_OUT}"


def _submit_by(service: Any, letter: Letter) -> None:
    """Send by the mail server that a channel names."""
    name, address = service.from_addr
    receiver = service.targets[0][1]
    _submit(
        _written(letter, sender=f"{name or 'NIJA'} <{address}>", receiver=receiver),
        receiver,
        sender=address,
        host=service.smtp_host,
        port=service.port,
        secure_mode=service.secure_mode,
        user=service.user,
        password=service.password,
        verify_certificate=service.verify_certificate,
    )


def _written(letter: Letter, *, sender: str, receiver: str) -> EmailMessage:
    try:
        return write_mail(letter, sender=sender, receiver=receiver)
    except (ValueError, IndexError, MessageError):
        raise NotSent("No mail can be written to this address") from None


class _Transport(AppriseSMTPController):
    """Lets through why a mail was refused, which Apprise keeps to itself."""

    def sendmail(self, from_addr: str, to_addrs: list[str], message: str) -> bool:
        """Send to one receiver."""
        connection: Any = self._socket
        return not connection.sendmail(from_addr, to_addrs, message)


def _submit(mail: EmailMessage, receiver: str, *, sender: str, **server: Any) -> None:
    try:
        with _Transport(socket_connect_timeout=int(READ_SECONDS), **server) as smtp:
            is_taken = smtp.sendmail(sender, [receiver], mail.as_string())
    except PrivateAddress:
        raise
    except smtplib.SMTPAuthenticationError:
        raise NotSent("The mail server refuses user name or password") from None
    except smtplib.SMTPRecipientsRefused as refused:
        answers = [answer for _, answer in refused.recipients.values()]
        if answers and all(_NO_SUCH_MAILBOX.match(answer) for answer in answers):
            raise ReceiverUnknown("The mail server says that there is no such mailbox") from None
        raise NotSent("The mail server refused the receiver") from None
    except smtplib.SMTPException as failure:
        raise NotSent(f"The mail server refused it ({type(failure).__name__})") from None
    except (OSError, RuntimeError, AppriseException) as failure:
        raise NotSent(f"The mail server cannot be reached ({type(failure).__name__})") from None
    except ValueError:
        # Its message may quote what it is about.
        told = "A user name, password or address has letters that mail servers do not understand"
        raise NotSent(told) from None
    if not is_taken:
        raise NotSent("The mail server did not take the mail.")


class _Reasons(logging.Handler):
    """Hands what Apprise complains about to the attempt that is under way, and nowhere else."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning."""
        said = _said.get()
        if said is not None:
            said.append(record.getMessage())


def _take_over_logging() -> None:
    """Log lines of Apprise and of what it sends with may hold addresses; none gets into ours."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logger = logging.getLogger("apprise")
    if not any(isinstance(handler, _Reasons) for handler in logger.handlers):
        logger.handlers = [_Reasons(logging.WARNING)]
    logger.setLevel(logging.WARNING)
    logger.propagate = False
