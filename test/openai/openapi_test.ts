/**
 * openapi.json against the server: every operation is asked, and every answer holds what is promised of it.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { type Handler, type LanguageModel, load, openaiHandler } from "../../mod.ts";

/** Of a server-sent event: what its data holds. */
interface EventSchema {
  readonly properties?: { readonly data?: { readonly anyOf?: readonly { readonly const?: string }[] } };
}
interface Operation {
  readonly operationId: string;
  readonly security?: unknown[];
  readonly requestBody?: { content: Record<string, { schema: object }> };
  readonly responses: Record<
    string,
    { content?: Record<string, { schema?: object }> }
  >;
}
interface Document {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, Operation>>;
}

let model: LanguageModel;
let handler: Handler;
let document: Document;
before(async () => {
  model = await load("minnow");
  handler = openaiHandler(model);
  document = await (await handler(new Request("http://localhost/openapi.json"))).json();
  ajv.addSchema({ $id: "http://document/", ...document });
});
after(() => model.close());

const ajv = new Ajv2020({ strict: false, validateFormats: false });

/** @param at where in the document its schema is */
function mustBe(at: readonly string[], value: unknown, what: string): void {
  const pointer = at.map((key) => encodeURIComponent(key.replaceAll("~", "~0").replaceAll("/", "~1")));
  const check = ajv.getSchema(`http://document/#/${pointer.join("/")}`)!;
  const isValid = check(value);
  assert.ok(isValid, `${what}: ${ajv.errorsText(check.errors)} in ${JSON.stringify(value)?.slice(0, 400)}`);
}

/** The operations that were asked, by method and path. */
const asked = new Set<string>();

/** Asks one operation and holds request and answer against the document. */
async function ask(method: "get" | "post", path: string, body?: object, status = 200): Promise<Response> {
  const operation = document.paths[path][method];
  asked.add(`${method} ${path}`);
  if (body !== undefined && status === 200) {
    mustBe(
      ["paths", path, method, "requestBody", "content", "application/json", "schema"],
      body,
      `request to ${path}`,
    );
  }
  const url = `http://localhost${path.replace("{id}", model.info.name)}`;
  const init = { method: method.toUpperCase(), ...(body && { body: JSON.stringify(body) }) };
  const response = await handler(new Request(url, init));
  assert.equal(response.status, status, path);
  const type = response.headers.get("content-type")!.split(";")[0];
  const promised = operation.responses[status].content![type];
  assert.ok(promised, `${path} promises ${type}`);
  const copy = response.clone();
  const at = ["paths", path, method, "responses", String(status), "content", type, "schema"];
  if (type === "application/json" && promised.schema) mustBe(at, await copy.json(), path);
  if (type === "text/event-stream") {
    const { anyOf } = (promised.schema as EventSchema).properties!.data!;
    const data = [...at, "properties", "data", ...(anyOf === undefined ? [] : ["anyOf", "1"])];
    for (const [, event] of (await copy.text()).matchAll(/^data: (.*)$/gm)) {
      if (event === anyOf?.[0].const) continue;
      mustBe([...data, "contentSchema"], JSON.parse(event), `${path} streamed`);
    }
  }
  return response;
}

const messages = [{ role: "user", content: "What is a bear?" }];
const tool = { type: "function", function: { name: "look", parameters: { type: "object" } } };
const short = { temperature: 0, max_tokens: 2 };

test("chats and completions answer as the document says, streamed and not", async () => {
  const chats = [
    { messages, ...short, n: 2, logprobs: true, top_logprobs: 2, stop: ["\n"], logit_bias: { "5": -1 } },
    {
      messages,
      ...short,
      max_tokens: 12,
      response_format: { type: "json_schema", json_schema: { name: "a", schema: { enum: ["yes", "no"] } } },
    },
    { messages, ...short, tools: [tool], tool_choice: { type: "function", function: { name: "look" } } },
  ];
  for (const chat of chats) {
    await ask("post", "/v1/chat/completions", chat);
    await ask("post", "/v1/chat/completions", {
      ...chat,
      stream: true,
      stream_options: { include_usage: true },
    });
  }
  const completion = { prompt: ["Once", "A fox"], ...short, logprobs: 2 };
  await ask("post", "/v1/completions", completion);
  await ask("post", "/v1/completions", { ...completion, stream: true });
  await ask("post", "/v1/completions", { ...completion, echo: true, prompt_logprobs: 1 });
  await ask("post", "/v1/completions", { prompt: "Once", max_tokens: 3, use_beam_search: true, n: 2 });
  await ask("post", "/v1/chat/completions", { messages, ...short, prompt_logprobs: 1 });
});

