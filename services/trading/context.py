"""What a bot's decisions depend on, loaded in one short transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Mode, Realm, VenueKey
from domain.plans import Tier, effective_plan, is_trial_active
from domain.ports import AccountRef
from domain.positions import PositionState
from domain.risk import EffectiveLimits, SettingsLimits, effective_limits
from models.bots import Bot, BotRun, RunState
from models.connections import UserSettings
from models.controls import KillSwitch
from models.people import User
from models.trading import Position
from services.accounts import account_ref
from services.database import Database


@dataclass(frozen=True, slots=True)
class RunContext:
    """One live run of a bot: where it trades and which symbols it looks at."""

    run: BotRun
    ref: AccountRef
    key: VenueKey
    symbols: tuple[str, ...]

    @property
    def may_enter(self) -> bool:
        """Whether the run may open positions (the bot's state is another matter)."""
        return self.run.state == RunState.ENTERING


@dataclass(frozen=True, slots=True)
class BotContext:
    """A bot, its user's settings, and its live runs."""

    bot: Bot
    settings: UserSettings
    runs: tuple[RunContext, ...]

    @property
    def entering(self) -> RunContext | None:
        """The run that may enter, if any."""
        return next((run for run in self.runs if run.may_enter), None)


async def load_context(database: Database, user_id: UUID, bot_id: UUID) -> BotContext:
    """Load a bot with its live runs; held symbols of every run are always looked at."""
    async with database.for_user(user_id) as session:
        bot = (await session.exec(select(Bot).where(Bot.id == bot_id))).one()
        settings = (
            await session.exec(select(UserSettings).where(UserSettings.user_id == user_id))
        ).one()
        runs = (
            await session.exec(
                select(BotRun)
                .where(BotRun.bot_id == bot_id, BotRun.state != RunState.ENDED.value)
                .order_by(col(BotRun.number))
            )
        ).all()
        contexts = [await _run_context(session, run, settings) for run in runs]
    return BotContext(bot=bot, settings=settings, runs=tuple(contexts))


async def _run_context(session: AsyncSession, run: BotRun, settings: UserSettings) -> RunContext:
    held: Sequence[str] = (
        await session.exec(
            select(Position.symbol)
            .where(Position.run_id == run.id, Position.state == PositionState.OPEN.value)
            .distinct()
        )
    ).all()
    pairs = settings.allowed_pairs if run.state == RunState.ENTERING else []
    return RunContext(
        run=run,
        ref=await account_ref(session, run.account_id),
        key=VenueKey(run.venue, Realm(run.realm)),
        symbols=tuple(sorted({*pairs, *held})),
    )


async def limits_of(
    session: AsyncSession, user_id: UUID, settings: UserSettings, mode: Mode, wall: datetime
) -> EffectiveLimits:
    """The lower of the user's plan and settings, read in the transaction that relies on it."""
    user = (await session.exec(select(User).where(User.id == user_id))).one()
    plan = effective_plan(
        Tier(user.subscription_tier), trial_active=is_trial_active(user.trial_ends_at, wall)
    )
    return effective_limits(
        plan,
        SettingsLimits(
            max_position_size=settings.max_position_size_usd,
            max_positions=settings.max_concurrent_positions,
            max_daily_loss=settings.max_daily_loss_usd,
        ),
        mode,
    )


async def active_kill_switch(session: AsyncSession, user_id: UUID, venue: str) -> KillSwitch | None:
    """A kill switch that covers this user or venue; global ones first."""
    return (
        await session.exec(
            select(KillSwitch)
            .where(
                col(KillSwitch.released_at).is_(None),
                (col(KillSwitch.scope) == "global")
                | (col(KillSwitch.user_id) == user_id)
                | (col(KillSwitch.venue) == venue),
            )
            .order_by(col(KillSwitch.scope))
        )
    ).first()
