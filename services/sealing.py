"""Sealing venue keys for their row, and what may be shown of them.

`services.stored_credentials` opens them again, for venue gateways.
"""

from __future__ import annotations

import json
from uuid import UUID

from domain.ports import Vault, VenueCredentials
from services.stored_credentials import binding

_MASK = "***"
_SHOWN_HEAD_MAX = 8
_SHOWN_TAIL_MAX = 6
_SHOWN_PART = 3


def seal_credentials(
    vault: Vault, credentials: VenueCredentials, *, user_id: UUID, connection_id: UUID
) -> bytes:
    """Encrypt venue keys for one row of one user."""
    plaintext = json.dumps(
        {
            "api_key": credentials.api_key,
            "api_secret": credentials.api_secret,
            "additional_params": dict(credentials.params),
        }
    )
    return vault.seal(plaintext.encode(), bound_to=binding(user_id, connection_id))


def mask_key(api_key: str) -> str:
    """A key as its owner may recognize it: both ends, never more than a third of it."""
    shown = len(api_key) // _SHOWN_PART
    tail = min(_SHOWN_TAIL_MAX, (shown + 1) // 2)
    head = min(_SHOWN_HEAD_MAX, shown - tail)
    return api_key[:head] + _MASK + (api_key[-tail:] if tail else "")
