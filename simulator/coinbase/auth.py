"""Who signed a request: HMAC headers, or a JWT signed with ES256 or EdDSA.

The form is decided by the account's key, never by what the request claims. Timestamps and expiry
are judged by the wall clock, as clients know no other; a fault may put the venue's clock off it.
"""

import hmac
import time
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from starlette.requests import Request

from simulator.coinbase.errors import UnauthorizedError
from simulator.store import Account

AccountByKey = Callable[[str], Account | None]
PublicKey = EllipticCurvePublicKey | Ed25519PublicKey

_HMAC_WINDOW_SECONDS: Final = 30
_JWT_LIFE_SECONDS: Final = 120
_CLOCK_LEEWAY_SECONDS: Final = 10
_ALGORITHMS: Final = {"es256": "ES256", "ed25519": "EdDSA"}
_BEARER: Final = "Bearer "


def authenticate(
    request: Request, body: bytes, account_by_key: AccountByKey, skew_seconds: float = 0
) -> Account:
    """Return the account that signed this request.

    Args:
        request: With its headers.
        body: As it was sent.
        account_by_key: Finds the account of an API key.
        skew_seconds: How far the clock that judges is ahead of the wall clock.

    Raises:
        UnauthorizedError: Unknown key, wrong signature, or signed too long ago.
    """
    now = time.time() + skew_seconds
    authorization = request.headers.get("authorization", "")
    if authorization.startswith(_BEARER):
        return _by_token(request, authorization.removeprefix(_BEARER), account_by_key, now)
    if "cb-access-key" in request.headers:
        return _by_hmac(request, body, account_by_key, now)
    raise UnauthorizedError("no credentials")


def _by_hmac(request: Request, body: bytes, account_by_key: AccountByKey, now: float) -> Account:
    account = account_by_key(request.headers["cb-access-key"])
    if account is None or account.key_type != "hmac":
        raise UnauthorizedError("invalid api key")
    timestamp = request.headers.get("cb-access-timestamp", "")
    if not timestamp.isdecimal() or abs(now - int(timestamp)) > _HMAC_WINDOW_SECONDS:
        raise UnauthorizedError("request timestamp expired")
    message = f"{timestamp}{request.method}{_signed_path(request)}".encode() + body
    expected = hmac.new(account.verifier.encode(), message, sha256).hexdigest()
    signature = request.headers.get("cb-access-sign", "")
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise UnauthorizedError("invalid signature")
    return account


def _signed_path(request: Request) -> str:
    """Return the signed path: the old API signs the query as well, the new one does not."""
    query = request.url.query
    is_v2 = request.url.path.startswith("/v2/")
    return f"{_raw_path(request)}?{query}" if is_v2 and query else _raw_path(request)


def _raw_path(request: Request) -> str:
    raw: bytes = request.scope["raw_path"]
    return raw.split(b"?")[0].decode()


def _by_token(request: Request, token: str, account_by_key: AccountByKey, now: float) -> Account:
    try:
        key_id = str(jwt.get_unverified_header(token).get("kid", ""))
        account = account_by_key(key_id)
        if account is None or account.key_type not in _ALGORITHMS:
            raise UnauthorizedError("invalid api key")
        claims: dict[str, Any] = jwt.decode(
            token,
            key=_public_key(account.verifier),
            algorithms=[_ALGORITHMS[account.key_type]],
            options={
                "require": ["exp", "nbf", "sub"],
                "verify_aud": False,
                # Times are judged below, by the venue's clock.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except jwt.InvalidTokenError as error:
        raise UnauthorizedError(f"invalid token: {type(error).__name__}") from error
    if claims["sub"] != key_id:
        raise UnauthorizedError("the token's subject is not its key")
    _check_times(claims["nbf"], claims["exp"], now)
    uris = claims.get("uris") or [claims.get("uri")]
    if _uri(request) not in [str(uri).replace("http://", "", 1) for uri in uris]:
        raise UnauthorizedError("the token is for another request")
    return account


def _check_times(begins: object, ends: object, now: float) -> None:
    if not isinstance(begins, int | float) or not isinstance(ends, int | float):
        raise UnauthorizedError("the token's times are no numbers")
    if begins > now + _CLOCK_LEEWAY_SECONDS:
        raise UnauthorizedError("the token is not valid yet")
    if ends <= now - _CLOCK_LEEWAY_SECONDS:
        raise UnauthorizedError("the token has expired")
    if ends > now + _JWT_LIFE_SECONDS + _CLOCK_LEEWAY_SECONDS:
        raise UnauthorizedError("the token lives too long")


def _uri(request: Request) -> str:
    return f"{request.method} {request.headers.get('host', '')}{_raw_path(request)}"


@lru_cache(maxsize=10_000)
def _public_key(pem: str) -> PublicKey:
    key = load_pem_public_key(pem.encode())
    assert isinstance(key, PublicKey)
    return key
