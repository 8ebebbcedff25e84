/** Names: snake_case on the wire, camelCase in JavaScript; free mappings keep their own. */

import { OPAQUE } from "./generated/models.js";

const toCamel = (name: string): string =>
  name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
const toSnake = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** An answer with JavaScript's names. */
export function fromWire(value: unknown): unknown {
  return renamed(value, toCamel, (name) => OPAQUE.has(name));
}

/** A request with the wire's names; times in ISO 8601. */
export function toWire(value: unknown): unknown {
  return renamed(value, toSnake, (name) => OPAQUE.has(toSnake(name)));
}

/** The wire's name of one parameter. */
export const wireName = toSnake;

function renamed(
  value: unknown,
  rename: (name: string) => string,
  isOpaque: (name: string) => boolean,
): unknown {
  if (Array.isArray(value)) return value.map((item) => renamed(item, rename, isOpaque));
  if (value instanceof Date) return value.toISOString();
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [
      rename(name),
      isOpaque(name) ? item : renamed(item, rename, isOpaque),
    ]),
  );
}
