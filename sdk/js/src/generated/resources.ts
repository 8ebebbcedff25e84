// Generated from the OpenAPI document by sdk/generate.py; do not edit.

import type { CallOptions, KeyedCallOptions, Operation } from "../calls.js";
import { Resource } from "../resource.js";
import type { Transport } from "../transport.js";
import type * as models from "./models.js";

/** Every endpoint by the name of its method. */
export const OPERATIONS = {
  "auth.register": {"method": "POST", "path": "/auth/register", "body": true, "public": true},
  "auth.login": {"method": "POST", "path": "/auth/login", "body": true, "public": true},
  "auth.refresh": {"method": "POST", "path": "/auth/refresh", "body": true, "public": true},
  "auth.logout": {"method": "POST", "path": "/auth/logout", "body": true},
  "auth.changePassword": {"method": "PUT", "path": "/auth/change-password", "body": true},
  "auth.me": {"method": "GET", "path": "/auth/me"},
  "auth.sessions": {"method": "GET", "path": "/auth/sessions"},
  "auth.revokeSession": {"method": "DELETE", "path": "/auth/sessions/{session_id}"},
  "auth.resetPassword": {"method": "POST", "path": "/auth/reset-password", "body": true, "public": true},
  "auth.confirmResetPassword": {"method": "POST", "path": "/auth/reset-password/confirm", "body": true, "public": true},
  "auth.verifyEmail": {"method": "POST", "path": "/auth/verify-email", "body": true, "public": true},
  "auth.resendVerification": {"method": "POST", "path": "/auth/verify-email/resend"},
  "auth.changeEmail": {"method": "POST", "path": "/auth/change-email", "body": true},
  "auth.confirmChangeEmail": {"method": "POST", "path": "/auth/change-email/confirm", "body": true, "public": true},
  "auth.twoFactor": {"method": "GET", "path": "/auth/2fa"},
  "auth.setupTwoFactor": {"method": "POST", "path": "/auth/2fa/setup", "body": true},
  "auth.enableTwoFactor": {"method": "POST", "path": "/auth/2fa/enable", "body": true},
  "auth.disableTwoFactor": {"method": "POST", "path": "/auth/2fa/disable", "body": true},
  "auth.newRecoveryCodes": {"method": "POST", "path": "/auth/2fa/recovery-codes", "body": true},
  "auth.deleteAccount": {"method": "POST", "path": "/auth/delete-account", "body": true},
  "trading.start": {"method": "POST", "path": "/trading/start", "body": true, "keyed": true},
  "trading.stop": {"method": "POST", "path": "/trading/stop", "body": true, "keyed": true},
  "trading.status": {"method": "GET", "path": "/trading/status"},
  "trading.emergencyStop": {"method": "POST", "path": "/trading/emergency-stop", "body": true, "keyed": true},
  "trading.releaseEmergencyStop": {"method": "POST", "path": "/trading/emergency-stop/release", "body": true, "keyed": true},
  "trading.pause": {"method": "POST", "path": "/trading/pause", "keyed": true},
  "trading.resume": {"method": "POST", "path": "/trading/resume", "keyed": true},
  "trading.decisions": {"method": "GET", "path": "/trading/decisions", "query": ["symbol", "limit"]},
  "account.balance": {"method": "GET", "path": "/account/balance", "query": ["mode", "broker"]},
  "account.positions": {"method": "GET", "path": "/account/positions", "query": ["mode", "broker", "symbol"]},
  "account.history": {"method": "GET", "path": "/account/history", "query": ["mode", "broker", "symbol", "page", "perPage", "startDate", "endDate", "status"]},
  "account.performance": {"method": "GET", "path": "/account/performance", "query": ["mode", "broker", "period"]},
  "account.stats": {"method": "GET", "path": "/account/stats", "query": ["mode", "broker"]},
  "account.signals": {"method": "GET", "path": "/account/signals", "query": ["page", "perPage", "status", "symbol", "action", "startDate", "endDate"]},
  "account.notifications": {"method": "GET", "path": "/account/notifications", "query": ["page", "perPage"]},
  "account.closePosition": {"method": "POST", "path": "/account/positions/{position_id}/close", "body": true, "keyed": true},
  "account.writeOffPosition": {"method": "POST", "path": "/account/positions/{position_id}/write-off", "keyed": true},
  "account.modifyPosition": {"method": "PATCH", "path": "/account/positions/{position_id}", "body": true, "keyed": true},
  "account.resetPaper": {"method": "POST", "path": "/account/paper/reset", "keyed": true},
  "config.settings": {"method": "GET", "path": "/config/settings"},
  "config.updateSettings": {"method": "PUT", "path": "/config/settings", "body": true, "keyed": true},
  "config.brokers": {"method": "GET", "path": "/config/brokers"},
  "config.addBroker": {"method": "POST", "path": "/config/brokers", "body": true, "keyed": true},
  "config.rotateBroker": {"method": "PUT", "path": "/config/brokers/{broker_id}", "body": true, "keyed": true},
  "config.removeBroker": {"method": "DELETE", "path": "/config/brokers/{broker_id}", "query": ["force"], "keyed": true},
  "config.testBroker": {"method": "POST", "path": "/config/brokers/{broker_id}/test", "keyed": true},
  "config.webhooks": {"method": "GET", "path": "/config/webhooks"},
  "config.createWebhook": {"method": "POST", "path": "/config/webhooks", "body": true, "keyed": true},
  "config.removeWebhook": {"method": "DELETE", "path": "/config/webhooks", "keyed": true},
  "config.notifications": {"method": "GET", "path": "/config/notifications"},
  "config.updateNotifications": {"method": "PUT", "path": "/config/notifications", "body": true, "keyed": true},
  "config.testNotifications": {"method": "POST", "path": "/config/notifications/test", "keyed": true},
  "config.addChannel": {"method": "POST", "path": "/config/notifications/channels", "body": true, "keyed": true},
  "config.updateChannel": {"method": "PATCH", "path": "/config/notifications/channels/{channel_id}", "body": true, "keyed": true},
  "config.removeChannel": {"method": "DELETE", "path": "/config/notifications/channels/{channel_id}", "keyed": true},
  "config.testChannel": {"method": "POST", "path": "/config/notifications/channels/{channel_id}/test", "keyed": true},
  "subscription.plans": {"method": "GET", "path": "/subscription/plans", "public": true},
  "subscription.current": {"method": "GET", "path": "/subscription/current"},
  "subscription.upgrade": {"method": "POST", "path": "/subscription/upgrade", "body": true, "keyed": true},
  "subscription.downgrade": {"method": "POST", "path": "/subscription/downgrade", "body": true, "keyed": true},
  "subscription.cancel": {"method": "POST", "path": "/subscription/cancel", "body": true, "keyed": true},
  "subscription.usage": {"method": "GET", "path": "/subscription/usage"},
  "subscription.invoices": {"method": "GET", "path": "/subscription/invoices", "query": ["limit"]},
  "subscription.updatePaymentMethod": {"method": "PUT", "path": "/subscription/payment-method", "body": true, "keyed": true},
  "analytics.dashboard": {"method": "GET", "path": "/analytics/dashboard", "query": ["mode", "broker"]},
  "analytics.trades": {"method": "GET", "path": "/analytics/trades", "query": ["mode", "broker", "period", "symbol", "groupBy"]},
  "analytics.export": {"method": "POST", "path": "/analytics/export", "body": true, "keyed": true},
  "analytics.exports": {"method": "GET", "path": "/analytics/exports"},
  "analytics.exportStatus": {"method": "GET", "path": "/analytics/exports/{export_id}"},
  "admin.users": {"method": "GET", "path": "/admin/users", "query": ["page", "perPage", "search", "tier", "status", "role"]},
  "admin.user": {"method": "GET", "path": "/admin/users/{user_id}"},
  "admin.updateUser": {"method": "PUT", "path": "/admin/users/{user_id}", "body": true, "keyed": true},
  "admin.metrics": {"method": "GET", "path": "/admin/metrics"},
  "admin.auditLogs": {"method": "GET", "path": "/admin/audit-logs", "query": ["page", "perPage", "eventType", "userId", "startDate", "endDate"]},
  "admin.killSwitch": {"method": "GET", "path": "/admin/kill-switch"},
  "admin.engageKillSwitch": {"method": "POST", "path": "/admin/kill-switch", "body": true, "keyed": true},
  "admin.releaseKillSwitch": {"method": "DELETE", "path": "/admin/kill-switch", "query": ["scope", "userId", "broker", "reason"], "keyed": true},
  "webhooks.tradingview": {"method": "POST", "path": "/webhooks/tradingview", "body": true, "public": true},
  "webhooks.stripe": {"method": "POST", "path": "/webhooks/stripe", "headers": {"stripeSignature": "stripe-signature"}, "public": true},
} as const satisfies Record<string, Operation>;

