from __future__ import annotations

import time

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

from services.errors import InvalidEmail, WeakPassword
from services.identity.emails import normalized_email
from services.identity.passwords import Passwords, check_strength


@pytest.mark.parametrize(
    "password",
    [
        "SecurePassword123!",
        "OldPassword123!",
        "NewPassword456!",
        "correct horse battery",
        "пароль-из-десяти",
        "Tr0ub4dor&3x",
    ],
)
def test_good_passwords(password: str) -> None:
    check_strength(password, email="user@example.com")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "ninechars",
        "x" * 257,
        "1234567890",
        "0987654321",
        "password123",
        "P@ssw0rd2024!",
        "!!Welcome!!2026",
        "Qwertyuiop1",
        "qwertyuiopasdf",
        "poiuytrewq",
        "abcdefghijk",
        "aaaaaaaaaaaa",
        "abababababab",
        "iloveyou1234",
        "user@example.com",
        "LongUserName",
        "1q2w3e4r5t",
        "bitcoin12345",
    ],
)
def test_weak_passwords(password: str) -> None:
    email = "longusername@example.com" if password == "LongUserName" else "user@example.com"
    with pytest.raises(WeakPassword):
        check_strength(password, email=email)


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1))


async def test_hashes_verify_only_their_password(passwords: Passwords) -> None:
    stored = await passwords.hash("SecurePassword123!")

    assert stored.startswith("$argon2id$")
    assert "SecurePassword" not in stored
    assert await passwords.verify("SecurePassword123!", stored)
    assert not await passwords.verify("SecurePassword123?", stored)


async def test_the_same_text_in_another_unicode_form_is_the_same_password(
    passwords: Passwords,
) -> None:
    stored = await passwords.hash("caf\u00e9-caf\u00e9-caf\u00e9")
    assert await passwords.verify("cafe\u0301-cafe\u0301-cafe\u0301", stored)


async def test_nobody_s_password_never_verifies(passwords: Passwords) -> None:
    assert not await passwords.verify("nobody has this password", None)


async def test_an_unknown_user_takes_as_long_as_a_known_one() -> None:
    passwords = Passwords()
    stored = await passwords.hash("SecurePassword123!")

    async def seconds(hash_of_user: str | None) -> float:
        began = time.perf_counter()
        await passwords.verify("WrongPassword99", hash_of_user)
        return time.perf_counter() - began

    known = min([await seconds(stored) for _ in range(3)])
    unknown = min([await seconds(None) for _ in range(3)])

    assert unknown > known / 3


@pytest.mark.parametrize(
    ("text", "email"),
    [
        (" User@Example.COM ", "user@example.com"),
        ("a.b+tag@sub.example.co", "a.b+tag@sub.example.co"),
        ("x@xn--bcher-kva.example", "x@xn--bcher-kva.example"),
    ],
)
def test_addresses_have_one_form(text: str, email: str) -> None:
    assert normalized_email(text) == email


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "a@",
        "@example.com",
        "a@example",
        "a@@example.com",
        "a@exam ple.com",
        ".a@example.com",
        "a.@example.com",
        "a@example.com.",
        "a@example..com",
        "a@-example.com",
        "a@example.1",
        "a" * 65 + "@example.com",
        "a@" + "b" * 250 + ".com",
        "a\x00@example.com",
        "ä@example.com",
    ],
)
def test_other_texts_are_no_addresses(text: str) -> None:
    with pytest.raises(InvalidEmail):
        normalized_email(text)
