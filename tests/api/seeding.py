"""Rows that bots would have made."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlmodel import select

from domain.positions import PositionState
from models.bots import Bot, BotRun, Decision, Evaluation
from models.connections import Account
from models.ledgers import Balance
from models.markets import VenueQuote, VenueState
from models.trading import Position
from services.analytics.counting import count_trade, counted
from tests.api.fakes import VENUE_NOW
from tests.api.harness import REALM, Api, World

EPOCH = "epoch-1"


async def watch_venue(world: World, **prices: str) -> None:
    """What the watcher would have written; `BTC="7000"`."""
    async with world.database.as_system() as session:
        await session.merge(
            VenueState(
                venue="coinbase",
                realm=REALM,
                epoch=EPOCH,
                clock_at=VENUE_NOW,
                seen_at=world.clock.now(),
            )
        )
        for base, price in prices.items():
            value = Decimal(price)
            await session.merge(
                VenueQuote(
                    venue="coinbase",
                    realm=REALM,
                    symbol=f"{base}-USD",
                    epoch=EPOCH,
                    bid=value,
                    ask=value,
                    last=value,
                    at=VENUE_NOW,
                )
            )


async def forget_quotes(world: World) -> None:
    await world.sql("DELETE FROM venue_quotes")
    await world.sql("DELETE FROM venue_states")


async def account_of(world: World, user: Api, mode: str = "paper") -> Account:
    async with world.database.as_system() as session:
        found = await session.exec(
            select(Account).where(Account.user_id == user.user_id, Account.mode == mode)
        )
        return found.one()


async def make_run(
    world: World, user: Api, *, mode: str = "paper", state: str = "running", number: int = 1
) -> BotRun:
    """A bot with a run on the user's account."""
    account = await account_of(world, user, mode)
    now = world.clock.now()
    async with world.database.as_system() as session:
        bot = (await session.exec(select(Bot).where(Bot.user_id == user.user_id))).first()
        if bot is None:
            bot = Bot(id=uuid4(), user_id=user.user_id, state_changed_at=now, created_at=now)
            session.add(bot)
            await session.flush()
        run = BotRun(
            id=uuid4(),
            user_id=user.user_id,
            bot_id=bot.id,
            account_id=account.id,
            number=number,
            venue="coinbase",
            realm=REALM,
            mode=mode,
            risk_level="medium",
            state="entering" if state == "running" else "ended",
            epoch=EPOCH,
            started_at=now,
            venue_started_at=VENUE_NOW,
            config_hash="hash",
            code_version="1",
        )
        session.add(run)
        await session.flush()
        bot.state, bot.current_run_id = state, run.id
        bot.last_scan_at, bot.next_scan_at = VENUE_NOW, VENUE_NOW + timedelta(seconds=150)
    return run


async def make_position(world: World, run: BotRun, **changes: Any) -> Position:
    """An open position of 0.5 BTC bought at 6,800, unless told otherwise."""
    values: dict[str, Any] = {
        "id": uuid4(),
        "user_id": run.user_id,
        "account_id": run.account_id,
        "run_id": run.id,
        "symbol": "BTC-USD",
        "side": "long",
        "state": PositionState.OPEN,
        "planned_quantity": Decimal("0.5"),
        "planned_notional": Decimal(3400),
        "decision_price": Decimal(6800),
        "entry_quantity": Decimal("0.5"),
        "entry_notional": Decimal(3400),
        "open_quantity": Decimal("0.5"),
        "fees": Decimal("3.4"),
        "atr": Decimal(50),
        "round_trip_fee_rate": Decimal("0.002"),
        "stop_loss": Decimal(6700),
        "take_profit": Decimal(7100),
        "opened_at": VENUE_NOW - timedelta(hours=2),
        **changes,
    }
    position = Position(**values)
    async with world.database.as_system() as session:
        session.add(position)
    return position


async def make_closed(
    world: World, run: BotRun, *, pnl: str, fees: str = "1", closed_at: datetime, **changes: Any
) -> Position:
    """A closed position with its roll-ups."""
    values: dict[str, Any] = {
        "state": PositionState.CLOSED,
        "exit_quantity": Decimal("0.5"),
        "open_quantity": Decimal(0),
        "exit_notional": Decimal(3400) + Decimal(pnl),
        "realized_pnl": Decimal(pnl),
        "fees": Decimal(fees),
        "exit_reason": "take_profit",
        "opened_at": closed_at - timedelta(minutes=90),
        "closed_at": closed_at,
        **changes,
    }
    position = await make_position(world, run, **values)
    async with world.database.as_system() as session:
        await count_trade(session, await session.merge(position), None, counted(position))
    return position


async def hold(world: World, account: Account, currency: str, total: str) -> None:
    """Set what an account holds."""
    async with world.database.as_system() as session:
        await session.merge(
            Balance(
                account_id=account.id,
                currency=currency,
                user_id=account.user_id,
                total=Decimal(total),
                observed_at=VENUE_NOW,
            )
        )


async def decide(world: World, run: BotRun, symbol: str, *, minutes: int, reason: str) -> UUID:
    """A decision with its evaluation, so many minutes before the venue's now."""
    at = VENUE_NOW - timedelta(minutes=minutes)
    evaluation = Evaluation(
        id=uuid4(),
        venue="coinbase",
        realm=REALM,
        epoch=uuid4().hex,
        symbol=symbol,
        bar_at=at,
        config_hash="hash",
        strategy="APEX_V72",
        code_version="1",
        score=2,
        record={"score": 2, "long_filter": {"adx": False}, "short_filter": {}, "reason": reason},
        created_at=at,
    )
    decision = Decision(
        id=uuid4(),
        user_id=run.user_id,
        bot_id=run.bot_id,
        run_id=run.id,
        cause=f"bar:{symbol}:{minutes}",
        symbol=symbol,
        bar_at=at,
        decided_at=at,
        evaluation_id=evaluation.id,
        action="none",
        reason=reason,
        gates=[{"name": "score", "passed": False}],
    )
    async with world.database.as_system() as session:
        session.add(evaluation)
        await session.flush()
        session.add(decision)
    return decision.id