/** Parameters of `auth.register`. */
export interface AuthRegisterParams {
  /** Such as `user@example.com`. */
  email: string;
  /** At least 10 characters. */
  password: string;
  /** Such as `John Doe`. */
  fullName: string;
  /** Accept terms. */
  acceptTerms: boolean;
}

/** Parameters of `auth.login`. */
export interface AuthLoginParams {
  /** Such as `user@example.com`. */
  email: string;
  /** Such as `SecurePassword123!`. */
  password: string;
  /** A code of the authenticator app, or a recovery code; needed where 2FA is on. */
  otp?: string | null;
}

/** Parameters of `auth.refresh`. */
export interface AuthRefreshParams {
  /** Such as `eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...`. */
  refreshToken: string;
}

/** Parameters of `auth.logout`. */
export interface AuthLogoutParams {
  /** End every session of the user. */
  revokeAll?: boolean;
}

/** Parameters of `auth.changePassword`. */
export interface AuthChangePasswordParams {
  /** Such as `OldPassword123!`. */
  currentPassword: string;
  /** Such as `NewPassword456!`. */
  newPassword: string;
}

/** Parameters of `auth.resetPassword`. */
export interface AuthResetPasswordParams {
  /** Such as `user@example.com`. */
  email: string;
}

/** Parameters of `auth.confirmResetPassword`. */
export interface AuthConfirmResetPasswordParams {
  /** What stands behind # in the link. */
  token: string;
  /** Such as `NewPassword456!`. */
  newPassword: string;
}

/** Parameters of `auth.verifyEmail`. */
export interface AuthVerifyEmailParams {
  /** What stands behind # in the link. */
  token: string;
}

/** Parameters of `auth.changeEmail`. */
export interface AuthChangeEmailParams {
  /** Such as `new@example.com`. */
  newEmail: string;
  /** Such as `SecurePassword123!`. */
  password: string;
  /** A code of the authenticator app, or a recovery code; needed where 2FA is on. */
  otp?: string | null;
}

/** Parameters of `auth.confirmChangeEmail`. */
export interface AuthConfirmChangeEmailParams {
  /** What stands behind # in the link. */
  token: string;
}

/** Parameters of `auth.setupTwoFactor`. */
export interface AuthSetupTwoFactorParams {
  /** Such as `SecurePassword123!`. */
  password: string;
}

/** Parameters of `auth.enableTwoFactor`. */
export interface AuthEnableTwoFactorParams {
  /** Such as `492039`. */
  otp: string;
}

/** Parameters of `auth.disableTwoFactor`. */
export interface AuthDisableTwoFactorParams {
  /** Such as `SecurePassword123!`. */
  password: string;
  /** A code of the authenticator app, or a recovery code; needed where 2FA is on. */
  otp?: string | null;
}

/** Parameters of `auth.newRecoveryCodes`. */
export interface AuthNewRecoveryCodesParams {
  /** Such as `SecurePassword123!`. */
  password: string;
  /** A code of the authenticator app, or a recovery code; needed where 2FA is on. */
  otp?: string | null;
}

/** Parameters of `auth.deleteAccount`. */
export interface AuthDeleteAccountParams {
  /** Such as `SecurePassword123!`. */
  password: string;
  /** A code of the authenticator app, or a recovery code; needed where 2FA is on. */
  otp?: string | null;
  /** Leave live positions at the market; without it they refuse the deletion. */
  closePositions?: boolean;
}

/** Auth. */
export class Auth extends Resource {
  /** Create an account with a 14-day trial and a paper account. */
  register(
    params: AuthRegisterParams,
    options: CallOptions = {},
  ): Promise<models.RegisteredView> {
    return this.send(OPERATIONS["auth.register"], {}, params, options);
  }

