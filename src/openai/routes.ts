/**
 * What is answered at each path: the OpenAI API and its neighbours, over one model.
 * @module
 */
import { Hono } from "hono";
import { cors as corsHeaders } from "hono/cors";
import type { z } from "zod";
import { RequestError } from "../errors.ts";
import type { LanguageModel } from "../language_model.ts";
import { type Client, type KeyCheck, keyOf } from "./access.ts";
import { anthropicErrorResponse, anthropicMessage, countTokens } from "./anthropic.ts";
import { readBody } from "./body.ts";
import { CallMemory } from "./call_memory.ts";
import { chatCompletion } from "./chat_completions.ts";
import { completion } from "./completions.ts";
import { embeddings } from "./embeddings.ts";
import { errorResponse } from "./errors.ts";
import { fingerprintOf, frameOf } from "./frame.ts";
import type { HostCheck } from "./hosts.ts";
import { metricsText } from "./metrics.ts";
import { openapiDocument } from "./openapi.ts";
import type { Origins } from "./origins.ts";
import { type Posting, postings, type Reading, readings } from "./operations.ts";
import { pageHeaders, referencePage } from "./reference_page.ts";
import { response } from "./responses.ts";
import { applyTemplate, detokenize, tokenize } from "./text_tools.ts";
import { checkOrigin, openSocket, protocolOf, type SocketServer } from "./web_sockets.ts";
import { socketSession, type SocketTransport } from "./ws_session.ts";

/** Who is let in, and what the model is called. */
export interface RouteOptions {
  readonly modelName: string;
  readonly maxBodyBytes: number;
  readonly origins: Origins;
  readonly needsKey: boolean;
  readonly callerOf: KeyCheck;
  readonly hostProblem: HostCheck;
  readonly checkRate: (caller: string) => void;
}

/** What is used of whatever a server passes beside a request: `address` is where `serve` listens. */
export interface Server extends SocketServer {
  readonly address?: { readonly address?: string };
  timeout?(request: Request, seconds: number): void;
}

