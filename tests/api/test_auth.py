from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from tests.api.harness import PASSWORD, Api, World

pytestmark = pytest.mark.integration


def registration(**changes: object) -> dict[str, object]:
    return {
        "email": f"{uuid4().hex}@example.com",
        "password": PASSWORD,
        "full_name": "John Doe",
        "accept_terms": True,
        **changes,
    }


async def test_registering_answers_the_contract_s_fields(anyone: Api) -> None:
    body = registration(email=f"{uuid4().hex}@EXAMPLE.com")

    data = await anyone.data("POST", "/auth/register", json=body)

    assert data["user_id"].startswith("usr_")
    assert data["email"] == str(body["email"]).lower()
    assert data["full_name"] == "John Doe"
    assert data["subscription_tier"] == "free"
    assert data["trial_active"] is True
    assert data["trial_ends_at"][:10] > data["created_at"][:10]


async def test_a_new_user_has_settings_and_a_paper_account(user: Api) -> None:
    balance = await user.data("GET", "/account/balance")
    settings = await user.data("GET", "/config/settings")

    assert balance["cash"] == balance["equity"] == balance["buying_power"] == 10000
    assert (balance["broker"], balance["mode"], balance["currency"]) == ("coinbase", "paper", "USD")
    assert settings["trading"]["allowed_pairs"] == ["BTC-USD", "ETH-USD"]
    assert settings["trading"]["paper_trading"] is True


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"email": "nobody"}, (400, "INVALID_EMAIL")),
        ({"email": "a@b"}, (400, "INVALID_EMAIL")),
        ({"email": "a b@example.com"}, (400, "INVALID_EMAIL")),
        ({"email": "a..b@example.com"}, (400, "INVALID_EMAIL")),
        ({"email": "a@-example.com"}, (400, "INVALID_EMAIL")),
        ({"password": ""}, (400, "WEAK_PASSWORD")),
        ({"password": "short"}, (400, "WEAK_PASSWORD")),
        ({"password": "Password123!"}, (400, "WEAK_PASSWORD")),
        ({"password": "qwertyuiop"}, (400, "WEAK_PASSWORD")),
        ({"password": "aaaaaaaaaaaa"}, (400, "WEAK_PASSWORD")),
        ({"password": "x" * 300}, (400, "WEAK_PASSWORD")),
        ({"accept_terms": False}, (400, "TERMS_NOT_ACCEPTED")),
        ({"full_name": "  "}, (422, "VALIDATION_ERROR")),
        ({"full_name": "nul\x00"}, (422, "VALIDATION_ERROR")),
        ({"full_name": 7}, (422, "VALIDATION_ERROR")),
        ({"accept_terms": "yes"}, (422, "VALIDATION_ERROR")),
        ({"extra": 1}, (422, "VALIDATION_ERROR")),
    ],
)
async def test_registration_is_refused(
    anyone: Api, changes: dict[str, object], error: tuple[int, str]
) -> None:
    assert await anyone.error("POST", "/auth/register", json=registration(**changes)) == error


async def test_an_address_registers_once_also_at_the_same_moment(anyone: Api) -> None:
    body = registration()

    answers = await asyncio.gather(
        *(anyone.call("POST", "/auth/register", json=body) for _ in range(5))
    )

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["error"]["code"] == "EMAIL_ALREADY_EXISTS"


async def test_login_answers_tokens_and_the_user(user: Api) -> None:
    data = await user.sibling().log_in(user.email.upper())

    assert data["token_type"] == "Bearer"
    assert data["expires_in"] == 86400
    assert set(data["user"]) == {"user_id", "email", "full_name", "subscription_tier"}


async def test_wrong_password_and_unknown_address_look_the_same(user: Api, anyone: Api) -> None:
    wrong = await anyone.call(
        "POST", "/auth/login", json={"email": user.email, "password": "WrongPassword99"}
    )
    unknown = await anyone.call(
        "POST", "/auth/login", json={"email": f"{uuid4().hex}@x.com", "password": "WrongPass99"}
    )

    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json()["error"] == unknown.json()["error"]
    assert wrong.json()["error"]["code"] == "INVALID_CREDENTIALS"


async def test_five_failures_lock_for_fifteen_minutes(world: World, user: Api, anyone: Api) -> None:
    wrong = {"email": user.email, "password": "WrongPassword99"}
    right = {"email": user.email, "password": PASSWORD}
    for _ in range(5):
        assert await anyone.error("POST", "/auth/login", json=wrong) == (
            401,
            "INVALID_CREDENTIALS",
        )

    assert await anyone.error("POST", "/auth/login", json=right) == (401, "INVALID_CREDENTIALS")
    world.clock.advance(minutes=14, seconds=59)
    assert await anyone.error("POST", "/auth/login", json=right) == (401, "INVALID_CREDENTIALS")
    world.clock.advance(seconds=2)
    await anyone.data("POST", "/auth/login", json=right)


