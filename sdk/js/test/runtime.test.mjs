// The package's own rules: retries, keys, tokens, names, pages; against a hand-written server.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { inspect } from "node:util";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import * as sdk from "@nija/sdk";
import { cut, eventually, ok, refused, scripted } from "./support.mjs";

const { NIJAClient } = sdk;
const STARTED = ok({ status: "starting", message: "m", estimated_ready_in_seconds: 1 });
const UNAVAILABLE = refused(503, "SERVICE_UNAVAILABLE", { "retry-after": "0" });

/** A client of a scripted server that ends with the test. */
async function clientOf(t, replies, options = {}) {
  const server = await scripted(replies);
  t.after(server.close);
  return { server, client: new NIJAClient({ apiKey: "secret-access", baseUrl: server.url, ...options }) };
}

const keysOf = (server) => server.asked.map((call) => call.headers["idempotency-key"]);

test("a write is repeated with its own key", async (t) => {
  const page = { status: 502, headers: { "retry-after": "0" }, body: "<html>" };
  const { server, client } = await clientOf(t, [UNAVAILABLE, cut, page, STARTED, STARTED]);

  const found = await client.trading.start({ paperTrading: true });
  await client.trading.start();

  const keys = keysOf(server);
  assert.equal(found.estimatedReadyInSeconds, 1);
  assert.equal(new Set(keys.slice(0, 4)).size, 1);
  assert.notEqual(keys[4], keys[0]);
  assert.ok(keys.every((key) => /^[0-9a-f]{32}$/.test(key)));
  assert.equal(server.asked[3].body, '{"paper_trading":true}');
  assert.match(server.asked[3].headers["user-agent"], /^nija-sdk-js\//);
});

test("a write without a key is not repeated, unless it was not carried out", async (t) => {
  const { server, client } = await clientOf(t, [UNAVAILABLE, cut, refused(429, "RATE_LIMITED", { "retry-after": "0" }), ok({ message: "m" })]);
  const change = () => client.auth.changePassword({ currentPassword: "a", newPassword: "b" });

  await assert.rejects(change, sdk.ServerError);
  await assert.rejects(change, sdk.APIConnectionError);
  assert.equal((await change()).message, "m");

  assert.equal(server.asked.length, 4);
});

test("a refusal is final and told", async (t) => {
  const kinds = new Map([
    [400, sdk.BadRequestError],
    [401, sdk.AuthenticationError],
    [402, sdk.PaymentRequiredError],
    [403, sdk.PermissionDeniedError],
    [404, sdk.NotFoundError],
    [409, sdk.ConflictError],
    [422, sdk.ValidationError],
    [500, sdk.ServerError],
    [502, sdk.ServerError],
  ]);
  for (const [status, kind] of kinds) {
    const { server, client } = await clientOf(t, [refused(status, "IDEMPOTENCY_CONFLICT")]);
    await assert.rejects(client.trading.start({}, { idempotencyKey: "mine" }), (failure) => {
      assert.ok(failure instanceof kind && failure instanceof sdk.APIError);
      const { code, message, requestId, details } = failure;
      assert.deepEqual({ code, message, requestId, details }, {
        code: "IDEMPOTENCY_CONFLICT",
        message: "Because",
        requestId: "req-1",
        details: { fields: { snake_case: "b" } },
      });
      return true;
    });
    assert.deepEqual(keysOf(server), ["mine"]);
  }
});

test("a try still under way is waited for, and tries end", async (t) => {
  const { client } = await clientOf(t, [cut, refused(409, "IDEMPOTENCY_CONFLICT"), STARTED]);
  assert.equal((await client.trading.start()).status, "starting");

  const tired = await clientOf(t, [UNAVAILABLE, UNAVAILABLE], { maxRetries: 1 });
  await assert.rejects(tired.client.trading.start(), sdk.ServerError);

  const long = await clientOf(t, [refused(429, "RATE_LIMITED", { "retry-after": "61" })]);
  await assert.rejects(long.client.trading.start(), { retryAfter: 61 });
});

test("silence and a signal end a call", async (t) => {
  const { client } = await clientOf(t, () => new Promise(() => {}), { timeoutMs: 50, maxRetries: 0 });
  await assert.rejects(client.trading.status(), sdk.APITimeoutError);

  const patient = await clientOf(t, () => new Promise(() => {}));
  const abort = new AbortController();
  const call = patient.client.trading.status({ signal: abort.signal });
  abort.abort(new Error("enough"));
  await assert.rejects(call, /enough/);
});

test("expired tokens are exchanged once, also when the answer is lost", async (t) => {
  const kept = [];
  let losses = 1;
  const { server, client } = await clientOf(
    t,
    (call) => {
      if (call.url.endsWith("/auth/refresh")) {
        if (losses > 0) {
          losses -= 1;
          return cut;
        }
        return ok({ access_token: "access-2", refresh_token: "refresh-2", expires_in: 9 });
      }
      return call.headers.authorization === "Bearer access-2" ? STARTED : refused(401, "TOKEN_EXPIRED");
    },
    { refreshToken: "secret-refresh", onTokens: async (tokens) => kept.push(tokens) },
  );

  await Promise.all(Array.from({ length: 8 }, () => client.trading.start()));

  assert.deepEqual(kept, [{ accessToken: "access-2", refreshToken: "refresh-2" }]);
  assert.deepEqual(client.tokens, kept[0]);
  assert.equal(server.asked.filter((call) => call.url.endsWith("/auth/refresh")).length, 2);
});

test("secrets are in no text", async (t) => {
  const { client } = await clientOf(t, [], { refreshToken: "secret-refresh" });
  const shown = inspect(client, { depth: 10, showHidden: true }) + JSON.stringify(client);
  assert.doesNotMatch(shown, /secret-/);
});

test("names change, free mappings and their names do not", async (t) => {
  const decision = { decision_id: "dec_1", bar_at: null, gates: [{ max_positions: 1 }], filter: { ema_9: 1 }, evaluation: null };
  const { server, client } = await clientOf(t, [ok({ decisions: [decision] }), ok({ broker_id: "b" }), ok({ message: "m" })]);

  const found = await client.trading.decisions({ symbol: "BTC-USD", limit: 1 });
  await client.config.addBroker({ broker: "coinbase", apiKey: "k", apiSecret: "s", additionalParams: { orgId: "o", key_name: "n" } });
  await client.config.removeBroker("a/b", { force: true });

  assert.deepEqual(found.decisions[0].filter, { ema_9: 1 });
  assert.deepEqual(found.decisions[0].gates, [{ max_positions: 1 }]);
  assert.equal(found.decisions[0].decisionId, "dec_1");
  assert.equal(server.asked[0].url, "/api/v1/trading/decisions?symbol=BTC-USD&limit=1");
  assert.deepEqual(JSON.parse(server.asked[1].body), {
    broker: "coinbase",
    api_key: "k",
    api_secret: "s",
    additional_params: { orgId: "o", key_name: "n" },
  });
  assert.equal(server.asked[2].url, "/api/v1/config/brokers/a%2Fb?force=true");
});

test("pages are gone through and no item comes twice", async (t) => {
  const numbers = { 1: [1, 2], 2: [2, 3], 3: [4] };
  const { server, client } = await clientOf(t, (call) => {
    const page = Number(new URL(call.url, "http://x").searchParams.get("page"));
    return ok({
      trades: numbers[page].map((number) => ({ trade_id: `trd_${number}` })),
      pagination: { page, has_next: page < 3 },
    });
  });

  const found = [];
  const since = new Date("2026-01-02T00:00:00Z");
  for await (const trade of client.account.iterHistory({ perPage: 2, startDate: since })) found.push(trade.tradeId);

  assert.deepEqual(found, ["trd_1", "trd_2", "trd_3", "trd_4"]);
  assert.equal(server.asked[0].url, "/api/v1/account/history?per_page=2&start_date=2026-01-02T00%3A00%3A00.000Z&page=1");
});

test("every call has a method, and every method a call", () => {
  const client = new NIJAClient({ apiKey: "x" });
  const methods = Object.entries(client)
    .filter(([name]) => name !== "ws")
    .flatMap(([group, resource]) =>
      Object.getOwnPropertyNames(Object.getPrototypeOf(resource))
        .filter((name) => name !== "constructor" && !/^iter[A-Z]/.test(name))
        .map((name) => `${group}.${name}`),
    );
  assert.deepEqual(methods.sort(), Object.keys(sdk.OPERATIONS).sort());
});

test("every method makes its call", async (t) => {
  const { server } = await clientOf(t, () => ok({}));
  for (const [name, operation] of Object.entries(sdk.OPERATIONS)) {
    const client = new NIJAClient({ apiKey: "token", baseUrl: server.url });
    const [group, method] = name.split(".");
    const places = [...operation.path.matchAll(/{(\w+)}/g)].map(() => "x");
    await client[group][method](...places, ...(client[group][method].length > places.length ? [{}] : []));
    const call = server.asked.at(-1);
    assert.equal(`${call.method} ${call.url}`, `${operation.method} /api/v1${operation.path.replace(/{\w+}/g, "x")}`);
    assert.equal("authorization" in call.headers, !operation.public, name);
    assert.equal("idempotency-key" in call.headers, operation.keyed === true, name);
  }
});

test("both kinds of modules are there, and the version is the package's", async () => {
  const { version } = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8"));
  const common = createRequire(import.meta.url)("@nija/sdk");
  assert.deepEqual(Object.keys(common).sort(), Object.keys(sdk).sort());
  assert.equal(sdk.VERSION, version);
});

/** Hand-written WebSockets: what was made of them, and the first message of each. */
function fakeSockets() {
  const sockets = [];
  class Fake extends EventTarget {
    readyState = 1;
    said = [];
    constructor(url) {
      super();
      this.url = url;
      sockets.push(this);
      queueMicrotask(() => this.dispatchEvent(new Event("open")));
    }
    send = (text) => void this.said.push(JSON.parse(text));
    tell = (message) => this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) }));
    end = (code, reason = "") => this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
    close = (code) => queueMicrotask(() => this.end(code ?? 1006));
  }
  const next = async (number) => {
    await eventually(() => sockets[number]?.said.length, "a socket");
    return sockets[number];
  };
  return { Fake, next };
}

