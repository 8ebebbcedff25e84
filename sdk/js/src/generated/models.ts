// Generated from the OpenAPI document by sdk/generate.py; do not edit.

/** Properties that hold mappings with names of their own, which stay as they are. */
export const OPAQUE: ReadonlySet<string> = new Set(["additional_params", "details", "evaluation", "filter", "gates", "metadata", "report"]);

/** New values; what is left out stays. */
export interface AdvancedChange {
  enableMetaAi?: boolean;
  enableMmin?: boolean;
  enableGmig?: boolean;
  executionIntelligence?: boolean;
}

/** Switches that need the backtest engine; off until it comes. */
export interface AdvancedSettings {
  enableMetaAi: boolean;
  enableMmin: boolean;
  enableGmig: boolean;
  executionIntelligence: boolean;
}

/** The alert is stored; `trade_id` is the trade it opens, or the one it closes. */
export interface AlertReceivedData {
  received?: true;
  /** Null where it closes and nothing of the kind is held. */
  tradeId: string | null;
  /** processing: taken in, whatever was decided; the outcome is in the list. */
  status?: "processing" | "duplicate";
  signalId: string;
}

/**
 * Where an alert stands. `processing`: stored, nobody decided yet. `accepted`: the bot decided to
 * trade. `executed`, `unfilled`: what came of that. `refused`, `expired`: the bot did not trade.
 * `duplicate`, `stale`: never handed to the bot.
 */
export type AlertState = "processing" | "accepted" | "executed" | "unfilled" | "refused" | "expired" | "duplicate" | "stale";

/** An entry. `sequence` and `hash` are its place in the chain, null until it is sealed. */
export interface AuditLogItem {
  logId: string;
  eventType: string;
  userId: string | null;
  actorId: string | null;
  ipAddress: string | null;
  userAgent: string | null;
  metadata: Record<string, unknown>;
  timestamp: string;
  sequence: number | null;
  hash: string | null;
}

/** A page of entries, newest first. */
export interface AuditLogsData {
  logs: Array<AuditLogItem>;
  pagination: Pagination;
}

/** What an account is worth: cash plus the market value of everything that has a price. */
export interface BalanceData {
  broker: string;
  cash: number;
  /** Stablecoins without a market count at par. */
  equity: number;
  /** Held, without a price, and left out of equity. */
  unpriced: Array<string>;
  /** Whether anything is left out. */
  equityIsLowerBound: boolean;
  /** Null while an open position has no quote. */
  unrealizedPnl: number | null;
  buyingPower: number;
  currency: string;
  lastUpdated: string | null;
  mode: Mode;
}

/** The month with the highest net P&L; `pnl` is before fees, percent of the capital it had. */
export interface BestMonthItem {
  month: string;
  pnl: number;
  pnlPct: number;
  netPnl: number;
}

/** The bot's new state. */
export interface BotChangeView {
  status: string;
  message: string;
}

/** A connection stands. */
export interface BrokerConnectedData {
  brokerId: string;
  message: string;
  status: string;
  /** What keeps its bot from opening positions, if anything. */
  warning: string | null;
}

/** A broker connection. */
export interface BrokerItem {
  brokerId: string;
  name: string;
  displayName: string;
  /** connected, broken or exit_only */
  status: string;
  lastConnected: string | null;
  apiKeyMasked: string;
  permissions: Array<string>;
  /** Wall time. */
  createdAt: string;
  realm: "simulated" | "real";
  lastError: string | null;
}

/** A connection is gone, or going. */
export interface BrokerRemovedData {
  message: string;
  openPositions: number;
  warning: string | null;
  status: string;
}

/** What a broker answered. */
export interface BrokerTestData {
  status: string;
  latencyMs: number;
  permissions: Array<string>;
  /** In USD; null while something held has no quote. */
  accountBalance: number | null;
  /** What keeps its bot from opening positions, if anything. */
  warning: string | null;
}

/** Every broker connection. */
export interface BrokersData {
  brokers: Array<BrokerItem>;
}

/** A subscription that ended, or ends with its period. */
export interface CancelledData {
  message: string;
  cancelAtPeriodEnd: boolean;
  accessUntil: string;
  refundAmount: number;
}

/** A channel; its address is shown masked only. */
export interface ChannelItem {
  channelId: string;
  name: string;
  service: string;
  addressMasked: string;
  categories: Array<string>;
  enabled: boolean;
  lastSentAt: string | null;
  /** Of the latest attempt, if that failed. */
  lastError: string | null;
  lastErrorAt: string | null;
  /** Wall time. */
  createdAt: string;
}