  /** Get an access token and a refresh token. Five failures lock the account for 15 minutes. */
  login(
    params: AuthLoginParams,
    options: CallOptions = {},
  ): Promise<models.LoginView> {
    return this.send(OPERATIONS["auth.login"], {}, params, options);
  }

  /** Exchange a refresh token for new tokens. Using one twice ends its session. */
  refresh(
    params: AuthRefreshParams,
    options: CallOptions = {},
  ): Promise<models.RefreshedView> {
    return this.send(OPERATIONS["auth.refresh"], {}, params, options);
  }

  /** End this session, or every session; their tokens stop working at once. */
  logout(
    params: AuthLogoutParams = {},
    options: CallOptions = {},
  ): Promise<models.MessageView> {
    return this.send(OPERATIONS["auth.logout"], {}, params, options);
  }

  /** Change the password; every other session ends. */
  changePassword(
    params: AuthChangePasswordParams,
    options: CallOptions = {},
  ): Promise<models.MessageView> {
    return this.send(OPERATIONS["auth.changePassword"], {}, params, options);
  }

  /** The caller's own account. */
  me(
    options: CallOptions = {},
  ): Promise<models.MeView> {
    return this.send(OPERATIONS["auth.me"], {}, {}, options);
  }

  /** Every device that is logged in. */
  sessions(
    options: CallOptions = {},
  ): Promise<models.SessionsView> {
    return this.send(OPERATIONS["auth.sessions"], {}, {}, options);
  }

  /** Log a device out. */
  revokeSession(
    sessionId: string,
    options: CallOptions = {},
  ): Promise<models.MessageView> {
    return this.send(OPERATIONS["auth.revokeSession"], { sessionId }, {}, options);
  }

  /** Ask for a mail with a link to choose a new password; the answer never tells who exists. */
  resetPassword(
    params: AuthResetPasswordParams,
    options: CallOptions = {},
  ): Promise<models.MessageView> {
    return this.send(OPERATIONS["auth.resetPassword"], {}, params, options);
  }

  /** Choose a new password. The link works once, for an hour; every session ends. */
  confirmResetPassword(
    params: AuthConfirmResetPasswordParams,
    options: CallOptions = {},
  ): Promise<models.MessageView> {
    return this.send(OPERATIONS["auth.confirmResetPassword"], {}, params, options);
  }

  /** Confirm that the address is yours, with the token that was mailed to it. */
  verifyEmail(
    params: AuthVerifyEmailParams,
    options: CallOptions = {},
  ): Promise<models.MessageView> {
    return this.send(OPERATIONS["auth.verifyEmail"], {}, params, options);
  }

  /** Have the verification mail sent again: once a minute, five times an hour. */
  resendVerification(
    options: CallOptions = {},
  ): Promise<models.MessageView> {
    return this.send(OPERATIONS["auth.resendVerification"], {}, {}, options);
  }

  /** Ask for another address; it counts once the link that is mailed there was opened. */
  changeEmail(
    params: AuthChangeEmailParams,
    options: CallOptions = {},
  ): Promise<models.MessageView> {
    return this.send(OPERATIONS["auth.changeEmail"], {}, params, options);
  }

  /** Confirm the new address; the old one is told. */
  confirmChangeEmail(
    params: AuthConfirmChangeEmailParams,
    options: CallOptions = {},
  ): Promise<models.MessageView> {
    return this.send(OPERATIONS["auth.confirmChangeEmail"], {}, params, options);
  }

  /** Whether a second factor is in force. */
  twoFactor(
    options: CallOptions = {},
  ): Promise<models.TwoFactorStatusView> {
    return this.send(OPERATIONS["auth.twoFactor"], {}, {}, options);
  }

  /** Get a secret for an authenticator app; nothing is in force before a code was confirmed. */
  setupTwoFactor(
    params: AuthSetupTwoFactorParams,
    options: CallOptions = {},
  ): Promise<models.TwoFactorSetupView> {
    return this.send(OPERATIONS["auth.setupTwoFactor"], {}, params, options);
  }

  /** Confirm a code: logins need one from now on, other sessions end, recovery codes are shown. */
  enableTwoFactor(
    params: AuthEnableTwoFactorParams,
    options: CallOptions = {},
  ): Promise<models.RecoveryCodesView> {
    return this.send(OPERATIONS["auth.enableTwoFactor"], {}, params, options);
  }

  /** Do without a second factor; recovery codes are worth nothing any more. */
  disableTwoFactor(
    params: AuthDisableTwoFactorParams,
    options: CallOptions = {},
  ): Promise<models.MessageView> {
    return this.send(OPERATIONS["auth.disableTwoFactor"], {}, params, options);
  }

  /** Get ten new recovery codes; the old ones are worth nothing any more. */
  newRecoveryCodes(
    params: AuthNewRecoveryCodesParams,
    options: CallOptions = {},
  ): Promise<models.RecoveryCodesView> {
    return this.send(OPERATIONS["auth.newRecoveryCodes"], {}, params, options);
  }

  /**
   * End the account at once and delete all its data; export them before, if you want them. A paid
   * plan is cancelled and its unused rest refunded. Paper trading just ends. Live positions refuse
   * the deletion, unless `close_positions` has them left at the market first.
   */
  deleteAccount(
    params: AuthDeleteAccountParams,
    options: CallOptions = {},
  ): Promise<models.DeletionView> {
    return this.send(OPERATIONS["auth.deleteAccount"], {}, params, options);
  }
}

/** Parameters of `trading.start`. */
export interface TradingStartParams {
  /** Such as `coinbase`. */
  broker?: string | null;
  /** Paper trading. */
  paperTrading?: boolean | null;
  /** low, medium or high */
  riskProfile?: string | null;
}

/** Parameters of `trading.stop`. */
export interface TradingStopParams {
  /** Close positions now instead of leaving them to their exits. */
  closePositions?: boolean;
  /** Do what emergency-stop does. */
  emergency?: boolean;
}

/** Parameters of `trading.emergencyStop`. */
export interface TradingEmergencyStopParams {
  /** Such as `Market volatility`. */
  reason?: string;
  /** Close positions, `false` by default. */
  closePositions?: boolean;
}

