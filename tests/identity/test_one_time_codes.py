from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pyotp
import pytest

from services.identity import one_time_codes as codes

# RFC 6238, appendix B: the SHA-1 rows, of which six-digit codes are the last six digits.
RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()
RFC_ROWS = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]


@pytest.mark.parametrize(("seconds", "digits"), RFC_ROWS)
def test_codes_are_those_of_the_rfc(seconds: int, digits: str) -> None:
    at = datetime.fromtimestamp(seconds, UTC)

    assert codes.accepted_step(RFC_SECRET, digits[-6:], at, after=None) == seconds // 30


def test_a_clock_may_be_one_step_off_and_no_more() -> None:
    secret, at = codes.new_secret(), datetime(2026, 3, 1, 12, 0, 10, tzinfo=UTC)
    code = pyotp.TOTP(secret).at(at)
    off = [
        codes.accepted_step(secret, code, at + timedelta(seconds=30 * steps), after=None)
        for steps in (-2, -1, 0, 1, 2)
    ]

    present = int(at.timestamp()) // 30
    assert off == [None, present, present, present, None]


def test_a_step_is_accepted_once() -> None:
    secret, at = codes.new_secret(), datetime(2026, 3, 1, 12, tzinfo=UTC)
    step = int(at.timestamp()) // 30
    code = pyotp.TOTP(secret).at(at)

    assert codes.accepted_step(secret, code, at, after=step - 1) == step
    assert codes.accepted_step(secret, code, at, after=step) is None


@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "\uff11\uff12\uff13\uff14\uff15\uff16", "abcdef"]
)
def test_what_is_no_code_is_not_accepted(code: str) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    assert codes.accepted_step(codes.new_secret(), code, at, after=None) is None


def test_recovery_codes_are_ten_and_read_as_people_type_them() -> None:
    made = codes.new_recovery_codes()
    user_id = uuid4()

    assert len(set(made)) == 10
    for code in made:
        typed = f" {code.upper().replace('-', ' ')} "
        assert codes.is_recovery_code(codes.plain_code(typed))
        assert codes.hash_recovery_code(user_id, typed) == codes.hash_recovery_code(user_id, code)
        assert codes.hash_recovery_code(uuid4(), code) != codes.hash_recovery_code(user_id, code)
