"""Coinbase's keys in every form that people paste them in, and what is wrong with others.

Coinbase issues three kinds: an ES256 key (a name `organizations/…/apiKeys/…` and a PEM), an Ed25519
key (a name or id and 64 bytes in base64) and a legacy HMAC key. They are pasted with blanks, line
ends and quotes around them, with line breaks lost or written as a backslash and an n, or as the
JSON file they were downloaded in. No message here quotes any part of a secret.
"""

from __future__ import annotations

import base64
import binascii
import json
import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from domain.ports import VenueCredentials, VenueRefusedKeys

SECRET_CHARACTERS_MAX = 10_000
_NAMES_OF_KEY = ("name", "id", "api_key", "apiKey", "key", "keyName", "key_name")
_NAMES_OF_SECRET = ("privateKey", "private_key", "api_secret", "apiSecret", "secret")
# Quotation marks of keyboards and of word processors, and what is left of a JSON or .env line.
_AROUND = "\"'`,;\u2018\u2019\u201c\u201d\u00ab\u00bb"
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"), None)
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+?)-----(.*?)-----END ([A-Z0-9 ]+?)-----", re.DOTALL)
_KEY = re.compile(r"[A-Za-z0-9/_.=+-]+")
_FIELD = re.compile(
    r"^\s*(?:export\s+)?[\"']?[A-Za-z_]{2,40}[\"']?\s*[:=]\s*(?P<value>[\"'-].*)$", re.DOTALL
)
_ED25519_BYTES = 64
_ED25519_SEED_BYTES = 32
_DER_SEQUENCE = 0x30
_ANOTHER_KIND = (
    "The private key is of a kind that Coinbase does not issue: it issues ECDSA (P-256) and Ed25519"
    " keys"
)
_DER_BYTES_MAX = 256
"""No key that Coinbase issues has half of that. Longer ones are not parsed: OpenSSL proves the
primes of an RSA key, for most of a minute at the size that fits into a secret."""
_ED25519_UNPADDED = range(86, 88)
"""Characters of 64 bytes in base64 whose closing equals signs were not copied."""


def usable_keys(credentials: VenueCredentials) -> VenueCredentials:
    """The keys as the venue takes them.

    Raises:
        VenueRefusedKeys: they cannot be keys of Coinbase; the message says why.
    """
    key, secret = credentials.api_key, credentials.api_secret
    if max(len(key), len(secret)) > SECRET_CHARACTERS_MAX:
        raise VenueRefusedKeys("The API key or its secret is far too long")
    from_json = _of_json(secret) or _of_json(key)
    if from_json is not None:
        key, secret = from_json
    key, secret = _bare(key), _bare(secret)
    if not key or not secret:
        raise VenueRefusedKeys("The API key or its secret is empty")
    if "-----BEGIN" in key or _is_private(key):
        raise VenueRefusedKeys(
            "The API key holds a private key: enter the key's name there and the private key as"
            " the secret"
        )
    key = "".join(key.split())
    if _KEY.fullmatch(key) is None:
        raise VenueRefusedKeys("The API key holds characters that no key of Coinbase has")
    return VenueCredentials(key, _usable_secret(key, secret), credentials.params)


def _usable_secret(key: str, secret: str) -> str:
    if "-----" in secret:
        return _of_pem(secret)
    if not secret.isascii():
        raise VenueRefusedKeys("The API secret holds characters that no secret of Coinbase has")
    bare = "".join(secret.split())
    raw = _base64(bare)
    if raw is not None and raw[0] == _DER_SEQUENCE and len(raw) > _ED25519_BYTES:
        return _of_der(raw)  # a PEM without its first and last line
    if raw is not None and len(raw) == _ED25519_BYTES:
        return _of_ed25519(raw)
    if raw is not None and len(raw) == _ED25519_SEED_BYTES and bare.endswith("="):
        return _of_private_key(ed25519.Ed25519PrivateKey.from_private_bytes(raw))
    if "organizations/" in key:
        raise VenueRefusedKeys(
            "The API secret is no private key: copy all of it, from -----BEGIN EC PRIVATE KEY-----"
            " to -----END EC PRIVATE KEY-----, or the whole base64 text of an Ed25519 key"
        )
    if bare.endswith("="):
        raise VenueRefusedKeys(
            "The API secret looks like an Ed25519 key but is not whole: it has 88 characters"
        )
    if bare != secret or not secret.isprintable():
        raise VenueRefusedKeys("The API secret holds blanks or line breaks within")
    return secret