/** What became of a test notification, which is sent once. */
export interface ChannelTestData {
  status: "sent" | "failed";
  error: string | null;
}

/** A position, or a part of it, is being left at the market. */
export interface ClosePositionView {
  positionId: string;
  /** closing, of a part reducing; written_off */
  status: string;
  message: string;
  /** What is to leave by this call; null where it was written off. */
  quantity: number | null;
}

/** The subscription; what only a paid one has is null without one. */
export interface CurrentSubscriptionData {
  subscriptionId: string | null;
  tier: string;
  interval: string | null;
  /** active, trialing, past_due, unpaid, paused, incomplete, canceled, ... */
  status: string;
  currentPeriodStart: string;
  currentPeriodEnd: string;
  cancelAtPeriodEnd: boolean;
  trialActive: boolean;
  trialEndsAt: string | null;
  amount: number;
  currency: string;
  paymentMethod: PaymentMethodItem | null;
  nextBillingDate: string | null;
  nextBillingAmount: number | null;
  /** The plan of the next period, if another one. */
  scheduledTier: string | null;
  scheduledInterval: string | null;
  /** Whose limits hold: pro's during the trial. */
  effectiveTier: string;
  /** When the plan ends: cancelled, or a payment is overdue. */
  accessUntil: string | null;
}

/** Net P&L of a UTC day. */
export interface DailyPnlItem {
  date: string;
  pnl: number;
}

/** The summary: today, the last 7 and 30 days. */
export interface DashboardData {
  today: PeriodItem;
  week: PeriodItem;
  month: PeriodItem;
  activePositions: number;
  /** Equity. */
  balance: number;
  /** Held, without a price, and left out of it. */
  unpriced: Array<string>;
  /** Whether anything is left out. */
  equityIsLowerBound: boolean;
  /** Came or went without a price then, and left out of every percentage. */
  flowsUnpriced: Array<string>;
  /** Null without trades this month. */
  topPerformer: TopPerformerItem | null;
  broker: string;
  mode: Mode;
}

/** Trades that closed on a UTC day. */
export interface DayItem {
  trades: number;
  pnl: number;
  avgPnl: number;
  netPnl: number;
  winRate: number;
  date: string;
}

/** What the bot did about a bar or a signal, and why. */
export interface DecisionItem {
  decisionId: string;
  symbol: string;
  cause: string;
  barAt: string | null;
  /** Venue time. */
  decidedAt: string;
  action: string;
  score: number | null;
  reason: string;
  /** Every check of the entry, in order. */
  gates: Array<Record<string, unknown>>;
  positionId: string | null;
  /** Why an entry bought nothing. */
  unfilledReason: string | null;
  /** Conditions of the filter, by side. */
  filter: Record<string, unknown> | null;
  /** The strategy's full record of the bar. */
  evaluation: Record<string, unknown> | null;
}

/** Decisions, newest first. */
export interface DecisionsView {
  decisions: Array<DecisionItem>;
}

/** The account has ended; its data are being deleted. */
export interface DeletionView {
  message: string;
  status: string;
  /** Whether live positions are being left first. */
  closingPositions: boolean;
  requestedAt: string;
}

/** A notification at one channel; `mail` is the user's own address. */
export interface DeliveryItem {
  channel: string;
  /** pending, sending, sent, failed or skipped */
  status: string;
  attempts: number;
  error: string | null;
  finishedAt: string | null;
}

/** A plan that holds later. */
export interface DowngradedData {
  subscriptionId: string;
  message: string;
  tier: string;
  interval: string;
  amount: number;
  effectiveAt: string;
  effectiveImmediately?: boolean;
}

/** Entries are blocked until released. */
export interface EmergencyView {
  status: string;
  /** Confirmed flat within 5 seconds. */
  positionsClosed: number;
  /** Still being closed. */
  positionsClosing: number;
  message: string;
}

/**
 * The switch is engaged: no entry begins after this answer. `sends_in_flight` counts entries that
 * left before and whose end is not known yet.
 */
export interface EngagedView {
  /** A sentence for people. */
  message: string;
  killSwitchId: string;
  scope: KillScope;
  /** Why it was engaged first. */
  reason: string;
  /** Whether the switch closes positions. */
  closeAllPositions: boolean;
  /** Why a later call added that; null where none did. */
  closingReason: string | null;
  affectedUsers: number;
  activePositions: number;
  sendsInFlight: number;
  /** started, or pending until a server is */
  telling: string;
  /** Wall time. */
  timestamp: string;
}

