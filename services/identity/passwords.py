"""Passwords: which ones are accepted, and how they are kept.

Argon2id takes tens of milliseconds and tens of megabytes, so it runs in a few threads of its own:
the event loop never waits for it, and a flood of logins cannot take all memory.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from services.errors import WeakPassword
from services.identity.common_passwords import COMMON_PASSWORDS, COMMON_WORDS, LOOKALIKES

LENGTH_MIN = 10
LENGTH_MAX = 256
DISTINCT_MIN = 5
HASHING_THREADS = 2

_T = TypeVar("_T")

_SEQUENCES = ("01234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm")
_SEPARATORS = "0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ "


def check_strength(password: str, *, email: str) -> None:
    """Refuse passwords that guessing finds early.

    Raises:
        WeakPassword: too short, too long, common, a sequence, or the user's own address.
    """
    if len(password) < LENGTH_MIN:
        raise WeakPassword(f"The password needs at least {LENGTH_MIN} characters")
    if len(password) > LENGTH_MAX:
        raise WeakPassword(f"The password may have at most {LENGTH_MAX} characters")
    lowered = password.lower()
    if lowered in {email, email.partition("@")[0]}:
        raise WeakPassword("The password must not be your email address")
    if len(set(lowered)) < DISTINCT_MIN or _is_common(lowered) or _is_sequence(lowered):
        raise WeakPassword("This password is too common")


def _is_common(lowered: str) -> bool:
    words = {lowered.strip(_SEPARATORS), lowered.translate(LOOKALIKES).strip(_SEPARATORS)}
    # `P@ssw0rd2024!`: cut the ends off first, then read the look-alikes that are left as letters.
    words.add(lowered.strip(_SEPARATORS).translate(LOOKALIKES))
    return lowered in COMMON_PASSWORDS or bool(words & (COMMON_WORDS | COMMON_PASSWORDS))


def _is_sequence(lowered: str) -> bool:
    return any(
        lowered in (sequence * 3) or lowered in (sequence[::-1] * 3) for sequence in _SEQUENCES
    )


class Passwords:
    """Hashes and verifies with Argon2id, off the event loop."""

    def __init__(self, hasher: Argon2Hasher | None = None) -> None:
        self._hashes = PasswordHash((hasher or Argon2Hasher(),))
        self._threads = ThreadPoolExecutor(HASHING_THREADS, thread_name_prefix="argon2")
        self._nobody = self._hashes.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """The hash to store."""
        return await self._run(self._hash, password)

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether the password is the one that was hashed.

        Without a stored hash (nobody has that address) the same work is done for nothing, so that
        the time taken does not tell who has an account.
        """
        matches = await self._run(self._verify, password, stored or self._nobody)
        return matches and stored is not None

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _hash(self, password: str) -> str:
        return self._hashes.hash(_normalized(password))

    def _verify(self, password: str, stored: str) -> bool:
        # Nobody's password is longer; hashing a megabyte would only cost us.
        return self._hashes.verify(_normalized(password[: LENGTH_MAX + 1]), stored)

    async def _run(self, work: Callable[..., _T], *args: str) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


def _normalized(password: str) -> str:
    return unicodedata.normalize("NFKC", password)
