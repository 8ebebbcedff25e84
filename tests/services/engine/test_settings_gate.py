"""Once a change of settings, plan or state is answered, no entry breaks it: raced by real locks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlmodel import select

from adapters.embedded.postgres_roles import DatabaseUrls
from domain.markets import Mode
from domain.orders import OrderState
from domain.plans import Tier
from domain.positions import Direction
from domain.principal import Principal, Role
from models.people import User, UserStatus
from models.trading import Order
from services.admin.people import People, PersonChange
from services.reads import Reads
from services.user_settings import UserSettingsService
from tests.support.engine import Engine, RunningBot, buy
from tests.support.fake_venue import KEY, Answer
from tests.support.locks import waiting_for_locks
from tests.support.written_bars import WrittenEvaluations, written_bars

pytestmark = pytest.mark.integration


@pytest.fixture
def bars(engine: Engine) -> WrittenEvaluations:
    return written_bars(engine)


@pytest.fixture
async def settings(
    engine: Engine, shared_database: DatabaseUrls
) -> AsyncIterator[UserSettingsService]:
    reads = Reads(shared_database.app, engine.wall, pool_size=2)
    await reads.open()
    yield UserSettingsService(
        engine.database, reads, engine.wall, engine.venue, engine.trading, venue=KEY
    )
    await reads.close()


@dataclass(frozen=True, slots=True)
class Scene:
    """Who changes what."""

    engine: Engine
    bot: RunningBot
    settings: UserSettingsService


Change = Callable[[Scene], Awaitable[Any]]


def wish(**changes: Any) -> Change:
    async def change(scene: Scene) -> None:
        if "allowed_pairs" in changes:
            # Only pairs that the user has already, so nobody is asked whether they exist.
            await scene.engine.execute(
                'UPDATE user_settings SET allowed_pairs = \'["BTC-USD", "ETH-USD"]\''
                " WHERE user_id = :id",
                id=scene.bot.trader.user_id,
            )
        await scene.settings.update(scene.bot.trader.principal, changes)

    return change


async def pause(scene: Scene) -> None:
    await scene.engine.trading.pause(scene.bot.trader.principal)


async def stop(scene: Scene) -> None:
    await scene.engine.trading.stop(
        scene.bot.trader.principal, close_positions=False, emergency=False
    )


async def emergency(scene: Scene) -> None:
    await scene.engine.trading.emergency_stop(
        scene.bot.trader.principal, reason="a test", close_positions=False
    )


async def remove_broker(scene: Scene) -> None:
    assert scene.bot.trader.connection_id is not None
    await scene.engine.trading.connection_removed(
        scene.bot.trader.principal, scene.bot.trader.connection_id
    )


def by_administrator(change: PersonChange) -> Change:
    async def act(scene: Scene) -> None:
        engine = scene.engine
        admin = await _administrator(engine)
        people = People(engine.database, engine.workflows, engine.wall, realm=KEY.realm)
        await people.update(admin, scene.bot.trader.user_id, change)

    return act


CHANGES = {
    "smaller size": (wish(max_position_size_usd=Decimal(100)), "position_size_reduced"),
    "removed pair": (wish(allowed_pairs=["ETH-USD"]), "pair_not_allowed"),
    "lower risk": (wish(risk_level="low"), "risk_level_reduced"),
    "paper only": (wish(paper_trading=True), "paper_trading_only"),
    "pause": (pause, "bot_not_running"),
    "stop": (stop, "run_over"),
    "emergency stop": (emergency, "run_over"),
    "broker removed": (remove_broker, "run_over"),
    "suspended": (by_administrator(PersonChange(status=UserStatus.SUSPENDED)), "run_over"),
    "plan lost": (by_administrator(PersonChange(tier=Tier.FREE)), "subscription_required"),
}
every_change = pytest.mark.parametrize(
    ("change", "refusal"), list(CHANGES.values()), ids=list(CHANGES)
)


async def _change(change: Change, scene: Scene) -> None:
    await change(scene)


async def _live_bot_with_an_intent(engine: Engine) -> tuple[RunningBot, UUID]:
    bot = await engine.start_bot(mode=Mode.LIVE)
    engine.wall.advance(60)
    return bot, await engine.intend_entry(bot)


@every_change
@pytest.mark.usefixtures("bars")
async def test_an_intent_made_before_a_change_is_not_sent_after_it(
    engine: Engine, settings: UserSettingsService, change: Change, refusal: str
) -> None:
    bot, order_id = await _live_bot_with_an_intent(engine)

    await change(Scene(engine, bot, settings))
    await engine.place(bot, order_id)

    order = await engine.order(order_id)
    assert (order.state, order.refusal_code) == ("denied", refusal)
    assert engine.account(bot).sends == []


@every_change
@pytest.mark.usefixtures("bars")
async def test_a_change_is_answered_after_the_entries_that_passed_their_gate(
    engine: Engine, settings: UserSettingsService, change: Change, refusal: str
) -> None:
    """The entry holds the rows that the change needs, and its send outlasts the commit."""
    bot, order_id = await _live_bot_with_an_intent(engine)
    on_the_way, arrives = asyncio.Event(), asyncio.Event()

    async def slow_send() -> None:
        on_the_way.set()
        await arrives.wait()

    engine.account(bot).meanwhile = slow_send
    placing = asyncio.create_task(engine.place(bot, order_id))
    await on_the_way.wait()
    changing = asyncio.create_task(_change(change, Scene(engine, bot, settings)))
    await asyncio.sleep(0.3)
    assert not changing.done(), "answered while an entry was on its way"

    arrives.set()
    await asyncio.gather(placing, changing)

    assert (await engine.order(order_id)).state == "filled"
    later = await engine.intend_entry(bot, "ETH-USD")
    if refusal != "pair_not_allowed":  # this one is of another pair
        await engine.place(bot, later)
        assert len(engine.account(bot).sends) == 1


@pytest.mark.parametrize("change", [it for it, _refusal in CHANGES.values()], ids=list(CHANGES))
@pytest.mark.usefixtures("bars")
async def test_a_change_waits_for_an_entry_that_is_between_its_gate_and_its_mark(
    engine: Engine,
    shared_database: DatabaseUrls,
    settings: UserSettingsService,
    change: Change,
) -> None:
    bot, order_id = await _live_bot_with_an_intent(engine)
    engine.account(bot).answers.append(Answer.REST)

    async with _held(engine, order_id) as release:
        placing = asyncio.create_task(engine.place(bot, order_id))
        await waiting_for_locks(shared_database, 1)
        changing = asyncio.create_task(_change(change, Scene(engine, bot, settings)))
        await waiting_for_locks(shared_database, 2)
        assert not changing.done()
        release.set()
        await asyncio.gather(placing, changing)

    # The entry was first by the locks, so it went; it was at the venue before the answer.
    assert len(engine.account(bot).sends) == 1
    assert (await engine.order(order_id)).state == OrderState.OPEN


@every_change
async def test_an_intent_reads_what_was_committed_while_the_venue_was_asked(
    engine: Engine,
    bars: WrittenEvaluations,
    settings: UserSettingsService,
    change: Change,
    refusal: str,
) -> None:
    """Settings as they were when the decision began are nothing to decide by."""
    bot = await engine.start_bot(mode=Mode.LIVE)
    engine.wall.advance(60)
    bars.write(engine, "BTC-USD", Direction.LONG)
    bars.meanwhile = lambda: change(Scene(engine, bot, settings))

    result = await engine.hunt(bot)

    entered = [await engine.order(task.order_id) for task in result.orders]
    if refusal in {"position_size_reduced", "risk_level_reduced"}:
        most = Decimal(100) if refusal == "position_size_reduced" else Decimal(400)
        (order,) = entered
        assert order.limit_price is not None
        assert order.quantity * order.limit_price <= most
    else:
        assert entered == []


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("max_position_size_usd", Decimal("0.5"), "below_venue_minimum"),
        ("max_concurrent_positions", 1, "max_positions_reached"),
        ("allowed_pairs", ["ETH-USD"], "pair_not_allowed"),
    ],
)
async def test_a_signal_is_judged_by_the_settings_of_now(
    engine: Engine,
    bars: WrittenEvaluations,
    settings: UserSettingsService,
    name: str,
    value: object,
    reason: str,
) -> None:
    bot = await engine.start_bot()
    await engine.open_position(bot, "ETH-USD")
    bars.write(engine, "BTC-USD", None)
    bars.meanwhile = lambda: wish(**{name: value})(Scene(engine, bot, settings))

    await engine.hunt(bot, buy("BTC-USD"))

    rows = await engine.rows(
        "SELECT reason FROM decisions WHERE run_id = :run AND cause LIKE 'signal:%'", run=bot.run_id
    )
    assert [row["reason"] for row in rows] == [reason]


@pytest.mark.usefixtures("bars")
async def test_a_start_that_chose_other_than_the_settings_is_not_bound_by_their_past(
    engine: Engine,
) -> None:
    bot = await engine.start_bot(mode=Mode.LIVE, settings={"risk_level": "low"})
    await engine.execute(
        "UPDATE user_settings SET paper_trading = true, paper_trading_changed_at = :at,"
        " risk_level_changed_at = :at WHERE user_id = :id",
        at=engine.wall.now(),
        id=bot.trader.user_id,
    )
    order_id = await engine.intend_entry(bot)

    await engine.place(bot, order_id)

    assert (await engine.order(order_id)).state == "filled"


@pytest.mark.usefixtures("bars")
async def test_a_lower_daily_loss_limit_denies_what_was_intended_before(
    engine: Engine, settings: UserSettingsService
) -> None:
    bot, order_id = await _live_bot_with_an_intent(engine)
    await engine.execute(
        "INSERT INTO daily_results (run_id, account_id, day, user_id, trades, wins, price_pnl,"
        " net_pnl, fees) VALUES (:r, :a, :d, :u, 1, 0, -50, -50, 0)",
        r=bot.run_id,
        a=bot.trader.account_id,
        d=engine.venue.market.now.date(),
        u=bot.trader.user_id,
    )

    await settings.update(bot.trader.principal, {"max_daily_loss_usd": Decimal(40)})
    await engine.place(bot, order_id)

    assert (await engine.order(order_id)).refusal_code == "daily_loss_reached"


async def test_waiting_for_sends_ends_where_a_process_died_in_the_middle(
    engine: Engine, bot: RunningBot
) -> None:
    order_id = await engine.intend_entry(bot)
    await engine.execute(
        "UPDATE orders SET state = 'sending', sent_at = :at WHERE id = :id",
        at=engine.wall.now(),
        id=order_id,
    )

    await asyncio.wait_for(engine.trading.pause(bot.trader.principal), 8)


async def _administrator(engine: Engine) -> Principal:
    user_id = uuid4()
    async with engine.database.as_system() as session:
        session.add(
            User(
                id=user_id,
                email=f"{user_id.hex}@example.com",
                full_name="An Administrator",
                password_hash="-",
                role=Role.ADMIN,
                created_at=engine.wall.now(),
            )
        )
    return Principal(user_id, uuid4(), Role.ADMIN)


@asynccontextmanager
async def _held(engine: Engine, order_id: UUID) -> AsyncIterator[asyncio.Event]:
    """An order's row, locked by somebody else until the event is set."""
    held, release = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with engine.database.as_system() as session:
            await session.exec(select(Order).where(Order.id == order_id).with_for_update())
            held.set()
            await release.wait()

    holding = asyncio.create_task(hold())
    await held.wait()
    try:
        yield release
    finally:
        release.set()
        await holding
