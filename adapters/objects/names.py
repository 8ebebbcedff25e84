"""Names of files: none leads anywhere but into the store."""

from __future__ import annotations

import re
from datetime import timedelta

ABANDONED = timedelta(hours=1)
"""What is half-written for so long belongs to a process that died."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,120}\.[a-z]{2,5}")


def is_name(name: str) -> bool:
    """Whether a file can be called so."""
    return _NAME.fullmatch(name) is not None


def require_name(name: str) -> str:
    """The name itself.

    Raises:
        ValueError: the server chose no such name.
    """
    if not is_name(name):
        raise ValueError("Not a name of ours")
    return name
