/** The tokens of one client. */

import type { Operation } from "./calls.js";

/** What proves who is calling; keep the newest pair, for the older refresh token is used up. */
export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string | null;
}

export const LOGIN = "/auth/login";
export const REFRESH = { method: "POST", path: "/auth/refresh", body: true, public: true } as const;
export const LOGOUT = "/auth/logout";

/** Holds the newest tokens, out of reach of `console.log` and `JSON.stringify`. */
export class TokenStore {
  #tokens: Tokens | null;

  constructor(tokens: Tokens | null) {
    this.#tokens = tokens;
  }

  /** The newest pair. */
  get current(): Tokens | null {
    return this.#tokens;
  }

  /** Learn from a successful answer; returns the new pair, where there is one. */
  adopt(operation: Operation, data: unknown): Tokens | null {
    if (operation.path === LOGIN || operation.path === REFRESH.path) {
      const issued = data as { access_token: string; refresh_token: string };
      this.#tokens = { accessToken: issued.access_token, refreshToken: issued.refresh_token };
      return this.#tokens;
    }
    if (operation.path === LOGOUT) this.#tokens = null;
    return null;
  }

  /** Whether the expired tokens of a call are still the newest, and can be exchanged. */
  needsRefresh(used: Tokens): boolean {
    return this.#tokens === used && used.refreshToken !== null;
  }

  /** Whether a call that failed with expired tokens can succeed with newer ones. */
  isWorthAnotherTry(used: Tokens): boolean {
    return this.#tokens !== null && (this.#tokens !== used || used.refreshToken !== null);
  }
}