/** Parameters of `trading.releaseEmergencyStop`. */
export interface TradingReleaseEmergencyStopParams {
  /** Reason, `released by the user` by default. */
  reason?: string;
}

/** Parameters of `trading.decisions`. */
export interface TradingDecisionsParams {
  /** Every decision on one pair. */
  symbol?: string | null;
  /** Limit, `50` by default. */
  limit?: number;
}

/** Trading. */
export class Trading extends Resource {
  /** Start the bot; fields that are left out come from the settings. */
  start(
    params: TradingStartParams = {},
    options: KeyedCallOptions = {},
  ): Promise<models.StartView> {
    return this.send(OPERATIONS["trading.start"], {}, params, options);
  }

  /** Stop entries at once; positions are left to their exits unless they are to be closed. */
  stop(
    params: TradingStopParams = {},
    options: KeyedCallOptions = {},
  ): Promise<models.StopView> {
    return this.send(OPERATIONS["trading.stop"], {}, params, options);
  }

  /** Where the bot stands: stopped, starting, running, paused, error, emergency_stopped. */
  status(
    options: CallOptions = {},
  ): Promise<models.TradingStatusView> {
    return this.send(OPERATIONS["trading.status"], {}, {}, options);
  }

  /** Block all entries until released, and close positions if asked to. */
  emergencyStop(
    params: TradingEmergencyStopParams = {},
    options: KeyedCallOptions = {},
  ): Promise<models.EmergencyView> {
    return this.send(OPERATIONS["trading.emergencyStop"], {}, params, options);
  }

  /** Lift the user's own emergency stop; the bot stays stopped until it is started. */
  releaseEmergencyStop(
    params: TradingReleaseEmergencyStopParams = {},
    options: KeyedCallOptions = {},
  ): Promise<models.BotChangeView> {
    return this.send(OPERATIONS["trading.releaseEmergencyStop"], {}, params, options);
  }

  /** Make no new entries for a while; exits go on. */
  pause(
    options: KeyedCallOptions = {},
  ): Promise<models.BotChangeView> {
    return this.send(OPERATIONS["trading.pause"], {}, {}, options);
  }

  /** Let a paused bot enter again. */
  resume(
    options: KeyedCallOptions = {},
  ): Promise<models.BotChangeView> {
    return this.send(OPERATIONS["trading.resume"], {}, {}, options);
  }

  /** Why the bot did what it did: the latest decision on each pair, or every one on a pair. */
  decisions(
    params: TradingDecisionsParams = {},
    options: CallOptions = {},
  ): Promise<models.DecisionsView> {
    return this.send(OPERATIONS["trading.decisions"], {}, params, options);
  }
}

/** Parameters of `account.balance`. */
export interface AccountBalanceParams {
  /** paper or live */
  mode?: models.Mode | null;
  /** Such as `coinbase`. */
  broker?: string | null;
}

/** Parameters of `account.positions`. */
export interface AccountPositionsParams {
  /** paper or live */
  mode?: models.Mode | null;
  /** Such as `coinbase`. */
  broker?: string | null;
  /** Symbol. */
  symbol?: string | null;
}

/** Parameters of `account.history`. */
export interface AccountHistoryParams {
  /** paper or live */
  mode?: models.Mode | null;
  /** Such as `coinbase`. */
  broker?: string | null;
  /** Symbol. */
  symbol?: string | null;
  /** Page, `1` by default. */
  page?: number;
  /** Per page, `50` by default. */
  perPage?: number;
  /** ISO 8601, inclusive. */
  startDate?: string | Date | null;
  /** ISO 8601; a date includes its day. */
  endDate?: string | Date | null;
  /** All when left out. */
  status?: models.PositionState | null;
}

/** Parameters of `account.performance`. */
export interface AccountPerformanceParams {
  /** paper or live */
  mode?: models.Mode | null;
  /** Such as `coinbase`. */
  broker?: string | null;
  /** UTC days of the venue's clock. */
  period?: models.Period;
}

/** Parameters of `account.stats`. */
export interface AccountStatsParams {
  /** paper or live */
  mode?: models.Mode | null;
  /** Such as `coinbase`. */
  broker?: string | null;
}

/** Parameters of `account.signals`. */
export interface AccountSignalsParams {
  /** Page, `1` by default. */
  page?: number;
  /** Per page, `50` by default. */
  perPage?: number;
  /** All when left out. */
  status?: models.AlertState | null;
  /** Symbol. */
  symbol?: string | null;
  /** Action. */
  action?: models.SignalAction | null;
  /** ISO 8601, inclusive. */
  startDate?: string | Date | null;
  /** ISO 8601; a date includes its day. */
  endDate?: string | Date | null;
}

/** Parameters of `account.notifications`. */
export interface AccountNotificationsParams {
  /** Page, `1` by default. */
  page?: number;
  /** Per page, `50` by default. */
  perPage?: number;
}

/** Parameters of `account.closePosition`. */
export interface AccountClosePositionParams {
  /** Of what was not asked to leave before; the rest keeps its stop. */
  percent?: number | null;
  /** The same in the base currency; more than is held closes all of it. */
  quantity?: number | null;
}

/** Parameters of `account.modifyPosition`. */
export interface AccountModifyPositionParams {
  /** Stop loss. */
  stopLoss?: number | null;
  /** Take profit. */
  takeProfit?: number | null;
}

/** Account. */
export class Account extends Resource {
  /** Cash, equity and buying power. */
  balance(
    params: AccountBalanceParams = {},
    options: CallOptions = {},
  ): Promise<models.BalanceData> {
    return this.send(OPERATIONS["account.balance"], {}, params, options);
  }

  /** Open positions and their sums. */
  positions(
    params: AccountPositionsParams = {},
    options: CallOptions = {},
  ): Promise<models.PositionsData> {
    return this.send(OPERATIONS["account.positions"], {}, params, options);
  }

  /** Trades, newest first. */
  history(
    params: AccountHistoryParams = {},
    options: CallOptions = {},
  ): Promise<models.HistoryData> {
    return this.send(OPERATIONS["account.history"], {}, params, options);
  }

  /** Trades, newest first: every item of every page. */
  iterHistory(
    params: Omit<AccountHistoryParams, "page"> = {},
    options: CallOptions = {},
  ): AsyncGenerator<models.TradeItem> {
    return this.iterate(
      (page) => this.history({ ...params, page }, options),
      (found) => found.trades,
      (item) => item.tradeId,
    );
  }

