"""Wire models of the Admin APIs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import Field, StrictStr, model_validator

from api.kit.wire import Amount, Ratio, Request, Text, View, parse_wire_id, wire_id
from api.nija.schemas.account import End, Start
from api.nija.schemas.common import Message, Pagination
from domain.billing import SubscriptionStatus
from domain.money import ZERO
from domain.plans import Tier, is_trial_active
from domain.principal import Role
from models.people import UserStatus
from services.admin.audit_logs import AuditFilter
from services.admin.metrics import PlatformFigures, TradingFigures
from services.admin.people import PeopleFilter, PersonChange, PersonDetail, PersonView
from services.errors import InvalidRequest, ObjectNotFound

USER = "usr"
LOG = "log"
_USER_ID = ["usr_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"]
_LAST_ACTIVE = "The latest login or exchange of tokens; single calls are not noted."
_PAGE_MAX = 1_000_000
_USERS_MAX, _LOGS_MAX = 100, 500


# --- users ----------------------------------------------------------------------------------------


class UsersQuery(Request):
    """Which users."""

    page: int = Field(default=1, ge=1, le=_PAGE_MAX)
    per_page: int = Field(default=50, ge=1, le=_USERS_MAX)
    search: Text | None = Field(
        default=None, min_length=1, max_length=320, description="Part of an email, or a user id."
    )
    tier: Tier | None = None
    status: UserStatus | None = None
    role: Role | None = None

    def to_filter(self) -> PeopleFilter:
        """What the service is asked for."""
        user_id = parse_wire_id(USER, self.search) if self.search else None
        return PeopleFilter(
            search=self.search,
            user_id=user_id,
            tier=self.tier,
            status=self.status,
            role=self.role,
        )


class UserItem(View):
    """A user in the list. Trading figures are of the account (`mode`) that the user sees first."""

    user_id: str = Field(examples=_USER_ID)
    email: str = Field(examples=["user@example.com"])
    full_name: str = Field(examples=["John Doe"])
    subscription_tier: Tier
    status: UserStatus
    role: Role
    mode: str | None = Field(examples=["paper"])
    total_trades: int = Field(examples=[156])
    total_pnl: Amount = Field(examples=[2340.5], description="Before fees.")
    net_pnl: Amount = Field(examples=[2310.4])
    joined_at: datetime
    last_active: datetime | None = Field(description=_LAST_ACTIVE)

    @classmethod
    def from_domain(cls, person: PersonView) -> UserItem:
        """Render a user."""
        return cls(
            user_id=wire_id(USER, person.id),
            email=person.email,
            full_name=person.full_name,
            subscription_tier=Tier(person.subscription_tier),
            status=UserStatus(person.status),
            role=Role(person.role),
            mode=person.mode,
            total_trades=person.total_trades,
            total_pnl=person.total_pnl,
            net_pnl=person.net_pnl,
            joined_at=person.joined_at,
            last_active=person.last_active,
        )


class UsersData(View):
    """A page of users, newest first."""

    users: list[UserItem]
    pagination: Pagination

    @classmethod
    def from_domain(cls, people: Sequence[PersonView], total: int, query: UsersQuery) -> UsersData:
        """Render a page."""
        return cls(
            users=[UserItem.from_domain(person) for person in people],
            pagination=Pagination.of(page=query.page, per_page=query.per_page, total_items=total),
        )


class UserSubscription(View):
    """What the user pays for."""

    tier: Tier
    status: str = Field(examples=["active"])
    started: date | None
    renews: date | None = Field(description="null where nothing will be renewed.")


class UserTrading(View):
    """How the user's account does."""

    total_trades: int = Field(examples=[156])
    total_pnl: Amount = Field(examples=[2340.5])
    net_pnl: Amount = Field(examples=[2310.4])
    win_rate: Ratio = Field(examples=[0.69])
    active_positions: int = Field(examples=[3])
    mode: str | None = Field(examples=["paper"])
    bot_status: str = Field(examples=["running"])


class UserBroker(View):
    """A connection of the user."""

    name: str = Field(examples=["coinbase"])
    status: str = Field(examples=["connected"])


class UserNoteView(View):
    """What an administrator wrote down; users never see it."""

    note: str
    author_id: str = Field(examples=_USER_ID)
    created_at: datetime


class UserDetail(View):
    """One user."""

    user_id: str = Field(examples=_USER_ID)
    email: str = Field(examples=["user@example.com"])
    full_name: str = Field(examples=["John Doe"])
    status: UserStatus
    role: Role
    subscription: UserSubscription
    trading: UserTrading
    brokers: list[UserBroker]
    live_sessions: int = Field(examples=[1])
    notes: list[UserNoteView]
    joined_at: datetime
    last_active: datetime | None = Field(description=_LAST_ACTIVE)


