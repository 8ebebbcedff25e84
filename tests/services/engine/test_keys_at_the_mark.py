"""An order is marked as being sent with the keys that its account has in that transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from domain.markets import Mode
from domain.ports import AccountRef, VenueAccount
from services.key_uses import wait_for_sends
from services.trading.prompt_exits import PromptExits
from tests.support.engine import Engine, RunningBot

pytestmark = pytest.mark.integration


class Asked:
    """Which keys accounts were asked for with; something happens after the first of them."""

    def __init__(self, engine: Engine, then: Callable[[], Awaitable[None]]) -> None:
        self.versions: list[int] = []
        self._then = then
        self._ask = engine.venue.account
        engine.venue.account = self  # type: ignore[method-assign]

    async def __call__(self, ref: AccountRef) -> VenueAccount:
        found = await self._ask(ref)
        self.versions.append(ref.connection_version)
        if len(self.versions) == 1:
            await self._then()
        return found


async def _live_bot(engine: Engine) -> RunningBot:
    return await engine.start_bot(mode=Mode.LIVE)


def _change(engine: Engine, bot: RunningBot, what: str) -> Callable[[], Awaitable[None]]:
    async def change() -> None:
        await engine.execute(what, id=bot.trader.connection_id)

    return change


REPLACED = "UPDATE connections SET version = version + 1 WHERE id = :id"
REMOVED = "UPDATE connections SET status = 'removed' WHERE id = :id"


async def test_an_entry_leaves_with_the_keys_that_are_there_when_it_is_marked(
    engine: Engine,
) -> None:
    bot = await _live_bot(engine)
    order_id = await engine.intend_entry(bot)
    asked = Asked(engine, _change(engine, bot, REPLACED))

    result = await engine.place(bot, order_id)

    assert (result.state, asked.versions[:2]) == ("filled", [1, 2])


async def test_an_entry_whose_keys_were_removed_before_it_was_marked_is_denied(
    engine: Engine,
) -> None:
    bot = await _live_bot(engine)
    order_id = await engine.intend_entry(bot)
    Asked(engine, _change(engine, bot, REMOVED))

    result = await engine.place(bot, order_id)

    order = await engine.order(order_id)
    assert (result.state, order.refusal_code) == ("denied", "keys_refused")
    assert engine.account(bot).sends == []


@pytest.mark.parametrize(
    ("what", "state", "versions"),
    [(REPLACED, "filled", [1, 2]), (REMOVED, "refused", [1])],
)
async def test_an_exit_that_a_guard_made_is_marked_with_the_keys_of_then(
    engine: Engine, what: str, state: str, versions: list[int]
) -> None:
    bot = await _live_bot(engine)
    await engine.fire(await engine.open_position(bot), "stop")
    (exit_,) = (await engine.guard(bot)).orders
    asked = Asked(engine, _change(engine, bot, what))

    result = await engine.place(bot, exit_.order_id)

    assert (result.state, asked.versions[:2]) == (state, versions)
    assert len(engine.account(bot).sends) == len(versions)


async def test_an_exit_that_was_sent_before_is_of_unknown_fate_without_keys(
    engine: Engine,
) -> None:
    bot = await _live_bot(engine)
    await engine.fire(await engine.open_position(bot), "stop")
    (exit_,) = (await engine.guard(bot)).orders
    await engine.execute("UPDATE orders SET sends = 1 WHERE id = :id", id=exit_.order_id)
    Asked(engine, _change(engine, bot, REMOVED))

    assert (await engine.place(bot, exit_.order_id)).state == "unknown"


@pytest.mark.parametrize(("what", "sells"), [(REPLACED, True), (REMOVED, False)])
async def test_a_prompt_exit_is_made_with_the_keys_of_then(
    engine: Engine, what: str, sells: bool
) -> None:
    bot = await _live_bot(engine)
    await engine.fire(await engine.open_position(bot), "stop")
    prompt = PromptExits(engine.workflows, engine.exit_service, engine.placing, engine.settling)
    asked = Asked(engine, _change(engine, bot, what))

    await prompt.wake_exits(bot.trader.user_id, bot.bot_id)
    await prompt.close(5)

    assert asked.versions[0] == 1
    assert len(engine.account(bot).sends) == 1, "it was not sent with the keys of before"
    assert engine.workflows.woken == [bot.bot_id]
    assert (await engine.carry_out(bot)).recheck_seconds is None
    assert len(engine.account(bot).sends) == 1 + sells


@pytest.mark.parametrize(
    ("state", "sends", "sent_seconds_ago", "has_left"),
    [
        ("intended", 0, None, True),
        ("sending", 1, 1, False),
        ("sending", 1, 60, True),
        ("intended", 1, 6, False),
        ("open", 1, 1, True),
        ("open", 2, 1, False),
        ("open", 2, 60, True),
    ],
)
async def test_a_removal_waits_for_what_may_not_have_left(
    engine: Engine, state: str, sends: int, sent_seconds_ago: float | None, has_left: bool
) -> None:
    bot = await _live_bot(engine)
    order_id = await engine.intend_entry(bot)
    sent_at = None
    if sent_seconds_ago is not None:
        sent_at = engine.wall.now() - timedelta(seconds=sent_seconds_ago)
    await engine.execute(
        "UPDATE orders SET state = :state, sends = :sends, sent_at = :sent_at WHERE id = :id",
        id=order_id,
        state=state,
        sends=sends,
        sent_at=sent_at,
    )
    assert bot.trader.connection_id is not None

    left = await wait_for_sends(
        engine.database,
        engine.wall,
        bot.trader.user_id,
        bot.trader.connection_id,
        seconds_max=0.2,
    )

    assert left == has_left