  /** Metrics, daily P&L and equity curve of a period. */
  performance(
    params: AccountPerformanceParams = {},
    options: CallOptions = {},
  ): Promise<models.PerformanceData> {
    return this.send(OPERATIONS["account.performance"], {}, params, options);
  }

  /** Everything since the account began or was reset, and the limits that hold for it. */
  stats(
    params: AccountStatsParams = {},
    options: CallOptions = {},
  ): Promise<models.StatsData> {
    return this.send(OPERATIONS["account.stats"], {}, params, options);
  }

  /** Received alerts with their outcomes, newest first. */
  signals(
    params: AccountSignalsParams = {},
    options: CallOptions = {},
  ): Promise<models.SignalsData> {
    return this.send(OPERATIONS["account.signals"], {}, params, options);
  }

  /** Received alerts with their outcomes, newest first: every item of every page. */
  iterSignals(
    params: Omit<AccountSignalsParams, "page"> = {},
    options: CallOptions = {},
  ): AsyncGenerator<models.SignalItem> {
    return this.iterate(
      (page) => this.signals({ ...params, page }, options),
      (found) => found.signals,
      (item) => item.signalId,
    );
  }

  /** What was told, newest first, with what became of it on each channel. */
  notifications(
    params: AccountNotificationsParams = {},
    options: CallOptions = {},
  ): Promise<models.NotificationsData> {
    return this.send(OPERATIONS["account.notifications"], {}, params, options);
  }

  /**
   * What was told, newest first, with what became of it on each channel: every item of every page.
   */
  iterNotifications(
    params: Omit<AccountNotificationsParams, "page"> = {},
    options: CallOptions = {},
  ): AsyncGenerator<models.NotificationItem> {
    return this.iterate(
      (page) => this.notifications({ ...params, page }, options),
      (found) => found.notifications,
      (item) => item.notificationId,
    );
  }

  /** Leave one position at the market: all of it, unless a part is named. */
  closePosition(
    positionId: string,
    params: AccountClosePositionParams = {},
    options: KeyedCallOptions = {},
  ): Promise<models.ClosePositionView> {
    return this.send(OPERATIONS["account.closePosition"], { positionId }, params, options);
  }

  /** Close in the books a position that cannot be sold, without a price for what is given up. */
  writeOffPosition(
    positionId: string,
    options: KeyedCallOptions = {},
  ): Promise<models.ClosePositionView> {
    return this.send(OPERATIONS["account.writeOffPosition"], { positionId }, {}, options);
  }

  /** Set the stop, which keeps trailing from there, or replace the remaining targets by one. */
  modifyPosition(
    positionId: string,
    params: AccountModifyPositionParams = {},
    options: KeyedCallOptions = {},
  ): Promise<models.MessageView> {
    return this.send(OPERATIONS["account.modifyPosition"], { positionId }, params, options);
  }

  /** Put the paper account back to its starting cash; its trades stay in the history. */
  resetPaper(
    options: KeyedCallOptions = {},
  ): Promise<models.PaperResetData> {
    return this.send(OPERATIONS["account.resetPaper"], {}, {}, options);
  }
}

/** Parameters of `config.updateSettings`. */
export interface ConfigUpdateSettingsParams {
  /** Trading. */
  trading?: models.TradingChange;
  /** Notifications. */
  notifications?: models.NotificationChange;
  /** Advanced. */
  advanced?: models.AdvancedChange;
}

/** Parameters of `config.addBroker`. */
export interface ConfigAddBrokerParams {
  /** Such as `your_api_key_here`. */
  apiKey: string;
  /** Such as `your_api_secret_here`. */
  apiSecret: string;
  /** Additional params. */
  additionalParams?: Record<string, string>;
  /** Such as `coinbase`. */
  broker: string;
}

/** Parameters of `config.rotateBroker`. */
export interface ConfigRotateBrokerParams {
  /** Such as `your_api_key_here`. */
  apiKey: string;
  /** Such as `your_api_secret_here`. */
  apiSecret: string;
  /** Additional params. */
  additionalParams?: Record<string, string>;
}

/** Parameters of `config.removeBroker`. */
export interface ConfigRemoveBrokerParams {
  /** Remove at once, leaving open positions unmanaged. */
  force?: boolean;
}

/** Parameters of `config.createWebhook`. */
export interface ConfigCreateWebhookParams {
  /** How long the replaced key stays good. */
  overlapMinutes?: number;
}

/** Parameters of `config.updateNotifications`. */
export interface ConfigUpdateNotificationsParams {
  /** Such as `Europe/Berlin`. */
  timezone?: string;
  /** Such as `08:00`. */
  reportTime?: string;
  /** Such as `monday`. */
  weeklyDay?: "monday" | "tuesday" | "wednesday" | "thursday" | "friday" | "saturday" | "sunday";
}

/** Parameters of `config.addChannel`. */
export interface ConfigAddChannelParams {
  /** Such as `Phone`. */
  name: string;
  /**
   * mailto(s)://, json(s)://, xml(s)://, form(s)://, ntfy(s)://, gotify(s)://, mmost(s)://,
   * rocket(s)://, discord://, slack://, tgram://, gchat://, webex://, workflows://, zulip://,
   * pover://, pbul://, prowl://, join://, pagerduty://, opsgenie://, twilio://; stored encrypted
   * and never shown again.
   */
  url: string;
  /** All where left out. */
  categories?: Array<"trades" | "alerts" | "billing" | "reports"> | null;
}

/** Parameters of `config.updateChannel`. */
export interface ConfigUpdateChannelParams {
  /** Such as `Phone`. */
  name?: string;
  /** Such as `ntfys://ntfy.sh/my-topic`. */
  url?: string;
  /** Categories. */
  categories?: Array<"trades" | "alerts" | "billing" | "reports">;
  /** Enabled. */
  enabled?: boolean;
}

/** Settings and brokers. */
export class Config extends Resource {
  /** All settings. */
  settings(
    options: CallOptions = {},
  ): Promise<models.SettingsData> {
    return this.send(OPERATIONS["config.settings"], {}, {}, options);
  }