/** The end of a UTC day: opening equity plus net P&L, which no deposit moves. */
export interface EquityItem {
  date: string;
  equity: number;
  /** Time-weighted, since the period began. */
  returnPct: number;
}

/** What can be exported. */
export type ExportData = "trades" | "positions" | "orders" | "audit";

/** File formats. */
export type ExportFormat = "csv" | "json";

/** An export. The link needs no login, ends at `expires_at`, and works once it is ready. */
export interface ExportItem {
  exportId: string;
  /** pending, ready, failed or expired. */
  status: string;
  /** Null where there will be no file. */
  downloadUrl: string | null;
  /** Wall time. */
  expiresAt: string;
  /** Null until ready. */
  fileSizeBytes: number | null;
  rowCount: number | null;
  fileName: string;
  format: ExportFormat;
  dataType: ExportData;
  /** Wall time. */
  createdAt: string;
}

/** The latest exports, newest first. */
export interface ExportsData {
  exports: Array<ExportItem>;
}

/** What trades can be grouped by, in UTC and by their closing; weeks begin on Mondays. */
export type GroupBy = "hour" | "day" | "week" | "month";

/** A page of trades, newest first. */
export interface HistoryData {
  trades: Array<TradeItem>;
  pagination: Pagination;
}

/** Trades that closed in a UTC hour of any day. */
export interface HourItem {
  trades: number;
  pnl: number;
  avgPnl: number;
  netPnl: number;
  winRate: number;
  hour: number;
}

/** One bill. */
export interface InvoiceItem {
  invoiceId: string;
  number: string | null;
  /** open, paid, void or uncollectible */
  status: string;
  createdAt: string;
  periodStart: string;
  periodEnd: string;
  total: number;
  amountDue: number;
  amountPaid: number;
  prorationCredit: number;
  currency: string;
  hostedUrl: string | null;
  pdfUrl: string | null;
}

/** Bills, newest first. */
export interface InvoicesData {
  invoices: Array<InvoiceItem>;
}

/** What a kill switch stops the entries of. */
export type KillScope = "global" | "user" | "broker";

/** What blocks entries. */
export interface KillSwitchItem {
  scope: string;
  reason: string;
  /** Wall time. */
  since: string;
}

/** Who logged in. */
export interface LoginUserView {
  userId: string;
  email: string;
  fullName: string;
  subscriptionTier: string;
}

/** Tokens, and who they are for. */
export interface LoginView {
  accessToken: string;
  refreshToken: string;
  tokenType?: "Bearer";
  /** Seconds. */
  expiresIn: number;
  user: LoginUserView;
}

/**
 * Which orders a market takes at present, as its venue publishes it. Metadata may be stale, so none
 * of these ever keeps an exit from being sent; `LIMIT_ONLY` says in which form to send it.
 */
export type MarketStatus = "open" | "limit_only" | "post_only" | "auction" | "cancel_only" | "halted";

/** The caller. */
export interface MeView {
  userId: string;
  email: string;
  fullName: string;
  subscriptionTier: string;
  trialActive: boolean;
  trialEndsAt: string | null;
  createdAt: string;
  emailVerified: boolean;
  role: string;
  status: string;
  /** The plan whose limits hold now; pro during the trial. */
  effectivePlan: string;
}

/** An answer that is only a sentence. */
export interface MessageView {
  /** A sentence for people. */
  message: string;
}

/** The platform's figures. */
export interface MetricsData {
  users: UserCounts;
  trading: TradingTotals;
  system: SystemTotals;
  revenue: RevenueTotals;
}

/** The figures of a period. */
export interface MetricsItem {
  totalTrades: number;
  winningTrades: number;
  losingTrades: number;
  /** A fraction of one. */
  winRate: number;
  /** Before fees. */
  totalPnl: number;
  /** Time-weighted, before fees: deposits are no profit. */
  totalPnlPct: number;
  /** The same after fees. */
  netReturnPct: number;
  avgWin: number;
  avgLoss: number;
  largestWin: number;
  largestLoss: number;
  /** Gross profit / gross loss; 0 without a profit, null with profits and no loss. */
  profitFactor: number | null;
  /** Average win / average loss; 0 without a win, null with wins and no loss. */
  payoffRatio: number | null;
  /** Of daily returns, 365 days, risk-free 0; null with `ratios_reason`. */
  sharpeRatio: number | null;
  /** Null with `ratios_reason`, or without a losing day. */
  sortinoRatio: number | null;
  /** Null with `ratios_reason`, or without a drawdown. */
  calmarRatio: number | null;
  /** Why the three ratios are not there; null where they are. */
  ratiosReason: NoRatio | null;
  /** In account currency. */
  maxDrawdown: number;
  /** Of the time-weighted return's earlier peak. */
  maxDrawdownPct: number;
  /** Null while the peak before the deepest fall is not regained. */
  recoveryTimeDays: number | null;
  avgTradeDurationMinutes: number;
  totalFees: number;
  /** After fees. */
  netPnl: number;
}

