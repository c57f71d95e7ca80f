/**
 * The OpenAI API over a model, as one function from Request to Response.
 * @module
 */
import type { LanguageModel } from "../language_model.ts";
import { keyCheck, rateCheck, type RateLimit } from "./access.ts";
import { anything, checkOptions, exactly, list, onlyThese, text, where, whole } from "../model/json_check.ts";
import { hostCheck } from "./hosts.ts";
import { originsOf } from "./origins.ts";
import type { Server } from "./routes.ts";
import { type SocketHandlers, socketHandlers } from "./web_sockets.ts";

/** Options of {@linkcode openaiHandler}. */
export interface HandlerOptions {
  /** Who sends none of these as `authorization: Bearer KEY` is refused; without them everybody is let in. */
  readonly apiKeys?: readonly string[];
  /**
   * Names that clients may reach this server by, besides those of the loopback. Without them a server on
   * a loopback address answers to those alone, and any other to every name. Deno.serve does not say its
   * address: there a list, though empty, is what keeps pages of other names out.
   */
  readonly hosts?: readonly string[];
  /** Origins of pages that may ask from a browser, true for all; none by default. */
  readonly cors?: boolean | string | readonly string[];
  /** For each key, or for everybody together when there are none. */
  readonly rateLimit?: RateLimit;
  /** What the model is called in the API; by default `model.info.name`. */
  readonly modelName?: string;
  /** Longest body that is read, 4 MiB by default. */
  readonly maxBodyBytes?: number;
}

/** Fits Deno.serve and Bun.serve; `server` is what Bun passes beside the request. */
export type Handler = (request: Request, server?: unknown) => Promise<Response>;

/** A handler with what Bun.serve needs beside it for GET /ws: its `websocket`. Other servers need nothing. */
export interface ApiHandler extends Handler {
  /** For `Bun.serve({ fetch: handler, websocket: handler.websocket })`. */
  readonly websocket: SocketHandlers;
}

const name = where((value): value is string => typeof value === "string" && value !== "", "a text is needed");
const knownOptions = onlyThese({
  apiKeys: list(text(), "an array of keys is needed"),
  hosts: list(text(), "an array of names is needed"),
  cors: anything(),
  rateLimit: exactly({ requestsPerMinute: anything() }),
  modelName: name,
  maxBodyBytes: whole(1, Number.MAX_SAFE_INTEGER),
});

/**
 * Who is let in: also for whoever wants to know whether the options are right before a model is loaded.
 * @throws {TypeError | RangeError} as `openaiHandler`: one that is misspelt may be what keeps strangers out
 */
export function checkHandlerOptions(options: HandlerOptions) {
  const { apiKeys, hosts, cors, rateLimit } = checkOptions(knownOptions, options);
  return {
    origins: originsOf(cors),
    needsKey: apiKeys !== undefined,
    callerOf: keyCheck(apiKeys),
    hostProblem: hostCheck(hosts),
    checkRate: rateCheck(rateLimit as RateLimit | undefined),
  };
}

/**
 * Serves the OpenAI API (chat/completions, completions, responses, embeddings, models), the Anthropic API
 * (messages, messages/count_tokens), /tokenize, /detokenize, /apply-template, /props, /metrics and /ws;
 * without a key also GET /health, /health/live, /health/ready, /openapi.json and /docs. A request is
 * cancelled when its client goes away (Deno.serve may tell that late when nothing is streamed; `serve` does
 * at once).
 * @throws {TypeError | RangeError} an option is none of these, or cannot be used
 */
export function openaiHandler(model: LanguageModel, options: HandlerOptions = {}): ApiHandler {
  const { modelName = model.info.name, maxBodyBytes = 4 * 2 ** 20 } = options;
  const routeOptions = { modelName, maxBodyBytes, ...checkHandlerOptions(options) };
  // Not before somebody serves: schemas and router take a tenth of a second, which every start would wait for.
  const routes = import("./routes.ts").then(({ routesOf }) => routesOf(model, routeOptions));
  routes.catch(() => {}); // told to whoever asks
  const answer = async (request: Request, server?: unknown): Promise<Response> => {
    const around = (server ?? {}) as Server;
    // Bun.serve would cut a reply that is quiet for 10 s while the prompt is computed.
    around.timeout?.(request, 0);
    return await (await routes)(request, around);
  };
  return Object.assign(answer, { websocket: socketHandlers(maxBodyBytes) });
}
