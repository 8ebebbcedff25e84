"""Whoever closes a bot's positions reaches every one, whatever account and run it was opened in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

import pytest

from domain.contracts.bots import TradeSignal
from domain.markets import Mode
from models.bots import Bot
from models.trading import Position
from services.trading import commands
from services.trading.kill_switch_closing import ask_covered_positions
from services.trading.winding_down import lock_bots, wind_down
from tests.support.engine import Engine, RunningBot, close

pytestmark = pytest.mark.integration

EARLIER, LATEST = Mode.LIVE, Mode.PAPER


@pytest.fixture
async def bots(alone: Engine, monkeypatch: pytest.MonkeyPatch) -> Mapping[Mode, RunningBot]:
    """One bot with a position of a run that was live, and one of the paper run that it has now."""
    monkeypatch.setattr(commands, "FLAT_SECONDS_MAX", 0.0)  # nobody carries exits out meanwhile
    engine = alone
    earlier = await engine.start_bot(mode=EARLIER)
    await engine.open_position(earlier)
    await engine.trading.stop(earlier.trader.principal, close_positions=False, emergency=False)
    latest = await engine.start_on_paper(earlier)
    await engine.open_position(latest)
    return {EARLIER: earlier, LATEST: latest}


async def by_signal(engine: Engine, bot: RunningBot) -> None:
    await engine.hunt(bot, close())


async def by_stop(engine: Engine, bot: RunningBot) -> None:
    await engine.trading.stop(bot.trader.principal, close_positions=True, emergency=False)


async def by_stop_of_a_stopped_bot(engine: Engine, bot: RunningBot) -> None:
    await engine.trading.stop(bot.trader.principal, close_positions=False, emergency=False)
    await by_stop(engine, bot)


async def by_emergency_stop(engine: Engine, bot: RunningBot) -> None:
    await engine.trading.emergency_stop(bot.trader.principal, reason="a test", close_positions=True)


async def by_kill_switch(engine: Engine, bot: RunningBot) -> None:
    await engine.execute(
        "INSERT INTO kill_switches (id, scope, user_id, reason, engaged_by, engaged_at,"
        " close_positions, notify_users, revision, handled_revision)"
        " VALUES (gen_random_uuid(), 'user', :id, 'a test', NULL, :now, true, false, 1, 0)",
        id=bot.trader.user_id,
        now=engine.wall.now(),
    )
    assert await ask_covered_positions(engine.database) == {(bot.trader.user_id, bot.bot_id)}


async def by_user(engine: Engine, bot: RunningBot) -> None:
    """Each position by itself."""
    for row in await engine.rows("SELECT id FROM positions"):
        await engine.trading.close_position(bot.trader.principal, row["id"])


async def by_deletion(engine: Engine, bot: RunningBot) -> None:
    async with engine.database.for_user(bot.trader.user_id) as session:
        found: list[Bot] = list(await lock_bots(session, bot.trader.user_id))
        await wind_down(session, found[0], engine.wall.now())


WAYS: Mapping[str, Callable[[Engine, RunningBot], Awaitable[None]]] = {
    way.__name__: way
    for way in (
        by_signal,
        by_user,
        by_stop,
        by_stop_of_a_stopped_bot,
        by_emergency_stop,
        by_kill_switch,
        by_deletion,
    )
}


@pytest.mark.parametrize("has_ended", [False, True])
@pytest.mark.parametrize("way", list(WAYS))
async def test_positions_of_earlier_runs_leave_too(
    alone: Engine, bots: Mapping[Mode, RunningBot], way: str, has_ended: bool
) -> None:
    if has_ended:
        await alone.execute(
            "UPDATE bot_runs SET state = 'ended', ended_at = :now WHERE id = :id",
            id=bots[EARLIER].run_id,
            now=alone.wall.now(),
        )

    await WAYS[way](alone, bots[LATEST])

    assert (await alone.run(bots[EARLIER])).state == "exit_only", "its account is compared"
    await alone.carry_out(bots[LATEST])
    for bot in bots.values():
        assert (await alone.position(bot)).state == "closed"
        assert len(alone.account(bot).sends) == 2, "one entry, one exit"
        totals = alone.account(bot).totals
        assert await alone.balances(bot) == {name: it for name, it in totals.items() if it}


@pytest.mark.parametrize("way", sorted({*WAYS} - {"by_user"}))
async def test_what_has_no_keys_is_left_and_keeps_nothing_else(
    alone: Engine, bots: Mapping[Mode, RunningBot], way: str
) -> None:
    await alone.remove_broker(bots[EARLIER], force=True)

    await WAYS[way](alone, bots[LATEST])

    assert (await alone.run(bots[EARLIER])).state == "ended"
    assert (await alone.position(bots[EARLIER])).close_requested is None
    await alone.carry_out(bots[LATEST])
    assert (await alone.position(bots[LATEST])).state == "closed"


async def test_a_close_of_what_has_no_keys_says_so(
    alone: Engine, bots: Mapping[Mode, RunningBot]
) -> None:
    await alone.trading.close_position(
        bots[LATEST].trader.principal, (await alone.position(bots[LATEST])).id
    )
    await alone.carry_out(bots[LATEST])
    await alone.remove_broker(bots[EARLIER], force=True)

    await alone.hunt(bots[LATEST], close())

    (decision,) = await alone.rows("SELECT action, reason FROM decisions")
    assert decision == {"action": "none", "reason": "broker_removed"}


@pytest.mark.parametrize(
    ("part", "left"),
    [({"quantity": Decimal(1)}, 2), ({"percent": Decimal(50)}, "1.5"), ({"size_usd": 100}, 2)],
)
async def test_a_part_is_that_of_each_account(
    alone: Engine, bots: Mapping[Mode, RunningBot], part: dict[str, Decimal], left: str
) -> None:
    signal = TradeSignal.model_validate({**close().model_dump(), **part})

    await alone.hunt(bots[LATEST], signal)
    await alone.carry_out(bots[LATEST])

    for bot in bots.values():
        assert (await alone.position(bot)).open_quantity == Decimal(left)


async def test_another_symbol_is_left_alone(alone: Engine, bots: Mapping[Mode, RunningBot]) -> None:
    other = await alone.open_position(bots[LATEST], "ETH-USD")

    await alone.hunt(bots[LATEST], close("ETH-USD"))

    assert (await _position(alone, other)).close_requested == "signal_close"
    for bot in bots.values():
        assert (await alone.position(bot)).close_requested is None


async def _position(engine: Engine, position: Position) -> Position:
    async with engine.database.as_system() as session:
        return await session.get_one(Position, position.id)