/** Whether an account's orders go to the venue or to the paper ledger. */
export type Mode = "paper" | "live";

/** Trades that closed in a month. */
export interface MonthItem {
  trades: number;
  pnl: number;
  avgPnl: number;
  netPnl: number;
  winRate: number;
  month: string;
}

/** Why there are no ratios. */
export type NoRatio = "fewer_than_14_days" | "fewer_than_10_observations" | "no_capital" | "no_variation";

/** One trade; `pnl` is before fees, percent of the entry notional. */
export interface NotedTradeItem {
  tradeId: string;
  symbol: string;
  pnl: number;
  pnlPct: number;
  netPnl: number;
}

/** New values; what is left out stays. */
export interface NotificationChange {
  emailEnabled?: boolean;
  pushEnabled?: boolean;
  tradeNotifications?: boolean;
  dailySummary?: boolean;
  weeklyReport?: boolean;
}

/** A value that a notification shows. */
export interface NotificationFigure {
  name: string;
  /** As a mail shows it. */
  value: string;
}

/** Something the user was told, or is to be. */
export interface NotificationItem {
  notificationId: string;
  kind: string;
  category: string;
  title: string;
  /** Its sentences, as a mail says them. */
  text: string;
  figures: Array<NotificationFigure>;
  /** The position that it is about. */
  positionId: string | null;
  /** new, on_its_way, sent, failed, nowhere or stale */
  status: string;
  /** Wall time. */
  createdAt: string;
  deliveredAt: string | null;
  deliveries: Array<DeliveryItem>;
}

/** When reports come, and where mails go. */
export interface NotificationPreferencesData {
  timezone: string;
  reportTime: string;
  weeklyDay: string;
  mailAddress: string;
  /** Whether this installation sends mails. */
  mailAvailable: boolean;
}

/** What the user is told. */
export interface NotificationSettings {
  emailEnabled: boolean;
  pushEnabled: boolean;
  tradeNotifications: boolean;
  dailySummary: boolean;
  weeklyReport: boolean;
}

/** Preferences and channels. */
export interface NotificationsConfigData {
  preferences: NotificationPreferencesData;
  channels: Array<ChannelItem>;
}

/** A page of what the user was told, newest first. */
export interface NotificationsData {
  notifications: Array<NotificationItem>;
  pagination: Pagination;
}

/** How trades ended, after fees; one that only earned its fees is neither. */
export interface OutcomesItem {
  wins: number;
  losses: number;
  /** A fraction of one. */
  winRate: number;
}

/** Where a page stands in its list. */
export interface Pagination {
  page: number;
  perPage: number;
  totalItems: number;
  totalPages: number;
  hasNext: boolean;
  hasPrev: boolean;
}

/** A paper account is as new. */
export interface PaperResetData {
  message: string;
  broker: string;
  balance: number;
  currency: string;
}

/** The payment method that bills are paid with from now on. */
export interface PaymentMethodData {
  message: string;
  paymentMethod: PaymentMethodItem | null;
}

/** The payment method that bills are paid with; what only cards have is null for others. */
export interface PaymentMethodItem {
  type: string;
  last4: string | null;
  brand: string | null;
  expMonth: number | null;
  expYear: number | null;
}

/** How an account did. */
export interface PerformanceData {
  period: Period;
  metrics: MetricsItem;
  dailyPnl: Array<DailyPnlItem>;
  equityCurve: Array<EquityItem>;
  /** Came or went without a price then, and left out of every percentage. */
  flowsUnpriced: Array<string>;
  broker: string;
  mode: Mode;
}

/** Periods that can be asked for. */
export type Period = "7d" | "30d" | "90d" | "1y" | "all";

/** Closed trades of some days up to today; `pnl` is before fees. */
export interface PeriodItem {
  pnl: number;
  /** Time-weighted. */
  pnlPct: number;
  trades: number;
  /** A fraction of one. */
  winRate: number;
  /** After fees. */
  netPnl: number;
}