async def test_the_right_password_during_a_lock_leaves_the_trace_of_a_wrong_one(
    world: World, user: Api, anyone: Api
) -> None:
    """Neither the log nor the work done tells somebody who goes on guessing that one was right."""

    async def traces(password: str) -> list[str]:
        before = {row["id"] for row in await entries()}
        body = {"email": user.email, "password": password}
        assert await anyone.error("POST", "/auth/login", json=body) == (401, "INVALID_CREDENTIALS")
        return [row["event_type"] for row in await entries() if row["id"] not in before]

    async def entries() -> list[dict[str, Any]]:
        return await world.sql(
            "SELECT id, event_type FROM audit_log WHERE user_id = %(id)s", id=user.user_id
        )

    for _ in range(4):
        assert await traces("WrongPassword99") == ["login_failed"]
    assert await traces("WrongPassword99") == ["account_locked"]

    assert await traces("WrongPassword99") == ["login_failed"]
    assert await traces(PASSWORD) == ["login_failed"]
    world.clock.advance(minutes=15, seconds=1)
    await anyone.log_in(user.email)  # guesses during a lock do not prolong it


async def test_a_success_forgets_earlier_failures(user: Api, anyone: Api) -> None:
    wrong = {"email": user.email, "password": "WrongPassword99"}
    for _ in range(2):
        for _ in range(4):
            await anyone.error("POST", "/auth/login", json=wrong)
        await anyone.log_in(user.email)


async def test_the_right_guess_among_many_parallel_ones_is_refused(user: Api, anyone: Api) -> None:
    guesses = [f"WrongPassword{number}" for number in range(30)] + [PASSWORD]

    answers = await asyncio.gather(
        *(
            anyone.call("POST", "/auth/login", json={"email": user.email, "password": guess})
            for guess in guesses
        )
    )

    assert {answer.status_code for answer in answers} == {401}


@pytest.mark.parametrize(
    ("status", "code"), [("disabled", "ACCOUNT_DISABLED"), ("suspended", "ACCOUNT_SUSPENDED")]
)
async def test_a_user_who_may_not_enter(
    world: World, user: Api, anyone: Api, status: str, code: str
) -> None:
    await set_status(world, user, status)

    right = {"email": user.email, "password": PASSWORD}
    wrong = {"email": user.email, "password": "WrongPassword99"}
    assert await anyone.error("POST", "/auth/login", json=right) == (403, code)
    assert await anyone.error("POST", "/auth/login", json=wrong) == (401, "INVALID_CREDENTIALS")
    assert await user.error("GET", "/account/positions") == (403, code)
    assert await user.error("POST", "/trading/start") == (403, code)
    refresh = {"refresh_token": user.refresh_token}
    assert await anyone.error("POST", "/auth/refresh", json=refresh) == (403, code)


async def set_status(world: World, user: Api, status: str) -> None:
    await world.sql(
        "UPDATE users SET status = %(status)s WHERE id = %(id)s", status=status, id=user.user_id
    )


async def test_me_tells_about_the_caller(user: Api, world: World) -> None:
    me = await user.data("GET", "/auth/me")
    assert me["email"] == user.email
    assert (me["role"], me["status"], me["effective_plan"]) == ("user", "active", "pro")

    world.clock.advance(days=14)
    await user.log_in(user.email)
    me = await user.data("GET", "/auth/me")
    assert (me["trial_active"], me["subscription_tier"], me["effective_plan"]) == (
        False,
        "free",
        "free",
    )


# --- tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer garbage", "Basic abc", "Bearer a.b.c"]
)
async def test_tokens_that_are_none(client: httpx.AsyncClient, header: str | None) -> None:
    api = Api(client)
    headers = {} if header is None else {"Authorization": header}

    for path in ("/account/positions", "/auth/me"):
        answer = await api.call("GET", path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "TOKEN_INVALID")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_token_ends_after_a_day(world: World, user: Api) -> None:
    world.clock.advance(hours=24, seconds=-1)
    await user.data("GET", "/auth/me")
    world.clock.advance(seconds=2)
    assert await user.error("GET", "/auth/me") == (401, "TOKEN_EXPIRED")
    assert await user.error("GET", "/account/balance") == (401, "TOKEN_EXPIRED")


async def test_a_token_of_another_secret_or_algorithm_is_refused(user: Api) -> None:
    payload = jwt.decode(user.token or "", options={"verify_signature": False})
    forged = [
        jwt.encode(payload, "another-secret-that-is-long-enough-too", algorithm="HS256"),
        jwt.encode(payload, "", algorithm="none"),
    ]
    for token in forged:
        user.token = token
        assert await user.error("GET", "/auth/me") == (401, "TOKEN_INVALID")


# --- refreshing -----------------------------------------------------------------------------------


async def test_refresh_tokens_rotate(user: Api) -> None:
    first = user.refresh_token
    data = await user.data("POST", "/auth/refresh", json={"refresh_token": first})

    assert set(data) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert data["refresh_token"] != first
    user.token = data["access_token"]
    await user.data("GET", "/auth/me")


