"""The page behind mailed links: a button, or a field for a new password, and nothing from outside.

The secret stands behind the `#`, so opening the page tells no server and no log about it, and
programs that follow links in mails use nothing up: only the button does.
"""

from __future__ import annotations

import base64
import hashlib

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:15vh auto;padding:0 1rem}
input,button{font:inherit;width:100%;box-sizing:border-box;padding:.6rem;margin:.4rem 0}
"""
_SCRIPT = """
const pages = {
  "verify_email": ["Confirm your email address", "/auth/verify-email", false],
  "change_email": ["Confirm your new email address", "/auth/change-email/confirm", false],
  "reset_password": ["Choose a new password", "/auth/reset-password/confirm", true],
};
const page = pages[location.pathname.split("/").pop()];
const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
const form = document.querySelector("form"), said = document.querySelector("output");
if (!page || !token) { form.remove(); said.textContent = "This link is not complete."; }
else {
  document.title = document.querySelector("h1").textContent = page[0];
  const field = document.querySelector("input");
  if (!page[2]) field.remove();
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = page[2] ? {token, new_password: field.value} : {token};
    try {
      const answer = await fetch("/api/v1" + page[1], {method: "POST", body: JSON.stringify(body),
        headers: {"Content-Type": "application/json"}, referrerPolicy: "no-referrer"});
      const told = await answer.json();
      said.textContent = told.success ? told.data.message : told.error.message;
      if (told.success) form.remove();
    } catch { said.textContent = "The server does not answer; try again."; }
  });
}
"""
_PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>NIJA</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex"><style>{_STYLE}</style></head>
<body><h1>NIJA</h1><form hidden>
<input type="password" name="new_password" autocomplete="new-password" minlength="10" required
 placeholder="New password, at least 10 characters"><button>Confirm</button></form>
<output role="status"></output><script>{_SCRIPT}</script></body></html>
"""


def _hash_of(part: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() + "'"


_HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": (
        f"default-src 'none'; script-src {_hash_of(_SCRIPT)}; style-src {_hash_of(_STYLE)};"
        " connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
}

router = APIRouter(prefix="/links", include_in_schema=False)


@router.get("/{purpose}")
async def link_page(purpose: str) -> HTMLResponse:  # noqa: ARG001 - read by the page itself
    """The same page for every purpose; it reads from its own address what to do."""
    return HTMLResponse(_PAGE, headers=_HEADERS)
