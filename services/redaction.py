"""Blanking secrets by the name they go under, in whatever is about to be logged or kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BLANK = "[redacted]"
SECRET_NAMES = frozenset(
    {
        "access_token",
        "additional_params",
        "api_key",
        "api_secret",
        "authorization",
        "cookie",
        "current_password",
        "jwt",
        "jwt_secret",
        "new_password",
        "otp",
        "otpauth_url",
        "passphrase",
        "password",
        "password_hash",
        "private_key",
        "recovery_codes",
        "refresh_token",
        "secret",
        "sealed",
        "set-cookie",
        "token",
        "token_hash",
        "vault_keys",
        "webhook_key",
        "x-api-key",
    }
)
_DEPTH_MAX = 12


def redact(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which every value under a secret's name, at any depth, is blanked."""
    return {
        str(key): BLANK if str(key).lower() in SECRET_NAMES else _redact_value(value, 1)
        for key, value in values.items()
    }


def _redact_value(value: Any, depth: int) -> Any:
    if depth > _DEPTH_MAX:
        return BLANK
    if isinstance(value, Mapping):
        return {
            key: BLANK if str(key).lower() in SECRET_NAMES else _redact_value(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redact_value(inner, depth + 1) for inner in value]
    return value
