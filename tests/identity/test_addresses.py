"""Verifying an address, and having another one."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import httpx
import pytest

from tests.api.harness import PASSWORD, Api, World, register
from tests.identity.mailbox import link_of, notices, token_of

pytestmark = pytest.mark.integration


async def ask(api: Api, new_email: str, **changes: object) -> tuple[int, str]:
    body = {"new_email": new_email, "password": PASSWORD, **changes}
    answer = await api.call("POST", "/auth/change-email", json=body)
    return answer.status_code, answer.json().get("error", {}).get("code", "")


async def confirm(api: Api, token: str, path: str = "change-email/confirm") -> tuple[int, str]:
    answer = await api.call("POST", f"/auth/{path}", json={"token": token})
    return answer.status_code, answer.json().get("error", {}).get("code", "")


async def test_a_new_user_is_mailed_a_link_and_verifies_with_it(
    world: World, user: Api, anyone: Api
) -> None:
    assert (await user.data("GET", "/auth/me"))["email_verified"] is False
    link = await link_of(world, user, "verify_email")
    assert link is not None
    assert link.startswith("http://test/links/verify_email#")

    assert await confirm(anyone, link.partition("#")[2], "verify-email") == (200, "")

    assert (await user.data("GET", "/auth/me"))["email_verified"] is True
    assert await confirm(anyone, link.partition("#")[2], "verify-email") == (401, "TOKEN_INVALID")
    told = await user.data("POST", "/auth/verify-email/resend")
    assert told == {"message": "The email address is verified already"}


async def test_a_link_can_be_sent_again_now_and_then(world: World, user: Api) -> None:
    answer = await user.call("POST", "/auth/verify-email/resend")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "RATE_LIMITED")
    assert answer.headers["retry-after"] == "60"

    world.clock.advance(seconds=60)
    assert (await user.data("POST", "/auth/verify-email/resend"))["message"].endswith("sent")
    assert len(await notices(world, user, "verify_email")) == 2


async def test_a_verification_link_lasts_a_day(world: World, user: Api, anyone: Api) -> None:
    token = await token_of(world, user, "verify_email")
    world.clock.advance(hours=24)

    assert await confirm(anyone, token, "verify-email") == (401, "TOKEN_EXPIRED")


async def test_an_address_changes_when_the_new_one_answers(
    world: World, user: Api, anyone: Api
) -> None:
    old, new = user.email, f"{uuid4().hex}@example.com"
    verification = await token_of(world, user, "verify_email")
    await anyone.data("POST", "/auth/reset-password", json={"email": old})
    reset = await token_of(world, user, "reset_password")

    assert await ask(user, new.upper()) == (200, "")
    assert (await user.data("GET", "/auth/me"))["email"] == old
    (asked,) = await notices(world, user, "confirm_email_change")
    assert asked["facts"]["to"] == new
    token = await token_of(world, user, "confirm_email_change")
    assert await confirm(anyone, token) == (200, "")

    me = await user.data("GET", "/auth/me")
    assert (me["email"], me["email_verified"]) == (new, True)
    (told,) = await notices(world, user, "email_changed")
    assert told["facts"] == {"to": old}
    assert await confirm(anyone, token) == (401, "TOKEN_INVALID")
    # The old mailbox opens nothing any more.
    assert await confirm(anyone, verification, "verify-email") == (401, "TOKEN_INVALID")
    body = {"token": reset, "new_password": "AnotherPassword789!"}
    assert await anyone.error("POST", "/auth/reset-password/confirm", json=body) == (
        401,
        "TOKEN_INVALID",
    )
    await anyone.log_in(new)


@pytest.mark.parametrize("way", ["change", "reset"])
async def test_a_new_password_takes_back_an_address_that_was_asked_for(
    world: World, user: Api, anyone: Api, way: str
) -> None:
    """Somebody who knew the old password must not carry the account off after that."""
    old, new_password = user.email, "AnotherPassword789!"
    assert await ask(user, f"{uuid4().hex}@example.com") == (200, "")
    token = await token_of(world, user, "confirm_email_change")

    if way == "change":
        body = {"current_password": PASSWORD, "new_password": new_password}
        await user.data("PUT", "/auth/change-password", json=body)
    else:
        await anyone.data("POST", "/auth/reset-password", json={"email": old})
        reset = await token_of(world, user, "reset_password")
        body = {"token": reset, "new_password": new_password}
        await anyone.data("POST", "/auth/reset-password/confirm", json=body)

    assert await confirm(anyone, token) == (401, "TOKEN_INVALID")
    await anyone.log_in(old, new_password)


async def test_changing_the_address_is_refused(user: Api, other: Api) -> None:
    fresh = f"{uuid4().hex}@example.com"
    assert await ask(user, fresh, password="WrongPassword99") == (401, "INVALID_CREDENTIALS")
    assert await ask(user, "nobody") == (400, "INVALID_EMAIL")
    assert await ask(user, user.email) == (422, "VALIDATION_ERROR")
    assert await ask(user, other.email) == (409, "EMAIL_ALREADY_EXISTS")
    assert await ask(user, fresh) == (200, "")
    assert await ask(user, fresh) == (429, "RATE_LIMITED")


async def test_guessing_the_password_here_locks_too(user: Api, anyone: Api) -> None:
    for _ in range(5):
        await ask(user, f"{uuid4().hex}@example.com", password="WrongPassword99")

    right = {"email": user.email, "password": PASSWORD}
    assert await anyone.error("POST", "/auth/login", json=right) == (401, "INVALID_CREDENTIALS")


async def test_two_people_who_want_one_address(
    world: World, client: httpx.AsyncClient, anyone: Api
) -> None:
    wanted = f"{uuid4().hex}@example.com"
    people = [await register(client) for _ in range(3)]
    tokens = []
    for person in people:
        assert await ask(person, wanted) == (200, "")
        tokens.append(await token_of(world, person, "confirm_email_change"))

    ends = await asyncio.gather(*(confirm(anyone, token) for token in tokens))

    assert sorted(ends) == [(200, ""), *[(409, "EMAIL_ALREADY_EXISTS")] * 2]


async def test_of_two_confirmations_at_once_one_wins(world: World, user: Api, anyone: Api) -> None:
    await ask(user, f"{uuid4().hex}@example.com")
    token = await token_of(world, user, "confirm_email_change")

    ends = await asyncio.gather(*(confirm(anyone, token) for _ in range(4)))

    assert sorted(ends) == [(200, ""), *[(401, "TOKEN_INVALID")] * 3]
    assert len(await notices(world, user, "email_changed")) == 1


async def test_the_page_behind_links_brings_everything_along(client: httpx.AsyncClient) -> None:
    page = await client.get("/links/reset_password")

    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "/auth/reset-password/confirm" in page.text


async def test_a_login_from_a_new_device_is_told(world: World, user: Api) -> None:
    body = {"email": user.email, "password": PASSWORD}
    await user.data("POST", "/auth/login", json=body)
    assert await notices(world, user, "new_login") == []

    await user.data("POST", "/auth/login", json=body, headers={"User-Agent": "another/1.0"})

    (told,) = await notices(world, user, "new_login")
    assert told["facts"]["user_agent"] == "another/1.0"
