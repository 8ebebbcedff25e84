/**
 * Live updates over a WebSocket that comes back by itself and misses nothing. The first connection
 * has to succeed. Later ones are made again until `close`, unless the server says that it is of no
 * use: the session is over, or the plan has no live updates.
 */

import { APIConnectionError, NIJAError, ServerError } from "./errors.js";
import { backoff } from "./retry.js";
import { ANY, type Channel, channelsOf, type LiveEvent, Stream, SubscriptionRefused } from "./stream.js";
import type { Tokens } from "./tokens.js";
import { pause, type Transport } from "./transport.js";

/** The part of the standard `WebSocket` that is needed; that of the package `ws` has it too. */
export type WebSocketConstructor = new (url: string) => Pick<
  WebSocket,
  "send" | "close" | "addEventListener" | "readyState"
>;

type Socket = InstanceType<WebSocketConstructor>;
type Handler = (data: never) => void;

interface End {
  code: number;
  reason: string;
}

const PING_MS = 20_000;
const SILENCE_MS = 45_000;
const OPEN_MS = 10_000;
const OPEN = 1;

/** Live updates. */
export class LiveUpdates {
  /** Settles when listening ends: by `close`, or with the reason why it cannot go on. */
  closed: Promise<void> = Promise.resolve();
  readonly #transport: Transport;
  readonly #address: string;
  readonly #given: WebSocketConstructor | undefined;
  readonly #stream = new Stream();
  readonly #handlers = new Map<string, Handler[]>();
  readonly #listeners = new Set<(event: LiveEvent) => void>();
  #socket: Socket | null = null;
  #ready: Promise<void> | null = null;
  #ending: AbortController | null = null;

  constructor(transport: Transport, address: string, constructor: WebSocketConstructor | undefined) {
    this.#transport = transport;
    this.#address = address;
    this.#given = constructor;
  }

  /** The number of the last event; set it before connecting to go on from an earlier run. */
  get position(): number | null {
    return this.#stream.position;
  }

  set position(number: number | null) {
    this.#stream.position = number;
  }

  /**
   * Call a function with the `data` of every such event, and subscribe to its channel.
   * `gap` tells that events were missed for good; `*` is all events, handed over whole.
   */
  on(event: "*", handler: (event: LiveEvent) => void): this;
  on(event: string, handler: (data: Readonly<Record<string, unknown>>) => void): this;
  on(event: string, handler: Handler): this {
    this.#handlers.set(event, [...(this.#handlers.get(event) ?? []), handler]);
    this.#want(channelsOf(event));
    return this;
  }

  /** Listen to more channels, also while connected. */
  subscribe(...channels: Channel[]): void {
    this.#want(channels);
  }

