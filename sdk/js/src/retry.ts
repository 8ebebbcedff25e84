/**
 * Which failures may be tried again, and when. Repeated are only failures after which a repetition
 * cannot do harm: the server said that it did nothing (429, 503, 504, or a gateway's 502), or the
 * answer was lost and the call either reads or carries an Idempotency-Key, under which the server
 * acts once.
 */

import { type Answer, type Call, codeOf, retryAfterOf } from "./calls.js";

const WAIT_SECONDS_MAX = 60;
const FIRST_SECONDS = 0.25;
const GROWN_SECONDS_MAX = 8;

const isSafe = ({ operation }: Call): boolean => operation.method === "GET" || operation.keyed === true;

/** Seconds to wait before the next try; null when this answer is the last word. */
export function afterAnswer(call: Call, answer: Answer, tried: number): number | null {
  if (!mayRepeat(call, answer, tried)) return null;
  const asked = retryAfterOf(answer);
  if (asked === null) return backoff(tried);
  // Waiting longer than this is the caller's decision: the error says how long.
  return asked <= WAIT_SECONDS_MAX ? asked : null;
}

/** Seconds to wait after a try without an answer; null when that was the last word. */
export function afterSilence(call: Call, tried: number): number | null {
  return isSafe(call) ? backoff(tried) : null;
}

/** Exponential with full jitter, so that many clients do not come back at once. */
export function backoff(tried: number): number {
  return Math.min(GROWN_SECONDS_MAX, FIRST_SECONDS * 2 ** tried) * Math.random();
}

function mayRepeat(call: Call, answer: Answer, tried: number): boolean {
  if (answer.status === 429) return true;
  if (!isSafe(call)) return false;
  if (answer.status === 502) return !("success" in answer.envelope);
  // An earlier try of ours is still being carried out; its answer will be ours.
  if (answer.status === 409) return tried > 1 && codeOf(answer) === "IDEMPOTENCY_CONFLICT";
  return answer.status === 503 || answer.status === 504;
}
