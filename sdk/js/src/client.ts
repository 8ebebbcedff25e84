/** The client: the groups of endpoints, live updates, and what they share. */

import { Groups } from "./generated/resources.js";
import { LiveUpdates, type WebSocketConstructor } from "./live.js";
import { type Tokens, TokenStore } from "./tokens.js";
import { Transport } from "./transport.js";

const DEFAULT_URL = "https://api.nija.com/api/v1";
const API_PATH = "/api/v1";
const WS_PATH = "/ws/v1";

/** How to reach the server, and as whom. */
export interface NIJAClientOptions {
  /** An access token; `auth.login` gets one too. */
  apiKey?: string;
  /** With it, expired access tokens are exchanged for new ones. */
  refreshToken?: string;
  /** A server, with or without `/api/v1`. In Node `NIJA_BASE_URL` is used where it is left out. */
  baseUrl?: string;
  /** Longest time for one try of a call; 30 s by default. */
  timeoutMs?: number;
  /** How often a call is repeated after its first try, where that is safe; 3 by default. */
  maxRetries?: number;
  /** Told of every new pair of tokens. Store it: the refresh token before it is used up. */
  onTokens?: (tokens: Tokens) => void | Promise<void>;
  /** What to use instead of the built-in `fetch`. */
  fetch?: typeof fetch;
  /** What to use instead of the built-in `WebSocket`, which Node has from version 22. */
  WebSocket?: WebSocketConstructor;
}

/** A client of one NIJA server, for one person. */
export class NIJAClient extends Groups {
  /** Live updates. */
  readonly ws: LiveUpdates;
  readonly #transport: Transport;

  constructor(options: NIJAClientOptions = {}) {
    const baseUrl = apiAddress(options.baseUrl);
    if (options.refreshToken && !options.apiKey) {
      throw new TypeError("Give apiKey too, or exchange the refresh token by auth.refresh");
    }
    const accessToken = options.apiKey?.replace(/^Bearer /, "");
    const tokens = accessToken ? { accessToken, refreshToken: options.refreshToken ?? null } : null;
    const transport = new Transport(
      {
        baseUrl,
        timeoutMs: options.timeoutMs ?? 30_000,
        maxRetries: options.maxRetries ?? 3,
        fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
        onTokens: options.onTokens,
      },
      new TokenStore(tokens),
    );
    super(transport);
    this.#transport = transport;
    this.ws = new LiveUpdates(transport, wsAddress(baseUrl), options.WebSocket);
  }

  /** The newest tokens; null before a login and after a logout. */
  get tokens(): Tokens | null {
    return this.#transport.tokens.current;
  }
}

function apiAddress(given: string | undefined): string {
  const env = (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env;
  const url = new URL(given ?? env?.["NIJA_BASE_URL"] ?? DEFAULT_URL);
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw new TypeError("baseUrl must be an http or https address");
  }
  const path = url.pathname.replace(/\/+$/, "");
  return url.origin + (path.endsWith(API_PATH) ? path : path + API_PATH);
}

function wsAddress(baseUrl: string): string {
  return baseUrl.replace(/^http/, "ws").replace(/\/api\/v1$/, WS_PATH);
}
