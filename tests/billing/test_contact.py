"""The customer's address at Stripe follows the user's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from adapters.embedded.postgres_roles import DatabaseUrls
from domain.principal import Principal
from models.account_life import AccountDeletion
from services.billing.contact import Contact, announce_change
from services.billing.sweeping import LATE
from services.billing.tending import UNAVAILABLE_LOOK, Tending
from services.identity.emails import normalized_email
from tests.api.harness import PASSWORD, World, open_client, open_world, register
from tests.billing.harness import Till
from tests.identity.mailbox import token_of
from tests.support.stripe_faults import UNAVAILABLE, answers

pytestmark = pytest.mark.integration


@pytest.fixture
def tending(till: Till) -> Tending:
    contact = Contact(till.database, till.provider, till.wall)
    return Tending(till.database, till.commands, till.refreshing, till.wall, contact)


async def change(till: Till, who: Principal, email: str) -> None:
    """As the service that changes addresses does it."""
    async with till.database.for_user(who.user_id) as session:
        await announce_change(session, who.user_id, till.wall.now())
        await (await session.connection()).execute(
            text("UPDATE users SET email = :email WHERE id = :id"),
            {"email": email, "id": who.user_id},
        )


def address(till: Till) -> str:
    """The one customer's, at Stripe."""
    (customer,) = till.standin.customers()
    known: str = customer.email
    return known


async def customer_path(till: Till, who: Principal) -> str:
    return f"POST /v1/customers/{(await till.row(who))['customer_id']}"


async def test_a_changed_address_is_changed_at_stripe(till: Till, tending: Tending) -> None:
    who = await till.subscriber()
    new = f"new-{who.user_id.hex}@example.com"
    await change(till, who, new)
    till.workflows.woken.clear()
    till.wall.advance(seconds=LATE.total_seconds() + 1)
    await till.sweep.sweep()
    assert who.user_id in till.workflows.woken, "whether or not anything else was due"

    await tending.tend(who.user_id)

    assert address(till) == new


async def test_nothing_is_sent_where_nothing_changed(till: Till, tending: Tending) -> None:
    who = await till.subscriber()
    path, writes = await customer_path(till, who), len(till.standin.writes)

    await tending.tend(who.user_id)
    await change(till, who, f"new-{who.user_id.hex}@example.com")
    await tending.tend(who.user_id)
    await tending.tend(who.user_id)

    assert till.standin.writes[writes:] == [path]


async def test_the_last_change_holds_also_when_it_goes_back(till: Till, tending: Tending) -> None:
    who = await till.subscriber()
    first = address(till)
    other = f"other-{who.user_id.hex}@example.com"
    for email in (other, first, other, first):
        await change(till, who, email)
        await tending.tend(who.user_id)
        assert address(till) == email


async def test_what_got_lost_is_told_again_even_if_the_old_address_is_back(
    till: Till, tending: Tending
) -> None:
    """Stripe took the new address, and nobody heard: the old one must be told once more."""
    who = await till.subscriber()
    first = address(till)
    await change(till, who, f"new-{who.user_id.hex}@example.com")
    till.fall_silent_after(await customer_path(till, who))
    result = await tending.tend(who.user_id)
    assert result.wait_seconds == pytest.approx(UNAVAILABLE_LOOK.total_seconds(), abs=1)
    till.proxy.loses_answers = False
    assert address(till) != first
    await change(till, who, first)

    await tending.tend(who.user_id)

    assert address(till) == first


async def test_stripe_that_is_away_is_told_later(till: Till, tending: Tending) -> None:
    who = await till.subscriber()
    new, path = f"new-{who.user_id.hex}@example.com", await customer_path(till, who)
    await change(till, who, new)
    till.standin.faults[path] = answers(UNAVAILABLE)

    result = await tending.tend(who.user_id)

    assert result.wait_seconds == pytest.approx(UNAVAILABLE_LOOK.total_seconds(), abs=1)
    del till.standin.faults[path]
    await tending.tend(who.user_id)
    assert address(till) == new


