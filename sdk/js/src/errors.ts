/**
 * What can go wrong, as errors. `APIError` and its children are answers of the server; the others
 * never got one, or not one that can be understood. No message holds a token or a request body.
 */

/** Any failure of this package. */
export class NIJAError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** No answer arrived. A write may have been carried out; with the same key it is safe to repeat. */
export class APIConnectionError extends NIJAError {}

/** No answer arrived in time. */
export class APITimeoutError extends APIConnectionError {}

/** The answer is not what this version of the package knows. */
export class UnexpectedResponseError extends NIJAError {}

/** What the server told about a failure. */
export interface Failure {
  /** The HTTP status. */
  status: number;
  /** For programs, such as `ALREADY_RUNNING`. */
  code: string;
  /** More, where there is more; `details.fields` names what is invalid. */
  details: Record<string, unknown>;
  /** What to tell the operator of the server. */
  requestId: string | null;
  /** Seconds to wait, where the server said so. */
  retryAfter: number | null;
}

/** The server refused, or failed. */
export class APIError extends NIJAError implements Failure {
  readonly status: number;
  readonly code: string;
  readonly details: Record<string, unknown>;
  readonly requestId: string | null;
  readonly retryAfter: number | null;

  constructor(message: string, failure: Failure) {
    super(message);
    this.status = failure.status;
    this.code = failure.code;
    this.details = failure.details;
    this.requestId = failure.requestId;
    this.retryAfter = failure.retryAfter;
  }
}

/** 400, 413 and other requests that cannot be carried out as they are. */
export class BadRequestError extends APIError {}

/** 401: credentials or token are wrong, expired, or missing. */
export class AuthenticationError extends APIError {}

/** 402: the plan does not cover it, or a payment failed. */
export class PaymentRequiredError extends APIError {}

/** 403: not allowed, also for a plan's limits and the kill switch. */
export class PermissionDeniedError extends APIError {}

/** 404: no such thing, or somebody else's. */
export class NotFoundError extends APIError {}

/** 409: the state of things forbids it, such as `ALREADY_RUNNING`. */
export class ConflictError extends APIError {}

/** 422: `details.fields` says which fields are wrong, and why. */
export class ValidationError extends APIError {}

/** 429: too many calls; `retryAfter` says how long to wait. */
export class RateLimitedError extends APIError {}

/** 5xx: the server, or a broker behind it, failed. */
export class ServerError extends APIError {}

const BY_STATUS = new Map<number, new (message: string, failure: Failure) => APIError>([
  [401, AuthenticationError],
  [402, PaymentRequiredError],
  [403, PermissionDeniedError],
  [404, NotFoundError],
  [409, ConflictError],
  [422, ValidationError],
  [429, RateLimitedError],
]);

/** The error for a failure, of the class that its status means. */
export function apiError(message: string, failure: Failure): APIError {
  const kind = BY_STATUS.get(failure.status) ?? (failure.status >= 500 ? ServerError : BadRequestError);
  return new kind(message, failure);
}