/** One plan; prices in USD. */
export interface PlanItem {
  tier: "free" | "basic" | "pro" | "enterprise";
  name: string;
  priceMonthly: number;
  priceYearly: number;
  yearlySavings: number;
  popular: boolean;
  features: Array<string>;
  limits: PlanLimitsItem;
}

/** Numeric limits of a plan. */
export interface PlanLimitsItem {
  /** 0: paper trading only. */
  maxPositionSizeUsd: number;
  maxPositions: number;
  maxDailyTrades: number;
  apiCallsPerMinute: number;
  /** -1: unlimited. */
  maxBrokers: number;
  /** -1: for ever. */
  dataRetentionDays: number;
}

/** Every plan, lowest first. */
export interface PlansData {
  plans: Array<PlanItem>;
}

/** An open position; values are of what is still open, null where there is no quote. */
export interface PositionItem {
  positionId: string;
  symbol: string;
  side: string;
  entryPrice: number;
  currentPrice: number | null;
  sizeUsd: number;
  quantity: number;
  unrealizedPnl: number | null;
  unrealizedPnlPct: number | null;
  stopLoss: number | null;
  /** The next target. */
  takeProfit: number | null;
  /** Venue time. */
  openedAt: string;
  broker: string;
  /** Price P&L of what was sold so far, before fees. */
  realizedPnl: number;
  /** All that were paid so far. */
  fees: number;
  /** What exits have traded so far; `quantity` is the rest. */
  soldQuantity: number;
  /** What left the account by a manual action at the venue, at no known price. */
  closedElsewhereQuantity: number;
  /** What you gave up. */
  writtenOffQuantity: number;
  /** `halted`: suspended, renamed or delisted; exits are tried all the same. */
  marketStatus: MarketStatus;
  /** Whether all of it has been asked to leave. */
  closing: boolean;
  /**
   * Of an exit that is due: `working` or `failing`. `no_keys`: the broker was removed, and nothing
   * can be sold.
   */
  exitState: string | null;
  /** Since when an exit is due; wall time. */
  exitDueAt: string | null;
  /** Orders in a row that filled nothing. */
  exitAttempts: number;
  /** Why the latest of them did not. */
  exitError: string | null;
}

/** Life of a position: pending -> open -> closed, or pending -> cancelled if nothing filled. */
export type PositionState = "pending" | "open" | "closed" | "cancelled";

/** Open positions of an account. */
export interface PositionsData {
  positions: Array<PositionItem>;
  summary: PositionsSummary;
}

/** Sums over the listed positions. */
export interface PositionsSummary {
  totalPositions: number;
  /** At entry prices. */
  totalValueUsd: number;
  totalUnrealizedPnl: number | null;
  totalUnrealizedPnlPct: number | null;
}

/** The event is stored. */
export interface ReceivedData {
  received?: boolean;
}

/** Codes that stand in for the authenticator app, once each; shown once. */
export interface RecoveryCodesView {
  message: string;
  recoveryCodes: Array<string>;
}

/** New tokens. The refresh token rotates: the one that was sent is used up. */
export interface RefreshedView {
  accessToken: string;
  refreshToken: string;
  tokenType?: "Bearer";
  /** Seconds. */
  expiresIn: number;
}

/** A person who was just registered. */
export interface RegisteredView {
  userId: string;
  email: string;
  fullName: string;
  subscriptionTier: string;
  trialActive: boolean;
  trialEndsAt: string | null;
  createdAt: string;
}

/** Entries pass again, unless another switch covers them. */
export interface ReleasedView {
  /** A sentence for people. */
  message: string;
  killSwitch: SwitchItem;
}

/** Recurring revenue in USD. */
export interface RevenueTotals {
  mrr: number;
  arr: number;
  /** Fraction of 30 days. */
  churnRate: number;
  payingSubscribers: number;
}

/** What a person may do. */
export type Role = "user" | "admin";

/** A login on a device. */
export interface SessionItem {
  sessionId: string;
  createdAt: string;
  lastUsedAt: string;
  expiresAt: string;
  ipAddress: string | null;
  userAgent: string | null;
  /** Whether this very call was made in that session. */
  current: boolean;
}

/** Every live session. */
export interface SessionsView {
  sessions: Array<SessionItem>;
}

/** Which leaves have another value now. */
export interface SettingsChangedData {
  message: string;
  updatedFields: Array<string>;
}

/** All settings. */
export interface SettingsData {
  trading: TradingSettings;
  notifications: NotificationSettings;
  advanced: AdvancedSettings;
}

/** What an outside signal wishes. */
export type SignalAction = "buy" | "sell" | "close";