async def test_a_lost_answer_may_be_asked_for_again(world: World, user: Api) -> None:
    body = {"refresh_token": user.refresh_token}
    first = await user.data("POST", "/auth/refresh", json=body)
    world.clock.advance(seconds=10)
    sibling = await user.data("POST", "/auth/refresh", json=body)

    assert sibling["refresh_token"] != first["refresh_token"]
    for data in (first, sibling):
        await user.data("POST", "/auth/refresh", json={"refresh_token": data["refresh_token"]})


async def test_reuse_ends_the_whole_family(world: World, user: Api) -> None:
    stolen = {"refresh_token": user.refresh_token}
    data = await user.data("POST", "/auth/refresh", json=stolen)
    world.clock.advance(seconds=11)

    assert await user.error("POST", "/auth/refresh", json=stolen) == (401, "TOKEN_INVALID")

    newest = {"refresh_token": data["refresh_token"]}
    assert await user.error("POST", "/auth/refresh", json=newest) == (401, "TOKEN_INVALID")
    user.token = data["access_token"]
    assert await user.error("GET", "/auth/me") == (401, "TOKEN_INVALID")


async def test_refresh_tokens_end(world: World, user: Api) -> None:
    world.clock.advance(days=30, seconds=1)
    body = {"refresh_token": user.refresh_token}
    assert await user.error("POST", "/auth/refresh", json=body) == (401, "TOKEN_EXPIRED")
    body = {"refresh_token": "unknown"}
    assert await user.error("POST", "/auth/refresh", json=body) == (401, "TOKEN_INVALID")


async def test_concurrent_refreshes_do_not_end_the_session(user: Api) -> None:
    body = {"refresh_token": user.refresh_token}
    answers = await asyncio.gather(
        *(user.call("POST", "/auth/refresh", json=body) for _ in range(4))
    )
    assert {answer.status_code for answer in answers} == {200}
    await user.data("GET", "/auth/me")


# --- ending sessions ------------------------------------------------------------------------------


async def test_logging_out_ends_this_session_only(user: Api) -> None:
    second = user.sibling()
    await second.log_in(user.email)

    data = await user.data("POST", "/auth/logout", json={"revoke_all": False})

    assert data == {"message": "Logged out successfully"}
    assert await user.error("GET", "/auth/me") == (401, "TOKEN_INVALID")
    refresh = {"refresh_token": user.refresh_token}
    assert await user.error("POST", "/auth/refresh", json=refresh) == (401, "TOKEN_INVALID")
    await second.data("GET", "/auth/me")


async def test_logging_out_everywhere(user: Api) -> None:
    second = user.sibling()
    await second.log_in(user.email)
    await user.data("POST", "/auth/logout", json={"revoke_all": True})
    for api in (user, second):
        assert await api.error("GET", "/account/positions") == (401, "TOKEN_INVALID")


async def test_sessions_are_listed_and_revoked(user: Api) -> None:
    second = user.sibling()
    await second.log_in(user.email)

    sessions = (await user.data("GET", "/auth/sessions"))["sessions"]
    assert [session["current"] for session in sessions].count(True) == 1
    foreign = next(session for session in sessions if not session["current"])
    await user.data("DELETE", f"/auth/sessions/{foreign['session_id']}")

    assert await second.error("GET", "/auth/me") == (401, "TOKEN_INVALID")
    path = f"/auth/sessions/{foreign['session_id']}"
    assert await user.error("DELETE", path) == (404, "NOT_FOUND")
    assert await user.error("DELETE", "/auth/sessions/nonsense") == (404, "NOT_FOUND")


async def test_changing_the_password_ends_other_sessions(user: Api) -> None:
    second = user.sibling()
    await second.log_in(user.email)
    wish = {"current_password": PASSWORD, "new_password": "NewPassword456!"}

    data = await user.data("PUT", "/auth/change-password", json=wish)

    assert data == {"message": "Password changed successfully"}
    await user.data("GET", "/auth/me")
    assert await second.error("GET", "/auth/me") == (401, "TOKEN_INVALID")
    old = {"email": user.email, "password": PASSWORD}
    assert await second.error("POST", "/auth/login", json=old) == (401, "INVALID_CREDENTIALS")
    await second.log_in(user.email, "NewPassword456!")


async def test_changing_the_password_is_refused(user: Api) -> None:
    wrong = {"current_password": "WrongPassword99", "new_password": "NewPassword456!"}
    assert await user.error("PUT", "/auth/change-password", json=wrong) == (
        401,
        "INVALID_CREDENTIALS",
    )
    for new in ("", "short"):
        weak = {"current_password": PASSWORD, "new_password": new}
        assert await user.error("PUT", "/auth/change-password", json=weak) == (400, "WEAK_PASSWORD")
    await user.sibling().log_in(user.email)


async def test_sessions_of_others_are_not_listed(user: Api, other: Api) -> None:
    for api in (user, other):
        assert len((await api.data("GET", "/auth/sessions"))["sessions"]) == 1
