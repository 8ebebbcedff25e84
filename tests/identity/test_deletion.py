"""Deleting an account: what happens at once, and what is left when the workflow is done."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg import errors

from domain.contracts.accounts import DeletionStep
from domain.contracts.bots import BotSignal
from domain.errors import DomainError
from domain.markets import Realm
from models.bots import BotState
from models.tenancy import USER_TABLES
from services.identity.erasing import LATE, QUIET_PATIENCE, DeletionSweep, Erasing
from services.trading.commands import TradingService
from services.trading.starting import claim_bot
from tests.api.harness import PASSWORD, Api, World, register
from tests.api.seeding import account_of, make_position, make_run
from tests.api.test_config import connect
from tests.identity.mailbox import notices, token_of
from tests.identity.test_two_factor import code, switch_on
from tests.support.rows import add_user_rows

pytestmark = pytest.mark.integration


class Bots:
    """A workflow service that remembers who was told what."""

    def __init__(self) -> None:
        self.told: list[tuple[UUID, BotSignal]] = []

    async def is_available(self) -> bool:
        return True

    async def signal_bot(self, user_id: UUID, bot_id: UUID, signal: Any, message: Any) -> None:
        self.told.append((bot_id, signal))

    async def wake_exits(self, user_id: UUID, bot_id: UUID) -> None:
        return None

    async def ensure_watch(self, key: Any) -> None:
        return None


class Cleaner:
    """Keeps something of users until it is told often enough to forget it."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[UUID] = []

    async def forget(self, user_id: UUID) -> bool:
        self.asked.append(user_id)
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer


def erasing(world: World, *cleaners: Cleaner, patience: timedelta = timedelta(0)) -> Erasing:
    return Erasing(world.database, world.clock, Bots(), cleaners, tell_patience=patience)


async def delete(user: Api, **changes: object) -> tuple[int, Any]:
    body = {"password": PASSWORD, **changes}
    answer = await user.call("POST", "/auth/delete-account", json=body)
    content = answer.json()
    return answer.status_code, content["data"] if content["success"] else content["error"]


async def erase(world: World, user_id: UUID, **options: Any) -> DeletionStep:
    """Look as often as the workflow would, while nothing but time is waited for."""
    carrying_out = erasing(world, **options)
    for _ in range(5):
        step = await carrying_out.step(user_id)
        if step.wait_seconds is None:
            break
        await world.sql(
            "UPDATE bots SET seen_revision = revision WHERE user_id = %(id)s", id=user_id
        )
    return step


async def left_of(world: World, user_id: UUID) -> set[str]:
    """The tables that still hold something of a user."""
    found = set()
    for table in USER_TABLES:
        rows = await world.sql(
            f"SELECT 1 FROM {table} WHERE user_id = %(id)s LIMIT 1",  # noqa: S608
            id=user_id,
        )
        found |= {table} if rows else set()
    if await world.sql("SELECT 1 FROM users WHERE id = %(id)s", id=user_id):
        found.add("users")
    return found


async def live_run(world: World, user: Api) -> Any:
    await connect(world, user)
    return await make_run(world, user, mode="live")


# --- at once --------------------------------------------------------------------------------------


async def test_the_account_ends_at_once_and_the_address_is_free_again(
    world: World, user: Api, anyone: Api
) -> None:
    second = user.sibling()
    await second.log_in(user.email)

    status, data = await delete(user)

    assert (status, data["status"], data["closing_positions"]) == (200, "deleting", False)
    for api in (user, second):
        assert await api.error("GET", "/auth/me") == (401, "TOKEN_INVALID")
        token = {"refresh_token": api.refresh_token}
        assert await api.error("POST", "/auth/refresh", json=token) == (401, "TOKEN_INVALID")
    login = {"email": user.email, "password": PASSWORD}
    assert await anyone.error("POST", "/auth/login", json=login) == (401, "INVALID_CREDENTIALS")
    assert world.deletions.started == [user.user_id]
    (row,) = await world.sql("SELECT * FROM users WHERE id = %(id)s", id=user.user_id)
    assert user.email not in str(row)
    assert "John Doe" not in str(row)
    again = {**login, "full_name": "John Doe", "accept_terms": True}
    await anyone.data("POST", "/auth/register", json=again)
    await anyone.log_in(user.email)
    assert anyone.user_id != user.user_id


