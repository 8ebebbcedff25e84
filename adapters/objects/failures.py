"""What can go wrong with a bucket, and what may be said of it."""

from __future__ import annotations

import re

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

FAILURES = (BotoCoreError, ClientError, HTTPError, OSError)
"""Refusals of the storage, and everything that keeps one from reaching it."""

_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def code(failure: ClientError) -> str:
    """The storage's own word for its refusal."""
    return str(failure.response.get("Error", {}).get("Code", ""))


def reason(failure: Exception) -> str:
    """A failure in a word; its whole text may repeat addresses, keys and signatures."""
    if isinstance(failure, ClientError):
        return code(failure) if _CODE.fullmatch(code(failure)) else "refused"
    return type(failure).__name__
