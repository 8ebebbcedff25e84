"""The page behind the unsubscribe links of mails; no login, no script, nothing from outside.

Opening it changes nothing, since programs that look at mails open links. The button does, and so
does the POST that a mail program makes by itself for `List-Unsubscribe-Post` (RFC 8058).
"""

from __future__ import annotations

from html import escape
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from api.kit.notifications import Notifications
from services.errors import ObjectNotFound

TOKEN_LENGTH_MAX = 500
_NOT_FOUND = 404
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>NIJA</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex"><style>
:root{{color-scheme:light dark}}
body{{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:15vh auto;padding:0 1rem}}
button{{font:inherit;width:100%;padding:.6rem;margin:.4rem 0}}
</style></head><body><h1>{title}</h1>{body}</body></html>
"""
_HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
        " frame-ancestors 'none'; base-uri 'none'"
    ),
}

Token = Annotated[str, Query(max_length=TOKEN_LENGTH_MAX)]

router = APIRouter(prefix="/unsubscribe", include_in_schema=False)


@router.get("")
async def ask(notifications: Notifications, token: Token = "") -> HTMLResponse:
    """Say what would end, with a button."""
    try:
        found = notifications.unsubscribing.read(token)
    except ObjectNotFound:
        return _not_found()
    return _page(
        "Unsubscribe",
        f"<p>You will get no more {escape(found.words)}.</p>"
        '<form method="post"><button>Unsubscribe</button></form>',
    )


@router.post("")
async def unsubscribe(notifications: Notifications, token: Token = "") -> HTMLResponse:
    """End it. The body, if there is one, does not matter."""
    try:
        found = await notifications.unsubscribing.follow(token)
    except ObjectNotFound:
        return _not_found()
    return _page(
        "You are unsubscribed",
        f"<p>You get no more {escape(found.words)}. Your settings turn them on again.</p>",
    )


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=title, body=body), status, headers=_HEADERS)


def _not_found() -> HTMLResponse:
    return _page(
        "This link does not work", "<p>Please take it from the mail again.</p>", _NOT_FOUND
    )
