"""Starting a bot: every refusal first, then one transaction that makes the run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Mode, Realm, VenueClock, VenueKey
from domain.ports import Venues, VenueUnavailable, WallClock, WorkflowService
from domain.positions import PositionState
from domain.principal import Principal
from domain.risk import RiskLevel
from domain.strategies.apex import DEFAULT_CONFIG, STRATEGY, STRATEGY_VERSION
from models.bots import Bot, BotRun, BotState
from models.connections import Account, Connection, ConnectionStatus, UserSettings
from models.people import User
from models.trading import Position
from services import audit
from services.billing.entitlements import plan_of
from services.database import Database
from services.errors import (
    AlreadyRunning,
    InvalidRiskLevel,
    KillSwitchActive,
    NoBrokerConfigured,
    SubscriptionRequired,
    UnsupportedBroker,
    VenueFailed,
    WorkflowUnavailable,
)
from services.identity.errors import EmailNotVerified
from services.paper_accounts import PAPER_VENUE
from services.reads import require_active
from services.trading.context import active_kill_switch

READY_SECONDS = 10
APEX = "apex"


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What was asked for; None comes from the settings."""

    broker: str | None
    paper_trading: bool | None
    risk_profile: str | None


class Starting:
    """Makes runs."""

    def __init__(
        self,
        database: Database,
        venues: Venues,
        workflows: WorkflowService,
        clock: WallClock,
        *,
        realm: Realm,
        needs_verified_email: bool,
    ) -> None:
        self._database = database
        self._venues = venues
        self._workflows = workflows
        self._clock = clock
        self._realm = realm
        self._needs_verified_email = needs_verified_email

    async def start(self, principal: Principal, request: StartRequest) -> Bot:
        """Begin a new run.

        Raises:
            UnsupportedBroker, InvalidRiskLevel, AlreadyRunning, KillSwitchActive,
            NoBrokerConfigured, SubscriptionRequired, EmailNotVerified: refused; nothing changed.
            WorkflowUnavailable, VenueFailed: a server that a bot needs does not answer;
                nothing changed.
        """
        if request.broker is not None and request.broker not in self._venues.supported():
            raise UnsupportedBroker(details={"supported": sorted(self._venues.supported())})
        if request.risk_profile is not None and request.risk_profile not in set(RiskLevel):
            raise InvalidRiskLevel
        async with self._database.for_user(principal.user_id) as session:
            # Refuse before asking servers; the second look below is the one that counts.
            await self._admit(session, principal, request)
        if not await self._workflows.is_available():
            raise WorkflowUnavailable
        clock = await self._venue_clock(request.broker or PAPER_VENUE)
        async with self._database.for_user(principal.user_id) as session:
            await claim_bot(session, principal.user_id, self._clock.now())
            bot, account, risk = await self._admit(session, principal, request)
            return await self._begin(session, principal, bot, account, risk, clock)

    async def _venue_clock(self, venue: str) -> VenueClock:
        try:
            return await self._venues.market_data(VenueKey(venue, self._realm)).clock()
        except VenueUnavailable as failure:
            raise VenueFailed from failure

    async def _admit(
        self, session: AsyncSession, principal: Principal, request: StartRequest
    ) -> tuple[Bot, Account, str]:
        """Lock the bot's row and refuse what must be refused."""
        # The bot before the user, as whoever deletes or suspends a user does.
        bot = await lock_bot(session, principal.user_id)
        await _require_active(session, principal.user_id)
        if bot is None:
            bot = Bot(
                user_id=principal.user_id,
                state_changed_at=self._clock.now(),
                created_at=self._clock.now(),
            )
        state = BotState(bot.state)
        if state is BotState.EMERGENCY_STOPPED:
            raise KillSwitchActive("Release the emergency stop before starting")
        if state.has_entering_run:
            raise AlreadyRunning
        settings = (
            await session.exec(
                select(UserSettings).where(UserSettings.user_id == principal.user_id)
            )
        ).one()
        is_paper = (
            settings.paper_trading if request.paper_trading is None else request.paper_trading
        )
        account = await self._account(
            session, principal.user_id, request.broker, Mode.PAPER if is_paper else Mode.LIVE
        )
        if await active_kill_switch(session, principal.user_id, account.venue) is not None:
            raise KillSwitchActive
        return bot, account, request.risk_profile or settings.risk_level

    async def _account(
        self, session: AsyncSession, user_id: UUID, broker: str | None, mode: Mode
    ) -> Account:
        statement = select(Account).where(
            Account.realm == self._realm.value, Account.mode == mode.value
        )
        if mode is Mode.LIVE:
            await self._require_live(session, user_id)
            statement = statement.join(
                Connection, col(Connection.id) == Account.connection_id
            ).where(Connection.status == ConnectionStatus.CONNECTED.value)
        if mode is Mode.PAPER and broker is None:
            broker = PAPER_VENUE
        if broker is not None:
            statement = statement.where(Account.venue == broker)
        account = (await session.exec(statement.order_by(col(Account.created_at)))).first()
        if account is None:
            raise NoBrokerConfigured
        return account

    async def _require_live(self, session: AsyncSession, user_id: UUID) -> None:
        plan = await plan_of(session, user_id, self._clock.now())
        if not plan.features.live_trading:
            raise SubscriptionRequired
        if self._needs_verified_email:
            user = await session.get_one(User, user_id)
            if user.email_verified_at is None:
                raise EmailNotVerified

    async def _begin(
        self,
        session: AsyncSession,
        principal: Principal,
        bot: Bot,
        account: Account,
        risk_level: str,
        clock: VenueClock,
    ) -> Bot:
        now = self._clock.now()
        bot.state, bot.state_changed_at = BotState.STARTING, now
        bot.revision += 1
        bot.last_error = None
        bot.progressed_at = now
        session.add(bot)
        await session.flush()
        number = (
            await session.exec(
                select(func.coalesce(func.max(BotRun.number), 0)).where(BotRun.bot_id == bot.id)
            )
        ).one()
        run = BotRun(
            user_id=principal.user_id,
            bot_id=bot.id,
            account_id=account.id,
            number=number + 1,
            venue=account.venue,
            realm=account.realm,
            mode=account.mode,
            risk_level=risk_level,
            epoch=clock.epoch,
            started_at=now,
            venue_started_at=clock.now,
            strategy=STRATEGY,
            config_hash=DEFAULT_CONFIG.config_hash,
            code_version=STRATEGY_VERSION,
        )
        session.add(run)
        await session.flush()
        bot.current_run_id = run.id
        session.add(bot)
        await _adopt_what_came_back(session, run)
        audit.record(
            session,
            audit.AuditEvent.TRADING_STARTED,
            user_id=principal.user_id,
            at=now,
            meta={"broker": run.venue, "mode": run.mode, "risk_profile": risk_level},
        )
        return bot