async def test_the_owner_is_told_at_the_old_address(world: World, user: Api) -> None:
    await delete(user)

    (told,) = await notices(world, user, "account_deletion_requested")
    assert told["facts"] == {"to": user.email}


async def test_a_wrong_password_deletes_nothing(world: World, user: Api) -> None:
    status, error = await delete(user, password="WrongPassword99")

    assert (status, error["code"]) == (401, "INVALID_CREDENTIALS")
    await user.data("GET", "/auth/me")
    assert world.deletions.started == []


async def test_the_second_factor_is_asked_for(world: World, user: Api) -> None:
    secret, _ = await switch_on(world, user)

    assert (await delete(user))[1]["code"] == "OTP_REQUIRED"
    assert (await delete(user, otp="000000"))[1]["code"] == "OTP_INVALID"
    assert (await delete(user, otp=code(world, secret)))[0] == 200

    assert await left_of(world, user.user_id) & {"second_factors", "recovery_codes"} == set()


async def test_mailed_links_of_the_account_are_void(world: World, user: Api, anyone: Api) -> None:
    token = await token_of(world, user, "verify_email")
    await delete(user)

    body = {"token": token}
    assert await anyone.error("POST", "/auth/verify-email", json=body) == (401, "TOKEN_INVALID")


async def test_live_positions_and_runs_refuse(world: World, user: Api, other: Api) -> None:
    secret, _ = await switch_on(world, user)
    run = await live_run(world, user)
    await make_position(world, run)
    shown = code(world, secret)

    status, error = await delete(user, otp=shown)

    assert (status, error["code"]) == (409, "POSITIONS_OPEN")
    assert error["details"] == {"live_runs": 1, "open_positions": 1, "open_orders": 0}
    await user.data("GET", "/auth/me")
    # Somebody else's positions are nothing to this one, and the code was not used up.
    assert (await delete(other))[0] == 200
    assert (await delete(user, otp=shown, close_positions=True))[0] == 200


async def test_close_positions_asks_for_every_exit_before_anything_is_deleted(
    world: World, user: Api
) -> None:
    run = await live_run(world, user)
    position = await make_position(world, run)

    status, data = await delete(user, close_positions=True)

    assert (status, data["closing_positions"]) == (200, True)
    (row,) = await world.sql(
        "SELECT p.close_requested, r.state, b.state AS bot FROM positions p"
        " JOIN bot_runs r ON r.id = p.run_id JOIN bots b ON b.id = r.bot_id"
        " WHERE p.id = %(id)s",
        id=position.id,
    )
    assert row == {"close_requested": "bot_stopped", "state": "exit_only", "bot": "stopped"}
    cleaner = Cleaner()
    step = await erasing(world, cleaner).step(user.user_id)
    assert step.wait_seconds is not None
    assert cleaner.asked == []
    assert {"positions", "connections", "users"} <= await left_of(world, user.user_id)

    await world.sql("UPDATE positions SET state = 'closed' WHERE id = %(id)s", id=position.id)
    await world.sql("UPDATE bot_runs SET state = 'ended' WHERE id = %(id)s", id=run.id)
    await erase(world, user.user_id)
    assert await left_of(world, user.user_id) == set()


async def test_a_start_that_was_under_way_is_stopped_too(world: World, user: Api) -> None:
    await connect(world, user)
    await delete(user)
    run = await make_run(world, user, mode="live")

    await erasing(world).step(user.user_id)

    (row,) = await world.sql(
        "SELECT r.state, b.state AS bot FROM bot_runs r JOIN bots b ON b.id = r.bot_id"
        " WHERE r.id = %(id)s",
        id=run.id,
    )
    assert row == {"state": "exit_only", "bot": "stopped"}