  /** Change some settings; `updated_fields` names those whose value is another one now. */
  updateSettings(
    params: ConfigUpdateSettingsParams = {},
    options: KeyedCallOptions = {},
  ): Promise<models.SettingsChangedData> {
    return this.send(OPERATIONS["config.updateSettings"], {}, params, options);
  }

  /** Broker connections; keys are never shown. */
  brokers(
    options: CallOptions = {},
  ): Promise<models.BrokersData> {
    return this.send(OPERATIONS["config.brokers"], {}, {}, options);
  }

  /** Connect a broker. Keys are verified there, stored encrypted, and never returned. */
  addBroker(
    params: ConfigAddBrokerParams,
    options: KeyedCallOptions = {},
  ): Promise<models.BrokerConnectedData> {
    return this.send(OPERATIONS["config.addBroker"], {}, params, options);
  }

  /** Replace the keys by new ones of the same account; running bots go on with them. */
  rotateBroker(
    brokerId: string,
    params: ConfigRotateBrokerParams,
    options: KeyedCallOptions = {},
  ): Promise<models.BrokerConnectedData> {
    return this.send(OPERATIONS["config.rotateBroker"], { brokerId }, params, options);
  }

  /** Remove a broker. With open positions it only exits from now on, unless forced. */
  removeBroker(
    brokerId: string,
    params: ConfigRemoveBrokerParams = {},
    options: KeyedCallOptions = {},
  ): Promise<models.BrokerRemovedData> {
    return this.send(OPERATIONS["config.removeBroker"], { brokerId }, params, options);
  }

  /** Ask the broker whether the stored keys work. */
  testBroker(
    brokerId: string,
    options: KeyedCallOptions = {},
  ): Promise<models.BrokerTestData> {
    return this.send(OPERATIONS["config.testBroker"], { brokerId }, {}, options);
  }

  /** The webhook keys that are good at present; their secrets are never shown again. */
  webhooks(
    options: CallOptions = {},
  ): Promise<models.WebhookKeysData> {
    return this.send(OPERATIONS["config.webhooks"], {}, {}, options);
  }

  /** Make the webhook key, or replace it. It is shown this once. */
  createWebhook(
    params: ConfigCreateWebhookParams = {},
    options: KeyedCallOptions = {},
  ): Promise<models.WebhookKeyIssuedData> {
    return this.send(OPERATIONS["config.createWebhook"], {}, params, options);
  }

  /** End the webhook key at once, and any that it replaced. */
  removeWebhook(
    options: KeyedCallOptions = {},
  ): Promise<models.MessageView> {
    return this.send(OPERATIONS["config.removeWebhook"], {}, {}, options);
  }

  /** When reports come, where mails go, and every channel; addresses are masked. */
  notifications(
    options: CallOptions = {},
  ): Promise<models.NotificationsConfigData> {
    return this.send(OPERATIONS["config.notifications"], {}, {}, options);
  }

  /** Change the time zone, the time and the day of reports; their schedules follow. */
  updateNotifications(
    params: ConfigUpdateNotificationsParams = {},
    options: KeyedCallOptions = {},
  ): Promise<models.NotificationPreferencesData> {
    return this.send(OPERATIONS["config.updateNotifications"], {}, params, options);
  }

  /** Mail a test notification to the own address. */
  testNotifications(
    options: KeyedCallOptions = {},
  ): Promise<models.ChannelTestData> {
    return this.send(OPERATIONS["config.testNotifications"], {}, {}, options);
  }

  /** Add a channel. Its address is checked, stored encrypted, and never returned. */
  addChannel(
    params: ConfigAddChannelParams,
    options: KeyedCallOptions = {},
  ): Promise<models.ChannelItem> {
    return this.send(OPERATIONS["config.addChannel"], {}, params, options);
  }

  /** Change name, address or categories of a channel, or switch it on or off. */
  updateChannel(
    channelId: string,
    params: ConfigUpdateChannelParams = {},
    options: KeyedCallOptions = {},
  ): Promise<models.ChannelItem> {
    return this.send(OPERATIONS["config.updateChannel"], { channelId }, params, options);
  }

  /** Remove a channel, with what is still on its way to it. */
  removeChannel(
    channelId: string,
    options: KeyedCallOptions = {},
  ): Promise<models.MessageView> {
    return this.send(OPERATIONS["config.removeChannel"], { channelId }, {}, options);
  }

  /** Send a test notification to a channel, once. */
  testChannel(
    channelId: string,
    options: KeyedCallOptions = {},
  ): Promise<models.ChannelTestData> {
    return this.send(OPERATIONS["config.testChannel"], { channelId }, {}, options);
  }
}

/** Parameters of `subscription.upgrade`. */
export interface SubscriptionUpgradeParams {
  /** Such as `enterprise`. */
  tier: "free" | "basic" | "pro" | "enterprise";
  /** Such as `yearly`. */
  interval: "monthly" | "yearly";
  /** May be left out once one is on file. */
  paymentMethodId?: string | null;
}

/** Parameters of `subscription.downgrade`. */
export interface SubscriptionDowngradeParams {
  /** Such as `basic`. */
  tier: "free" | "basic" | "pro" | "enterprise";
  /** As it is, if left out. */
  interval?: "monthly" | "yearly" | null;
}

/** Parameters of `subscription.cancel`. */
export interface SubscriptionCancelParams {
  /** Cancel immediately, `false` by default. */
  cancelImmediately?: boolean;
  /** Such as `Too expensive`. */
  reason?: string | null;
  /** Such as `Great product but out of budget`. */
  feedback?: string | null;
}

/** Parameters of `subscription.invoices`. */
export interface SubscriptionInvoicesParams {
  /** Limit, `20` by default. */
  limit?: number;
}

/** Parameters of `subscription.updatePaymentMethod`. */
export interface SubscriptionUpdatePaymentMethodParams {
  /** Such as `pm_123abc`. */
  paymentMethodId: string;
}

/** Subscription. */
export class Subscription extends Resource {
  /** Every plan with its price and limits. */
  plans(
    options: CallOptions = {},
  ): Promise<models.PlansData> {
    return this.send(OPERATIONS["subscription.plans"], {}, {}, options);
  }

  /** Where the subscription stands. Its period is the calendar month while nothing is paid. */
  current(
    options: CallOptions = {},
  ): Promise<models.CurrentSubscriptionData> {
    return this.send(OPERATIONS["subscription.current"], {}, {}, options);
  }