class UserData(View):
    """One user."""

    user: UserDetail

    @classmethod
    def from_domain(cls, detail: PersonDetail) -> UserData:
        """Render a user."""
        person = detail.person
        return cls(
            user=UserDetail(
                user_id=wire_id(USER, person.id),
                email=person.email,
                full_name=person.full_name,
                status=UserStatus(person.status),
                role=Role(person.role),
                subscription=_subscription(detail),
                trading=UserTrading(
                    total_trades=person.total_trades,
                    total_pnl=person.total_pnl,
                    net_pnl=person.net_pnl,
                    win_rate=_win_rate(person),
                    active_positions=detail.active_positions,
                    mode=person.mode,
                    bot_status=detail.bot_state,
                ),
                brokers=[UserBroker(name=name, status=status) for name, status in detail.brokers],
                live_sessions=detail.live_sessions,
                notes=[
                    UserNoteView(
                        note=note.note,
                        author_id=wire_id(USER, note.author_id),
                        created_at=note.created_at,
                    )
                    for note in detail.notes
                ],
                joined_at=person.joined_at,
                last_active=person.last_active,
            )
        )


def _win_rate(person: PersonView) -> Decimal:
    judged = person.wins + person.losses
    return Decimal(person.wins) / judged if judged else ZERO


def _subscription(detail: PersonDetail) -> UserSubscription:
    person, status = detail.person, detail.billing_status
    is_live = status is not None and SubscriptionStatus(status).is_live
    if status is None:
        in_trial = is_trial_active(person.trial_ends_at, datetime.now(UTC))
        status = (SubscriptionStatus.TRIALING if in_trial else SubscriptionStatus.ACTIVE).value
    renews = detail.period_end if is_live and not detail.cancel_at_period_end else None
    return UserSubscription(
        tier=Tier(person.subscription_tier),
        status=status,
        started=(detail.started_at or person.joined_at).date(),
        renews=renews.date() if renews else None,
    )


class UserUpdate(Request):
    """What to change; what is left out stays."""

    subscription_tier: Tier | None = Field(default=None, examples=["enterprise"])
    status: UserStatus | None = Field(default=None, examples=["active"])
    role: Role | None = Field(default=None, examples=["user"])
    notes: Text | None = Field(
        default=None, min_length=1, examples=["Upgraded to enterprise for beta testing"]
    )

    @model_validator(mode="after")
    def _something(self) -> UserUpdate:
        if not self.model_fields_set:
            raise ValueError("Nothing to change")
        return self

    def to_change(self) -> PersonChange:
        """What the service is asked for."""
        return PersonChange(
            tier=self.subscription_tier, status=self.status, role=self.role, note=self.notes
        )


# --- metrics --------------------------------------------------------------------------------------


class UserCounts(View):
    """Users; by the tier they have (a trial reads free)."""

    total: int = Field(examples=[1245])
    active_today: int = Field(examples=[892])
    free: int = Field(examples=[456])
    basic: int = Field(examples=[345])
    pro: int = Field(examples=[389])
    enterprise: int = Field(examples=[55])


class TradingCounts(View):
    """Trading at present, and in the venues' last 24 hours."""

    bots_running: int = Field(examples=[892])
    total_positions: int = Field(examples=[3421])
    total_volume_24h: Amount = Field(examples=[4567890.5])
    total_trades_24h: int = Field(examples=[5678])
    exits_failing: int = Field(
        examples=[0], description="Positions whose exit is due and is refused, not filled or late."
    )
    positions_without_keys: int = Field(
        examples=[0],
        description="Open positions whose broker was removed: no exit of them can be made.",
    )

    @classmethod
    def from_domain(cls, figures: TradingFigures) -> TradingCounts:
        """Render one mode's figures."""
        return cls(
            bots_running=figures.bots_running,
            total_positions=figures.total_positions,
            total_volume_24h=figures.total_volume_24h,
            total_trades_24h=figures.total_trades_24h,
            exits_failing=figures.exits_failing,
            positions_without_keys=figures.positions_without_keys,
        )


class TradingTotals(TradingCounts):
    """Live trading; paper stands beside it and is never added."""

    paper: TradingCounts


