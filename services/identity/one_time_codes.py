"""Second factors: time-based one-time passwords (RFC 6238) and recovery codes, as pure functions.

A time step is 30 seconds; codes have six digits, SHA-1, as every authenticator app expects. Clocks
may be one step off.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import datetime
from uuid import UUID

import pyotp

ISSUER = "NIJA"
STEP_SECONDS = 30
STEPS_OFF_MAX = 1
DIGITS = 6

RECOVERY_CODES = 10
_RECOVERY_BYTES = 10
_RECOVERY_LENGTH = 16
_GROUP = 4


def new_secret() -> str:
    """A TOTP secret: 160 random bits in base32."""
    return pyotp.random_base32(32)


def otpauth_url(secret: str, *, email: str) -> str:
    """What an authenticator app reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=ISSUER)


def accepted_step(secret: str, code: str, now: datetime, *, after: int | None) -> int | None:
    """The time step a code is right for, if that is later than `after`; None for a wrong code.

    Every candidate is compared, so that the time taken does not tell which one it was.
    """
    if len(code) != DIGITS:
        return None
    totp = pyotp.TOTP(secret)
    present = int(now.timestamp()) // STEP_SECONDS
    right = None
    for step in range(present - STEPS_OFF_MAX, present + STEPS_OFF_MAX + 1):
        is_right = hmac.compare_digest(totp.generate_otp(step).encode(), code.encode())
        if is_right and (after is None or step > after):
            right = step
    return right


def plain_code(typed: str) -> str:
    """A code as it was meant: without the blanks and dashes people type, in lower case."""
    return "".join(character for character in typed if character.isalnum()).lower()


def new_recovery_codes() -> list[str]:
    """Ten codes of 80 random bits, for people to write down."""
    return [_grouped(secrets.token_bytes(_RECOVERY_BYTES)) for _ in range(RECOVERY_CODES)]


def is_recovery_code(code: str) -> bool:
    """Whether a plain code has a recovery code's form."""
    return len(code) == _RECOVERY_LENGTH and code.isascii()


def hash_recovery_code(user_id: UUID, code: str) -> str:
    """What a recovery code is found by. Plain SHA-256 is enough for 80 random bits."""
    return hashlib.sha256(f"{user_id}:{plain_code(code)}".encode()).hexdigest()


def _grouped(raw: bytes) -> str:
    text = base64.b32encode(raw).decode().lower()
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))
