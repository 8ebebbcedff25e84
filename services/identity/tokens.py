"""Tokens: signed access tokens and opaque refresh tokens.

An access token says who is asking and by which session; everything else (role, status, whether the
session still stands) is read from the database at every request.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID, uuid4

import jwt

from domain.ports import WallClock
from services.errors import TokenExpired, TokenInvalid
from services.reads import Claims

ALGORITHM = "HS256"
ACCESS = "access"
REFRESH_TOKEN_BYTES = 32
REMEMBERED_MAX = 4_096
_LENGTH_MAX = 4_096
_REQUIRED = ["sub", "sid", "iat", "exp", "jti", "typ"]


class AccessTokens:
    """Issues and verifies access tokens.

    Args:
        secret: signs them; at least 32 characters.
        ttl: how long one is good.
        clock: wall time.
    """

    def __init__(self, secret: str, ttl: timedelta, clock: WallClock) -> None:
        self._secret = secret
        self._ttl = ttl
        self._clock = clock
        # A token is checked at every request of its session; that it was signed by us stays true.
        self._decode_once = lru_cache(REMEMBERED_MAX)(self._decode)

    @property
    def ttl(self) -> timedelta:
        """How long a token is good."""
        return self._ttl

    def issue(self, claims: Claims) -> str:
        """Sign a token for a session."""
        now = int(self._clock.now().timestamp())
        return jwt.encode(
            {
                "sub": str(claims.user_id),
                "sid": str(claims.session_id),
                "iat": now,
                "exp": now + int(self._ttl.total_seconds()),
                "jti": uuid4().hex,
                "typ": ACCESS,
            },
            self._secret,
            algorithm=ALGORITHM,
        )

    def verify(self, token: str) -> Claims:
        """Check signature, type and age.

        Raises:
            TokenExpired: it was good once.
            TokenInvalid: it is not one of ours.
        """
        return self.verify_until(token)[0]

    def verify_until(self, token: str) -> tuple[Claims, datetime]:
        """Check signature, type and age; also answers when the token ends.

        Raises:
            TokenExpired: it was good once.
            TokenInvalid: it is not one of ours.
        """
        if len(token) > _LENGTH_MAX:
            raise TokenInvalid
        claims, expires_at = self._decode_once(token)
        if expires_at <= self._clock.now().timestamp():
            raise TokenExpired
        return claims, datetime.fromtimestamp(expires_at, UTC)

    def _decode(self, token: str) -> tuple[Claims, float]:
        try:
            # PyJWT would compare times with the machine's clock; ours is handed in.
            payload = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
            )
            claims = Claims(UUID(payload["sub"]), UUID(payload["sid"]))
            expires_at = float(payload["exp"])
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
            raise TokenInvalid from None
        if payload["typ"] != ACCESS:
            raise TokenInvalid
        return claims, expires_at


def new_refresh_token() -> str:
    """A refresh token; only its hash is stored."""
    return secrets.token_urlsafe(REFRESH_TOKEN_BYTES)


def hash_refresh_token(token: str) -> str:
    """What a refresh token is found by. Plain SHA-256 is enough for 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