/** A received alert and what became of it. */
export interface SignalItem {
  signalId: string;
  /**
   * The trade it opens or closes; null where it was refused at once, or closes what nobody holds.
   */
  tradeId: string | null;
  source?: string;
  symbol: string | null;
  action: string | null;
  price: number | null;
  sizeUsd: number | null;
  quantity: number | null;
  /** Part of a position to close. */
  percent: number | null;
  /** Positions of this side only: long or short. */
  side: string | null;
  strategy: string | null;
  /** The sender's own id of it. */
  id: string | null;
  /** processing, accepted, executed, unfilled, refused, expired, duplicate, stale */
  status: string;
  /** Why: as in /trading/decisions. */
  reason: string | null;
  /**
   * What was wrong (`fields`), ignored on an exit (`ignored`), and how the fields that could not be
   * used were sent (`said`).
   */
  details: Record<string, unknown> | null;
  /** The signal that it repeats, or that asked for the same exit before. */
  duplicateOf: string | null;
  /** Wall time. */
  receivedAt: string;
  /** The sender's own time. */
  alertedAt: string | null;
  decidedAt: string | null;
  finishedAt: string | null;
}

/** A page of alerts, newest first. */
export interface SignalsData {
  signals: Array<SignalItem>;
  pagination: Pagination;
}

/** The bot is about to run. */
export interface StartView {
  status: string;
  message: string;
  estimatedReadyInSeconds: number;
}

/** The account. Deposits include what it began with. */
export interface StatsAccount {
  userId: string;
  subscriptionTier: string;
  /** Since the user registered. */
  accountAgeDays: number;
  totalDeposits: number;
  totalWithdrawals: number;
  /** Came or went without a price then, and left out of deposits and withdrawals. */
  flowsUnpriced: Array<string>;
  /** Equity. */
  currentBalance: number;
  /** Held, without a price, and left out of it. */
  unpriced: Array<string>;
  /** Whether anything is left out. */
  equityIsLowerBound: boolean;
  /**
   * Of the equity curve (opening equity plus net P&L) at the ends of days and at present, what is
   * open included; deposits and withdrawals do not move it.
   */
  allTimeHigh: number;
  /** The lowest of the same. */
  allTimeLow: number;
  broker: string;
  mode: Mode;
}

/** Statistics of an account. */
export interface StatsData {
  account: StatsAccount;
  trading: StatsTrading;
  risk: StatsRisk;
}

/** The limits that hold: the lower of plan and settings. Spot borrows nothing. */
export interface StatsRisk {
  currentRiskLevel: string;
  maxPositionSizeUsd: number;
  maxPositions: number;
  currentLeverage: number;
  availableLeverage: number;
}

/** All trading since the account began. */
export interface StatsTrading {
  /** Closed trades. */
  totalTradesAllTime: number;
  /** Entries and exits. */
  totalVolumeUsd: number;
  totalFeesPaid: number;
  /** Null before the first trade. */
  bestMonth: BestMonthItem | null;
  currentStreak: StreakItem;
}

/** Entries have ended. */
export interface StopView {
  status: string;
  message: string;
  openPositions: number;
  actionRequired: string | null;
}

/** Trades won or lost in a row up to the last one. */
export interface StreakItem {
  /** winning, losing, or none. */
  type: string;
  count: number;
  /** Venue time at which the first of them closed. */
  started: string | null;
}

/** A switch. `report` is what the latest telling of bots and users came to. */
export interface SwitchItem {
  killSwitchId: string;
  scope: KillScope;
  userId: string | null;
  broker: string | null;
  reason: string;
  /** Wall time. */
  engagedAt: string;
  engagedBy: string | null;
  closeAllPositions: boolean;
  /** When a later call added closing; null where none did. */
  closingSince: string | null;
  closingBy: string | null;
  closingReason: string | null;
  releasedAt: string | null;
  releasedBy: string | null;
  releaseReason: string | null;
  isTold: boolean;
  affectedUsers: number | null;
  activePositions: number | null;
  report: Record<string, unknown> | null;
}

/** Every engaged switch, and the latest released ones; `active` is about the global one. */
export interface SwitchesView {
  active: boolean;
  killSwitches: Array<SwitchItem>;
  released: Array<SwitchItem>;
}

/** Trades of a market. */
export interface SymbolItem {
  trades: number;
  pnl: number;
  avgPnl: number;
  netPnl: number;
  winRate: number;
  symbol: string;
}