test("the newer APIs answer as the document says, streamed and not", async () => {
  const { function: { name, parameters } } = tool;
  const forced = { tools: [{ type: "function", name, parameters }], tool_choice: { type: "function", name } };
  for (const more of [{}, { stream: true }, forced, { ...forced, stream: true }]) {
    await ask("post", "/v1/responses", {
      input: "What is a bear?",
      temperature: 0,
      max_output_tokens: 6,
      ...more,
    });
  }
  const choice = { tools: [{ name, input_schema: parameters }], tool_choice: { type: "tool", name } };
  for (const more of [{}, { stream: true }, choice, { ...choice, stream: true }]) {
    await ask("post", "/v1/messages", { messages, ...short, ...more });
  }
  await ask("post", "/v1/messages/count_tokens", { messages });
});

test("the other endpoints answer as the document says", async () => {
  await ask("post", "/v1/embeddings", { input: ["a fox", "a lamp"] });
  await ask("post", "/v1/embeddings", { input: [1, 2, 3], encoding_format: "base64" });
  await ask("post", "/tokenize", { content: "a fox", with_pieces: true });
  await ask("post", "/detokenize", { tokens: [1, 2, 3] });
  await ask("post", "/apply-template", { messages });
  const reads = [
    "/v1/models",
    "/v1/models/{id}",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/props",
  ];
  for (const path of [...reads, "/openapi.json", "/docs"]) await ask("get", path);
});

test("errors have the body that the document promises", async () => {
  await ask("post", "/v1/chat/completions", { messages: [] }, 400);
  await ask("post", "/v1/chat/completions", { messages, model: "another" }, 404);
  await ask("post", "/v1/messages", { messages }, 400);
  await ask("get", "/ws", undefined, 426);
});

test("a stream that fails at once has the status of its failure, in every API", async () => {
  for (const path of ["/v1/chat/completions", "/v1/messages"]) {
    await ask("post", path, { messages, ...short, temperature: 9, stream: true }, 400);
  }
  await ask("post", "/v1/completions", { prompt: "x", temperature: 9, stream: true }, 400);
  await ask("post", "/v1/responses", { input: "x", max_output_tokens: 0, stream: true }, 400);
});

test("every operation of openapi.json was asked", () => {
  const all = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`)
  );
  assert.deepEqual([...asked].sort(), all.sort());
  const ids = Object.values(document.paths).flatMap((methods) =>
    Object.values(methods).map((one) => one.operationId)
  );
  assert.equal(new Set(ids).size, ids.length);
});

test("a field that is not supported yet is described as one that takes nothing", () => {
  const { schema } = document.paths["/v1/chat/completions"].post.requestBody!.content["application/json"];
  assert.ok(!ajv.validate(schema, { messages, audio: { voice: "a" } }));
  assert.ok(ajv.validate(schema, { messages, audio: null, unknown: 1 }));
  assert.ok(!ajv.validate(schema, { messages, temperature: 3 }));
});

test("the reference page names every operation, runs no script and loads nothing", async () => {
  const response = await handler(new Request("http://localhost/docs"));
  const page = await response.text();
  for (const [path, methods] of Object.entries(document.paths)) {
    assert.ok(page.includes(path));
    for (const { operationId } of Object.values(methods)) assert.ok(page.includes(`id="${operationId}"`));
  }
  assert.ok(!/<script|<img|<link|\bon\w+=|style="|https?:/i.test(page));
  assert.match(response.headers.get("content-security-policy")!, /^default-src 'none'; style-src 'sha256-/);
});

test("with keys the description is open, says so, and does not tell the model's name", async () => {
  const locked = openaiHandler(model, { apiKeys: ["secret"], modelName: "private-name" });
  const response = await locked(new Request("http://localhost/openapi.json"));
  const text = await response.text();
  assert.ok(!text.includes("private-name"));
  const told: Document & { security: unknown } = JSON.parse(text);
  assert.ok(told.security);
  assert.deepEqual(told.paths["/health"].get.security, []);
  assert.ok(told.paths["/v1/models"].get.responses["401"]);
  assert.equal((await locked(new Request("http://localhost/v1/models"))).status, 401);
});
