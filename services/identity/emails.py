"""Email addresses: their syntax and their one stored form. No DNS is asked."""

from __future__ import annotations

import re

from services.errors import InvalidEmail

LENGTH_MAX = 254
LOCAL_LENGTH_MAX = 64

_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+[a-z][a-z0-9-]*[a-z0-9]")


def normalized_email(text: str) -> str:
    """The form an address is stored and looked up in: trimmed, lower case.

    Raises:
        InvalidEmail: this is no address.
    """
    email = text.strip().lower()
    local = email.partition("@")[0]
    if len(email) > LENGTH_MAX or len(local) > LOCAL_LENGTH_MAX or not _ADDRESS.fullmatch(email):
        raise InvalidEmail
    return email