def _is_private(key: str) -> bool:
    """Whether what was entered as the key is a secret, which is sent as no part of a header."""
    raw = _base64("".join(key.split()))
    return raw is not None and len(raw) >= _ED25519_BYTES


def _of_ed25519(raw: bytes) -> str:
    """Seed and public key, which must belong together."""
    secret = _of_private_key(
        ed25519.Ed25519PrivateKey.from_private_bytes(raw[:_ED25519_SEED_BYTES])
    )
    if base64.b64decode(secret) != raw:
        raise VenueRefusedKeys("The API secret is damaged: copy all of it again")
    return secret


def _of_pem(secret: str) -> str:
    if "-----END" not in secret:
        raise VenueRefusedKeys(
            "The private key is cut off: copy all of it, with its last line -----END … KEY-----"
        )
    if "-----BEGIN" not in secret:
        raise VenueRefusedKeys(
            "The private key lacks its beginning: copy the line -----BEGIN … KEY----- too"
        )
    found = _PEM.search(secret)
    if found is None or found[1] != found[3] or not found[1].endswith("PRIVATE KEY"):
        raise VenueRefusedKeys("The API secret is not the private key that Coinbase showed")
    raw = _base64("".join(found[2].split()))
    if raw is None:
        raise VenueRefusedKeys(
            "The private key is damaged: characters are missing or do not belong there"
        )
    return _of_der(raw)


def _of_der(raw: bytes) -> str:
    if len(raw) > _DER_BYTES_MAX:
        raise VenueRefusedKeys(_ANOTHER_KIND)
    try:
        private_key = serialization.load_der_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # What went wrong is not told: the parser's text may quote the secret.
        raise VenueRefusedKeys(
            "The private key cannot be read: copy all of it again, or create new keys"
        ) from None
    return _of_private_key(private_key)


def _of_private_key(private_key: object) -> str:
    if isinstance(private_key, ed25519.Ed25519PrivateKey):
        public = private_key.public_key().public_bytes_raw()
        return base64.b64encode(private_key.private_bytes_raw() + public).decode()
    if isinstance(private_key, ec.EllipticCurvePrivateKey) and isinstance(
        private_key.curve, ec.SECP256R1
    ):
        return private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ).decode()
    raise VenueRefusedKeys(_ANOTHER_KIND)


def _of_json(text: str) -> tuple[str, str] | None:
    """Key and secret of a pasted JSON file, if that is what it is."""
    begin, end = text.find("{"), text.rfind("}")
    if begin < 0 or end < begin:
        return None
    try:
        # Line breaks within its texts are what some editors make of \n.
        source = json.loads(text[begin : end + 1], strict=False)
    except (ValueError, RecursionError):
        raise VenueRefusedKeys(
            "The API keys look like a JSON file, but it cannot be read: paste all of it"
        ) from None
    if not isinstance(source, dict):
        return None
    key = next((source[name] for name in _NAMES_OF_KEY if _is_text(source.get(name))), None)
    secret = next((source[name] for name in _NAMES_OF_SECRET if _is_text(source.get(name))), None)
    if key is None or secret is None:
        raise VenueRefusedKeys('The JSON file of the API keys has no "name" or no "privateKey"')
    return key, secret


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _bare(text: str) -> str:
    """Without what is around a pasted text, with real line breaks."""
    text = text.translate(_INVISIBLE).replace("\u00a0", " ")
    if field := _FIELD.match(text):
        text = field["value"]
    for written in ("\\r\\n", "\\n", "\\r", "\r\n", "\r"):
        text = text.replace(written, "\n")
    before = None
    while before != text:
        before = text
        text = text.strip().strip(_AROUND)
    return text


def _base64(text: str) -> bytes | None:
    if len(text) in _ED25519_UNPADDED:
        text += "=" * (-len(text) % 4)
    try:
        return base64.b64decode(text, validate=True) or None
    except (binascii.Error, ValueError):
        return None
