// A program in TypeScript: what compiles here is promised. tests/sdk/test_js.py compiles it.

import { APIError, type LiveEvent, NIJAClient, type PositionItem, type Tokens } from "@nija/sdk";

const client = new NIJAClient({ apiKey: "token", onTokens: (tokens: Tokens) => void tokens.refreshToken });

export async function use(): Promise<PositionItem[]> {
  await client.trading.start({ broker: "coinbase", paperTrading: true }, { idempotencyKey: "mine" });
  await client.config.updateSettings({ trading: { riskLevel: "high", allowedPairs: ["BTC-USD"] } });
  for await (const trade of client.account.iterHistory({ mode: "paper", startDate: new Date() })) {
    const price: number | null = trade.exitPrice;
    void price;
  }
  client.ws.on("position_update", (data) => void data["currentPrice"]);
  client.ws.on("*", (event: LiveEvent) => void event.seq);
  const failure: unknown = await client.trading.stop().catch((error: unknown) => error);
  if (failure instanceof APIError) void failure.code;
  // @ts-expect-error - names are camelCase
  await client.trading.start({ paper_trading: true });
  // @ts-expect-error - a stop without a position
  await client.account.modifyPosition({ stopLoss: 1 });
  const { positions } = await client.account.positions();
  return positions;
}
