"""What is sealed opens only here, only unchanged, and only with a key of the ring."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.vault import Vault, VaultError, generate_key

OLD, NEW = generate_key("old"), generate_key("new")


@given(st.binary(max_size=300), st.text(max_size=50))
def test_sealed_value_opens_in_its_place(plaintext: bytes, place: str) -> None:
    vault = Vault(NEW)

    sealed = vault.seal(plaintext, bound_to=place)

    assert vault.open(sealed, bound_to=place) == plaintext
    assert plaintext not in sealed or len(plaintext) < 8


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_changed_byte_is_noticed(position: int, difference: int) -> None:
    vault = Vault(f"{NEW},{OLD}")
    sealed = bytearray(vault.seal(b"secret", bound_to="row"))
    sealed[position % len(sealed)] ^= difference

    with pytest.raises(VaultError):
        vault.open(bytes(sealed), bound_to="row")


@given(st.integers(min_value=0, max_value=60))
def test_cut_value_is_noticed(length: int) -> None:
    vault = Vault(NEW)
    sealed = vault.seal(b"secret", bound_to="row")

    if length < len(sealed):
        with pytest.raises(VaultError):
            vault.open(sealed[:length], bound_to="row")


def test_another_row_does_not_open() -> None:
    vault = Vault(NEW)
    sealed = vault.seal(b"secret", bound_to="user 1|connection 1")

    with pytest.raises(ValueError, match="does not open"):
        vault.open(sealed, bound_to="user 1|connection 2")


def test_rotation() -> None:
    before, during, after = Vault(OLD), Vault(f"{NEW},{OLD}"), Vault(NEW)
    sealed = before.seal(b"secret", bound_to="row")

    resealed = during.seal(during.open(sealed, bound_to="row"), bound_to="row")

    assert during.key_id_of(sealed) == "old"
    assert during.key_id_of(resealed) == during.sealing_key_id == "new"
    assert after.open(resealed, bound_to="row") == b"secret"
    with pytest.raises(VaultError, match="not in the key ring"):
        after.open(sealed, bound_to="row")


def test_same_id_with_another_key_does_not_open() -> None:
    sealed = Vault(generate_key("k")).seal(b"secret", bound_to="row")

    with pytest.raises(VaultError):
        Vault(generate_key("k")).open(sealed, bound_to="row")


def test_equal_values_are_sealed_differently() -> None:
    vault = Vault(NEW)

    assert vault.seal(b"x", bound_to="row") != vault.seal(b"x", bound_to="row")


@pytest.mark.parametrize(
    "key_ring",
    [
        "",
        "justtext",
        ":" + base64.b64encode(bytes(32)).decode(),
        "a:not base64!",
        "a:" + base64.b64encode(bytes(16)).decode(),
        f"{NEW},{NEW}",
        f"{NEW},",
    ],
)
def test_malformed_key_ring_is_refused_without_quoting_it(key_ring: str) -> None:
    with pytest.raises(ValueError, match=r"[Vv]ault key") as refusal:
        Vault(key_ring)

    assert NEW.split(":")[1] not in str(refusal.value)
