from __future__ import annotations

import asyncio

import pyotp
import pytest

from tests.api.harness import PASSWORD, Api, World
from tests.identity.mailbox import notices
from tests.support.command_line import nija_said

pytestmark = pytest.mark.integration


async def set_up(user: Api) -> str:
    secret: str = (await user.data("POST", "/auth/2fa/setup", json={"password": PASSWORD}))[
        "secret"
    ]
    return secret


def code(world: World, secret: str) -> str:
    return pyotp.TOTP(secret).at(world.clock.now())


async def switch_on(world: World, user: Api) -> tuple[str, list[str]]:
    """Two-factor authentication in force, and a moment later."""
    secret = await set_up(user)
    data = await user.data("POST", "/auth/2fa/enable", json={"otp": code(world, secret)})
    world.clock.advance(seconds=90)
    return secret, data["recovery_codes"]


async def log_in(api: Api, user: Api, otp: str | None, password: str = PASSWORD) -> tuple[int, str]:
    body = {"email": user.email, "password": password} | ({"otp": otp} if otp else {})
    answer = await api.call("POST", "/auth/login", json=body)
    return answer.status_code, answer.json().get("error", {}).get("code", "")


async def test_a_secret_is_in_force_only_once_it_was_confirmed(
    world: World, user: Api, anyone: Api
) -> None:
    data = await user.data("POST", "/auth/2fa/setup", json={"password": PASSWORD})
    assert pyotp.parse_uri(data["otpauth_url"]).secret == data["secret"]
    assert await log_in(anyone, user, None) == (200, "")

    wrong = {"otp": "000000"}
    assert await user.error("POST", "/auth/2fa/enable", json=wrong) == (401, "OTP_INVALID")
    right = {"otp": code(world, data["secret"])}
    enabled = await user.data("POST", "/auth/2fa/enable", json=right)

    assert len(enabled["recovery_codes"]) == 10
    status = await user.data("GET", "/auth/2fa")
    assert (status["enabled"], status["recovery_codes_left"]) == (True, 10)
    assert len(await notices(world, user, "two_factor_enabled")) == 1


async def test_login_then_needs_a_code(world: World, user: Api, anyone: Api) -> None:
    secret, _ = await switch_on(world, user)

    assert await log_in(anyone, user, None) == (401, "OTP_REQUIRED")
    assert await log_in(anyone, user, "000000") == (401, "OTP_INVALID")
    assert await log_in(anyone, user, code(world, secret), "WrongPassword99") == (
        401,
        "INVALID_CREDENTIALS",
    )
    assert await log_in(anyone, user, code(world, secret)) == (200, "")


async def test_enabling_ends_other_sessions(world: World, user: Api) -> None:
    second = user.sibling()
    await second.log_in(user.email)
    await switch_on(world, user)

    assert await second.error("GET", "/auth/me") == (401, "TOKEN_INVALID")
    await user.data("GET", "/auth/me")


async def test_a_code_is_accepted_once_also_at_the_same_moment(
    world: World, user: Api, anyone: Api
) -> None:
    secret, _ = await switch_on(world, user)
    shown = code(world, secret)

    ends = await asyncio.gather(*(log_in(anyone, user, shown) for _ in range(4)))

    assert sorted(ends) == [(200, ""), *[(401, "OTP_INVALID")] * 3]
    world.clock.advance(seconds=30)
    assert await log_in(anyone, user, shown) == (401, "OTP_INVALID")
    assert await log_in(anyone, user, code(world, secret)) == (200, "")


async def test_the_code_that_enabled_it_is_used_up(world: World, user: Api, anyone: Api) -> None:
    secret = await set_up(user)
    shown = code(world, secret)
    await user.data("POST", "/auth/2fa/enable", json={"otp": shown})

    assert await log_in(anyone, user, shown) == (401, "OTP_INVALID")


async def test_guessing_codes_locks_like_guessing_passwords(
    world: World, user: Api, anyone: Api
) -> None:
    secret, _ = await switch_on(world, user)

    guesses = [f"{number:06}" for number in range(8)]
    ends = await asyncio.gather(*(log_in(anyone, user, guess) for guess in guesses))

    assert sorted(ends) == [*[(401, "INVALID_CREDENTIALS")] * 3, *[(401, "OTP_INVALID")] * 5]
    assert await log_in(anyone, user, code(world, secret)) == (401, "INVALID_CREDENTIALS")
    world.clock.advance(minutes=15, seconds=1)
    assert await log_in(anyone, user, code(world, secret)) == (200, "")


async def test_asking_for_a_code_forgets_no_failures(world: World, user: Api, anyone: Api) -> None:
    secret, _ = await switch_on(world, user)
    for _ in range(5):
        assert await log_in(anyone, user, "000000") == (401, "OTP_INVALID")
        await log_in(anyone, user, None)

    assert await log_in(anyone, user, code(world, secret)) == (401, "INVALID_CREDENTIALS")


async def test_a_recovery_code_stands_in_once(world: World, user: Api, anyone: Api) -> None:
    _, recovery = await switch_on(world, user)
    typed = recovery[3].upper().replace("-", " ")

    ends = await asyncio.gather(*(log_in(anyone, user, typed) for _ in range(3)))

    assert sorted(ends) == [(200, ""), *[(401, "OTP_INVALID")] * 2]
    (told,) = await notices(world, user, "recovery_code_used")
    assert told["facts"] == {"recovery_codes_left": 9}


