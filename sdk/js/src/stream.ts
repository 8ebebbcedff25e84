/**
 * A subscription to live updates that outlives its connections: what to send, what was received.
 * No input, no output. The server numbers what is committed, without gaps and in the order of
 * commits, over all channels of a user. One number therefore says how far we came, and resuming all
 * channels from it in one message brings every event that was missed, once and in order.
 */

import { apiError, NIJAError, UnexpectedResponseError } from "./errors.js";
import { fromWire } from "./names.js";

/** What can be subscribed. */
export type Channel = "positions" | "trades" | "account" | "bot";

/** One update. */
export interface LiveEvent {
  /**
   * What happened, such as `position_update`. `gap` is our own word: events were missed for good,
   * so read the state anew.
   */
  readonly type: string;
  /** Where it was told; null for `gap`. */
  readonly channel: Channel | null;
  /** Its facts, with JavaScript's names. */
  readonly data: Readonly<Record<string, unknown>>;
  /** Its number; null for values that go by, such as prices. */
  readonly seq: number | null;
}

/** What a message amounts to. */
export interface Received {
  readonly events: readonly LiveEvent[];
  /** Messages to send back. */
  readonly replies: readonly string[];
  /** Whether everything that was wanted is subscribed now. */
  readonly isReady: boolean;
}

export const ANY = "*";
export const GAP = "gap";
export const CHANNELS: readonly Channel[] = ["positions", "trades", "account", "bot"];
const CHANNEL_OF: Readonly<Record<string, Channel>> = {
  position_update: "positions",
  trade_executed: "trades",
  account_update: "account",
  bot_update: "bot",
  bot_decision: "bot",
  run_ended: "bot",
  kill_switch: "bot",
};
const TOKEN_REFUSED = 4401;
const FINAL: Readonly<Record<number, number>> = { 4402: 402, 4403: 403 };
const CANNOT_RESUME = "RESUME_NOT_POSSIBLE";

/** The channels on which an event is told; all for an event that is not known here. */
export function channelsOf(event: string): readonly Channel[] {
  const channel = CHANNEL_OF[event];
  return event === GAP ? [] : channel === undefined ? CHANNELS : [channel];
}

/** The server cannot serve the channels at the moment, though the connection stands. */
export class SubscriptionRefused extends NIJAError {}

/** The channels of a client, and the number of the last event it was handed. */
export class Stream {
  position: number | null = null;
  isAccepted = false;
  #isReady = false;
  readonly #channels = new Set<Channel>();
  #refusal: { code: string; message: string } | null = null;

  /** Note channels; returns the messages to send on an open connection. */
  want(channels: readonly Channel[]): string[] {
    const unknown = channels.filter((channel) => !CHANNELS.includes(channel));
    if (unknown.length) throw new TypeError(`${unknown.join(", ")}: the channels are ${CHANNELS.join(", ")}`);
    const added = [...new Set(channels)].filter((channel) => !this.#channels.has(channel));
    for (const channel of added) this.#channels.add(channel);
    return subscriptions(added, null);
  }

  /** The first message of a connection. */
  authentication(accessToken: string): string {
    this.#refusal = null;
    this.isAccepted = false;
    this.#isReady = false;
    return JSON.stringify({ type: "auth", token: `Bearer ${accessToken}` });
  }

  /**
   * Understand a message; an event that was handed on before is not handed on again.
   * Throws SubscriptionRefused when it is time to connect again.
   */
  receive(text: string): Received {
    const message = parsed(text);
    switch (message["type"]) {
      case "auth_success": {
        this.isAccepted = true;
        const replies = subscriptions([...this.#channels], this.position);
        this.#isReady = replies.length === 0;
        return { events: [], replies, isReady: replies.length === 0 };
      }
      case "subscribed":
        // A channel added later begins where we are, or further back, which changes nothing.
        this.position ??= message["seq"] as number;
        this.#isReady = true;
        return { events: [], replies: [], isReady: true };
      case "pong":
        // All that was ours up to this number has come; what else happened is not missed.
        if (this.position !== null && this.#isReady && typeof message["latest_seq"] === "number") {
          this.position = Math.max(this.position, message["latest_seq"]);
        }
        return { events: [], replies: [], isReady: false };
      case "error":
        return this.#refused(String(message["code"]), String(message["message"]));
      default:
        return { events: this.#news(message), replies: [], isReady: false };
    }
  }

  /** Whether the server closed because of the token, and not because it came too late. */
  isTokenRefused(code: number): boolean {
    return code === TOKEN_REFUSED && this.#refusal !== null;
  }

  /** Why the server closed for good; null when connecting again makes sense. */
  failure(code: number, reason: string): Error | null {
    const status = this.isTokenRefused(code) ? 401 : FINAL[code];
    if (status === undefined) return null;
    const told = this.#refusal ?? { code: `WS_${code}`, message: reason || "The connection was refused" };
    return apiError(told.message, { status, code: told.code, details: {}, requestId: null, retryAfter: null });
  }

  #news(message: Readonly<Record<string, unknown>>): LiveEvent[] {
    // Others are unsubscribed, and what later servers may say.
    if (typeof message["channel"] !== "string" || !("data" in message)) return [];
    const seq = typeof message["seq"] === "number" ? message["seq"] : null;
    if (seq !== null) {
      if (this.position !== null && seq <= this.position) return [];
      this.position = seq;
    }
    const data = fromWire(message["data"]) as Record<string, unknown>;
    return [{ type: String(message["type"]), channel: message["channel"] as Channel, data, seq }];
  }

  #refused(code: string, message: string): Received {
    if (code !== CANNOT_RESUME) {
      if (this.isAccepted) throw new SubscriptionRefused(`${code}: ${message}`);
      this.#refusal = { code, message }; // a close follows
      return { events: [], replies: [], isReady: false };
    }
    const gap: LiveEvent = { type: GAP, channel: null, data: { since: this.position, message }, seq: null };
    this.position = null;
    return { events: [gap], replies: subscriptions([...this.#channels], null), isReady: false };
  }
}

function subscriptions(channels: readonly Channel[], position: number | null): string[] {
  if (channels.length === 0) return [];
  const resume = position === null ? {} : { resume_from: position };
  return [JSON.stringify({ type: "subscribe", channels, ...resume })];
}

function parsed(text: string): Record<string, unknown> {
  try {
    const message: unknown = JSON.parse(text);
    if (message !== null && typeof message === "object" && "type" in message) {
      return message as Record<string, unknown>;
    }
  } catch {
    // Told below.
  }
  throw new UnexpectedResponseError("A live message without a type");
}
