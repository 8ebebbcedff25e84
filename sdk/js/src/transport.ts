/** Sends calls: tries, waits, and exchanges expired tokens. */

import { type Answer, type Call, dataOf, makeCall, readAnswer } from "./calls.js";
import { APIConnectionError, APIError, APITimeoutError } from "./errors.js";
import { afterAnswer, afterSilence } from "./retry.js";
import { REFRESH, type Tokens, type TokenStore } from "./tokens.js";

// A used refresh token may be presented again for ten seconds only; later it ends the session.
const REFRESH_MS = 4_000;
const REFRESH_TRIES = 2;

/** How calls are sent. */
export interface TransportOptions {
  baseUrl: string;
  timeoutMs: number;
  maxRetries: number;
  fetch: typeof fetch;
  onTokens: ((tokens: Tokens) => void | Promise<void>) | undefined;
}

export class Transport {
  readonly options: TransportOptions;
  readonly tokens: TokenStore;
  #refreshing: Promise<void> | null = null;

  constructor(options: TransportOptions, tokens: TokenStore) {
    this.options = options;
    this.tokens = tokens;
  }

  /** Send a call and return the `data` of its answer as it came. */
  async request(call: Call): Promise<unknown> {
    const used = this.tokens.current;
    try {
      return await this.#send(call, used);
    } catch (failure) {
      const isExpired = failure instanceof APIError && failure.code === "TOKEN_EXPIRED";
      if (!isExpired || call.operation.public || used === null || !this.tokens.isWorthAnotherTry(used)) {
        throw failure;
      }
      await this.refresh(used);
      return await this.#send(call, this.tokens.current);
    }
  }

  /** Exchange tokens that turned out to be expired; once, however many calls used them. */
  async refresh(used: Tokens): Promise<void> {
    if (this.#refreshing === null) {
      if (!this.tokens.needsRefresh(used)) return;
      this.#refreshing = this.#exchange(used).finally(() => {
        this.#refreshing = null;
      });
    }
    await this.#refreshing;
  }

  async #exchange(used: Tokens): Promise<void> {
    const call = makeCall(REFRESH, {}, { refreshToken: used.refreshToken }, {});
    for (let tried = 1; ; tried += 1) {
      let answer: Answer;
      try {
        answer = await this.#try(call, null, Math.min(this.options.timeoutMs, REFRESH_MS));
      } catch (failure) {
        if (tried === REFRESH_TRIES) throw failure;
        continue;
      }
      await this.#learn(call, dataOf(answer));
      return;
    }
  }

  async #send(call: Call, tokens: Tokens | null): Promise<unknown> {
    for (let tried = 1; ; tried += 1) {
      const isLast = tried > this.options.maxRetries;
      let wait: number | null;
      try {
        const answer = await this.#try(call, tokens, this.options.timeoutMs);
        wait = isLast ? null : afterAnswer(call, answer, tried);
        if (wait === null) return await this.#learn(call, dataOf(answer));
      } catch (failure) {
        wait = isLast || !(failure instanceof APIConnectionError) ? null : afterSilence(call, tried);
        if (wait === null) throw failure;
      }
      await pause(wait, call.signal);
    }
  }

  async #try(call: Call, tokens: Tokens | null, timeoutMs: number): Promise<Answer> {
    const headers: Record<string, string> = { ...call.headers };
    if (tokens !== null && !call.operation.public) headers["Authorization"] = `Bearer ${tokens.accessToken}`;
    const deadline = AbortSignal.timeout(timeoutMs);
    const signal = call.signal ? AbortSignal.any([call.signal, deadline]) : deadline;
    const init: RequestInit = { method: call.operation.method, headers, signal, redirect: "error" };
    if (call.body !== undefined) init.body = call.body as BodyInit;
    try {
      return await readAnswer(await this.options.fetch(this.options.baseUrl + call.target, init));
    } catch (failure) {
      call.signal?.throwIfAborted();
      if (deadline.aborted) throw new APITimeoutError(`No answer within ${timeoutMs} ms`);
      throw new APIConnectionError("No answer", { cause: failure });
    }
  }

  async #learn(call: Call, data: unknown): Promise<unknown> {
    const issued = this.tokens.adopt(call.operation, data);
    if (issued !== null) await this.options.onTokens?.(issued);
    return data;
  }
}

/** Wait; the signal of a call that is given up ends it. */
export function pause(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