/** @returns what answers a request; it never throws */
export function routesOf(
  model: LanguageModel,
  { modelName, maxBodyBytes, origins, needsKey, callerOf, hostProblem, checkRate }: RouteOptions,
): (request: Request, server: Server) => Promise<Response> {
  const fingerprint = fingerprintOf(model.info);
  const created = Math.floor(Date.now() / 1000);
  const listed = { id: modelName, object: "model", created, owned_by: "hadal" };
  const checkName = (name = modelName) => {
    if (name === modelName) return;
    const found = JSON.stringify(name.slice(0, 100));
    const message = `Cannot find the model ${found}: this server has "${modelName}"`;
    throw new RequestError(message, { status: 404, param: "model", code: "model_not_found" });
  };

  const calls = new CallMemory();
  const app = new Hono<{ Variables: { caller: string }; Bindings: { server: SocketServer } }>();
  const refusal = (error: unknown, path: string) =>
    path.startsWith("/v1/messages") ? anthropicErrorResponse(error) : errorResponse(error);
  app.onError((error, { req }) => refusal(error, req.path));
  app.notFound(({ req }) => {
    const message = `Cannot find ${req.path}: here are ${paths.join(", ")}`;
    return refusal(new RequestError(message, { status: 404, code: "not_found" }), req.path);
  });
  if (origins.length > 0) {
    app.use(corsHeaders({ origin: typeof origins === "string" ? origins : [...origins] }));
  }

  const paths = [...Object.values(readings), ...Object.values(postings)].map(({ path }) => path);
  const get = ({ path }: Reading, answer: (param: string) => Response | Promise<Response>) => {
    const pattern = path.replace("{id}", ":id{.+}");
    app.get(pattern, ({ req }) => answer(req.param("id") ?? "")).all(
      pattern,
      () => refuseMethod("GET, HEAD"),
    );
  };
  /** A body of a schema, that names this model or none. */
  const post = <T extends z.ZodType<{ model?: string; cache_salt?: string }>>(
    { path, body: schema, names = {} }: Posting<T>,
    answer: (body: z.output<T>, client: Client) => Response | Promise<Response>,
  ) => {
    app.post(path, async ({ req, var: { caller } }) => {
      const body = await readBody(req.raw, schema, maxBodyBytes);
      checkName(body.model);
      // A salt parts the prompts of one key, as keys part those of all.
      const tenant = body.cache_salt === undefined ? caller : `${caller} ${body.cache_salt}`;
      try {
        return await answer(body, { signal: req.raw.signal, tenant });
      } catch (error) {
        throw renamed(error, names);
      }
    }).all(path, () => refuseMethod("POST"));
  };

  // Health never waits for the model's Worker, which may be in the middle of a long prompt.
  for (const reading of [readings.health, readings.live, readings.ready]) {
    get(
      reading,
      () => Response.json({ status: model.ended?.name ?? "ok" }, { status: model.ended ? 503 : 200 }),
    );
  }
  // Made when it is asked for: a server that nobody asks starts sooner.
  let described: { json: string; page: string } | null = null;
  const describe = () => {
    if (described !== null) return described;
    const document = openapiDocument({ info: model.info, modelName: needsKey ? null : modelName, needsKey });
    return described = { json: JSON.stringify(document), page: referencePage(document) };
  };
  get(
    readings.openapi,
    () => new Response(describe().json, { headers: { "content-type": "application/json" } }),
  );
  get(readings.docs, () => new Response(describe().page, { headers: pageHeaders }));
  app.use(async (context, next) => {
    const caller = callerOf(context.req.raw);
    checkRate(caller);
    context.set("caller", caller);
    await next();
  });
  const handedOver = new WeakSet<Response>();
  app.get(readings.socket.path, ({ req, env }) => {
    checkOrigin(req.raw, origins);
    const protocol = protocolOf(req.raw);
    const key = keyOf(req.raw);
    const open = (transport: SocketTransport) =>
      socketSession(transport, async (path, body, signal) => {
        const request = new Request(`http://localhost${path}`, {
          method: "POST",
          headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
          body,
          signal,
        });
        return await app.fetch(request, {});
      });
    const response = openSocket(req.raw, env.server, protocol, open, maxBodyBytes) ?? new Response(null);
    handedOver.add(response);
    return response;
  }).all(readings.socket.path, () => refuseMethod("GET"));
  get(readings.models, () => Response.json({ object: "list", data: [listed] }));
  get(readings.model, (name) => {
    checkName(name);
    return Response.json(listed);
  });
  get(readings.props, () => Response.json({ ...model.info, name: modelName }));
  get(readings.metrics, async () => {
    const headers = { "content-type": "text/plain; version=0.0.4; charset=utf-8" };
    return new Response(metricsText(await model.stats()), { headers });
  });
  post(
    postings.chat,
    (body, client) => chatCompletion(model, body, frameOf("chatcmpl", modelName, fingerprint), client),
  );
  post(
    postings.completion,
    (body, client) => completion(model, body, frameOf("cmpl", modelName, fingerprint), client),
  );
  post(postings.response, (body, client) => response(model, body, modelName, client));
  post(postings.embeddings, (body, client) => embeddings(model, body, modelName, client));
  post(postings.message, (body, client) => anthropicMessage(model, body, modelName, calls, client));
  post(postings.count, (body, client) => countTokens(model, body, calls, client));
  post(postings.tokenize, (body) => tokenize(model, body));
  post(postings.detokenize, (body) => detokenize(model, body));
  post(postings.template, (body) => applyTemplate(model, body));

  return async (request, server) => {
    const problem = hostProblem(request, server.address?.address);
    const response = problem === null ? await app.fetch(request, { server }) : errorResponse(problem);
    if (handedOver.has(response)) return response;
    const id = `req_${crypto.randomUUID().replaceAll("-", "")}`;
    response.headers.set("x-request-id", id);
    response.headers.set("request-id", id); // where Anthropic's clients look for it
    return response;
  };
}

/** A mistake in a field as the endpoint calls it. */
function renamed(error: unknown, names: Readonly<Record<string, string>>): unknown {
  const isOther = error instanceof RequestError && error.param !== null && Object.hasOwn(names, error.param);
  return isOther ? new RequestError(error.message, { ...error, param: names[error.param!] }) : error;
}

function refuseMethod(allow: string): never {
  throw new RequestError(`Cannot use this method here: ${allow} works`, {
    status: 405,
    code: "method_not_allowed",
    detail: { allow },
  });
}