async def test_a_first_start_at_the_same_moment_is_stopped_at_once(world: World, user: Api) -> None:
    async with world.database.for_user(user.user_id) as session:
        # As far as a start goes before it looks at its user; the deletion sees nothing of it yet.
        bot = await claim_bot(session, user.user_id, world.clock.now())
        bot.state = BotState.STARTING
        session.add(bot)
        await session.flush()
        deleting = asyncio.create_task(delete(user))
        for _ in range(400):
            if await world.sql("SELECT 1 FROM pg_locks WHERE NOT granted"):
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("The deletion does not wait for the user's row")
    status, _ = await deleting

    (row,) = await world.sql(
        "SELECT state, revision FROM bots WHERE user_id = %(id)s", id=user.user_id
    )
    assert (status, row["state"]) == (200, "stopped")
    assert row["revision"] > bot.revision


async def test_a_position_that_came_back_gets_its_run_back(world: World, user: Api) -> None:
    run = await live_run(world, user)
    await world.sql("UPDATE bot_runs SET state = 'ended' WHERE id = %(id)s", id=run.id)
    position = await make_position(world, run, came_back=True)

    await delete(user, close_positions=True)

    (row,) = await world.sql(
        "SELECT p.close_requested, r.state FROM positions p JOIN bot_runs r ON r.id = p.run_id"
        " WHERE p.id = %(id)s",
        id=position.id,
    )
    assert row == {"close_requested": "bot_stopped", "state": "exit_only"}


async def test_paper_trading_just_ends(world: World, user: Api) -> None:
    await make_position(world, await make_run(world, user))

    status, data = await delete(user)
    assert (status, data["closing_positions"]) == (200, False)
    await erase(world, user.user_id)

    assert await left_of(world, user.user_id) == set()


async def test_two_requests_at_once_delete_once(world: World, user: Api) -> None:
    ends = [status for status, _ in await asyncio.gather(*(delete(user) for _ in range(3)))]

    assert sorted(ends) == [200, 401, 401]
    assert len(await notices(world, user, "account_deletion_requested")) == 1


async def test_a_workflow_service_that_is_away_delays_only(world: World, user: Api) -> None:
    world.deletions.is_down = True
    assert (await delete(user))[0] == 200

    world.deletions.is_down = False
    sweep = DeletionSweep(world.database, world.deletions, world.clock)
    await sweep.sweep()
    assert user.user_id not in world.deletions.started
    world.clock.advance(seconds=LATE.total_seconds() + 1)
    await sweep.sweep()
    assert user.user_id in world.deletions.started

    await erase(world, user.user_id)
    world.deletions.started.clear()
    await sweep.sweep()
    assert user.user_id not in world.deletions.started


# --- until nothing is left ------------------------------------------------------------------------


async def test_nothing_of_the_user_remains_and_nobody_else_loses_anything(
    world: World, other: Api
) -> None:
    await make_position(world, await live_run(world, other))
    stays = other.user_id
    with psycopg.connect(world.urls.system) as system:
        gone = add_user_rows(system)["users"]["id"]
    for table, state in (("positions", "closed"), ("orders", "filled"), ("bot_runs", "ended")):
        await world.sql(
            f"UPDATE {table} SET state = %(state)s WHERE user_id = %(id)s",  # noqa: S608
            state=state,
            id=gone,
        )
    await world.sql(
        "INSERT INTO account_deletions (user_id, requested_at) VALUES (%(id)s, now())"
        " ON CONFLICT (user_id) DO UPDATE SET finished_at = NULL",
        id=gone,
    )
    before = await left_of(world, stays)
    assert {"connections", "positions", "users"} <= before
    assert await left_of(world, gone) == {*USER_TABLES, "users"}

    await erase(world, gone)

    assert await left_of(world, gone) == set()
    assert await left_of(world, stays) == before
    kept = await world.sql("SELECT event_type FROM audit_log WHERE user_id = %(id)s", id=gone)
    assert "account_deleted" in {row["event_type"] for row in kept}
    (deletion,) = await world.sql(
        "SELECT finished_at FROM account_deletions WHERE user_id = %(id)s", id=gone
    )
    assert deletion["finished_at"] is not None
    assert await erasing(world).step(gone) == DeletionStep(summary="nothing to delete")


