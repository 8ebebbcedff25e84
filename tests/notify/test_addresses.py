"""Which addresses channels may have, what is shown of them, and where connections may go."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from io import StringIO

import pytest

from adapters.notify.addresses import describe, without_secrets
from adapters.notify.guard import PrivateAddress, is_public, public_only
from adapters.notify.notifier import AppriseNotifier, MailServer, MalformedMailServer
from domain.notifications import ChannelRefused, NotSent, Section
from tests.notify.harness import a_letter
from tests.support.notifications import Hook, Mailbox, mail_server


@pytest.mark.parametrize(
    ("url", "service", "masked"),
    [
        ("json://u:pw@127.0.0.1:8080/secret/path", "JSON", "json://127.0.0.1/***"),
        ("tgram://123456789:abcdefg_hijklmnop-qrstuvwxyz0123456/12315544", "Telegram", None),
        ("ntfys://127.0.0.1/my-topic", "ntfy", "ntfys://127.0.0.1/***"),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "Discord", "discord://***"),
        (
            "mailtos://me:pw@127.0.0.1?to=you@example.com&from=me@example.com",
            "E-Mail",
            "mailtos://you@example.com",
        ),
    ],
)
def test_known_services_are_taken_and_masked(url: str, service: str, masked: str | None) -> None:
    found = describe(url, private_allowed=True)

    assert found.service.lower() == service.lower()
    assert masked is None or found.masked == masked
    assert found.is_mail is url.startswith("mailto")


@pytest.mark.parametrize(
    "url",
    [
        "syslog://localhost",
        "dbus://",
        "schan://key",
        "file:///etc/passwd",
        "https://example.com/hook",
        "nonsense",
        "",
        "json://",
        "json://127.0.0.1/?rto=100000",
        "json://127.0.0.1/?redirect=yes",
        "mailto://me:pw@127.0.0.1?to=a@example.com&pgpkey=/etc/passwd",
        "mailto://me:pw@127.0.0.1?to=a@example.com,b@example.com",
        "mailto://me:pw@127.0.0.1?to=a@example.com&bcc=b@example.com",
        "workflows://host/a/b?template=/etc/passwd",
        "json://127.0.0.1/" + "x" * 1000,
        "json://127.0.0.1/a b",
    ],
)
def test_what_could_do_harm_is_refused(url: str) -> None:
    with pytest.raises(ChannelRefused):
        describe(url, private_allowed=True)


@pytest.mark.parametrize(
    "url",
    [
        "json://127.0.0.1/x",
        "json://localhost/x",
        "jsons://10.1.2.3/x",
        "json://169.254.169.254/latest/meta-data",
        "json://[::1]/x",
        "ntfy://192.168.1.7/topic",
        "mailto://me:pw@example.com?smtp=127.0.0.1&to=you@example.com",
    ],
)
def test_servers_at_private_addresses_are_refused(url: str) -> None:
    with pytest.raises(ChannelRefused, match="not public"):
        describe(url, private_allowed=False)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - an address, nothing is bound
        ("224.0.0.1", False),
        ("fe80::1%eth0", False),
        ("/run/socket", False),
    ],
)
def test_public_is_what_everybody_means_the_same_host_by(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_a_connection_is_watched_where_it_is_made_and_nowhere_else() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        where = listening.getsockname()

        with public_only(), pytest.raises(PrivateAddress):
            socket.create_connection(where)
        with contextlib.closing(socket.create_connection(where)):
            pass


async def test_a_private_address_behind_a_redirect_is_not_reached(hook: Hook) -> None:
    """Also one that was public when it was looked at: the connection itself is stopped."""
    guarded = AppriseNotifier(None)

    with pytest.raises(NotSent) as failure:
        await guarded.send(hook.url, a_letter())
    guarded.close()

    assert hook.bodies == []
    assert "s3cr3t" not in str(failure.value)


async def test_nothing_of_it_gets_into_the_logs(hook: Hook) -> None:
    notifier = AppriseNotifier(None, private_allowed=True)
    hook.status = 500
    # As production has it: one handler at the root, at the most talkative level.
    lines = StringIO()
    root, handler = logging.getLogger(), logging.StreamHandler(lines)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with pytest.raises(NotSent, match="500"):
            await notifier.send(hook.url, a_letter())
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        notifier.close()

    assert "s3cr3t" not in lines.getvalue()
    assert "JSON POST" not in lines.getvalue()


async def test_redirects_are_not_followed(hook: Hook) -> None:
    hook.redirect_to = hook.url.replace("json://", "http://") + "/elsewhere"
    notifier = AppriseNotifier(None, private_allowed=True)

    with pytest.raises(NotSent):
        await notifier.send(hook.url, a_letter())
    notifier.close()

    assert hook.bodies == []


async def test_a_server_that_never_answers_costs_an_attempt_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters.notify.notifier.ATTEMPT_SECONDS", 0.2)
    monkeypatch.setattr("adapters.notify.notifier.READ_SECONDS", 0.5)
    notifier = AppriseNotifier(None, private_allowed=True)

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(NotSent, match="No answer"):
            await notifier.send(f"json://127.0.0.1:{silent.getsockname()[1]}/", a_letter())
    notifier.close()


async def test_a_server_that_never_ends_its_answer_keeps_no_thread(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then is no silence, so no timeout of reading ends it."""
    monkeypatch.setattr("adapters.notify.notifier.ATTEMPT_SECONDS", 1.0)
    monkeypatch.setattr("adapters.notify.notifier.CHANNEL_THREADS", 1)
    ended = asyncio.Event()

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            ended.set()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    notifier = AppriseNotifier(None, private_allowed=True)

    with pytest.raises(NotSent, match="No answer"):
        await notifier.send(f"json://127.0.0.1:{port}/", a_letter())
    await asyncio.wait_for(ended.wait(), 5)
    await notifier.send(hook.url, a_letter())
    notifier.close()
    server.close()

    assert len(hook.bodies) == 1