  /** Change to a higher plan at once, prorated; or take back a cancellation or a downgrade. */
  upgrade(
    params: SubscriptionUpgradeParams,
    options: KeyedCallOptions = {},
  ): Promise<models.UpgradedData> {
    return this.send(OPERATIONS["subscription.upgrade"], {}, params, options);
  }

  /** Change to a lower plan when the paid period ends. */
  downgrade(
    params: SubscriptionDowngradeParams,
    options: KeyedCallOptions = {},
  ): Promise<models.DowngradedData> {
    return this.send(OPERATIONS["subscription.downgrade"], {}, params, options);
  }

  /** End the subscription with its period, or now with the unused rest refunded. */
  cancel(
    params: SubscriptionCancelParams = {},
    options: KeyedCallOptions = {},
  ): Promise<models.CancelledData> {
    return this.send(OPERATIONS["subscription.cancel"], {}, params, options);
  }

  /** Use of the plan's limits in the current period, with warnings from 80 % on. */
  usage(
    options: CallOptions = {},
  ): Promise<models.UsageData> {
    return this.send(OPERATIONS["subscription.usage"], {}, {}, options);
  }

  /** Bills, newest first. */
  invoices(
    params: SubscriptionInvoicesParams = {},
    options: CallOptions = {},
  ): Promise<models.InvoicesData> {
    return this.send(OPERATIONS["subscription.invoices"], {}, params, options);
  }

  /** Pay with another payment method; a bill that is overdue is paid at once. */
  updatePaymentMethod(
    params: SubscriptionUpdatePaymentMethodParams,
    options: KeyedCallOptions = {},
  ): Promise<models.PaymentMethodData> {
    return this.send(OPERATIONS["subscription.updatePaymentMethod"], {}, params, options);
  }
}

/** Parameters of `analytics.dashboard`. */
export interface AnalyticsDashboardParams {
  /** paper or live */
  mode?: models.Mode | null;
  /** Such as `coinbase`. */
  broker?: string | null;
}

/** Parameters of `analytics.trades`. */
export interface AnalyticsTradesParams {
  /** paper or live */
  mode?: models.Mode | null;
  /** Such as `coinbase`. */
  broker?: string | null;
  /** UTC days of the venue's clock. */
  period?: models.Period;
  /** Symbol. */
  symbol?: string | null;
  /** Answers in by_hour, by_day, by_week or by_month. */
  groupBy?: models.GroupBy;
}

/** Parameters of `analytics.export`. */
export interface AnalyticsExportParams {
  /** Such as `csv`. */
  format: models.ExportFormat;
  /** Such as `trades`. */
  dataType?: models.ExportData;
  /** ISO 8601, inclusive. */
  startDate?: string | Date | null;
  /** ISO 8601; a date includes its day. */
  endDate?: string | Date | null;
  /** Include closed positions, `true` by default. */
  includeClosedPositions?: boolean;
  /** Include open positions, `false` by default. */
  includeOpenPositions?: boolean;
  /** paper or live */
  mode?: models.Mode | null;
  /** Such as `coinbase`. */
  broker?: string | null;
}

/** Analytics. */
export class Analytics extends Resource {
  /** Today, the last week and month, what is open, and the market that did best. */
  dashboard(
    params: AnalyticsDashboardParams = {},
    options: CallOptions = {},
  ): Promise<models.DashboardData> {
    return this.send(OPERATIONS["analytics.dashboard"], {}, params, options);
  }

  /** Closed trades of a period by outcome, market and time. */
  trades(
    params: AnalyticsTradesParams = {},
    options: CallOptions = {},
  ): Promise<models.TradesData> {
    return this.send(OPERATIONS["analytics.trades"], {}, params, options);
  }

  /**
   * Write trades, positions, orders or the audit log to a file; the answer has its link. A file
   * that takes longer than some seconds is still `pending` then: its link works as soon as it is
   * ready, and `GET /analytics/exports/{export_id}` tells when.
   */
  export(
    params: AnalyticsExportParams,
    options: KeyedCallOptions = {},
  ): Promise<models.ExportItem> {
    return this.send(OPERATIONS["analytics.export"], {}, params, options);
  }

  /** The latest exports with fresh links. */
  exports(
    options: CallOptions = {},
  ): Promise<models.ExportsData> {
    return this.send(OPERATIONS["analytics.exports"], {}, {}, options);
  }

  /** One export with a fresh link. */
  exportStatus(
    exportId: string,
    options: CallOptions = {},
  ): Promise<models.ExportItem> {
    return this.send(OPERATIONS["analytics.exportStatus"], { exportId }, {}, options);
  }
}

/** Parameters of `admin.users`. */
export interface AdminUsersParams {
  /** Page, `1` by default. */
  page?: number;
  /** Per page, `50` by default. */
  perPage?: number;
  /** Part of an email, or a user id. */
  search?: string | null;
  /** Tier. */
  tier?: models.Tier | null;
  /** Status. */
  status?: models.UserStatus | null;
  /** Role. */
  role?: models.Role | null;
}

/** Parameters of `admin.updateUser`. */
export interface AdminUpdateUserParams {
  /** Such as `enterprise`. */
  subscriptionTier?: models.Tier | null;
  /** Such as `active`. */
  status?: models.UserStatus | null;
  /** Such as `user`. */
  role?: models.Role | null;
  /** Such as `Upgraded to enterprise for beta testing`. */
  notes?: string | null;
}

/** Parameters of `admin.auditLogs`. */
export interface AdminAuditLogsParams {
  /** Page, `1` by default. */
  page?: number;
  /** Per page, `100` by default. */
  perPage?: number;
  /** Such as `user_login`. */
  eventType?: string | null;
  /** Such as `usr_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10`. */
  userId?: string | null;
  /** ISO 8601, inclusive. */
  startDate?: string | Date | null;
  /** ISO 8601; a date includes its day. */
  endDate?: string | Date | null;
}

