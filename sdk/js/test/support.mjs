// What the tests share: a server that answers as it is told, and waiting for something to be true.

import { createServer } from "node:http";
import { setTimeout as later } from "node:timers/promises";

export const ok = (data) => ({ status: 200, body: { success: true, data, timestamp: "t" } });

export const refused = (status, code, headers = {}) => ({
  status,
  headers: { "x-request-id": "req-1", ...headers },
  body: { success: false, error: { code, message: "Because", details: { fields: { snake_case: "b" } } }, timestamp: "t" },
});

/** Breaks the connection instead of answering. */
export const cut = { cut: true };

/** A server whose replies are given in advance, or by a function; it keeps what it was asked. */
export async function scripted(replies) {
  const asked = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    const call = { method: request.method, url: request.url, headers: request.headers, body };
    asked.push(call);
    const reply = typeof replies === "function" ? await replies(call) : replies.shift();
    if (reply.cut) return void request.socket.destroy();
    response.writeHead(reply.status, { "content-type": "application/json", ...reply.headers });
    response.end(typeof reply.body === "string" ? reply.body : JSON.stringify(reply.body));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, asked, close };
}

/** Wait until `check` returns something true, and return it. */
export async function eventually(check, what, seconds = 60) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`${what} did not come`);
    await later(50);
  }
}