async def _adopt_what_came_back(session: AsyncSession, run: BotRun) -> None:
    """Guard what an order left behind that was taken for lost and filled when no run was there.

    What is to leave with all of its run stays with that one.
    """
    closing = select(BotRun.id).where(
        BotRun.account_id == run.account_id, col(BotRun.close_requested).is_not(None)
    )
    await session.exec(
        update(Position)
        .where(
            col(Position.account_id) == run.account_id,
            col(Position.state) == PositionState.OPEN.value,
            col(Position.came_back),
            col(Position.run_id).not_in(closing),
        )
        .values(run_id=run.id)
    )


async def _require_active(session: AsyncSession, user_id: UUID) -> None:
    """Refuse whoever was suspended since the request came in; holds that off until we commit."""
    status = await session.exec(
        select(User.status).where(User.id == user_id).with_for_update(read=True)
    )
    require_active(status.one())


async def claim_bot(session: AsyncSession, user_id: UUID, now: datetime) -> Bot:
    """Lock the user's one APEX bot; makes it where there is none.

    Of two that make it at once the second waits for the first, and gets its bot.
    """
    bot = await lock_bot(session, user_id)
    if bot is None:
        made = Bot(user_id=user_id, state_changed_at=now, created_at=now)
        await session.exec(
            insert(Bot)
            .values(**made.model_dump())
            .on_conflict_do_nothing(index_elements=["user_id"], index_where=text("kind = 'apex'"))
        )
        bot = await lock_bot(session, user_id)
        assert bot is not None
    return bot


async def lock_bot(session: AsyncSession, user_id: UUID) -> Bot | None:
    """Lock the user's one APEX bot; None before its first start.

    Not against foreign keys: the booking of a fill refers to the bot while it holds a position.
    """
    return (
        await session.exec(
            select(Bot)
            .where(Bot.user_id == user_id, Bot.kind == APEX)
            .with_for_update(key_share=True)
        )
    ).one_or_none()