/** The API in the last five minutes, over all processes. */
export interface SystemTotals {
  apiRequestsPerSecond: number;
  avgResponseTimeMs: number;
  p95ResponseTimeMs: number;
  p99ResponseTimeMs: number;
  /** Fraction of answers of 500 and above. */
  errorRate: number;
  /** Of the minutes of 30 days. */
  uptimePct: number;
  apiProcesses: number;
}

/** Subscription tiers, lowest first. */
export type Tier = "free" | "basic" | "pro" | "enterprise";

/** The market with the highest net P&L of the month; percent of its entry notional. */
export interface TopPerformerItem {
  symbol: string;
  pnl: number;
  pnlPct: number;
  netPnl: number;
}

/**
 * A trade: price P&L is before fees, `net_pnl` after; percent is of the entry notional. While it is
 * open, all of these are of what was sold so far, and `fees` those paid so far.
 */
export interface TradeItem {
  tradeId: string;
  symbol: string;
  side: string;
  status: string;
  entryPrice: number | null;
  exitPrice: number | null;
  sizeUsd: number;
  quantity: number;
  soldQuantity: number;
  /** Left by a manual action at the venue; not in the P&L. */
  closedElsewhereQuantity: number;
  /** Given up; not in the P&L. */
  writtenOffQuantity: number;
  realizedPnl: number;
  realizedPnlPct: number;
  fees: number;
  netPnl: number;
  /** Venue time. */
  openedAt: string;
  closedAt: string | null;
  /** So far, while open. */
  durationMinutes: number | null;
  exitReason: string | null;
  source: string;
  broker: string;
  mode: Mode;
}

/**
 * Closed trades of a period. Groups without trades are left out. `by_day`, `by_week` and `by_month`
 * are null unless `group_by` asks for them. Best and worst are by net P&L, null without trades.
 */
export interface TradesData {
  period: Period;
  /** First day shown; null is since ever. */
  startDate: string | null;
  totalTrades: number;
  byOutcome: OutcomesItem;
  bySymbol: Array<SymbolItem>;
  byHour: Array<HourItem>;
  byDay: Array<DayItem> | null;
  byWeek: Array<WeekItem> | null;
  byMonth: Array<MonthItem> | null;
  avgHoldTimeMinutes: number;
  bestTrade: NotedTradeItem | null;
  worstTrade: NotedTradeItem | null;
  broker: string;
  mode: Mode;
}

/** New values; what is left out stays. */
export interface TradingChange {
  riskLevel?: string;
  maxPositionSizeUsd?: number;
  maxConcurrentPositions?: number;
  maxDailyLossUsd?: number;
  allowedPairs?: Array<string>;
  paperTrading?: boolean;
  strategyMayCloseSignals?: boolean;
}

/** Trading at present, and in the venues' last 24 hours. */
export interface TradingCounts {
  botsRunning: number;
  totalPositions: number;
  totalVolume24h: number;
  totalTrades24h: number;
  /** Positions whose exit is due and is refused, not filled or late. */
  exitsFailing: number;
  /** Open positions whose broker was removed: no exit of them can be made. */
  positionsWithoutKeys: number;
}

/** What the bot may do. */
export interface TradingSettings {
  riskLevel: "low" | "medium" | "high";
  maxPositionSizeUsd: number;
  maxConcurrentPositions: number;
  maxDailyLossUsd: number;
  allowedPairs: Array<string>;
  paperTrading: boolean;
  /** Whether the strategy's reversal exit also closes what a signal opened. */
  strategyMayCloseSignals: boolean;
}

/** Where the bot stands. Scan times are the venue's clock, `uptime_seconds` is the wall's. */
export interface TradingStatusView {
  status: string;
  uptimeSeconds: number;
  broker: string | null;
  paperTrading: boolean;
  lastScan: string | null;
  nextScan: string | null;
  activePositions: number;
  /** Entries since the venue's UTC midnight. */
  todayTrades: number;
  lastError: string | null;
  mode: "paper" | "live" | null;
  /** Whether venues are the real ones or the simulator. */
  realm: "simulated" | "real";
  riskLevel: string;
  /** Positions of earlier runs on other accounts that are still being exited. */
  exitingPositions: number;
  runId: string | null;
  runState: string | null;
  startedAt: string | null;
  strategy: string | null;
  configHash: string | null;
  codeVersion: string | null;
  venueTime: string | null;
  killSwitch: KillSwitchItem | null;
}

/** Live trading; paper stands beside it and is never added. */
export interface TradingTotals {
  botsRunning: number;
  totalPositions: number;
  totalVolume24h: number;
  totalTrades24h: number;
  /** Positions whose exit is due and is refused, not filled or late. */
  exitsFailing: number;
  /** Open positions whose broker was removed: no exit of them can be made. */
  positionsWithoutKeys: number;
  paper: TradingCounts;
}