def test_nothing_of_an_address_is_left_in_what_is_said() -> None:
    url = "json://someone:p%40ss-word@host.example:8443/hook/abcdef?+X-Key=tokentoken"
    said = "failed: host.example p@ss-word /hook/abcdef tokentoken someone"

    shown = without_secrets(said, url)

    for secret in ("p@ss-word", "abcdef", "tokentoken", "someone", "host.example"):
        assert secret not in shown


@pytest.mark.parametrize(
    ("url", "security", "port"),
    [
        ("smtp://u:p%40ss@mail.example", "starttls", 587),
        ("smtps://u:p%40ss@mail.example", "ssl", 465),
        ("smtp://u:p%40ss@mail.example:1025?tls=none", "insecure", 1025),
    ],
)
def test_the_operators_server_is_read(url: str, security: str, port: int) -> None:
    server = MailServer.parse(url, "NIJA <a@b.example>")

    assert (server.host, server.security, server.port) == ("mail.example", security, port)
    assert (server.user, server.password) == ("u", "p@ss")


@pytest.mark.parametrize(
    ("url", "sender"), [("mail.example", "a@b.c"), ("smtp://x", "NIJA"), ("smtp://x:port", "a@b.c")]
)
def test_a_wrong_mail_server_is_named_without_its_password(url: str, sender: str) -> None:
    with pytest.raises(MalformedMailServer):
        MailServer.parse(url, sender)


async def test_a_mail_server_that_is_not_there_is_told_without_its_password() -> None:
    notifier = AppriseNotifier(MailServer.parse("smtp://u:pass-word@127.0.0.1:1", "a@b.c"))

    with pytest.raises(NotSent) as failure:
        await notifier.mail("me@example.com", a_letter())
    notifier.close()

    assert "cannot be reached" in str(failure.value)
    assert "pass-word" not in str(failure.value)


async def test_a_text_is_cut_at_a_line_where_a_service_takes_no_longer_one(hook: Hook) -> None:
    """A longer one would be refused at every attempt, and lost."""
    notifier = AppriseNotifier(None, private_allowed=True)
    figures = tuple((f"Net P&L {number}", "-$1,234.56") for number in range(10))
    letter = a_letter(sections=tuple(Section(f"Trade {n}", (), figures) for n in range(40)))
    port = hook.url.rpartition(":")[2].partition("/")[0]

    await notifier.send(f"mmost://127.0.0.1:{port}/{'t' * 24}", letter)
    await notifier.send(hook.url, letter)
    notifier.close()

    cut, whole = hook.bodies[0]["text"], hook.bodies[1]["message"]
    assert len(cut) <= 4_000
    *lines, last = cut.splitlines()
    assert "more than fits" in last
    assert set(lines[1:]) <= set(whole.splitlines()), "no number is cut in two"
    assert whole.count("-$1,234.56") == 400, "what takes more gets more"


async def test_an_address_that_no_server_understands_is_a_failure_and_no_crash() -> None:
    async with mail_server(Mailbox()) as mailbox:
        notifier = AppriseNotifier(MailServer.parse(mailbox.url, "NIJA <nija@nija.example>"))

        with pytest.raises(NotSent, match="letters") as failure:
            await notifier.mail("me@m\u00fcnchen.example", a_letter())
        notifier.close()

    assert "nchen" not in str(failure.value)
