"""What is counted against which limit, and when a user is warned."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from domain.orders import Leg, OrderState, OrderType, Side
from domain.plans import PLANS, BillingInterval, Plan, Tier
from models.billing import Subscription
from models.bots import BotRun
from models.connections import Account, Connection
from models.trading import Order
from services.billing.usage import Counts, calls_limit, current_period, nearly_used, usage_period
from services.billing.views import BillingViews, UsageView
from services.limits.sweeping import EVERY, LimitSweep
from tests.api.fakes import VENUE_NOW
from tests.api.harness import REALM, Api, World, register
from tests.api.seeding import make_position, make_run

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def paid(interval: BillingInterval) -> Subscription:
    """A subscription whose period began on the last of January."""
    years = interval is BillingInterval.YEARLY
    return Subscription(
        user_id=uuid4(),
        status="active",
        tier="pro",
        interval=interval.value,
        period_start=NOON,
        period_end=NOON.replace(year=2027) if years else NOON.replace(month=2, day=28),
        created_at=NOON,
    )


@pytest.mark.parametrize(
    ("now", "began", "ends"),
    [
        (NOON, NOON, NOON.replace(month=2, day=28)),
        (NOON.replace(month=2, day=28, hour=11), NOON, NOON.replace(month=2, day=28)),
        (
            NOON.replace(month=2, day=28),
            NOON.replace(month=2, day=28),
            NOON.replace(month=3, day=31),
        ),
        (
            NOON.replace(month=12, day=31),
            NOON.replace(month=12, day=31),
            NOON.replace(year=2027),
        ),
        # The year is over and nobody has read the next one yet.
        (NOON.replace(year=2027, hour=13), NOON.replace(month=12, day=31), NOON.replace(year=2027)),
    ],
)
def test_a_paid_year_is_counted_by_its_months(
    now: datetime, began: datetime, ends: datetime
) -> None:
    row = paid(BillingInterval.YEARLY)

    assert usage_period(row, now) == (began, ends)
    assert current_period(row, now) == (NOON, NOON.replace(year=2027)), "what is billed"


def test_a_paid_month_is_counted_as_it_is_billed() -> None:
    row = paid(BillingInterval.MONTHLY)

    assert usage_period(row, NOON) == current_period(row, NOON)
    assert usage_period(row, NOON)[0] == NOON


@pytest.mark.parametrize("status", [None, "canceled"])
def test_who_pays_nothing_is_counted_by_the_calendar(status: str | None) -> None:
    row = paid(BillingInterval.YEARLY)
    row.status = status
    month = (datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC))

    assert usage_period(row, NOON.replace(month=5)) == month
    assert usage_period(None, NOON.replace(month=5)) == month


@pytest.mark.parametrize("plan", PLANS.values(), ids=lambda plan: plan.name)
@pytest.mark.parametrize("what", ["api_calls", "trades_executed", "positions_live"])
def test_from_eighty_percent_on_of_each_limit_there_is_a_warning(plan: Plan, what: str) -> None:
    limit = {
        "api_calls": calls_limit(plan),
        "trades_executed": plan.limits.monthly_trades,
        "positions_live": plan.limits.max_positions,
    }[what]
    fewest = -(-limit * 8 // 10)

    def warned(used: int) -> list[int]:
        counts = dict.fromkeys(Counts.__dataclass_fields__, 0) | {what: used}
        return [share.limit for share in nearly_used(Counts(**counts), plan)]

    assert warned(fewest - 1) == []
    assert warned(fewest) == warned(limit) == [limit]


@pytest.fixture
async def api(client: httpx.AsyncClient) -> Api:
    return await register(client)


@pytest.mark.integration
async def test_each_account_has_the_limits_for_itself(world: World, api: Api) -> None:
    """Paper and live are never summed: six and five of ten are not eleven of ten."""
    await open_live_account(world, api)
    await enter(world, await make_run(world, api), 6)
    await enter(world, await make_run(world, api, mode="live", state="stopped", number=2), 5)

    usage = await usage_of(world, api)

    assert (usage.counts.positions_live, usage.plan.limits.max_positions) == (6, 10)
    assert usage.counts.trades_executed == usage.counts.positions_opened == 6
    assert usage.warnings == []


@pytest.mark.integration
async def test_each_limit_that_is_nearly_used_is_told_once(world: World, api: Api) -> None:
    await world.sql("UPDATE users SET trial_ends_at = NULL WHERE id = %(id)s", id=api.user_id)
    free = PLANS[Tier.FREE].limits
    run = await make_run(world, api)
    await enter(world, run, free.max_positions)
    await enter(world, run, free.monthly_trades * 8 // 10 - free.max_positions, state="closed")
    await world.sql(
        "INSERT INTO api_call_counts (user_id, day, shard, calls)"
        " VALUES (%(id)s, %(day)s, 1, %(calls)s)"
        " ON CONFLICT (user_id, day, shard) DO UPDATE SET calls = excluded.calls",
        id=api.user_id,
        day=world.clock.now().date(),
        calls=calls_limit(PLANS[Tier.FREE]),
    )
    sweep = LimitSweep(world.database, world.idempotency, world.clock)

    for _ in range(3):
        await sweep.sweep()
        world.clock.advance(seconds=EVERY.total_seconds())

    told = await world.sql(
        "SELECT facts ->> 'what' AS what FROM notices"
        " WHERE user_id = %(id)s AND kind = 'limit_near' ORDER BY 1",
        id=api.user_id,
    )
    assert [row["what"] for row in told] == ["API calls", "concurrent positions", "trades"]
    assert len((await usage_of(world, api)).warnings) == len(told)


async def usage_of(world: World, api: Api) -> UsageView:
    views = BillingViews(world.database, None, world.clock)
    return await views.usage(world.principal(api.user_id))


async def open_live_account(world: World, api: Api) -> None:
    who: dict[str, Any] = {"user_id": api.user_id, "venue": "coinbase", "realm": REALM}
    connection = Connection(**who, id=uuid4(), api_key_masked="***", created_at=world.clock.now())
    async with world.database.as_system() as session:
        session.add(connection)
        await session.flush()
        session.add(
            Account(**who, mode="live", connection_id=connection.id, created_at=world.clock.now())
        )


async def enter(world: World, run: BotRun, times: int, *, state: str = "open") -> None:
    """Positions with filled entries."""
    for number in range(times):
        symbol = f"{state.upper()}{number}-USD"
        position = await make_position(world, run, symbol=symbol, state=state)
        async with world.database.as_system() as session:
            session.add(
                Order(
                    user_id=run.user_id,
                    account_id=run.account_id,
                    bot_id=run.bot_id,
                    run_id=run.id,
                    position_id=position.id,
                    cause=f"signal:{position.id}",
                    leg=Leg.ENTRY,
                    client_order_id=str(position.id),
                    symbol=symbol,
                    side=Side.BUY,
                    type=OrderType.MARKET,
                    state=OrderState.FILLED,
                    quantity=position.planned_quantity,
                    filled_quantity=position.planned_quantity,
                    created_at=VENUE_NOW,  # years ago: a replay
                    intended_at=world.clock.now(),
                )
            )