test("live updates: who connects again right after a close is connected", async () => {
  const { Fake, next } = fakeSockets();
  const client = new NIJAClient({ apiKey: "token", baseUrl: "https://a.b", WebSocket: Fake });
  const came = [];
  client.ws.on("bot_update", (data) => came.push(data.number));
  const enter = (socket) => {
    socket.tell({ type: "auth_success" });
    socket.tell({ type: "subscribed", channels: ["bot"], seq: 5 });
  };
  const connecting = client.ws.connect();
  const first = await next(0);
  enter(first);
  await connecting;

  client.ws.close();
  const again = client.ws.connect();
  const second = await next(1);
  enter(second);
  await again;
  first.tell({ type: "bot_update", channel: "bot", seq: 6, data: { number: 0 } });
  second.tell({ type: "bot_update", channel: "bot", seq: 6, data: { number: 6 } });

  assert.deepEqual(came, [6]);
  client.ws.close();
  await client.ws.closed;
});

test("live updates: going through many events keeps none of them", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc");
  const { Fake, next } = fakeSockets();
  const client = new NIJAClient({ apiKey: "token", baseUrl: "https://a.b", WebSocket: Fake });
  const events = client.ws.events("bot");
  const first = events.next();
  const socket = await next(0);
  socket.tell({ type: "auth_success" });
  socket.tell({ type: "subscribed", channels: ["bot"], seq: 0 });
  const tell = (seq) => socket.tell({ type: "bot_update", channel: "bot", seq, data: {} });
  tell(1);
  await first;
  const go = async (from, to) => {
    for (let seq = from; seq < to; seq += 1) {
      const coming = events.next();
      tell(seq);
      assert.equal((await coming).value.seq, seq);
    }
    collect();
    return process.memoryUsage().heapUsed;
  };

  const before = await go(2, 2_000);
  const kept = (await go(2_000, 42_000)) - before;

  assert.ok(kept < 2_000_000, `${kept} bytes more`);
  const last = events.next();
  client.ws.close();
  assert.deepEqual(await last, { value: undefined, done: true });
});

