"""Encryption of secrets at rest: AES-256-GCM with a key ring.

A sealed value is `version | length of key id | key id | nonce | ciphertext and tag`. The
additional authenticated data are the header and the name of the row the value belongs to, so a
ciphertext copied to another row, or relabelled with another key id, does not open. The first key
of the ring seals; every key opens, which is how keys are rotated: put the new key first, seal
everything again, drop the old one.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
KEY_ID_BYTES_MAX = 64
_VERSION = 1
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEADER_BYTES = 2


class VaultError(ValueError):
    """A sealed value does not open: wrong key, changed bytes, or another row's ciphertext."""


class Vault:
    """Implements `domain.ports.Vault`.

    Args:
        key_ring: `id:base64key[,id:base64key]`; the first key seals, all of them open.

    Raises:
        ValueError: the key ring is malformed. The message never contains key material.
    """

    def __init__(self, key_ring: str) -> None:
        keys = _parse_key_ring(key_ring)
        self._ciphers: Mapping[str, AESGCM] = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._sealing_key_id = next(iter(keys))

    @property
    def sealing_key_id(self) -> str:
        """Id of the key that new values are sealed with."""
        return self._sealing_key_id

    def seal(self, plaintext: bytes, *, bound_to: str) -> bytes:
        """Encrypt with the first key of the ring."""
        key_id = self._sealing_key_id.encode()
        header = bytes((_VERSION, len(key_id))) + key_id
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = self._ciphers[self._sealing_key_id]
        return header + nonce + cipher.encrypt(nonce, plaintext, header + bound_to.encode())

    def open(self, sealed: bytes, *, bound_to: str) -> bytes:
        """Decrypt.

        Raises:
            VaultError: wrong key, changed bytes, or another row's ciphertext.
        """
        header, key_id, rest = _split(sealed)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise VaultError("The value was sealed with a key that is not in the key ring")
        nonce, ciphertext = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        try:
            return cipher.decrypt(nonce, ciphertext, header + bound_to.encode())
        except InvalidTag:
            raise VaultError("The sealed value does not open here") from None

    def key_id_of(self, sealed: bytes) -> str:
        """Id of the key a value was sealed with; tells which rows still need sealing again.

        Raises:
            VaultError: this is not a sealed value.
        """
        return _split(sealed)[1]


def generate_key(key_id: str) -> str:
    """Make one entry of a key ring."""
    return f"{key_id}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


def _split(sealed: bytes) -> tuple[bytes, str, bytes]:
    if len(sealed) < _HEADER_BYTES or sealed[0] != _VERSION:
        raise VaultError("This is not a sealed value")
    header_end = _HEADER_BYTES + sealed[1]
    header, rest = sealed[:header_end], sealed[header_end:]
    if len(rest) < _NONCE_BYTES + _TAG_BYTES:
        raise VaultError("The sealed value is cut short")
    return header, header[_HEADER_BYTES:].decode(errors="replace"), rest


def _parse_key_ring(key_ring: str) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for entry in key_ring.split(","):
        key_id, separator, encoded = entry.strip().partition(":")
        if not separator or not 0 < len(key_id.encode()) <= KEY_ID_BYTES_MAX:
            raise ValueError("A vault key is written `id:base64key`")
        if key_id in keys:
            raise ValueError(f"The vault key id {key_id!r} occurs twice")
        keys[key_id] = _parse_key(key_id, encoded)
    return keys


def _parse_key(key_id: str, encoded: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError(f"The vault key {key_id!r} is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"The vault key {key_id!r} must be {KEY_BYTES} bytes")
    return key
