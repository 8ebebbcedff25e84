/** The client of the NIJA API. */

export type { CallOptions, KeyedCallOptions, Operation } from "./calls.js";
export { NIJAClient, type NIJAClientOptions } from "./client.js";
export * from "./errors.js";
export * from "./generated/models.js";
export * from "./generated/resources.js";
export { LiveUpdates, type WebSocketConstructor } from "./live.js";
export type { Channel, LiveEvent } from "./stream.js";
export type { Tokens } from "./tokens.js";
export { VERSION } from "./version.js";