class SystemTotals(View):
    """The API in the last five minutes, over all processes."""

    api_requests_per_second: Ratio = Field(examples=[145])
    avg_response_time_ms: Ratio = Field(examples=[85])
    p95_response_time_ms: Ratio = Field(examples=[100])
    p99_response_time_ms: Ratio = Field(examples=[250])
    error_rate: Ratio = Field(examples=[0.002], description="Fraction of answers of 500 and above.")
    uptime_pct: Ratio = Field(examples=[99.98], description="Of the minutes of 30 days.")
    api_processes: int = Field(examples=[2])


class RevenueTotals(View):
    """Recurring revenue in USD."""

    mrr: Amount = Field(examples=[156789.0])
    arr: Amount = Field(examples=[1881468.0])
    churn_rate: Ratio = Field(examples=[0.035], description="Fraction of 30 days.")
    paying_subscribers: int = Field(examples=[789])


class MetricsData(View):
    """The platform's figures."""

    users: UserCounts
    trading: TradingTotals
    system: SystemTotals
    revenue: RevenueTotals

    @classmethod
    def from_domain(cls, figures: PlatformFigures) -> MetricsData:
        """Render the figures."""
        live = TradingCounts.from_domain(figures.live)
        return cls(
            users=UserCounts.model_validate(figures.users, from_attributes=True),
            trading=TradingTotals(**live.__dict__, paper=TradingCounts.from_domain(figures.paper)),
            system=SystemTotals.model_validate(figures.system, from_attributes=True),
            revenue=RevenueTotals.model_validate(figures.revenue, from_attributes=True),
        )


# --- audit logs -----------------------------------------------------------------------------------


class AuditLogsQuery(Request):
    """Which entries; times are wall time."""

    page: int = Field(default=1, ge=1, le=_PAGE_MAX)
    per_page: int = Field(default=100, ge=1, le=_LOGS_MAX)
    event_type: Text | None = Field(default=None, max_length=100, examples=["user_login"])
    user_id: StrictStr | None = Field(default=None, max_length=100, examples=_USER_ID)
    start_date: Start | None = Field(default=None, description="ISO 8601, inclusive.")
    end_date: End | None = Field(default=None, description="ISO 8601; a date includes its day.")

    def to_filter(self) -> AuditFilter:
        """What the service is asked for.

        Raises:
            InvalidRequest: the user id is none.
        """
        user_id = None
        if self.user_id is not None:
            user_id = parse_wire_id(USER, self.user_id)
            if user_id is None:
                raise InvalidRequest({"user_id": "A user id looks like usr_ and 32 digits"})
        return AuditFilter(self.event_type, user_id, self.start_date, self.end_date)


class AuditLogItem(View):
    """An entry. `sequence` and `hash` are its place in the chain, null until it is sealed."""

    log_id: str = Field(examples=["log_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"])
    event_type: str = Field(examples=["user_login"])
    user_id: str | None = Field(examples=_USER_ID)
    actor_id: str | None = Field(examples=_USER_ID)
    ip_address: str | None = Field(examples=["192.168.1.1"])
    user_agent: str | None = Field(examples=["Mozilla/5.0"])
    metadata: dict[str, Any] = Field(examples=[{"login_method": "email_password"}])
    timestamp: datetime
    sequence: int | None = Field(examples=[1234])
    hash: str | None


class AuditLogsData(View):
    """A page of entries, newest first."""

    logs: list[AuditLogItem]
    pagination: Pagination

    @classmethod
    def from_domain(
        cls, rows: Sequence[Mapping[str, Any]], total: int, query: AuditLogsQuery
    ) -> AuditLogsData:
        """Render a page."""
        return cls(
            logs=[_log(row) for row in rows],
            pagination=Pagination.of(page=query.page, per_page=query.per_page, total_items=total),
        )


def _log(row: Mapping[str, Any]) -> AuditLogItem:
    return AuditLogItem(
        log_id=wire_id(LOG, row["id"]),
        event_type=row["event_type"],
        user_id=wire_id(USER, row["user_id"]) if row["user_id"] else None,
        actor_id=wire_id(USER, row["actor_id"]) if row["actor_id"] else None,
        ip_address=row["ip_address"],
        user_agent=row["user_agent"],
        metadata=row["meta"],
        timestamp=row["at"],
        sequence=row["sequence"],
        hash=row["hash"],
    )


class UpdatedView(View):
    """It was done."""

    message: Message = Field(default="User updated successfully")


def user_id_of(text: str) -> UUID:
    """The user a path names.

    Raises:
        ObjectNotFound: nobody has such an id.
    """
    user_id = parse_wire_id(USER, text)
    if user_id is None:
        raise ObjectNotFound("User not found")
    return user_id
