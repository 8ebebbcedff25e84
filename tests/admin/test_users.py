"""Users as administrators see and change them, and who may not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from api.nija.surface import build_surface
from domain.principal import Principal, Role
from models.people import UserStatus
from services.admin.people import PersonChange
from services.errors import AccountSuspended, AlreadyRunning, NotAuthorized
from services.idempotency import LEASE
from services.trading.commands import TradingService
from tests.admin.conftest import make_admin
from tests.api.harness import PASSWORD, REALM, Api, World, register
from tests.api.seeding import make_position, make_run, watch_venue
from tests.support.command_line import nija_said

pytestmark = pytest.mark.integration

OPERATORS_PASSWORD = "Made-On-The-Machine-42"


def wire(api: Api) -> str:
    return f"usr_{api.user_id.hex}"


def admin_operations() -> Iterator[tuple[str, str]]:
    for path, item in build_surface().openapi()["paths"].items():
        if path.startswith("/admin/"):
            for method in item:
                yield method.upper(), path


@pytest.mark.parametrize(("method", "path"), list(admin_operations()))
async def test_only_administrators_get_in(world: World, user: Api, method: str, path: str) -> None:
    filled = path.format(user_id=wire(user))

    assert await user.error(method, filled) == (403, "UNAUTHORIZED")
    assert await user.sibling().error(method, filled) == (401, "TOKEN_INVALID")
    assert await world.sql("SELECT 1 FROM audit_log WHERE event_type LIKE '%%admin%%'") == []


async def test_a_role_counts_from_the_next_request_on(world: World, admin: Api) -> None:
    await admin.data("GET", "/admin/users")
    await world.sql("UPDATE users SET role = 'user' WHERE id = %(id)s", id=admin.user_id)

    assert await admin.error("GET", "/admin/users") == (403, "UNAUTHORIZED")


async def test_users_are_listed_searched_and_paged(
    world: World, admin: Api, client: httpx.AsyncClient
) -> None:
    people = [await register(client) for _ in range(4)]
    await world.sql(
        "UPDATE users SET subscription_tier = 'pro', email = 'odd_name@example.com'"
        " WHERE id = %(id)s",
        id=people[0].user_id,
    )
    await world.sql("UPDATE users SET status = 'suspended' WHERE id = %(id)s", id=people[1].user_id)

    async def found(**query: Any) -> list[str]:
        data = await admin.data("GET", "/admin/users", params=query)
        return [one["user_id"] for one in data["users"]]

    page = await admin.data("GET", "/admin/users", params={"page": 2, "per_page": 2})
    assert page["pagination"] == {
        "page": 2,
        "per_page": 2,
        "total_items": 5,
        "total_pages": 3,
        "has_next": True,
        "has_prev": True,
    }
    assert set(page["users"][0]) >= {
        "user_id",
        "email",
        "full_name",
        "subscription_tier",
        "status",
        "total_trades",
        "total_pnl",
        "joined_at",
        "last_active",
    }
    seen = [one for number in (1, 2, 3) for one in await found(page=number, per_page=2)]
    assert sorted(seen) == sorted([wire(admin), *map(wire, people)])
    assert await found(search="ODD_NAME") == [wire(people[0])]
    assert await found(search="odd%name") == []
    assert await found(search=wire(people[2])) == [wire(people[2])]
    assert await found(tier="pro") == [wire(people[0])]
    assert await found(status="suspended") == [wire(people[1])]
    assert await found(role="admin") == [wire(admin)]
    for senseless in ({"tier": "gold"}, {"search": "a\x00b"}, {"search": ""}):
        assert await admin.error("GET", "/admin/users", params=senseless) == (
            422,
            "VALIDATION_ERROR",
        )


async def test_one_user_with_subscription_trading_and_brokers(
    world: World, admin: Api, user: Api
) -> None:
    await watch_venue(world, BTC="7000")
    run = await make_run(world, user)
    await make_position(world, run)
    await world.sql(
        "INSERT INTO trade_rollups (account_id, hour, symbol, grain, bucket, user_id, trades,"
        " wins, losses, price_pnl, net_pnl, fees, gross_profit, gross_loss, entry_notional,"
        " volume, held_microseconds) VALUES (%(account)s, -1, '', 'month', '2018-04-01',"
        " %(user)s, 4, 3, 1, 25.5, 20.25, 5.25, 30, 9.75, 1000, 2000, 0)",
        account=run.account_id,
        user=user.user_id,
    )

    data = (await admin.data("GET", f"/admin/users/{wire(user)}"))["user"]

    assert data["trading"] == {
        "total_trades": 4,
        "total_pnl": 25.5,
        "net_pnl": 20.25,
        "win_rate": 0.75,
        "active_positions": 1,
        "mode": "paper",
        "bot_status": "running",
    }
    assert data["subscription"]["tier"] == "free"
    assert data["subscription"]["status"] == "trialing"
    assert data["subscription"]["started"] == data["joined_at"][:10]
    assert (data["brokers"], data["notes"], data["live_sessions"]) == ([], [], 1)
    listed = await admin.data("GET", "/admin/users", params={"search": wire(user)})
    assert listed["users"][0]["total_trades"] == 4
    reads = await world.sql(
        "SELECT meta->>'what' AS what FROM audit_log WHERE event_type = 'admin_read' ORDER BY at"
    )
    assert sorted(row["what"] for row in reads) == ["user", "users"]


@pytest.mark.parametrize("user_id", ["usr_1", f"usr_{UUID(int=1).hex}", "me"])
async def test_a_user_that_is_not_there(admin: Api, user_id: str) -> None:
    assert await admin.error("GET", f"/admin/users/{user_id}") == (404, "NOT_FOUND")
    assert await admin.error("PUT", f"/admin/users/{user_id}", json={"status": "active"}) == (
        404,
        "NOT_FOUND",
    )


async def test_a_tier_that_is_given_holds_and_is_audited(
    world: World, admin: Api, user: Api
) -> None:
    body = {
        "subscription_tier": "enterprise",
        "status": "active",
        "notes": "Upgraded to enterprise for beta testing",
    }

    data = await admin.data("PUT", f"/admin/users/{wire(user)}", json=body)

    assert data == {"message": "User updated successfully"}
    assert (await user.data("GET", "/auth/me"))["subscription_tier"] == "enterprise"
    detail = (await admin.data("GET", f"/admin/users/{wire(user)}"))["user"]
    assert [note["note"] for note in detail["notes"]] == [body["notes"]]
    (entry,) = await world.sql(
        "SELECT actor_id, user_id, meta FROM audit_log WHERE event_type = 'user_updated_by_admin'"
    )
    assert (entry["actor_id"], entry["user_id"]) == (admin.user_id, user.user_id)
    assert entry["meta"]["changed"] == {"subscription_tier": ["free", "enterprise"]}
    # Users read their own entries; what administrators write about them they never see.
    (note,) = await world.sql("SELECT id FROM user_notes WHERE user_id = %(id)s", id=user.user_id)
    assert entry["meta"]["note_id"] == str(note["id"])
    assert body["notes"] not in str(entry["meta"])
    (notice,) = await world.sql("SELECT kind, facts FROM notices WHERE kind = 'plan_changed'")
    assert notice["facts"] == {"from": "free", "to": "enterprise"}


async def test_a_note_whose_answer_was_lost_is_kept_once(
    world: World, admin: Api, user: Api
) -> None:
    headers, path = {"Idempotency-Key": uuid4().hex}, f"/admin/users/{wire(user)}"
    await admin.data("PUT", path, json={"notes": "Called back"}, headers=headers)
    await world.sql("UPDATE idempotency_keys SET status_code = NULL, response = NULL")
    world.clock.advance(seconds=LEASE.total_seconds() + 1)

    await admin.data("PUT", path, json={"notes": "Called back"}, headers=headers)

    detail = (await admin.data("GET", path))["user"]
    assert [note["note"] for note in detail["notes"]] == ["Called back"]


@pytest.mark.parametrize(
    "body", [{}, {"status": "gone"}, {"subscription_tier": 1}, {"tier": "pro"}]
)
async def test_a_change_that_makes_no_sense(admin: Api, user: Api, body: dict[str, object]) -> None:
    assert await admin.error("PUT", f"/admin/users/{wire(user)}", json=body) == (
        422,
        "VALIDATION_ERROR",
    )


@pytest.mark.parametrize("status", ["suspended", "disabled"])
async def test_whoever_is_shut_out_is_logged_out_and_enters_no_more(
    world: World, admin: Api, user: Api, status: str
) -> None:
    await watch_venue(world, BTC="7000")
    run = await make_run(world, user)
    position = await make_position(world, run)

    await admin.data("PUT", f"/admin/users/{wire(user)}", json={"status": status})

    assert (await user.error("GET", "/account/balance"))[0] == 401
    refresh = {"refresh_token": user.refresh_token}
    assert (await user.error("POST", "/auth/refresh", json=refresh))[0] == 401
    login = {"email": user.email, "password": PASSWORD}
    assert await user.error("POST", "/auth/login", json=login) == (
        403,
        f"ACCOUNT_{status.upper()}",
    )
    (row,) = await world.sql(
        "SELECT b.state, b.revision, r.state AS run, r.end_reason, p.state AS position,"
        " p.close_requested FROM bots b JOIN bot_runs r ON r.bot_id = b.id"
        " JOIN positions p ON p.run_id = r.id WHERE p.id = %(id)s",
        id=position.id,
    )
    assert row == {
        "state": "stopped",
        "revision": 1,
        "run": "exit_only",
        "end_reason": f"account {status}",
        "position": "open",
        "close_requested": None,
    }
    await admin.data("PUT", f"/admin/users/{wire(user)}", json={"status": "active"})
    await user.log_in(user.email)
    told = await world.sql(
        "SELECT facts->>'to' AS status FROM notices WHERE kind = 'account_status_changed'"
    )
    assert {row["status"] for row in told} == {status, "active"}


async def test_a_start_that_was_under_way_does_not_outrun_a_suspension(
    world: World, admin: Api, user: Api
) -> None:
    caller = Principal(user.user_id, uuid4(), Role.USER)
    trading = TradingService(
        world.database,
        world.venues,
        world.workflows,
        world.clock,
        realm=REALM,
        needs_verified_email=False,
    )
    await admin.data("PUT", f"/admin/users/{wire(user)}", json={"status": "suspended"})

    with pytest.raises(AccountSuspended):
        await trading.start(caller, broker=None, paper_trading=True, risk_profile=None)

    assert await world.sql("SELECT 1 FROM bots WHERE user_id = %(id)s", id=user.user_id) == []


@pytest.mark.parametrize("act", ["start", "suspend"])
async def test_whoever_locks_user_and_bot_locks_the_bot_first(
    world: World, admin: Api, user: Api, act: str
) -> None:
    await watch_venue(world, BTC="7000")
    await make_run(world, user)
    caller = Principal(admin.user_id, uuid4(), Role.ADMIN)
    trading = TradingService(
        world.database,
        world.venues,
        world.workflows,
        world.clock,
        realm=REALM,
        needs_verified_email=False,
    )
    async with await psycopg.AsyncConnection.connect(world.urls.system) as held:
        # What deleting the account does, in its order.
        mine = {"id": user.user_id}
        await held.execute("SET lock_timeout = '500ms'")
        await held.execute("SELECT 1 FROM bots WHERE user_id = %(id)s FOR NO KEY UPDATE", mine)
        waiting: asyncio.Task[object]
        if act == "start":
            who = Principal(user.user_id, uuid4(), Role.USER)
            waiting = asyncio.create_task(
                trading.start(who, broker=None, paper_trading=True, risk_profile=None)
            )
        else:
            change = PersonChange(status=UserStatus.SUSPENDED)
            people = world.administration.people
            waiting = asyncio.create_task(people.update(caller, user.user_id, change))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await held.execute("SELECT 1 FROM users WHERE id = %(id)s FOR UPDATE", mine)

    (ended,) = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(ended, AlreadyRunning) if act == "start" else ended is None


@pytest.mark.parametrize(
    "body", [{"status": "suspended"}, {"status": "disabled"}, {"role": "user"}]
)
async def test_administrators_cannot_lock_themselves_out(admin: Api, body: dict[str, str]) -> None:
    answer = await admin.call("PUT", f"/admin/users/{wire(admin)}", json=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "VALIDATION_ERROR")
    assert set(answer.json()["error"]["details"]["fields"]) == set(body)
    assert (await admin.data("GET", f"/admin/users/{wire(admin)}"))["user"]["role"] == "admin"


async def test_two_administrators_do_not_unmake_each_other(
    world: World, admin: Api, client: httpx.AsyncClient
) -> None:
    other = await make_admin(world, await register(client))
    people = world.administration.people
    demotion = PersonChange(role=Role.USER, status=UserStatus.SUSPENDED)

    def demote(who: Api, whom: Api) -> Any:
        caller = Principal(who.user_id, uuid4(), Role.ADMIN)
        return people.update(caller, whom.user_id, demotion)

    ended = await asyncio.gather(demote(admin, other), demote(other, admin), return_exceptions=True)

    assert {type(one) for one in ended} == {NotAuthorized, type(None)}
    left = await world.sql("SELECT 1 FROM users WHERE role = 'admin' AND status = 'active'")
    assert len(left) == 1


async def create_on_the_machine(world: World, email: str) -> tuple[int, str]:
    """Run `nija admin create` as an operator would."""
    return await nija_said(
        *("admin", "create", "--email", email, "--password-stdin"),
        typed=f"{OPERATORS_PASSWORD}\n",
        NIJA_SYSTEM_DATABASE_URL=world.urls.system,
    )


async def test_who_is_a_user_already_is_not_called_a_new_administrator(
    world: World, user: Api
) -> None:
    fresh = f"{uuid4().hex}@example.com"

    for email, code in ((fresh, 0), (fresh, 1), (user.email, 1)):
        ended, output = await create_on_the_machine(world, email)
        assert (ended, "can log in" in output) == (code, code == 0), output

    roles = await world.sql("SELECT email, role FROM users")
    assert {row["email"]: row["role"] for row in roles} == {fresh: "admin", user.email: "user"}
    await user.log_in(user.email, PASSWORD)
    await user.log_in(fresh, OPERATORS_PASSWORD)
