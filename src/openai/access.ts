/**
 * Who may ask, and how often.
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { RequestError } from "../errors.ts";

/**
 * @returns the name of the caller: a hash of its key, or "" when no keys are asked for.
 * @throws {RequestError} 401
 */
export type KeyCheck = (request: Request) => string;

/** Whom a reply is for: options of every request to the model. */
export interface Client {
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal;
  /** Whose prompts may be found in the cache: those of the same key. */
  readonly tenant: string;
}

/** Requests that a caller may make; more are answered with 429. */
export interface RateLimit {
  /** More than 0; a minute's worth may come at once. */
  readonly requestsPerMinute: number;
}

/**
 * Lets in who sends `authorization: Bearer KEY`, or `x-api-key: KEY`, with one of the keys, or everybody when
 * there are none.
 */
export function keyCheck(apiKeys: readonly string[] | undefined): KeyCheck {
  if (apiKeys === undefined) return () => "";
  if (apiKeys.length === 0 || apiKeys.some((key) => key.trim() === "")) {
    throw new TypeError(
      "Cannot use apiKeys: an empty list or key was given; leave apiKeys out to let everybody in",
    );
  }
  // What a header does not carry would let nobody in.
  if (!apiKeys.every((key) => /^[!-~]+$/.test(key))) {
    throw new TypeError("Cannot use apiKeys: letters, digits and signs of ASCII without spaces are needed");
  }
  // Hashes have one length and tell nothing by how soon they differ; every key is compared, whichever fits.
  const known = apiKeys.map(sha256);
  return (request) => {
    const key = keyOf(request);
    if (key !== undefined) {
      const sent = sha256(key);
      const matches = known.filter((one) => timingSafeEqual(one, sent));
      if (matches.length > 0) return sent.toString("hex");
    }
    const problem = key === undefined ? "no API key was sent" : "the API key is not known";
    throw new RequestError(`Cannot let the request in: ${problem}, send "authorization: Bearer KEY"`, {
      status: 401,
      code: "invalid_api_key",
    });
  };
}

/** @returns the key that a request brings, whichever way its client has to send one */
export function keyOf(request: Request): string | undefined {
  const { headers } = request;
  const [, bearer] = headers.get("authorization")?.match(/^Bearer +(\S+) *$/i) ?? [];
  // Anthropic's clients send the second; a page that opens a WebSocket can set no header but its protocols.
  const [, named] = headers.get("sec-websocket-protocol")?.match(/(?:^|,)\s*key\.([^\s,]+)/) ?? [];
  return bearer ?? headers.get("x-api-key") ?? named;
}

/** A bucket of requests for each caller that fills steadily: a minute's worth may come at once. */
export function rateCheck(limit: RateLimit | undefined): (caller: string) => void {
  if (limit === undefined) return () => {};
  const { requestsPerMinute } = limit;
  if (!(requestsPerMinute > 0)) {
    throw new RangeError(
      `Cannot use rateLimit: requestsPerMinute is ${requestsPerMinute}, more than 0 is needed`,
    );
  }
  const buckets = new Map<string, { requests: number; atMs: number }>(); // as many as there are keys
  const msPerRequest = 60_000 / requestsPerMinute;
  return (caller) => {
    const atMs = performance.now(); // never set back, as the clock may be
    const before = buckets.get(caller) ?? { requests: Math.max(1, requestsPerMinute), atMs };
    const refilled = before.requests + (atMs - before.atMs) / msPerRequest;
    const requests = Math.min(Math.max(1, requestsPerMinute), refilled);
    buckets.set(caller, { requests: requests >= 1 ? requests - 1 : requests, atMs });
    if (requests >= 1) return;
    throw new RequestError(`Cannot take the request: more than ${requestsPerMinute} requests a minute`, {
      status: 429,
      code: "rate_limit_exceeded",
      detail: { retryAfterMs: Math.ceil((1 - requests) * msPerRequest) },
    });
  };
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
