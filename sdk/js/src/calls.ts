/** A call before and after the network: request parts, headers, and what the answer means. */

import { apiError, UnexpectedResponseError } from "./errors.js";
import { fromWire, toWire, wireName } from "./names.js";
import { VERSION } from "./version.js";

/** One endpoint. */
export interface Operation {
  readonly method: string;
  readonly path: string;
  /** Parameters of the query. */
  readonly query?: readonly string[];
  /** Parameters that travel as headers: their names here and on the wire. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether the other parameters make up a JSON body. */
  readonly body?: boolean;
  /** It takes an Idempotency-Key, so that repeating it is safe. */
  readonly keyed?: boolean;
  /** It needs no token. */
  readonly public?: boolean;
}

/** What may be said about one call. */
export interface CallOptions {
  /** Gives the call up. A write that was sent may still be carried out. */
  signal?: AbortSignal;
}

/** What may be said about a call that can be repeated safely. */
export interface KeyedCallOptions extends CallOptions {
  /**
   * A repeat with the same key within 24 hours gets the first answer; by default every call has a
   * key of its own, which its retries keep.
   */
  idempotencyKey?: string;
}

/** One use of an endpoint; its key stays the same however often it is sent. */
export interface Call {
  readonly operation: Operation;
  readonly target: string;
  readonly body: string | Uint8Array | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal | undefined;
}

const isNode = typeof (globalThis as { process?: { versions?: { node?: string } } }).process?.versions?.node === "string";

/** Put a call together; what is undefined is left out. */
export function makeCall(
  operation: Operation,
  places: Readonly<Record<string, string>>,
  params: object,
  options: KeyedCallOptions,
  payload?: string | Uint8Array,
): Call {
  const headers: Record<string, string> = { Accept: "application/json" };
  // Browsers name themselves, and would ask the server for leave to be called otherwise.
  if (isNode) headers["User-Agent"] = `nija-sdk-js/${VERSION}`;
  if (operation.keyed) headers["Idempotency-Key"] = options.idempotencyKey ?? newKey();
  const query = new URLSearchParams();
  const members: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(params)) {
    if (value === undefined) continue;
    if (operation.headers?.[name] !== undefined) headers[operation.headers[name]] = String(value);
    else if (operation.body && !operation.query?.includes(name)) members[name] = value;
    else if (value !== null) query.append(wireName(name), value instanceof Date ? value.toISOString() : String(value));
  }
  const body = payload ?? (operation.body ? JSON.stringify(toWire(members)) : undefined);
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const path = operation.path.replace(/{(\w+)}/g, (_, name: string) => encodeURIComponent(place(places, name)));
  const search = query.toString();
  return { operation, target: search ? `${path}?${search}` : path, body, headers, signal: options.signal };
}

/** Random and unique. `crypto.randomUUID` is missing on pages that came over plain HTTP. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function place(places: Readonly<Record<string, string>>, wire: string): string {
  const found = Object.entries(places).find(([name]) => wireName(name) === wire)?.[1];
  if (!found) throw new TypeError(`${wire} is missing`);
  return found;
}

/** An answer whose body has been read. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly envelope: Readonly<Record<string, unknown>>;
}

/** Read an answer; a body that is no JSON object counts as an empty one. */
export async function readAnswer(response: Response): Promise<Answer> {
  const text = await response.text();
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    found = null;
  }
  const envelope = found !== null && typeof found === "object" ? (found as Record<string, unknown>) : {};
  return { status: response.status, headers: response.headers, envelope };
}

/** The `data` of an answer as it came; throws what the answer refuses with. */
export function dataOf(answer: Answer): unknown {
  if (answer.status < 200 || answer.status > 299) throw failureOf(answer);
  if (!("data" in answer.envelope)) {
    throw new UnexpectedResponseError(`${answer.status} without an envelope`);
  }
  return answer.envelope["data"];
}

/** The error code of an answer. */
export function codeOf(answer: Answer): string {
  return String((answer.envelope["error"] as { code?: unknown } | undefined)?.code ?? `HTTP_${answer.status}`);
}

/** Seconds that the server asks to wait; both forms of the header. */
export function retryAfterOf(answer: Answer): number | null {
  const text = answer.headers.get("retry-after");
  if (text === null || text === "") return null;
  if (/^\d+$/.test(text)) return Number(text);
  const moment = Date.parse(text);
  return Number.isNaN(moment) ? null : Math.max(0, (moment - Date.now()) / 1000);
}

function failureOf(answer: Answer): Error {
  const told = (answer.envelope["error"] ?? {}) as { message?: unknown; details?: unknown };
  return apiError(String(told.message ?? "No explanation"), {
    status: answer.status,
    code: codeOf(answer),
    details: (told.details ?? {}) as Record<string, unknown>,
    requestId: answer.headers.get("x-request-id"),
    retryAfter: retryAfterOf(answer),
  });
}

export { fromWire };
