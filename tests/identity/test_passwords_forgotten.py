from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from services.notifying.wording import words_of
from tests.api.harness import PASSWORD, Api, World
from tests.identity.mailbox import link_of, notices, token_of

pytestmark = pytest.mark.integration

NEW = "AnotherPassword789!"


async def forget(api: Api, email: str) -> None:
    data = await api.data("POST", "/auth/reset-password", json={"email": email})
    assert data == {"message": "Password reset email sent"}


async def confirm(api: Api, token: str, password: str = NEW) -> tuple[int, str]:
    body = {"token": token, "new_password": password}
    answer = await api.call("POST", "/auth/reset-password/confirm", json=body)
    return answer.status_code, answer.json().get("error", {}).get("code", "")


async def test_a_forgotten_password_is_replaced_and_every_session_ends(
    world: World, user: Api, anyone: Api
) -> None:
    await forget(anyone, user.email.upper())
    token = await token_of(world, user, "reset_password")

    assert await confirm(anyone, token) == (200, "")

    assert await user.error("GET", "/auth/me") == (401, "TOKEN_INVALID")
    old = {"email": user.email, "password": PASSWORD}
    assert await anyone.error("POST", "/auth/login", json=old) == (401, "INVALID_CREDENTIALS")
    await anyone.log_in(user.email, NEW)
    assert len(await notices(world, user, "password_reset")) == 1
    assert (await anyone.data("GET", "/auth/me"))["email_verified"] is True


async def test_a_reset_ends_webhook_keys_and_a_change_does_not(
    world: World, user: Api, anyone: Api
) -> None:
    await user.data("POST", "/config/webhooks")
    wish = {"current_password": PASSWORD, "new_password": NEW}
    await user.data("PUT", "/auth/change-password", json=wish)
    assert len((await user.data("GET", "/config/webhooks"))["webhooks"]) == 1
    assert len(await notices(world, user, "webhook_key_issued")) == 1
    await forget(anyone, user.email)

    assert await confirm(anyone, await token_of(world, user, "reset_password")) == (200, "")

    await user.log_in(user.email, NEW)
    assert (await user.data("GET", "/config/webhooks"))["webhooks"] == []
    (told,) = await notices(world, user, "password_reset")
    assert told["facts"]["webhook_keys_ended"] == 1
    said = words_of("password_reset", told["facts"]).section.sentences
    assert any("webhook key" in sentence for sentence in said)


async def test_the_answer_does_not_tell_who_exists(world: World, user: Api, anyone: Api) -> None:
    addresses = (user.email, f"{uuid4().hex}@example.com", user.email)
    answers = [
        await anyone.call("POST", "/auth/reset-password", json={"email": address})
        for address in addresses
    ]

    assert {answer.status_code for answer in answers} == {200}
    assert {str(answer.json()["data"]) for answer in answers} == {str(answers[0].json()["data"])}
    assert {frozenset(answer.headers) for answer in answers} == {frozenset(answers[0].headers)}
    assert len(await notices(world, user, "reset_password")) == 1


async def test_a_link_works_once_and_not_beside_a_newer_password(
    world: World, user: Api, anyone: Api
) -> None:
    await forget(anyone, user.email)
    first = await token_of(world, user, "reset_password")
    world.clock.advance(seconds=61)
    await forget(anyone, user.email)
    second = await token_of(world, user, "reset_password")

    assert await confirm(anyone, second) == (200, "")
    assert await confirm(anyone, second) == (401, "TOKEN_INVALID")
    assert await confirm(anyone, first) == (401, "TOKEN_INVALID")
    assert await link_of(world, user, "reset_password") is None


async def test_changing_the_password_voids_links(world: World, user: Api, anyone: Api) -> None:
    await forget(anyone, user.email)
    token = await token_of(world, user, "reset_password")
    wish = {"current_password": PASSWORD, "new_password": NEW}
    await user.data("PUT", "/auth/change-password", json=wish)

    assert await confirm(anyone, token, "YetAnotherPassword1") == (401, "TOKEN_INVALID")


async def test_of_two_confirmations_at_once_one_wins(world: World, user: Api, anyone: Api) -> None:
    await forget(anyone, user.email)
    token = await token_of(world, user, "reset_password")
    passwords = [f"{word}Password77!" for word in ("Amber", "Beryl", "Coral", "Delta")]

    ends = await asyncio.gather(*(confirm(anyone, token, password) for password in passwords))

    assert sorted(ends) == [(200, ""), *[(401, "TOKEN_INVALID")] * 3]
    await anyone.log_in(user.email, passwords[ends.index((200, ""))])


async def test_a_weak_password_is_refused_and_the_link_stays_good(
    world: World, user: Api, anyone: Api
) -> None:
    await forget(anyone, user.email)
    token = await token_of(world, user, "reset_password")

    assert await confirm(anyone, token, "short") == (400, "WEAK_PASSWORD")
    assert await confirm(anyone, token, user.email) == (400, "WEAK_PASSWORD")
    assert await confirm(anyone, token) == (200, "")


async def test_a_link_lasts_an_hour(world: World, user: Api, anyone: Api) -> None:
    await forget(anyone, user.email)
    token = await token_of(world, user, "reset_password")
    world.clock.advance(hours=1)

    assert await confirm(anyone, token) == (401, "TOKEN_EXPIRED")
    assert await link_of(world, user, "reset_password") is None


@pytest.mark.parametrize("token", ["x", "€€€€", "a" * 4000, "AQprMWYyZTNk", "...."])
async def test_made_up_tokens_are_refused(anyone: Api, token: str) -> None:
    assert await confirm(anyone, token) == (401, "TOKEN_INVALID")


async def test_a_token_is_good_for_its_purpose_only(world: World, user: Api, anyone: Api) -> None:
    token = await token_of(world, user, "verify_email")

    assert await confirm(anyone, token) == (401, "TOKEN_INVALID")


async def test_mails_to_one_address_are_bounded(world: World, user: Api, anyone: Api) -> None:
    for _ in range(20):
        await forget(anyone, user.email)
        world.clock.advance(seconds=65)

    assert len(await notices(world, user, "reset_password")) == 5
    world.clock.advance(hours=1)
    await forget(anyone, user.email)
    assert len(await notices(world, user, "reset_password")) == 6


async def test_requests_at_the_same_moment_make_one_mail(
    world: World, user: Api, anyone: Api
) -> None:
    await asyncio.gather(*(forget(anyone, user.email) for _ in range(5)))

    assert len(await notices(world, user, "reset_password")) == 1


async def test_no_secret_is_stored_or_logged(
    world: World, user: Api, anyone: Api, caplog: pytest.LogCaptureFixture
) -> None:
    await forget(anyone, user.email)
    token = await token_of(world, user, "reset_password")
    await confirm(anyone, token)

    stored = [
        str(await world.sql(f"SELECT to_jsonb(t) FROM {table} t"))  # noqa: S608
        for table in ("mailed_links", "notices", "audit_log")
    ]
    printed = caplog.text
    assert "reset-password" in printed
    for place in (*stored, printed):
        assert token not in place
        assert NEW not in place


async def test_a_reset_ends_a_lock_and_leaves_the_second_factor(
    world: World, user: Api, anyone: Api
) -> None:
    for _ in range(5):
        wrong = {"email": user.email, "password": "WrongPassword99"}
        await anyone.error("POST", "/auth/login", json=wrong)
    assert len(await notices(world, user, "account_locked")) == 1

    await forget(anyone, user.email)
    assert await confirm(anyone, await token_of(world, user, "reset_password")) == (200, "")

    await anyone.log_in(user.email, NEW)
