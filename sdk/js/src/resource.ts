/** What the generated groups of methods stand on: send, rename, go through pages. */

import { fromWire, type KeyedCallOptions, makeCall, type Operation } from "./calls.js";
import type { Transport } from "./transport.js";

interface Page {
  pagination: { hasNext: boolean };
}

/** A group of endpoints. */
export class Resource {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  protected async send<T>(
    operation: Operation,
    places: Readonly<Record<string, string>>,
    params: object,
    options: KeyedCallOptions,
    payload?: string | Uint8Array,
  ): Promise<T> {
    const call = makeCall(operation, places, params, options, payload);
    return fromWire(await this.#transport.request(call)) as T;
  }

  /** Every item of every page, each once: what is added meanwhile pushes items onto the next. */
  protected async *iterate<P extends Page, T>(
    fetchPage: (page: number) => Promise<P>,
    itemsOf: (page: P) => T[],
    keyOf: (item: T) => string,
  ): AsyncGenerator<T> {
    const seen = new Set<string>();
    for (let number = 1; ; number += 1) {
      const page = await fetchPage(number);
      for (const item of itemsOf(page)) {
        if (seen.has(keyOf(item))) continue;
        seen.add(keyOf(item));
        yield item;
      }
      if (!page.pagination.hasNext) return;
    }
  }
}
