"""Which addresses a channel may have: the services we know, and the parts that are harmless.

Apprise speaks to more than a hundred services, some of which run programs, read files or write to
local sockets. Users get a list of those that only speak to a server, and of each only parameters
that say what is sent where.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from adapters.notify.guard import resolves_publicly
from adapters.notify.vendor import Apprise, AppriseAsset, NotifyEmail
from domain.notifications import ChannelAddress, ChannelRefused

ASSET = AppriseAsset(
    app_id="NIJA",
    app_desc="NIJA notifications",
    app_url="",
    storage_mode="memory",
    http_redirects=False,
    pgp_autogen=False,
    pem_autogen=False,
)
MAIL = frozenset({"mailto", "mailtos"})
ANY_HOST = frozenset(
    {
        *("json", "jsons", "xml", "xmls", "form", "forms", "ntfy", "ntfys", "gotify", "gotifys"),
        *("mmost", "mmosts", "rocket", "rockets"),
    }
)
"""Services that stand wherever the address says."""
FIXED_HOST = frozenset(
    {
        *("discord", "slack", "tgram", "gchat", "wxteams", "webex", "workflow", "workflows"),
        *("zulip", "pover", "pbul", "prowl", "join", "pagerduty", "opsgenie", "twilio"),
    }
)
"""Services that stand at a host of their own."""
PARAMETERS = frozenset(
    {
        *("to", "from", "name", "user", "pass", "smtp", "mode", "reply", "verify", "format"),
        *("priority", "sound", "device", "tags", "click", "topic", "thread", "method", "footer"),
        *("avatar", "auth", "channel", "region", "path", "batch", "silent"),
    }
)
_PREFIXES = ("+", ":", "-")
"""Extra headers, fields and query parameters of webhooks."""
LENGTH_MAX = 1_000
_SECRET_LENGTH_MIN = 4
_CONTROL = re.compile(r"[\x00-\x20\x7f]")


def open_address(url: str) -> Any:
    """Make the service that an address names.

    Raises:
        ChannelRefused: there is none, or it is not one for users.
    """
    scheme = url.partition("://")[0].lower()
    if len(url) > LENGTH_MAX or _CONTROL.search(url):
        raise ChannelRefused(f"An address has at most {LENGTH_MAX} characters, without spaces")
    if scheme not in MAIL | ANY_HOST | FIXED_HOST:
        services = ", ".join(sorted(MAIL | ANY_HOST | FIXED_HOST))
        raise ChannelRefused(f"The address must begin with one of: {services}")
    try:
        query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    except ValueError:
        raise ChannelRefused("The address is malformed") from None
    unknown = sorted(
        name for name, _ in query if name not in PARAMETERS and not name.startswith(_PREFIXES)
    )
    if unknown:
        raise ChannelRefused("The address has a parameter that is not allowed")
    service = Apprise.instantiate(url, asset=ASSET, suppress_exceptions=True)
    if service is None:
        raise ChannelRefused("The address is not complete, or part of it is wrong")
    if len(service) != 1 or getattr(service, "cc", None) or getattr(service, "bcc", None):
        raise ChannelRefused("A channel has exactly one receiver; make one for each")
    return service


def describe(url: str, *, private_allowed: bool) -> ChannelAddress:
    """Look at an address; resolves its host.

    Raises:
        ChannelRefused: it cannot be used.
    """
    service = open_address(url)
    scheme = url.partition("://")[0].lower()
    is_mail = isinstance(service, NotifyEmail)
    host = host_of(service, scheme)
    if host is not None and not private_allowed:
        try:
            is_allowed = resolves_publicly(host)
        except (OSError, UnicodeError):
            raise ChannelRefused("The server's name cannot be resolved") from None
        if not is_allowed:
            raise ChannelRefused("The server is at an address that is not public")
    return ChannelAddress(
        service=str(service.service_name),
        is_mail=is_mail,
        masked=f"{scheme}://{_shown(service, host, is_mail=is_mail)}",
    )


def host_of(service: Any, scheme: str) -> str | None:
    """The host that a user chose; None where the service has its own."""
    if isinstance(service, NotifyEmail):
        return str(service.smtp_host).strip("[]")
    if scheme in ANY_HOST and service.host:
        return str(service.host).strip("[]")
    return None


def _shown(service: Any, host: str | None, *, is_mail: bool) -> str:
    if is_mail:
        return str(service.targets[0][1])
    return f"{host}/***" if host else "***"


def without_secrets(text: str, url: str) -> str:
    """A text in which nothing of an address but its scheme is left."""
    _, _, rest = url.partition("://")
    parts = {rest, unquote(rest), *re.split(r"[/:@?&=#,]", rest)}
    parts |= {unquote(part) for part in parts}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SECRET_LENGTH_MIN:
            text = text.replace(part, "***")
    return text
