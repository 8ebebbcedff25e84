"""What requests and answers are made of.

Generated from the OpenAPI document by sdk/generate.py; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

from nija_sdk._resource import Number


class AdvancedChange(TypedDict):
    """New values; what is left out stays."""

    enable_meta_ai: NotRequired[bool]
    enable_mmin: NotRequired[bool]
    enable_gmig: NotRequired[bool]
    execution_intelligence: NotRequired[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvancedSettings:
    """Switches that need the backtest engine; off until it comes."""

    enable_meta_ai: bool
    enable_mmin: bool
    enable_gmig: bool
    execution_intelligence: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertReceivedData:
    """The alert is stored; `trade_id` is the trade it opens, or the one it closes."""

    received: Literal[True] | None = None
    trade_id: str | None
    """Null where it closes and nothing of the kind is held."""
    status: Literal["processing", "duplicate"] | None = None
    """processing: taken in, whatever was decided; the outcome is in the list."""
    signal_id: str


AlertState: TypeAlias = Literal[
    "processing", "accepted", "executed", "unfilled", "refused", "expired", "duplicate", "stale"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLogItem:
    """An entry.

    `sequence` and `hash` are its place in the chain, null until it is sealed.
    """

    log_id: str
    event_type: str
    user_id: str | None
    actor_id: str | None
    ip_address: str | None
    user_agent: str | None
    metadata: dict[str, Any]
    timestamp: datetime
    sequence: int | None
    hash: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLogsData:
    """A page of entries, newest first."""

    logs: list[AuditLogItem]
    pagination: Pagination


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceData:
    """What an account is worth: cash plus the market value of everything that has a price."""

    broker: str
    cash: Decimal
    equity: Decimal
    """Stablecoins without a market count at par."""
    unpriced: list[str]
    """Held, without a price, and left out of equity."""
    equity_is_lower_bound: bool
    """Whether anything is left out."""
    unrealized_pnl: Decimal | None
    """Null while an open position has no quote."""
    buying_power: Decimal
    currency: str
    last_updated: datetime | None
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class BestMonthItem:
    """The month with the highest net P&L; `pnl` is before fees, percent of the capital it had."""

    month: str
    pnl: Decimal
    pnl_pct: Decimal
    net_pnl: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BotChangeView:
    """The bot's new state."""

    status: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConnectedData:
    """A connection stands."""

    broker_id: str
    message: str
    status: str
    warning: str | None
    """What keeps its bot from opening positions, if anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerItem:
    """A broker connection."""

    broker_id: str
    name: str
    display_name: str
    status: str
    """connected, broken or exit_only."""
    last_connected: datetime | None
    api_key_masked: str
    permissions: list[str]
    created_at: datetime
    """Wall time."""
    realm: Literal["simulated", "real"]
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRemovedData:
    """A connection is gone, or going."""

    message: str
    open_positions: int
    warning: str | None
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerTestData:
    """What a broker answered."""

    status: str
    latency_ms: int
    permissions: list[str]
    account_balance: Decimal | None
    """In USD; null while something held has no quote."""
    warning: str | None
    """What keeps its bot from opening positions, if anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokersData:
    """Every broker connection."""

    brokers: list[BrokerItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledData:
    """A subscription that ended, or ends with its period."""

    message: str
    cancel_at_period_end: bool
    access_until: datetime
    refund_amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelItem:
    """A channel; its address is shown masked only."""

    channel_id: str
    name: str
    service: str
    address_masked: str
    categories: list[str]
    enabled: bool
    last_sent_at: datetime | None
    last_error: str | None
    """Of the latest attempt, if that failed."""
    last_error_at: datetime | None
    created_at: datetime
    """Wall time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTestData:
    """What became of a test notification, which is sent once."""

    status: Literal["sent", "failed"]
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosePositionView:
    """A position, or a part of it, is being left at the market."""

    position_id: str
    status: str
    """closing, of a part reducing; written_off."""
    message: str
    quantity: Decimal | None
    """What is to leave by this call; null where it was written off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentSubscriptionData:
    """The subscription; what only a paid one has is null without one."""

    subscription_id: str | None
    tier: str
    interval: str | None
    status: str
    """active, trialing, past_due, unpaid, paused, incomplete, canceled, ..."""
    current_period_start: datetime
    current_period_end: datetime
    cancel_at_period_end: bool
    trial_active: bool
    trial_ends_at: datetime | None
    amount: Decimal
    currency: str
    payment_method: PaymentMethodItem | None
    next_billing_date: datetime | None
    next_billing_amount: Decimal | None
    scheduled_tier: str | None
    """The plan of the next period, if another one."""
    scheduled_interval: str | None
    effective_tier: str
    """Whose limits hold: pro's during the trial."""
    access_until: datetime | None
    """When the plan ends: cancelled, or a payment is overdue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyPnlItem:
    """Net P&L of a UTC day."""

    date: date
    pnl: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardData:
    """The summary: today, the last 7 and 30 days."""

    today: PeriodItem
    week: PeriodItem
    month: PeriodItem
    active_positions: int
    balance: Decimal
    """Equity."""
    unpriced: list[str]
    """Held, without a price, and left out of it."""
    equity_is_lower_bound: bool
    """Whether anything is left out."""
    flows_unpriced: list[str]
    """Came or went without a price then, and left out of every percentage."""
    top_performer: TopPerformerItem | None
    """Null without trades this month."""
    broker: str
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class DayItem:
    """Trades that closed on a UTC day."""

    trades: int
    pnl: Decimal
    avg_pnl: Decimal
    net_pnl: Decimal
    win_rate: Decimal
    date: date


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionItem:
    """What the bot did about a bar or a signal, and why."""

    decision_id: str
    symbol: str
    cause: str
    bar_at: datetime | None
    decided_at: datetime
    """Venue time."""
    action: str
    score: int | None
    reason: str
    gates: list[dict[str, Any]]
    """Every check of the entry, in order."""
    position_id: str | None
    unfilled_reason: str | None
    """Why an entry bought nothing."""
    filter: dict[str, Any] | None
    """Conditions of the filter, by side."""
    evaluation: dict[str, Any] | None
    """The strategy's full record of the bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionsView:
    """Decisions, newest first."""

    decisions: list[DecisionItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionView:
    """The account has ended; its data are being deleted."""

    message: str
    status: str
    closing_positions: bool
    """Whether live positions are being left first."""
    requested_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryItem:
    """A notification at one channel; `mail` is the user's own address."""

    channel: str
    status: str
    """pending, sending, sent, failed or skipped."""
    attempts: int
    error: str | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DowngradedData:
    """A plan that holds later."""

    subscription_id: str
    message: str
    tier: str
    interval: str
    amount: Decimal
    effective_at: datetime
    effective_immediately: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyView:
    """Entries are blocked until released."""

    status: str
    positions_closed: int
    """Confirmed flat within 5 seconds."""
    positions_closing: int
    """Still being closed."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngagedView:
    """The switch is engaged: no entry begins after this answer.

    `sends_in_flight` counts entries that left before and whose end is not known yet.
    """

    message: str
    """A sentence for people."""
    kill_switch_id: str
    scope: KillScope
    reason: str
    """Why it was engaged first."""
    close_all_positions: bool
    """Whether the switch closes positions."""
    closing_reason: str | None
    """Why a later call added that; null where none did."""
    affected_users: int
    active_positions: int
    sends_in_flight: int
    telling: str
    """started, or pending until a server is."""
    timestamp: datetime
    """Wall time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityItem:
    """The end of a UTC day: opening equity plus net P&L, which no deposit moves."""

    date: date
    equity: Decimal
    return_pct: Decimal
    """Time-weighted, since the period began."""


ExportData: TypeAlias = Literal["trades", "positions", "orders", "audit"]

ExportFormat: TypeAlias = Literal["csv", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportItem:
    """An export.

    The link needs no login, ends at `expires_at`, and works once it is ready.
    """

    export_id: str
    status: str
    """pending, ready, failed or expired."""
    download_url: str | None = field(repr=False)
    """Null where there will be no file."""
    expires_at: datetime
    """Wall time."""
    file_size_bytes: int | None
    """Null until ready."""
    row_count: int | None
    file_name: str
    format: ExportFormat
    data_type: ExportData
    created_at: datetime
    """Wall time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportsData:
    """The latest exports, newest first."""

    exports: list[ExportItem]


GroupBy: TypeAlias = Literal["hour", "day", "week", "month"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryData:
    """A page of trades, newest first."""

    trades: list[TradeItem]
    pagination: Pagination


@dataclass(frozen=True, slots=True, kw_only=True)
class HourItem:
    """Trades that closed in a UTC hour of any day."""

    trades: int
    pnl: Decimal
    avg_pnl: Decimal
    net_pnl: Decimal
    win_rate: Decimal
    hour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceItem:
    """One bill."""

    invoice_id: str
    number: str | None
    status: str
    """open, paid, void or uncollectible."""
    created_at: datetime
    period_start: datetime
    period_end: datetime
    total: Decimal
    amount_due: Decimal
    amount_paid: Decimal
    proration_credit: Decimal
    currency: str
    hosted_url: str | None
    pdf_url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicesData:
    """Bills, newest first."""

    invoices: list[InvoiceItem]


KillScope: TypeAlias = Literal["global", "user", "broker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KillSwitchItem:
    """What blocks entries."""

    scope: str
    reason: str
    since: datetime
    """Wall time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginUserView:
    """Who logged in."""

    user_id: str
    email: str
    full_name: str
    subscription_tier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginView:
    """Tokens, and who they are for."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    token_type: Literal["Bearer"] | None = None
    expires_in: int
    """Seconds."""
    user: LoginUserView


MarketStatus: TypeAlias = Literal[
    "open", "limit_only", "post_only", "auction", "cancel_only", "halted"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeView:
    """The caller."""

    user_id: str
    email: str
    full_name: str
    subscription_tier: str
    trial_active: bool
    trial_ends_at: datetime | None
    created_at: datetime
    email_verified: bool
    role: str
    status: str
    effective_plan: str
    """The plan whose limits hold now; pro during the trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """An answer that is only a sentence."""

    message: str
    """A sentence for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsData:
    """The platform's figures."""

    users: UserCounts
    trading: TradingTotals
    system: SystemTotals
    revenue: RevenueTotals


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsItem:
    """The figures of a period."""

    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Decimal
    """A fraction of one."""
    total_pnl: Decimal
    """Before fees."""
    total_pnl_pct: Decimal
    """Time-weighted, before fees: deposits are no profit."""
    net_return_pct: Decimal
    """The same after fees."""
    avg_win: Decimal
    avg_loss: Decimal
    largest_win: Decimal
    largest_loss: Decimal
    profit_factor: Decimal | None
    """Gross profit / gross loss; 0 without a profit, null with profits and no loss."""
    payoff_ratio: Decimal | None
    """Average win / average loss; 0 without a win, null with wins and no loss."""
    sharpe_ratio: Decimal | None
    """Of daily returns, 365 days, risk-free 0; null with `ratios_reason`."""
    sortino_ratio: Decimal | None
    """Null with `ratios_reason`, or without a losing day."""
    calmar_ratio: Decimal | None
    """Null with `ratios_reason`, or without a drawdown."""
    ratios_reason: NoRatio | None
    """Why the three ratios are not there; null where they are."""
    max_drawdown: Decimal
    """In account currency."""
    max_drawdown_pct: Decimal
    """Of the time-weighted return's earlier peak."""
    recovery_time_days: int | None
    """Null while the peak before the deepest fall is not regained."""
    avg_trade_duration_minutes: Decimal
    total_fees: Decimal
    net_pnl: Decimal
    """After fees."""


Mode: TypeAlias = Literal["paper", "live"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthItem:
    """Trades that closed in a month."""

    trades: int
    pnl: Decimal
    avg_pnl: Decimal
    net_pnl: Decimal
    win_rate: Decimal
    month: str


NoRatio: TypeAlias = Literal[
    "fewer_than_14_days", "fewer_than_10_observations", "no_capital", "no_variation"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedTradeItem:
    """One trade; `pnl` is before fees, percent of the entry notional."""

    trade_id: str
    symbol: str
    pnl: Decimal
    pnl_pct: Decimal
    net_pnl: Decimal


class NotificationChange(TypedDict):
    """New values; what is left out stays."""

    email_enabled: NotRequired[bool]
    push_enabled: NotRequired[bool]
    trade_notifications: NotRequired[bool]
    daily_summary: NotRequired[bool]
    weekly_report: NotRequired[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationFigure:
    """A value that a notification shows."""

    name: str
    value: str
    """As a mail shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationItem:
    """Something the user was told, or is to be."""

    notification_id: str
    kind: str
    category: str
    title: str
    text: str
    """Its sentences, as a mail says them."""
    figures: list[NotificationFigure]
    position_id: str | None
    """The position that it is about."""
    status: str
    """new, on_its_way, sent, failed, nowhere or stale."""
    created_at: datetime
    """Wall time."""
    delivered_at: datetime | None
    deliveries: list[DeliveryItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationPreferencesData:
    """When reports come, and where mails go."""

    timezone: str
    report_time: str
    weekly_day: str
    mail_address: str
    mail_available: bool
    """Whether this installation sends mails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSettings:
    """What the user is told."""

    email_enabled: bool
    push_enabled: bool
    trade_notifications: bool
    daily_summary: bool
    weekly_report: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationsConfigData:
    """Preferences and channels."""

    preferences: NotificationPreferencesData
    channels: list[ChannelItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationsData:
    """A page of what the user was told, newest first."""

    notifications: list[NotificationItem]
    pagination: Pagination


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomesItem:
    """How trades ended, after fees; one that only earned its fees is neither."""

    wins: int
    losses: int
    win_rate: Decimal
    """A fraction of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pagination:
    """Where a page stands in its list."""

    page: int
    per_page: int
    total_items: int
    total_pages: int
    has_next: bool
    has_prev: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperResetData:
    """A paper account is as new."""

    message: str
    broker: str
    balance: Decimal
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethodData:
    """The payment method that bills are paid with from now on."""

    message: str
    payment_method: PaymentMethodItem | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethodItem:
    """The payment method that bills are paid with; what only cards have is null for others."""

    type: str
    last4: str | None
    brand: str | None
    exp_month: int | None
    exp_year: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceData:
    """How an account did."""

    period: Period
    metrics: MetricsItem
    daily_pnl: list[DailyPnlItem]
    equity_curve: list[EquityItem]
    flows_unpriced: list[str]
    """Came or went without a price then, and left out of every percentage."""
    broker: str
    mode: Mode


Period: TypeAlias = Literal["7d", "30d", "90d", "1y", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodItem:
    """Closed trades of some days up to today; `pnl` is before fees."""

    pnl: Decimal
    pnl_pct: Decimal
    """Time-weighted."""
    trades: int
    win_rate: Decimal
    """A fraction of one."""
    net_pnl: Decimal
    """After fees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanItem:
    """One plan; prices in USD."""

    tier: Literal["free", "basic", "pro", "enterprise"]
    name: str
    price_monthly: int
    price_yearly: int
    yearly_savings: int
    popular: bool
    features: list[str]
    limits: PlanLimitsItem


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLimitsItem:
    """Numeric limits of a plan."""

    max_position_size_usd: int
    """0: paper trading only."""
    max_positions: int
    max_daily_trades: int
    api_calls_per_minute: int
    max_brokers: int
    """-1: unlimited."""
    data_retention_days: int
    """-1: for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlansData:
    """Every plan, lowest first."""

    plans: list[PlanItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionItem:
    """An open position; values are of what is still open, null where there is no quote."""

    position_id: str
    symbol: str
    side: str
    entry_price: Decimal
    current_price: Decimal | None
    size_usd: Decimal
    quantity: Decimal
    unrealized_pnl: Decimal | None
    unrealized_pnl_pct: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    """The next target."""
    opened_at: datetime
    """Venue time."""
    broker: str
    realized_pnl: Decimal
    """Price P&L of what was sold so far, before fees."""
    fees: Decimal
    """All that were paid so far."""
    sold_quantity: Decimal
    """What exits have traded so far; `quantity` is the rest."""
    closed_elsewhere_quantity: Decimal
    """What left the account by a manual action at the venue, at no known price."""
    written_off_quantity: Decimal
    """What you gave up."""
    market_status: MarketStatus
    """`halted`: suspended, renamed or delisted; exits are tried all the same."""
    closing: bool
    """Whether all of it has been asked to leave."""
    exit_state: str | None
    """Of an exit that is due: `working` or `failing`.

    `no_keys`: the broker was removed, and nothing can be sold.
    """
    exit_due_at: datetime | None
    """Since when an exit is due; wall time."""
    exit_attempts: int
    """Orders in a row that filled nothing."""
    exit_error: str | None
    """Why the latest of them did not."""


PositionState: TypeAlias = Literal["pending", "open", "closed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionsData:
    """Open positions of an account."""

    positions: list[PositionItem]
    summary: PositionsSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionsSummary:
    """Sums over the listed positions."""

    total_positions: int
    total_value_usd: Decimal
    """At entry prices."""
    total_unrealized_pnl: Decimal | None
    total_unrealized_pnl_pct: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedData:
    """The event is stored."""

    received: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryCodesView:
    """Codes that stand in for the authenticator app, once each; shown once."""

    message: str
    recovery_codes: list[str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshedView:
    """New tokens.

    The refresh token rotates: the one that was sent is used up.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    token_type: Literal["Bearer"] | None = None
    expires_in: int
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredView:
    """A person who was just registered."""

    user_id: str
    email: str
    full_name: str
    subscription_tier: str
    trial_active: bool
    trial_ends_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedView:
    """Entries pass again, unless another switch covers them."""

    message: str
    """A sentence for people."""
    kill_switch: SwitchItem


@dataclass(frozen=True, slots=True, kw_only=True)
class RevenueTotals:
    """Recurring revenue in USD."""

    mrr: Decimal
    arr: Decimal
    churn_rate: Decimal
    """Fraction of 30 days."""
    paying_subscribers: int


Role: TypeAlias = Literal["user", "admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionItem:
    """A login on a device."""

    session_id: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ip_address: str | None
    user_agent: str | None
    current: bool
    """Whether this very call was made in that session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsView:
    """Every live session."""

    sessions: list[SessionItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChangedData:
    """Which leaves have another value now."""

    message: str
    updated_fields: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsData:
    """All settings."""

    trading: TradingSettings
    notifications: NotificationSettings
    advanced: AdvancedSettings


SignalAction: TypeAlias = Literal["buy", "sell", "close"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalItem:
    """A received alert and what became of it."""

    signal_id: str
    trade_id: str | None
    """The trade it opens or closes; null where it was refused at once.

    Or closes what nobody holds..
    """
    source: str | None = None
    symbol: str | None
    action: str | None
    price: Decimal | None
    size_usd: Decimal | None
    quantity: Decimal | None
    percent: Decimal | None
    """Part of a position to close."""
    side: str | None
    """Positions of this side only: long or short."""
    strategy: str | None
    id: str | None
    """The sender's own id of it."""
    status: str
    """processing, accepted, executed, unfilled, refused, expired, duplicate, stale."""
    reason: str | None
    """Why: as in /trading/decisions."""
    details: dict[str, Any] | None
    """What was wrong (`fields`), ignored on an exit (`ignored`).

    And how the fields that could not be used were sent (`said`)..
    """
    duplicate_of: str | None
    """The signal that it repeats, or that asked for the same exit before."""
    received_at: datetime
    """Wall time."""
    alerted_at: datetime | None
    """The sender's own time."""
    decided_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalsData:
    """A page of alerts, newest first."""

    signals: list[SignalItem]
    pagination: Pagination


@dataclass(frozen=True, slots=True, kw_only=True)
class StartView:
    """The bot is about to run."""

    status: str
    message: str
    estimated_ready_in_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsAccount:
    """The account.

    Deposits include what it began with.
    """

    user_id: str
    subscription_tier: str
    account_age_days: int
    """Since the user registered."""
    total_deposits: Decimal
    total_withdrawals: Decimal
    flows_unpriced: list[str]
    """Came or went without a price then, and left out of deposits and withdrawals."""
    current_balance: Decimal
    """Equity."""
    unpriced: list[str]
    """Held, without a price, and left out of it."""
    equity_is_lower_bound: bool
    """Whether anything is left out."""
    all_time_high: Decimal
    """Of the equity curve (opening equity plus net P&L) at the ends of days and at present.

    What is open included; deposits and withdrawals do not move it..
    """
    all_time_low: Decimal
    """The lowest of the same."""
    broker: str
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsData:
    """Statistics of an account."""

    account: StatsAccount
    trading: StatsTrading
    risk: StatsRisk


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsRisk:
    """The limits that hold: the lower of plan and settings.

    Spot borrows nothing.
    """

    current_risk_level: str
    max_position_size_usd: Decimal
    max_positions: int
    current_leverage: Decimal
    available_leverage: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsTrading:
    """All trading since the account began."""

    total_trades_all_time: int
    """Closed trades."""
    total_volume_usd: Decimal
    """Entries and exits."""
    total_fees_paid: Decimal
    best_month: BestMonthItem | None
    """Null before the first trade."""
    current_streak: StreakItem


@dataclass(frozen=True, slots=True, kw_only=True)
class StopView:
    """Entries have ended."""

    status: str
    message: str
    open_positions: int
    action_required: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreakItem:
    """Trades won or lost in a row up to the last one."""

    type: str
    """winning, losing, or none."""
    count: int
    started: datetime | None
    """Venue time at which the first of them closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchItem:
    """A switch.

    `report` is what the latest telling of bots and users came to.
    """

    kill_switch_id: str
    scope: KillScope
    user_id: str | None
    broker: str | None
    reason: str
    engaged_at: datetime
    """Wall time."""
    engaged_by: str | None
    close_all_positions: bool
    closing_since: datetime | None
    """When a later call added closing; null where none did."""
    closing_by: str | None
    closing_reason: str | None
    released_at: datetime | None
    released_by: str | None
    release_reason: str | None
    is_told: bool
    affected_users: int | None
    active_positions: int | None
    report: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchesView:
    """Every engaged switch, and the latest released ones; `active` is about the global one."""

    active: bool
    kill_switches: list[SwitchItem]
    released: list[SwitchItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolItem:
    """Trades of a market."""

    trades: int
    pnl: Decimal
    avg_pnl: Decimal
    net_pnl: Decimal
    win_rate: Decimal
    symbol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemTotals:
    """The API in the last five minutes, over all processes."""

    api_requests_per_second: Decimal
    avg_response_time_ms: Decimal
    p95_response_time_ms: Decimal
    p99_response_time_ms: Decimal
    error_rate: Decimal
    """Fraction of answers of 500 and above."""
    uptime_pct: Decimal
    """Of the minutes of 30 days."""
    api_processes: int


Tier: TypeAlias = Literal["free", "basic", "pro", "enterprise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopPerformerItem:
    """The market with the highest net P&L of the month; percent of its entry notional."""

    symbol: str
    pnl: Decimal
    pnl_pct: Decimal
    net_pnl: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeItem:
    """A trade: price P&L is before fees, `net_pnl` after; percent is of the entry notional.

    While it is open, all of these are of what was sold so far, and `fees` those paid so far.
    """

    trade_id: str
    symbol: str
    side: str
    status: str
    entry_price: Decimal | None
    exit_price: Decimal | None
    size_usd: Decimal
    quantity: Decimal
    sold_quantity: Decimal
    closed_elsewhere_quantity: Decimal
    """Left by a manual action at the venue; not in the P&L."""
    written_off_quantity: Decimal
    """Given up; not in the P&L."""
    realized_pnl: Decimal
    realized_pnl_pct: Decimal
    fees: Decimal
    net_pnl: Decimal
    opened_at: datetime
    """Venue time."""
    closed_at: datetime | None
    duration_minutes: int | None
    """So far, while open."""
    exit_reason: str | None
    source: str
    broker: str
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class TradesData:
    """Closed trades of a period.

    Groups without trades are left out. `by_day`, `by_week` and `by_month` are null unless
    `group_by` asks for them. Best and worst are by net P&L, null without trades.
    """

    period: Period
    start_date: date | None
    """First day shown; null is since ever."""
    total_trades: int
    by_outcome: OutcomesItem
    by_symbol: list[SymbolItem]
    by_hour: list[HourItem]
    by_day: list[DayItem] | None
    by_week: list[WeekItem] | None
    by_month: list[MonthItem] | None
    avg_hold_time_minutes: Decimal
    best_trade: NotedTradeItem | None
    worst_trade: NotedTradeItem | None
    broker: str
    mode: Mode


class TradingChange(TypedDict):
    """New values; what is left out stays."""

    risk_level: NotRequired[str]
    max_position_size_usd: NotRequired[Number]
    max_concurrent_positions: NotRequired[int]
    max_daily_loss_usd: NotRequired[Number]
    allowed_pairs: NotRequired[list[str]]
    paper_trading: NotRequired[bool]
    strategy_may_close_signals: NotRequired[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingCounts:
    """Trading at present, and in the venues' last 24 hours."""

    bots_running: int
    total_positions: int
    total_volume_24h: Decimal
    total_trades_24h: int
    exits_failing: int
    """Positions whose exit is due and is refused, not filled or late."""
    positions_without_keys: int
    """Open positions whose broker was removed: no exit of them can be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingSettings:
    """What the bot may do."""

    risk_level: Literal["low", "medium", "high"]
    max_position_size_usd: Decimal
    max_concurrent_positions: int
    max_daily_loss_usd: Decimal
    allowed_pairs: list[str]
    paper_trading: bool
    strategy_may_close_signals: bool
    """Whether the strategy's reversal exit also closes what a signal opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingStatusView:
    """Where the bot stands.

    Scan times are the venue's clock, `uptime_seconds` is the wall's.
    """

    status: str
    uptime_seconds: int
    broker: str | None
    paper_trading: bool
    last_scan: datetime | None
    next_scan: datetime | None
    active_positions: int
    today_trades: int
    """Entries since the venue's UTC midnight."""
    last_error: str | None
    mode: Literal["paper", "live"] | None
    realm: Literal["simulated", "real"]
    """Whether venues are the real ones or the simulator."""
    risk_level: str
    exiting_positions: int
    """Positions of earlier runs on other accounts that are still being exited."""
    run_id: str | None
    run_state: str | None
    started_at: datetime | None
    strategy: str | None
    config_hash: str | None
    code_version: str | None
    venue_time: datetime | None
    kill_switch: KillSwitchItem | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingTotals:
    """Live trading; paper stands beside it and is never added."""

    bots_running: int
    total_positions: int
    total_volume_24h: Decimal
    total_trades_24h: int
    exits_failing: int
    """Positions whose exit is due and is refused, not filled or late."""
    positions_without_keys: int
    """Open positions whose broker was removed: no exit of them can be made."""
    paper: TradingCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoFactorSetupView:
    """A secret for the authenticator app.

    It is shown once, and in force only when confirmed.
    """

    secret: str = field(repr=False)
    otpauth_url: str
    """What the app reads from a QR code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoFactorStatusView:
    """Whether a second factor is in force."""

    enabled: bool
    enabled_at: datetime | None
    recovery_codes_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatedView:
    """It was done."""

    message: str | None = None
    """A sentence for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradedData:
    """A plan that holds now."""

    subscription_id: str
    message: str
    tier: str
    interval: str
    amount: Decimal
    """Price of a period."""
    proration_credit: Decimal
    """For unused time; not above 0."""
    amount_due_now: Decimal
    effective_immediately: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageData:
    """Use of the plan's limits."""

    period_start: datetime
    period_end: datetime
    usage: UsageItem
    overage: bool
    """Never: a limit that is reached refuses."""
    warnings: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageItem:
    """Use of the plan's limits in the period; limits of -1 do not exist."""

    api_calls: int
    api_calls_limit: int
    trades_executed: int
    trades_limit: int
    positions_opened: int
    max_concurrent_positions: int
    """Open or pending now."""
    max_concurrent_positions_limit: int
    brokers_connected: int
    brokers_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserBroker:
    """A connection of the user."""

    name: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCounts:
    """Users; by the tier they have (a trial reads free)."""

    total: int
    active_today: int
    free: int
    basic: int
    pro: int
    enterprise: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserData:
    """One user."""

    user: UserDetail


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDetail:
    """One user."""

    user_id: str
    email: str
    full_name: str
    status: UserStatus
    role: Role
    subscription: UserSubscription
    trading: UserTrading
    brokers: list[UserBroker]
    live_sessions: int
    notes: list[UserNoteView]
    joined_at: datetime
    last_active: datetime | None
    """The latest login or exchange of tokens; single calls are not noted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserItem:
    """A user in the list.

    Trading figures are of the account (`mode`) that the user sees first.
    """

    user_id: str
    email: str
    full_name: str
    subscription_tier: Tier
    status: UserStatus
    role: Role
    mode: str | None
    total_trades: int
    total_pnl: Decimal
    """Before fees."""
    net_pnl: Decimal
    joined_at: datetime
    last_active: datetime | None
    """The latest login or exchange of tokens; single calls are not noted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserNoteView:
    """What an administrator wrote down; users never see it."""

    note: str
    author_id: str
    created_at: datetime


UserStatus: TypeAlias = Literal["active", "suspended", "disabled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSubscription:
    """What the user pays for."""

    tier: Tier
    status: str
    started: date | None
    renews: date | None
    """null where nothing will be renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserTrading:
    """How the user's account does."""

    total_trades: int
    total_pnl: Decimal
    net_pnl: Decimal
    win_rate: Decimal
    active_positions: int
    mode: str | None
    bot_status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsersData:
    """A page of users, newest first."""

    users: list[UserItem]
    pagination: Pagination


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookKeyIssuedData:
    """A new key; `webhook_key` is shown this once and goes into the alert's `api_key`."""

    webhook_id: str
    webhook_key: str = field(repr=False)
    url: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookKeyItem:
    """A key; its secret is not shown again."""

    webhook_id: str
    provider: Literal["tradingview"] | None = None
    url: str | None = None
    key_masked: str
    created_at: datetime
    """Wall time."""
    last_used_at: datetime | None
    expires_at: datetime | None
    """When a replaced key ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookKeysData:
    """The keys that are good at present."""

    webhooks: list[WebhookKeyItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekItem:
    """Trades that closed in an ISO week."""

    trades: int
    pnl: Decimal
    avg_pnl: Decimal
    net_pnl: Decimal
    win_rate: Decimal
    week: str
    start_date: date