async def test_an_address_that_changes_during_a_look_is_looked_at_again(
    till: Till, tending: Tending
) -> None:
    who = await till.subscriber()
    first, last = (f"{word}-{who.user_id.hex}@example.com" for word in ("first", "last"))
    await change(till, who, first)
    seen = till.provider.change_email

    class ChangesMeanwhile:
        async def change_email(self, customer_id: str, email: str, *, key: str) -> None:
            await seen(customer_id, email, key=key)
            await change(till, who, last)

    slow = Contact(till.database, ChangesMeanwhile(), till.wall)  # type: ignore[arg-type]
    result = await Tending(till.database, till.commands, till.refreshing, till.wall, slow).tend(
        who.user_id
    )

    assert result.wait_seconds is not None
    assert result.wait_seconds <= timedelta(seconds=1).total_seconds()
    await tending.tend(who.user_id)
    assert address(till) == last


async def test_an_address_that_stripe_does_not_take_is_not_tried_for_ever(
    till: Till, tending: Tending
) -> None:
    who = await till.subscriber()
    path = await customer_path(till, who)
    await change(till, who, f"new-{who.user_id.hex}@example.com")
    till.standin.faults[path] = answers(400, "email_invalid")

    first = await tending.tend(who.user_id)

    assert first.wait_seconds is not None
    assert first.wait_seconds > UNAVAILABLE_LOOK.total_seconds()


async def test_who_never_paid_and_where_nothing_is_set_up(till: Till, tending: Tending) -> None:
    never = await till.add_user()
    await change(till, never, f"new-{never.user_id.hex}@example.com")
    assert (await tending.tend(never.user_id)).wait_seconds is None
    assert till.standin.customers() == []

    paid = await till.subscriber()
    kept = address(till)
    await change(till, paid, f"new-{paid.user_id.hex}@example.com")
    await Tending(till.database, None, None, till.wall, None).tend(paid.user_id)
    assert address(till) == kept


async def test_a_user_who_is_being_deleted_has_no_address_any_more(
    till: Till, tending: Tending
) -> None:
    who = await till.subscriber()
    kept = address(till)
    async with till.database.as_system() as session:
        session.add(AccountDeletion(user_id=who.user_id, requested_at=till.wall.now()))
    await change(till, who, f"nobody-{who.user_id.hex}@example.com")

    first = await tending.tend(who.user_id)

    assert address(till) == kept
    assert first.wait_seconds is not None
    assert first.wait_seconds > UNAVAILABLE_LOOK.total_seconds()


# --- the service that changes addresses ----------------------------------------------------------


@pytest.fixture
async def world(urls: DatabaseUrls) -> AsyncIterator[World]:
    async with open_world(urls) as world:
        yield world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(world) as client:
        yield client


async def test_confirming_another_address_has_the_customer_looked_at(
    world: World, client: httpx.AsyncClient
) -> None:
    user = await register(client)
    await _make_customer(world, user.user_id)
    new = normalized_email(f"new-{user.user_id.hex}@example.com")
    await user.data("POST", "/auth/change-email", json={"new_email": new, "password": PASSWORD})
    assert await _next_look(world, user.user_id) is None, "nothing has changed yet"

    token = await token_of(world, user, "confirm_email_change")
    await user.data("POST", "/auth/change-email/confirm", json={"token": token})

    assert await _next_look(world, user.user_id) is not None


async def _make_customer(world: World, user_id: UUID) -> None:
    await world.sql(
        "INSERT INTO subscriptions (id, user_id, customer_id, cancel_at_period_end, asked,"
        " answered, created_at)"
        " VALUES (gen_random_uuid(), %(user)s, %(customer)s, false, 0, 0, now())"
        " ON CONFLICT (user_id) DO UPDATE SET customer_id = %(customer)s, next_look_at = NULL"
        " RETURNING id",
        user=user_id,
        customer=f"cus_{user_id.hex}",
    )


async def _next_look(world: World, user_id: UUID) -> object:
    ((found,),) = [
        row.values()
        for row in await world.sql(
            "SELECT next_look_at FROM subscriptions WHERE user_id = %(user)s", user=user_id
        )
    ]
    return found
