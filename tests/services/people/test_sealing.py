from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.vault import Vault, generate_key
from domain.ports import KeyPermissions, VenueCredentials
from services.errors import InvalidApiKey
from services.sealing import mask_key, seal_credentials
from services.venue_keys import require_trading_only


def test_masks_look_like_the_contract_s() -> None:
    assert mask_key("sk_live_0123456789-0123456789-0123456789abc123") == "sk_live_***abc123"


@given(st.text(st.characters(exclude_characters="*"), min_size=1, max_size=200))
def test_a_mask_shows_at_most_a_third(key: str) -> None:
    head, _, tail = mask_key(key).partition("***")
    assert len(head) + len(tail) <= len(key) / 3
    assert key.startswith(head)
    assert key.endswith(tail)


def test_sealed_keys_open_only_in_their_own_row() -> None:
    vault = Vault(generate_key("k1"))
    user, connection = uuid4(), uuid4()
    credentials = VenueCredentials("key", "secret", {"org_id": "o"})

    sealed = seal_credentials(vault, credentials, user_id=user, connection_id=connection)

    assert b"secret" not in sealed
    vault.open(sealed, bound_to=f"connection:{user}:{connection}")
    with pytest.raises(ValueError, match="does not open"):
        vault.open(sealed, bound_to=f"connection:{user}:{uuid4()}")
    assert "secret" not in repr(credentials)


@pytest.mark.parametrize(
    ("permissions", "words"),
    [
        (KeyPermissions(can_read=True, can_trade=True, can_withdraw=True), "withdraw"),
        (KeyPermissions(can_read=False, can_trade=True, can_withdraw=False), "view"),
        (KeyPermissions(can_read=True, can_trade=False, can_withdraw=False), "trade"),
    ],
)
def test_keys_a_bot_must_not_have(permissions: KeyPermissions, words: str) -> None:
    with pytest.raises(InvalidApiKey) as refusal:
        require_trading_only(permissions)
    assert words in refusal.value.message