async def test_it_goes_on_where_it_was_interrupted(world: World, user: Api) -> None:
    await delete(user)
    cleaner = Cleaner(RuntimeError("the process died"), False, True)
    carrying_out = erasing(world, cleaner)

    with pytest.raises(RuntimeError):
        await carrying_out.step(user.user_id)
    waiting = await carrying_out.step(user.user_id)
    assert waiting.wait_seconds is not None
    assert "users" in await left_of(world, user.user_id)
    await carrying_out._erase_rows(user.user_id)  # ... and died before the user's own row went
    await carrying_out.step(user.user_id)

    assert await left_of(world, user.user_id) == set()
    assert cleaner.asked == [user.user_id] * 3


async def test_rows_go_in_batches(world: World, user: Api, monkeypatch: Any) -> None:
    run = await make_run(world, user)
    for _ in range(7):
        await make_position(world, run, symbol=f"{uuid4().hex[:6]}-USD", state="closed")
    monkeypatch.setattr("services.identity.erasing.ROWS_AT_ONCE", 2)
    await delete(user)

    await erase(world, user.user_id)

    assert await left_of(world, user.user_id) == set()


async def test_the_bot_is_waited_for_and_not_for_ever(world: World, user: Api) -> None:
    await make_run(world, user)
    await delete(user)
    carrying_out = erasing(world)

    assert (await carrying_out.step(user.user_id)).summary == "waiting for the bot to notice"
    world.clock.advance(seconds=QUIET_PATIENCE.total_seconds() + 1)
    assert (await carrying_out.step(user.user_id)).summary == "deleted"


async def test_the_last_mail_is_waited_for_and_not_for_ever(world: World, user: Api) -> None:
    await delete(user)
    patient = erasing(world, patience=timedelta(minutes=5))

    assert (await patient.step(user.user_id)).summary == "telling the user"
    world.clock.advance(minutes=5)
    assert (await patient.step(user.user_id)).summary == "deleted"


async def test_the_last_mail_is_not_waited_for_once_it_was_sent(world: World, user: Api) -> None:
    await delete(user)
    await world.sql(
        "UPDATE notices SET delivered_at = now() WHERE user_id = %(id)s", id=user.user_id
    )

    patient = erasing(world, patience=timedelta(minutes=5))
    assert (await patient.step(user.user_id)).summary == "deleted"


async def test_only_users_who_are_being_deleted_can_be_erased(
    world: World, user: Api, other: Api
) -> None:
    call = "SELECT erase_user_rows(%(id)s, %(of)s, 10)"
    await delete(other)

    for user_id, table in ((user.user_id, "fills"), (other.user_id, "audit_log")):
        with pytest.raises(errors.InsufficientPrivilege):
            await world.sql(call, id=user_id, of=table)
    with psycopg.connect(world.urls.app) as app, pytest.raises(errors.InsufficientPrivilege):
        app.execute(call, {"id": other.user_id, "of": "fills"})


# --- what an address that nobody verified may not do ----------------------------------------------


async def test_live_trading_needs_a_verified_address_where_mail_is_sent(
    world: World, client: httpx.AsyncClient, anyone: Api
) -> None:
    user = await register(client)
    await connect(world, user)
    await account_of(world, user, "live")
    trading = TradingService(
        world.database,
        world.venues,
        Bots(),
        world.clock,
        realm=Realm.SIMULATED,
        needs_verified_email=True,
    )
    wish: dict[str, Any] = {"broker": None, "risk_profile": None}

    with pytest.raises(DomainError) as refused:
        await trading.start(world.principal(user.user_id), paper_trading=False, **wish)
    assert refused.value.code == "email_not_verified"
    token = await token_of(world, user, "verify_email")
    await anyone.data("POST", "/auth/verify-email", json={"token": token})

    started = await trading.start(world.principal(user.user_id), paper_trading=False, **wish)
    assert started.status == "starting"
