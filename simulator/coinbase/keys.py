"""API keys in the three forms that Coinbase has issued, made so that ccxt takes them as they are.

ccxt chooses the signature from how key and secret look: a PEM secret or a key named
`organizations/...` means a JWT, an 88-character base64 secret makes that EdDSA; anything else is
HMAC, unless the secret ends in `=`.
"""

import base64
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

DEFAULT_KEY_TYPE: Final = "ed25519"


@dataclass(frozen=True)
class NewKey:
    """A fresh key: what the client gets, and what the venue keeps to check signatures with."""

    key_type: str
    api_key: str
    api_secret: str = field(repr=False)
    verifier: str = field(repr=False)


class UnknownKeyTypeError(Exception):
    """No such form of key."""


def new_key(key_type: str) -> NewKey:
    """Make a key of the given form.

    Raises:
        UnknownKeyTypeError: With the known forms.
    """
    if key_type not in _MAKERS:
        raise UnknownKeyTypeError(f"unknown key type {key_type!r}; known: {', '.join(_MAKERS)}")
    return _MAKERS[key_type]()


def _ed25519() -> NewKey:
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key()
    seed = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    both = seed + public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    secret = base64.b64encode(both).decode()
    return NewKey("ed25519", _organization_key(), secret, _public_pem(public))


def _es256() -> NewKey:
    private = ec.generate_private_key(ec.SECP256R1())
    secret = private.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    ).decode()
    return NewKey("es256", _organization_key(), secret, _public_pem(private.public_key()))


def _hmac() -> NewKey:
    secret = secrets.token_hex(32)
    return NewKey("hmac", secrets.token_hex(16), secret, secret)


def _organization_key() -> str:
    return f"organizations/{uuid.uuid4()}/apiKeys/{uuid.uuid4()}"


def _public_pem(key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


_MAKERS: Final[dict[str, Callable[[], NewKey]]] = {
    DEFAULT_KEY_TYPE: _ed25519,
    "es256": _es256,
    "hmac": _hmac,
}