  /** Listen until `close`. Resolves once everything wanted is subscribed; later see `closed`. */
  connect(): Promise<void> {
    if (this.#ready === null) {
      const ending = new AbortController();
      this.#ending = ending;
      this.#ready = new Promise((resolve, reject) => {
        const running = this.#run(ending.signal, resolve).finally(() => {
          if (this.#ending === ending) this.#ready = this.#ending = null;
        });
        this.closed = running;
        // Who does not look at `closed` wants no unhandled rejection; `connect` rejects by itself.
        running.then(resolve, reject);
      });
    }
    return this.#ready;
  }

  /** End listening. */
  close(): void {
    this.#ending?.abort();
    this.#socket?.close(1000);
    // Who connects right away gets a connection of their own, not the one that is ending.
    this.#ready = this.#ending = this.#socket = null;
  }

  /** Listen, and go through the updates until `close`; leaving the loop does not close. */
  async *events(...channels: Channel[]): AsyncGenerator<LiveEvent> {
    this.#want(channels);
    const waiting: LiveEvent[] = [];
    let end: { failure?: unknown } | null = null;
    let wake = (): void => {};
    const listener = (event: LiveEvent): void => {
      waiting.push(event);
      wake();
    };
    this.#listeners.add(listener);
    try {
      await this.connect();
      // Not a race for each event: what lost to `closed` would be kept until that settles.
      const stop = (how: { failure?: unknown }): void => {
        end = how;
        wake();
      };
      this.closed.then(
        () => stop({}),
        (failure: unknown) => stop({ failure }),
      );
      for (;;) {
        for (let event = waiting.shift(); event !== undefined; event = waiting.shift()) yield event;
        const ended = end as { failure?: unknown } | null; // the compiler does not see `stop`
        if (ended !== null) {
          if ("failure" in ended) throw ended.failure;
          return;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      this.#listeners.delete(listener);
    }
  }

  #want(channels: readonly Channel[]): void {
    const messages = this.#stream.want(channels);
    if (!this.#stream.isAccepted || this.#socket?.readyState !== OPEN) return;
    for (const message of messages) this.#socket.send(message);
  }

  async #run(ending: AbortSignal, ready: () => void): Promise<void> {
    let failed = 0;
    let hasRefreshed = false;
    let wasAccepted = false;
    const heard = (isReady: boolean): void => {
      if (!this.#stream.isAccepted) return;
      [hasRefreshed, wasAccepted] = [false, true];
      if (!isReady) return;
      failed = 0;
      ready();
    };
    while (!ending.aborted) {
      const tokens = this.#transport.tokens.current;
      if (tokens === null) throw new NIJAError("Log in first: there is no token");
      const end = await this.#listen(tokens, ending, heard);
      if (ending.aborted) return;
      if (this.#stream.isTokenRefused(end.code) && tokens.refreshToken !== null && !hasRefreshed) {
        hasRefreshed = await this.#refresh(tokens, wasAccepted);
        if (hasRefreshed) continue;
      } else {
        const failure = this.#stream.failure(end.code, end.reason);
        if (failure !== null) throw failure;
        if (!wasAccepted) throw new APIConnectionError(`No live updates: ${end.reason || end.code}`);
      }
      failed += 1;
      await pause(backoff(failed), ending).catch(() => {});
    }
  }

  /** Exchange the tokens; false when the server cannot be reached at the moment. */
  async #refresh(used: Tokens, mayTryAgain: boolean): Promise<boolean> {
    try {
      await this.#transport.refresh(used);
      return true;
    } catch (failure) {
      const isPassing = failure instanceof APIConnectionError || failure instanceof ServerError;
      if (!isPassing || !mayTryAgain) throw failure;
      return false;
    }
  }

  /** Serve one connection until it ends. */
  #listen(tokens: Tokens, ending: AbortSignal, heard: (isReady: boolean) => void): Promise<End> {
    const Socket = this.#given ?? (globalThis.WebSocket as WebSocketConstructor | undefined);
    if (Socket === undefined) {
      throw new NIJAError("There is no WebSocket here: hand one in as the option WebSocket");
    }
    return new Promise((resolve, reject) => {
      const socket = new Socket(this.#address);
      this.#socket = socket;
      let last = Date.now();
      const finish = (settle: () => void): void => {
        clearTimeout(opening);
        clearInterval(heart);
        if (this.#socket === socket) this.#socket = null;
        settle();
      };
      const giveUp = (reason: string): void => {
        finish(() => resolve({ code: 1006, reason }));
        socket.close();
      };
      const opening = setTimeout(() => giveUp("no answer"), OPEN_MS);
      const heart = setInterval(() => {
        if (Date.now() - last > SILENCE_MS) giveUp("silence");
        else if (this.#stream.isAccepted && socket.readyState === OPEN) socket.send('{"type":"ping"}');
      }, PING_MS);
      socket.addEventListener("open", () => {
        clearTimeout(opening);
        if (ending.aborted) socket.close(1000);
        else socket.send(this.#stream.authentication(tokens.accessToken));
      });
      socket.addEventListener("message", ({ data }) => {
        if (this.#socket !== socket || ending.aborted) return;
        last = Date.now();
        try {
          this.#take(socket, String(data), heard);
        } catch (failure) {
          if (failure instanceof SubscriptionRefused) return giveUp(failure.message);
          finish(() => reject(failure as Error));
          socket.close();
        }
      });
      // A close follows.
      socket.addEventListener("error", () => {});
      socket.addEventListener("close", ({ code, reason }) => finish(() => resolve({ code, reason })));
    });
  }

  #take(socket: Socket, text: string, heard: (isReady: boolean) => void): void {
    const { events, replies, isReady } = this.#stream.receive(text);
    for (const reply of replies) socket.send(reply);
    heard(isReady);
    for (const event of events) this.#hand(event);
  }

  #hand(event: LiveEvent): void {
    for (const listener of this.#listeners) listener(event);
    for (const handler of this.#handlers.get(event.type) ?? []) call(handler, event.data);
    for (const handler of this.#handlers.get(ANY) ?? []) call(handler, event);
  }
}

/** A handler's mistake is its own: it must not end the connection, nor get lost. */
function call(handler: Handler, argument: unknown): void {
  try {
    handler(argument as never);
  } catch (failure) {
    queueMicrotask(() => {
      throw failure;
    });
  }
}
