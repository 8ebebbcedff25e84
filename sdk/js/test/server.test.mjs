// The package against the real server, also over a network that fails.
// tests/sdk/test_js.py starts the server and says in the environment where it is.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { AuthenticationError, BadRequestError, ConflictError, NIJAClient, ValidationError } from "@nija/sdk";
import { eventually } from "./support.mjs";

const { NIJA_BASE_URL: baseUrl, PROXY_URL: proxyUrl, EXPIRED_TOKEN, SHORT_TOKEN, REFRESH_TOKEN } = process.env;
const password = "correct-horse-battery-9";
const client = new NIJAClient({ baseUrl });

const proxy = (path, body) => fetch(proxyUrl + path, { method: "POST", body: JSON.stringify(body) });

async function alert(symbol) {
  const { webhookKey } = await client.config.createWebhook();
  return (await client.webhooks.tradingview({ symbol, action: "buy", apiKey: webhookKey })).tradeId;
}

before(async () => {
  const email = `js${process.pid}@nija.example`;
  await client.auth.register({ email, password, fullName: "J S", acceptTerms: true });
  await assert.rejects(client.auth.login({ email, password: "wrong-password" }), AuthenticationError);
  await client.auth.login({ email, password });
});

after(() => client.ws.close());

test("a paper bot from start to stop, with live updates over broken connections", async () => {
  await assert.rejects(client.trading.stop(), BadRequestError);
  const listener = new NIJAClient({ baseUrl: proxyUrl, apiKey: client.tokens.accessToken });
  const came = [];
  listener.ws.on("*", (event) => came.push(event));
  await listener.ws.connect();

  await proxy("/faults", ["lose", "refuse"]);
  const overProxy = new NIJAClient({ baseUrl: proxyUrl, apiKey: client.tokens.accessToken });
  assert.equal((await overProxy.trading.start({ broker: "coinbase", paperTrading: true })).status, "starting");
  await eventually(async () => (await client.trading.status()).status === "running", "running");
  await assert.rejects(client.trading.start(), (failure) => failure instanceof ConflictError && failure.code === "ALREADY_RUNNING");
  await assert.rejects(client.account.modifyPosition(`pos_${"0".repeat(32)}`), ValidationError);

  const first = await alert("BTC-USD");
  await eventually(() => came.some(({ data }) => data.action === "opened"), "a trade");
  await proxy("/faults", ["refuse"]);
  await proxy("/break");
  // What is held must have a price before anything else is bought: the venue was not looked at yet.
  const priced = async () => (await client.account.positions()).positions.every(({ currentPrice }) => currentPrice !== null);
  await eventually(priced, "a price");
  const second = await alert("ETH-USD");
  await eventually(() => came.filter(({ data }) => data.action === "opened").length === 2, "another trade");
  listener.ws.close();
  await listener.ws.closed;

  const opened = came.filter(({ data }) => data.action === "opened").map(({ data }) => data.tradeId);
  assert.deepEqual(opened, [first, second]);
  const numbers = came.map(({ seq }) => seq).filter((seq) => seq !== null);
  assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b));
  assert.ok(!came.some(({ type }) => type === "gap"));

  const trades = [];
  for await (const trade of client.account.iterHistory({ mode: "paper", perPage: 1 })) trades.push(trade.tradeId);
  assert.deepEqual(trades.sort(), [first, second].sort());
  await client.trading.stop({ closePositions: true });
  await eventually(async () => (await client.account.positions()).positions.length === 0, "flat");
});

test("events can be gone through and gone on with later", async () => {
  const again = new NIJAClient({ baseUrl, apiKey: client.tokens.accessToken });
  again.ws.position = 0;
  const states = [];
  for await (const event of again.ws.events("bot")) {
    if (event.type === "bot_update") states.push(event.data.status);
    if (states.includes("stopped")) break;
  }
  again.ws.close();
  assert.deepEqual(states.slice(0, 2), ["starting", "running"]);
  assert.ok(again.ws.position > 2);
});

test("calls and live updates outlive their token", async () => {
  const kept = [];
  const options = { baseUrl, refreshToken: REFRESH_TOKEN, onTokens: (tokens) => kept.push(tokens) };
  const expired = new NIJAClient({ ...options, apiKey: EXPIRED_TOKEN });
  const people = await Promise.all([expired.auth.me(), expired.auth.me(), expired.auth.me()]);
  assert.equal(new Set(people.map(({ email }) => email)).size, 1);
  assert.equal(kept.length, 1);

  const short = new NIJAClient({ ...options, refreshToken: kept[0].refreshToken, apiKey: SHORT_TOKEN });
  await short.ws.connect();
  await eventually(() => kept.length === 2, "a token exchanged by the listener");
  short.ws.subscribe("bot");
  short.ws.close();
  await short.ws.closed;
});

test("a token that is none ends listening", async () => {
  await assert.rejects(new NIJAClient({ baseUrl, apiKey: "nothing" }).ws.connect(), AuthenticationError);
});