/** Parameters of `admin.engageKillSwitch`. */
export interface AdminEngageKillSwitchParams {
  /** Such as `global`. */
  scope?: models.KillScope;
  /** For scope `user`. */
  userId?: string | null;
  /** For scope `broker`. */
  broker?: string | null;
  /** Such as `Market emergency - extreme volatility`. */
  reason: string;
  /** Close all positions, `false` by default. */
  closeAllPositions?: boolean;
  /** Notify users, `true` by default. */
  notifyUsers?: boolean;
}

/** Parameters of `admin.releaseKillSwitch`. */
export interface AdminReleaseKillSwitchParams {
  /** Such as `global`. */
  scope?: models.KillScope;
  /** For scope `user`. */
  userId?: string | null;
  /** For scope `broker`. */
  broker?: string | null;
  /** Such as `Markets are calm again`. */
  reason: string;
}

/** Admin. */
export class Admin extends Resource {
  /** List and search users, newest first. */
  users(
    params: AdminUsersParams = {},
    options: CallOptions = {},
  ): Promise<models.UsersData> {
    return this.send(OPERATIONS["admin.users"], {}, params, options);
  }

  /** List and search users, newest first: every item of every page. */
  iterUsers(
    params: Omit<AdminUsersParams, "page"> = {},
    options: CallOptions = {},
  ): AsyncGenerator<models.UserItem> {
    return this.iterate(
      (page) => this.users({ ...params, page }, options),
      (found) => found.users,
      (item) => item.userId,
    );
  }

  /** One user: subscription, trading, brokers, notes. */
  user(
    userId: string,
    options: CallOptions = {},
  ): Promise<models.UserData> {
    return this.send(OPERATIONS["admin.user"], { userId }, {}, options);
  }

  /** Change tier, status or role; suspending or disabling ends sessions and entries at once. */
  updateUser(
    userId: string,
    params: AdminUpdateUserParams = {},
    options: KeyedCallOptions = {},
  ): Promise<models.UpdatedView> {
    return this.send(OPERATIONS["admin.updateUser"], { userId }, params, options);
  }

  /** Users, trading, the API and revenue. */
  metrics(
    options: CallOptions = {},
  ): Promise<models.MetricsData> {
    return this.send(OPERATIONS["admin.metrics"], {}, {}, options);
  }

  /** The audit log, newest first. */
  auditLogs(
    params: AdminAuditLogsParams = {},
    options: CallOptions = {},
  ): Promise<models.AuditLogsData> {
    return this.send(OPERATIONS["admin.auditLogs"], {}, params, options);
  }

  /** The audit log, newest first: every item of every page. */
  iterAuditLogs(
    params: Omit<AdminAuditLogsParams, "page"> = {},
    options: CallOptions = {},
  ): AsyncGenerator<models.AuditLogItem> {
    return this.iterate(
      (page) => this.auditLogs({ ...params, page }, options),
      (found) => found.logs,
      (item) => item.logId,
    );
  }

  /** Every engaged kill switch with its figures, and the latest released ones. */
  killSwitch(
    options: CallOptions = {},
  ): Promise<models.SwitchesView> {
    return this.send(OPERATIONS["admin.killSwitch"], {}, {}, options);
  }

  /** Stop all entries: none begins after this answers. Exits go on; positions close if asked. */
  engageKillSwitch(
    params: AdminEngageKillSwitchParams,
    options: KeyedCallOptions = {},
  ): Promise<models.EngagedView> {
    return this.send(OPERATIONS["admin.engageKillSwitch"], {}, params, options);
  }

  /** Release a kill switch, with a reason; bots that run may enter again. */
  releaseKillSwitch(
    params: AdminReleaseKillSwitchParams,
    options: KeyedCallOptions = {},
  ): Promise<models.ReleasedView> {
    return this.send(OPERATIONS["admin.releaseKillSwitch"], {}, params, options);
  }
}

/** Parameters of `webhooks.tradingview`. */
export interface WebhooksTradingviewParams {
  /** BTC-USD, BTC/USD, BTCUSD or COINBASE:BTCUSD (`{{ticker}}`). */
  symbol: string;
  /** Such as `buy`. */
  action: "buy" | "long" | "sell" | "short" | "close" | "exit" | "flat" | "close_long" | "exit_long" | "close_short" | "exit_short";
  /** For the record; orders go by quotes. */
  price?: number | string | null;
  /** Such as `APEX_V72`. */
  strategy?: string | null;
  /** An entry of at most this, or an exit of this much, in USD. */
  sizeUsd?: number | string | null;
  /** The same in the base currency; goes before percent and size_usd. */
  quantity?: number | string | null;
  /** How much of the position an exit closes; entries ignore it. */
  percent?: number | string | null;
  /** The same id with the same time is the same alert; without time, for 60 s. */
  id?: string | null;
  /** When it was raised (`{{timenow}}`), not the bar's time. */
  time?: string | Date | null;
  /** Such as `your_webhook_key`. */
  apiKey: string;
}

/** Parameters of `webhooks.stripe`. */
export interface WebhooksStripeParams {
  /** Stripe-signature. */
  stripeSignature?: string | null;
}

/** Webhooks. */
export class Webhooks extends Resource {
  /** Take an alert in. Answered as soon as it is durable; `/account/signals` tells its outcome. */
  tradingview(
    params: WebhooksTradingviewParams,
    options: CallOptions = {},
  ): Promise<models.AlertReceivedData> {
    return this.send(OPERATIONS["webhooks.tradingview"], {}, params, options);
  }

  /** Store an event once; a workflow processes it. Answered as soon as it is durable. */
  stripe(
    payload: string | Uint8Array,
    params: WebhooksStripeParams = {},
    options: CallOptions = {},
  ): Promise<models.ReceivedData> {
    return this.send(OPERATIONS["webhooks.stripe"], {}, params, options, payload);
  }
}

/** One attribute for each group of endpoints. */
export class Groups {
  readonly auth: Auth;
  readonly trading: Trading;
  readonly account: Account;
  readonly config: Config;
  readonly subscription: Subscription;
  readonly analytics: Analytics;
  readonly admin: Admin;
  readonly webhooks: Webhooks;

  constructor(transport: Transport) {
    this.auth = new Auth(transport);
    this.trading = new Trading(transport);
    this.account = new Account(transport);
    this.config = new Config(transport);
    this.subscription = new Subscription(transport);
    this.analytics = new Analytics(transport);
    this.admin = new Admin(transport);
    this.webhooks = new Webhooks(transport);
  }
}
