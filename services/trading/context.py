"""What a bot's decisions depend on, loaded in one short transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from sqlalchemy import and_, func, literal_column
from sqlalchemy import select as sql_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.alerts import AlertState
from domain.contracts.bots import TradeSignal
from domain.markets import Realm, VenueKey
from domain.ports import AccountRef
from domain.positions import PositionState
from models.alerts import Alert
from models.bots import Bot, BotRun, RunState
from models.connections import Account, Connection, UserSettings
from models.controls import KillSwitch
from models.trading import Position
from services.accounts import is_keyed, ref_of
from services.alerts.inbox import pending_signals
from services.database import Database, all_rows


@dataclass(frozen=True, slots=True)
class RunContext:
    """One live run of a bot: where it trades and which symbols it looks at.

    `has_positions` says whether anything is open or pending on its account, of whatever run.
    """

    run: BotRun
    ref: AccountRef
    key: VenueKey
    symbols: tuple[str, ...]
    has_positions: bool

    @property
    def may_enter(self) -> bool:
        """Whether the run may open positions (the bot's state is another matter)."""
        return self.run.state == RunState.ENTERING


@dataclass(frozen=True, slots=True)
class BotContext:
    """A bot, its user's settings, its live runs, and the alerts that wait for its decision."""

    bot: Bot
    settings: UserSettings
    runs: tuple[RunContext, ...]
    alerts: tuple[TradeSignal, ...] = ()

    @property
    def entering(self) -> RunContext | None:
        """The run that may enter, if any."""
        return next((run for run in self.runs if run.may_enter), None)


async def load_context(database: Database, user_id: UUID, bot_id: UUID) -> BotContext:
    """Load a bot with its live runs; held symbols of every run are always looked at."""
    held = (
        sql_select(func.array_agg(func.distinct(col(Position.symbol))))
        .where(col(Position.run_id) == BotRun.id, col(Position.state) == PositionState.OPEN.value)
        .scalar_subquery()
    )
    on_account = (
        sql_select(func.count())
        .where(
            col(Position.account_id) == BotRun.account_id,
            col(Position.state).in_((PositionState.PENDING.value, PositionState.OPEN.value)),
        )
        .scalar_subquery()
    )
    has_alerts = (
        sql_select(col(Alert.id))
        .where(
            col(Alert.user_id) == Bot.user_id,
            col(Alert.state) == literal_column(f"'{AlertState.PROCESSING}'"),
        )
        .exists()
    )
    statement = (
        sql_select(
            Bot,
            UserSettings,
            BotRun,
            Account,
            col(Connection.version),
            held,
            on_account,
            has_alerts,
        )
        .join(UserSettings, col(UserSettings.user_id) == Bot.user_id)
        .join(
            BotRun,
            and_(col(BotRun.bot_id) == Bot.id, col(BotRun.state) != RunState.ENDED.value),
            isouter=True,
        )
        .join(Account, col(Account.id) == BotRun.account_id, isouter=True)
        .join(Connection, is_keyed(), isouter=True)
        .where(col(Bot.id) == bot_id)
        .order_by(col(BotRun.number))
    )
    async with database.for_user(user_id) as session:
        read_at = monotonic()
        rows = await all_rows(session, statement)
        has_any = rows[0][-1]
        alerts = await pending_signals(session, user_id) if has_any else ()
    bot, settings = rows[0][:2]
    return BotContext(
        bot=bot,
        settings=settings,
        runs=tuple(
            _run_context(row[2], ref_of(row[3], row[4], read_at), settings, row[5] or [], row[6])
            for row in rows
            if row[2] is not None
        ),
        alerts=alerts,
    )


def _run_context(
    run: BotRun,
    ref: AccountRef,
    settings: UserSettings,
    held: Sequence[str],
    positions: int,
) -> RunContext:
    pairs = settings.allowed_pairs if run.state == RunState.ENTERING else []
    return RunContext(
        run=run,
        ref=ref,
        key=VenueKey(run.venue, Realm(run.realm)),
        symbols=tuple(sorted({*pairs, *held})),
        has_positions=bool(positions),
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