/** A secret for the authenticator app. It is shown once, and in force only when confirmed. */
export interface TwoFactorSetupView {
  secret: string;
  /** What the app reads from a QR code. */
  otpauthUrl: string;
}

/** Whether a second factor is in force. */
export interface TwoFactorStatusView {
  enabled: boolean;
  enabledAt: string | null;
  recoveryCodesLeft: number;
}

/** It was done. */
export interface UpdatedView {
  /** A sentence for people. */
  message?: string;
}

/** A plan that holds now. */
export interface UpgradedData {
  subscriptionId: string;
  message: string;
  tier: string;
  interval: string;
  /** Price of a period. */
  amount: number;
  /** For unused time; not above 0. */
  prorationCredit: number;
  amountDueNow: number;
  effectiveImmediately?: boolean;
}

/** Use of the plan's limits. */
export interface UsageData {
  periodStart: string;
  periodEnd: string;
  usage: UsageItem;
  /** Never: a limit that is reached refuses. */
  overage: boolean;
  warnings: Array<string>;
}

/** Use of the plan's limits in the period; limits of -1 do not exist. */
export interface UsageItem {
  apiCalls: number;
  apiCallsLimit: number;
  tradesExecuted: number;
  tradesLimit: number;
  positionsOpened: number;
  /** Open or pending now. */
  maxConcurrentPositions: number;
  maxConcurrentPositionsLimit: number;
  brokersConnected: number;
  brokersLimit: number;
}

/** A connection of the user. */
export interface UserBroker {
  name: string;
  status: string;
}

/** Users; by the tier they have (a trial reads free). */
export interface UserCounts {
  total: number;
  activeToday: number;
  free: number;
  basic: number;
  pro: number;
  enterprise: number;
}

/** One user. */
export interface UserData {
  user: UserDetail;
}

/** One user. */
export interface UserDetail {
  userId: string;
  email: string;
  fullName: string;
  status: UserStatus;
  role: Role;
  subscription: UserSubscription;
  trading: UserTrading;
  brokers: Array<UserBroker>;
  liveSessions: number;
  notes: Array<UserNoteView>;
  joinedAt: string;
  /** The latest login or exchange of tokens; single calls are not noted. */
  lastActive: string | null;
}

/** A user in the list. Trading figures are of the account (`mode`) that the user sees first. */
export interface UserItem {
  userId: string;
  email: string;
  fullName: string;
  subscriptionTier: Tier;
  status: UserStatus;
  role: Role;
  mode: string | null;
  totalTrades: number;
  /** Before fees. */
  totalPnl: number;
  netPnl: number;
  joinedAt: string;
  /** The latest login or exchange of tokens; single calls are not noted. */
  lastActive: string | null;
}

/** What an administrator wrote down; users never see it. */
export interface UserNoteView {
  note: string;
  authorId: string;
  createdAt: string;
}

/** Whether a person may use the platform; suspended is an administrator's act. */
export type UserStatus = "active" | "suspended" | "disabled";

/** What the user pays for. */
export interface UserSubscription {
  tier: Tier;
  status: string;
  started: string | null;
  /** null where nothing will be renewed. */
  renews: string | null;
}

/** How the user's account does. */
export interface UserTrading {
  totalTrades: number;
  totalPnl: number;
  netPnl: number;
  winRate: number;
  activePositions: number;
  mode: string | null;
  botStatus: string;
}

/** A page of users, newest first. */
export interface UsersData {
  users: Array<UserItem>;
  pagination: Pagination;
}

/** A new key; `webhook_key` is shown this once and goes into the alert's `api_key`. */
export interface WebhookKeyIssuedData {
  webhookId: string;
  webhookKey: string;
  url?: string;
  message?: string;
}

/** A key; its secret is not shown again. */
export interface WebhookKeyItem {
  webhookId: string;
  provider?: "tradingview";
  url?: string;
  keyMasked: string;
  /** Wall time. */
  createdAt: string;
  lastUsedAt: string | null;
  /** When a replaced key ends. */
  expiresAt: string | null;
}

/** The keys that are good at present. */
export interface WebhookKeysData {
  webhooks: Array<WebhookKeyItem>;
}

/** Trades that closed in an ISO week. */
export interface WeekItem {
  trades: number;
  pnl: number;
  avgPnl: number;
  netPnl: number;
  winRate: number;
  week: string;
  startDate: string;
}