test("live updates: a token that came too late is sent again, a refused one is not", async () => {
  const { Fake, next } = fakeSockets();
  const client = new NIJAClient({ apiKey: "token", baseUrl: "https://a.b", WebSocket: Fake });
  client.ws.on("bot_update", () => {});
  const connecting = client.ws.connect();
  const first = await next(0);
  first.tell({ type: "auth_success" });
  first.tell({ type: "subscribed", channels: ["bot"], seq: 5 });
  await connecting;

  first.end(1006);
  (await next(1)).end(4401, "No token came in time");
  const third = await next(2);
  third.tell({ type: "error", code: "TOKEN_INVALID", message: "No such session" });
  third.end(4401);

  await assert.rejects(client.ws.closed, { name: "AuthenticationError", code: "TOKEN_INVALID" });
});

test("live updates: handed-in WebSocket, resume, a gap, a refusal, an end for good", async (t) => {
  const { Fake, next } = fakeSockets();
  const client = new NIJAClient({ apiKey: "token", baseUrl: "https://a.b", WebSocket: Fake });
  const came = [];
  client.ws.on("bot_update", (data) => came.push(data.runState)).on("gap", (data) => came.push(data));
  const connecting = client.ws.connect();

  const first = await next(0);
  assert.equal(first.url, "wss://a.b/ws/v1");
  assert.deepEqual(first.said[0], { type: "auth", token: "Bearer token" });
  first.tell({ type: "auth_success" });
  assert.deepEqual(first.said[1], { type: "subscribe", channels: ["bot"] });
  first.tell({ type: "subscribed", channels: ["bot"], seq: 5 });
  await connecting;
  for (const seq of [5, 6, 6, null]) {
    first.tell({ type: "bot_update", channel: "bot", seq: seq ?? undefined, data: { run_state: seq } });
  }
  assert.deepEqual(came, [6, null]);

  first.end(4408);
  const second = await next(1);
  second.tell({ type: "auth_success" });
  assert.deepEqual(second.said[1], { type: "subscribe", channels: ["bot"], resume_from: 6 });
  second.tell({ type: "error", code: "DATABASE_ERROR", message: "down" });

  const third = await next(2);
  third.tell({ type: "auth_success" });
  third.tell({ type: "error", code: "RESUME_NOT_POSSIBLE", message: "gone" });
  assert.deepEqual(came.at(-1), { since: 6, message: "gone" });
  assert.deepEqual(third.said[2], { type: "subscribe", channels: ["bot"] });
  third.tell({ type: "subscribed", channels: ["bot"], seq: 2000 });
  third.tell({ type: "pong", latest_seq: 2001 });
  assert.equal(client.ws.position, 2001);

  third.end(1006);
  const last = await next(3);
  last.tell({ type: "error", code: "SUBSCRIPTION_REQUIRED", message: "Needs basic" });
  last.end(4402);
  await assert.rejects(client.ws.closed, { name: "PaymentRequiredError", code: "SUBSCRIPTION_REQUIRED" });
});

test("an address must be one", () => {
  assert.throws(() => new NIJAClient({ baseUrl: "ftp://a.b" }), /http or https/);
});