async def test_recovery_codes_of_others_are_worth_nothing(
    world: World, user: Api, other: Api, anyone: Api
) -> None:
    await switch_on(world, user)
    _, theirs = await switch_on(world, other)

    assert await log_in(anyone, user, theirs[0]) == (401, "OTP_INVALID")
    assert await log_in(anyone, other, theirs[0]) == (200, "")


async def test_new_recovery_codes_replace_the_old_ones(
    world: World, user: Api, anyone: Api
) -> None:
    secret, old = await switch_on(world, user)
    proof = {"password": PASSWORD, "otp": code(world, secret)}

    new = (await user.data("POST", "/auth/2fa/recovery-codes", json=proof))["recovery_codes"]

    assert set(new).isdisjoint(old)
    assert await log_in(anyone, user, old[0]) == (401, "OTP_INVALID")
    assert await log_in(anyone, user, new[0]) == (200, "")


async def test_disabling_needs_password_and_code(world: World, user: Api, anyone: Api) -> None:
    secret, _ = await switch_on(world, user)
    path = "/auth/2fa/disable"

    for proof, code_of_error in (
        ({"password": PASSWORD}, "OTP_REQUIRED"),
        ({"password": PASSWORD, "otp": "000000"}, "OTP_INVALID"),
        ({"password": "WrongPassword99", "otp": code(world, secret)}, "INVALID_CREDENTIALS"),
    ):
        assert await user.error("POST", path, json=proof) == (401, code_of_error)
    await user.data("POST", path, json={"password": PASSWORD, "otp": code(world, secret)})

    assert await log_in(anyone, user, None) == (200, "")
    assert await user.error("POST", path, json={"password": PASSWORD}) == (409, "OTP_NOT_ENABLED")
    assert len(await notices(world, user, "two_factor_disabled")) == 1


async def test_a_factor_in_force_is_not_replaced(world: World, user: Api) -> None:
    secret, _ = await switch_on(world, user)

    assert await user.error("POST", "/auth/2fa/setup", json={"password": PASSWORD}) == (
        409,
        "OTP_ALREADY_ENABLED",
    )
    assert await user.error("POST", "/auth/2fa/enable", json={"otp": code(world, secret)}) == (
        409,
        "OTP_ALREADY_ENABLED",
    )


async def test_setting_up_again_before_confirming_makes_another_secret(
    world: World, user: Api
) -> None:
    assert await user.error("POST", "/auth/2fa/enable", json={"otp": "000000"}) == (
        409,
        "OTP_NOT_ENABLED",
    )
    first, second = await set_up(user), await set_up(user)

    assert first != second
    assert await user.error("POST", "/auth/2fa/enable", json={"otp": code(world, first)}) == (
        401,
        "OTP_INVALID",
    )
    await user.data("POST", "/auth/2fa/enable", json={"otp": code(world, second)})


async def test_a_stolen_session_cannot_set_a_factor_up(user: Api) -> None:
    wrong = {"password": "WrongPassword99"}
    assert await user.error("POST", "/auth/2fa/setup", json=wrong) == (401, "INVALID_CREDENTIALS")


async def test_secrets_are_sealed_and_never_logged(
    world: World, user: Api, anyone: Api, caplog: pytest.LogCaptureFixture
) -> None:
    secret, recovery = await switch_on(world, user)
    shown = code(world, secret)
    await log_in(anyone, user, shown)
    await log_in(anyone, user, recovery[0])

    stored = [
        str(await world.sql(f"SELECT to_jsonb(t) FROM {table} t"))  # noqa: S608
        for table in ("second_factors", "recovery_codes", "audit_log", "notices", "users")
    ]
    for place in (*stored, caplog.text):
        assert secret not in place
        for one in recovery:
            assert one not in place


async def reset_by_operator(world: World, email: str) -> tuple[int, str]:
    """Run `nija users reset-2fa` as an operator would."""
    return await nija_said("users", "reset-2fa", email, NIJA_SYSTEM_DATABASE_URL=world.urls.system)


async def test_an_operator_lets_somebody_in_who_lost_app_and_recovery_codes(
    world: World, user: Api, anyone: Api
) -> None:
    _, recovery = await switch_on(world, user)

    code_of_exit, output = await reset_by_operator(world, user.email.upper())

    assert (code_of_exit, "Traceback" in output) == (0, False)
    assert await user.error("GET", "/auth/me") == (401, "TOKEN_INVALID")
    assert await log_in(anyone, user, None) == (200, "")
    assert await log_in(anyone, user, None, "WrongPassword99") == (401, "INVALID_CREDENTIALS")
    left = await world.sql("SELECT 1 FROM recovery_codes WHERE user_id = %(id)s", id=user.user_id)
    assert (len(recovery), left) == (10, [])
    (entry,) = await world.sql(
        "SELECT meta FROM audit_log WHERE event_type = 'two_factor_reset' AND user_id = %(id)s",
        id=user.user_id,
    )
    assert entry["meta"] == {"by": "operator", "sessions": 1}
    assert len(await notices(world, user, "two_factor_disabled")) == 1


async def test_an_operator_is_told_why_nothing_was_reset(world: World, user: Api) -> None:
    await set_up(user)
    for email, words in (
        ("nobody@example.com", "Nobody has this email address"),
        (user.email, "not set up"),
        ("nobody", "not a valid email address"),
    ):
        code_of_exit, output = await reset_by_operator(world, email)
        assert (code_of_exit, "Traceback" in output) == (1, False)
        assert words in output
    await user.data("GET", "/auth/me")
