import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { type Handler, type LanguageModel, load, openaiHandler } from "../../mod.ts";

let model: LanguageModel;
let handler: Handler;

before(async () => {
  model = await load("minnow", { backend: "reference" });
  handler = openaiHandler(model);
});
after(() => model.close());

const base = "http://localhost";
const chat = "/v1/chat/completions";
const messages = [{ role: "user", content: "Hi" }];
const short = { messages, max_tokens: 2, temperature: 0 };

/** Posts a body, which may be JSON text that no object could be written as. */
async function post(path: string, body: unknown, headers: Record<string, string> = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const response = await handler(new Request(base + path, { method: "POST", body: text, headers }));
  // deno-lint-ignore no-explicit-any
  return { status: response.status, headers: response.headers, json: await response.json() as any };
}

test("every numeric field takes what it says and refuses all else by its name", async () => {
  const fields = [
    "max_tokens",
    "max_completion_tokens",
    "min_tokens",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
  ];
  fields.push("typical_p", "repetition_penalty", "frequency_penalty", "presence_penalty", "seed", "n");
  const values = [
    "null",
    '""',
    '"1"',
    "true",
    "[]",
    "{}",
    "1e400",
    "-1e400",
    "9007199254740993",
    "-1",
    "0",
    "1",
    "1.5",
  ];
  for (const field of fields) {
    const other = field === "max_tokens" ? "max_completion_tokens" : "max_tokens";
    for (const value of values) {
      const body = `{"messages": [{"role": "user", "content": "Hi"}], "${other}": 1, "${field}": ${value}}`;
      const { status, json } = await post(chat, body);
      const told = `${field}: ${value} gives ${status} ${JSON.stringify(json.error)}`;
      if (["null", "1"].includes(value)) assert.equal(status, 200, told);
      else if (!["-1", "0", "1.5"].includes(value)) assert.equal(status, 400, told);
      else assert([200, 400].includes(status), told);
      if (status === 400) assert.equal(json.error.param, field, told);
    }
  }
});

test("a number that is no JSON is a malformed body", async () => {
  for (const value of ["NaN", "Infinity", "0x10", "1.", "+1"]) {
    assert.equal((await post(chat, `{"temperature": ${value}, "messages": []}`)).status, 400);
  }
});

test("fields that are not known are ignored", async () => {
  const { status } = await post(chat, {
    ...short,
    user: "me",
    store: true,
    metadata: {},
    verbosity: "low",
    x: [1],
  });
  assert.equal(status, 200);
});

test("fields that would change the answer, but are not supported, are refused by name", async () => {
  const asked = [
    { tool_choice: "required" },
    { tool_choice: { type: "function", function: { name: "f" } } },
    { response_format: { type: "xml" } },
    { response_format: { type: "json_schema" } },
    { modalities: ["audio"] },
    { audio: { voice: "x" } },
    { chat_template: "{{ 1 }}" },
    { structured_outputs: { structural_tag: "x" } },
    { reasoning_effort: "high" },
    { chat_template_kwargs: { other: true } },
    { functions: [{ name: "f" }] },
    { tools: [{ type: "web_search" }] },
  ];
  for (const fields of asked) {
    const [name] = Object.keys(fields);
    const { status, json } = await post(chat, { ...short, ...fields });
    assert.equal(status, 400, name);
    assert(json.error.param.startsWith(name), `${name} is blamed on ${json.error.param}`);
  }
  for (const fields of [{ suffix: "x" }, { n: 2, best_of: 1 }, { length_penalty: 2 }]) {
    assert.equal((await post("/v1/completions", { prompt: "Hi", max_tokens: 1, ...fields })).status, 400);
  }
  const nothing = { tools: [], tool_choice: "none", response_format: { type: "text" }, modalities: ["text"] };
  assert.equal((await post(chat, { ...short, ...nothing })).status, 200);
});

test("messages that are none are refused, text in parts is read", async () => {
  const wrong = [
    undefined,
    null,
    [],
    "Hi",
    [null],
    [{}],
    [{ role: "user" }],
    [{ role: "user", content: null }],
    [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }],
    [{ role: "__proto__", content: "x" }],
    [{ role: "tool", content: null, tool_call_id: "1" }],
    [{ role: "assistant", content: null, tool_calls: [{ id: "1", function: { name: "f" } }] }],
  ];
  for (const messages of wrong) {
    const { status, json } = await post(chat, { ...short, messages });
    assert.equal(status, 400, JSON.stringify(messages));
    assert.match(json.error.param, /^messages/);
  }
  const parts = [{ role: "developer", content: "Be kind." }, {
    role: "user",
    content: [{ type: "text", text: "Hi" }],
  }];
  assert.equal((await post(chat, { ...short, messages: parts })).status, 200);
});

test("prompts that are none are refused", async () => {
  assert.equal((await post("/v1/completions", { prompt: [1e6], echo: true })).status, 400);
  for (const prompt of [undefined, null, 1, [], [[]], [1.5], [-1], [1e9], ["a", 1], [[1], "a"], {}]) {
    const { status } = await post("/v1/completions", { prompt, max_tokens: 1 });
    assert.equal(status, 400, JSON.stringify(prompt));
  }
});

test("stop, logit_bias and logprobs are checked", async () => {
  const wrong = [
    { stop: "" },
    { stop: [""] },
    { stop: 1 },
    { stop: Array(1000).fill("a") },
    { stop: "x".repeat(2000) },
    { logit_bias: { "-1": 1 } },
    { logit_bias: { x: 1 } },
    { logit_bias: { 1: "1" } },
    { logit_bias: { 99999999: 1 } },
    { logit_bias: { 1: 1e308 } },
    { logit_bias: [] },
    { top_logprobs: 2 },
    { logprobs: true, top_logprobs: 21 },
    { logprobs: 1 },
    { stream: "yes" },
    { stream_options: 1 },
  ];
  for (const fields of wrong) {
    const { status, json } = await post(chat, { ...short, ...fields });
    assert.equal(status, 400, JSON.stringify(fields).slice(0, 100));
    assert(json.error.param.startsWith(Object.keys(fields).at(-1)!), json.error.message);
  }
});

test("errors have the API's body, and clients are told whether to try again", async () => {
  const { status, headers, json } = await post(chat, "{");
  assert.equal(status, 400);
  assert.deepEqual(Object.keys(json.error), ["message", "type", "param", "code"]);
  assert.equal(headers.get("x-should-retry"), "false");
  assert.match(headers.get("x-request-id") ?? "", /^req_/);
  assert.equal(headers.get("request-id"), headers.get("x-request-id"), "Anthropic's clients read this one");
});

test("unknown paths are not found, and known ones name their methods", async () => {
  const ask = (method: string, path: string) => handler(new Request(base + path, { method }));
  for (
    const path of [
      "/",
      "/v1",
      "/v1/chat/completions/",
      "//v1/models",
      "/V1/models",
      "/v1/engines",
      "/v1/%6dodel",
    ]
  ) {
    assert.equal((await ask("GET", path)).status, 404, path);
  }
  for (const method of ["GET", "PUT", "DELETE", "OPTIONS"]) {
    const response = await ask(method, chat);
    assert.equal(response.status, 405);
    assert.equal(response.headers.get("allow"), "POST");
  }
  assert.equal((await ask("POST", "/v1/models")).status, 405);
  assert.equal((await ask("HEAD", "/health")).status, 200);
});

test("a server on a loopback address answers to names of the loopback and to allowed hosts alone", async () => {
  const allowing = openaiHandler(model, { hosts: ["My-Host.example", "[2001:db8::1]"] });
  const status = async (asked: Handler, host: string, address?: string) => {
    const response = await asked(new Request(`${base}/health`, { headers: { host } }), {
      address: { address },
    });
    if (response.status !== 200) assert.equal((await response.json()).error.code, "host_not_allowed");
    return response.status;
  };
  for (const host of ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "127.8.9.1", "[::1]:80"]) {
    for (const asked of [handler, allowing]) assert.equal(await status(asked, host, "127.0.0.1"), 200, host);
  }
  for (
    const host of ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "10.0.0.1", "[2001:db8::1]"]
  ) {
    for (const address of ["127.0.0.1", "::1"]) assert.equal(await status(handler, host, address), 421, host);
    assert.equal(await status(handler, host, "0.0.0.0"), 200, "whoever listens to all has many names");
    assert.equal(await status(handler, host), 200);
  }
  for (const address of ["127.0.0.1", "0.0.0.0"]) {
    for (const host of ["my-host.EXAMPLE:80", "[2001:DB8::1]"]) {
      assert.equal(await status(allowing, host, address), 200);
    }
    assert.equal(await status(allowing, "evil.example", address), 421);
  }
});

test("hosts to allow are names without port", () => {
  for (const host of ["", "a:80", "http://a", "a/b", "*"]) {
    assert.throws(() => openaiHandler(model, { hosts: [host] }), TypeError, host);
  }
});

test("a Host header that is no host is refused before the path is looked at", async () => {
  for (const host of ["x/stat?a=", "a b", "x@y", "", "a:b", "[::1", "x\\y"]) {
    assert.equal((await handler(new Request(`${base}/health`, { headers: { host } }))).status, 400, host);
  }
  for (const host of ["localhost", "127.0.0.1:8080", "[::1]:80", "my-host.example"]) {
    assert.equal((await handler(new Request(`${base}/health`, { headers: { host } }))).status, 200, host);
  }
});

test("with keys, everything but health asks for one, whatever the path and method", async () => {
  const locked = openaiHandler(model, { apiKeys: ["secret"] });
  for (
    const path of ["/v1/models", "/v1/models/minnow", chat, "/v1/completions", "/", "/v1/../x", "/metrics"]
  ) {
    for (const method of ["GET", "POST", "PUT", "OPTIONS", "DELETE", "HEAD"]) {
      const response = await locked(new Request(base + path, { method }));
      assert.equal(response.status, 401, `${method} ${path}`);
    }
  }
  for (const path of ["/health", "/health/live", "/health/ready"]) {
    assert.equal((await locked(new Request(base + path))).status, 200);
  }
  const headers = { authorization: "Bearer secret" };
  assert.equal((await locked(new Request(`${base}/v1/models`, { headers }))).status, 200);
});

test("a caller over its rate gets 429 and when to come back", async () => {
  const limited = openaiHandler(model, { rateLimit: { requestsPerMinute: 1 } });
  const ask = () => limited(new Request(`${base}/v1/models`));
  assert.equal((await ask()).status, 200);
  const response = await ask();
  assert.equal(response.status, 429);
  assert(Number(response.headers.get("retry-after")) > 50);
  assert.equal(response.headers.get("x-should-retry"), null);
});

test("pages of other origins are let in only where asked for", async () => {
  const preflight = () =>
    new Request(base + chat, {
      method: "OPTIONS",
      headers: { origin: "https://page.example", "access-control-request-method": "POST" },
    });
  assert.equal((await handler(preflight())).headers.get("access-control-allow-origin"), null);
  const open = openaiHandler(model, { cors: ["https://page.example"], apiKeys: ["secret"] });
  const response = await open(preflight());
  assert.equal(response.status, 204);
  assert.equal(response.headers.get("access-control-allow-origin"), "https://page.example");
  const everywhere = await openaiHandler(model, { cors: true })(preflight());
  assert.equal(everywhere.headers.get("access-control-allow-origin"), "*");
  const refused = await open(
    new Request(`${base}/v1/models`, { headers: { origin: "https://page.example" } }),
  );
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get("access-control-allow-origin"), "https://page.example");
});

test("a body over the limit gets 413", async () => {
  const small = openaiHandler(model, { maxBodyBytes: 1000 });
  const request = new Request(base + chat, { method: "POST", body: " ".repeat(1001) });
  const response = await small(request);
  assert.equal(response.status, 413);
  assert.equal(response.headers.get("x-should-retry"), "false");
});

test("of several prompts, one that is wrong ends the request, streamed or not", async () => {
  const wrong = { prompt: ["Once upon", "word ".repeat(3000), "The sea"], max_tokens: 500 };
  const { status, json } = await post("/v1/completions", wrong);
  assert.equal(status, 400);
  assert.equal(json.error.code, "context_length_exceeded");
  // Another prompt may have begun its stream by then: the error is an event of it.
  const body = JSON.stringify({ ...wrong, stream: true });
  const streamed = await handler(new Request(`${base}/v1/completions`, { method: "POST", body }));
  assert.match(await streamed.text(), /"code":"context_length_exceeded"/);
  assert.equal((await post("/v1/completions", { prompt: Array(65).fill("a"), n: 2 })).status, 400);
});

test("JSON that is nested without end is refused", async () => {
  for (const open of ["[", '{"messages":', '{"messages":[{"content":']) {
    assert.equal((await post(chat, open.repeat(100_000))).status, 400);
  }
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  for (const field of ["messages", "stop", "tools", "logit_bias", "prompt", "unknown"]) {
    assert.equal((await post(chat, `{"${field}": ${deep}}`)).status, 400, field);
  }
});

test("whatever JSON stands in whatever field, the answer is a reply or the client's mistake", async () => {
  const fields = [
    "messages",
    "prompt",
    "model",
    "stream",
    "stream_options",
    "max_tokens",
    "stop",
    "seed",
    "n",
    "echo",
  ];
  fields.push("logprobs", "top_logprobs", "logit_bias", "temperature", "tools", "response_format", "suffix");
  fields.push("input", "instructions", "system", "thinking", "content", "tokens", "dimensions", "metadata");
  const paths = [chat, "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/messages"];
  paths.push("/v1/messages/count_tokens", "/tokenize", "/detokenize", "/apply-template");
  const body = fc.record({
    messages: fc.oneof(
      fc.constant(messages),
      fc.array(fc.record({ role: fc.string(), content: fc.jsonValue() })),
    ),
    prompt: fc.oneof(fc.string(), fc.array(fc.integer({ min: -1, max: 5000 })), fc.array(fc.string())),
    input: fc.oneof(fc.string(), fc.array(fc.string()), fc.constant(messages)),
    tokens: fc.array(fc.integer({ min: -1, max: 5000 })),
    max_output_tokens: fc.constant(1),
    max_tokens: fc.constantFrom(1, 2),
    ignored: fc.jsonValue(),
  });
  const wrong = fc.dictionary(fc.constantFrom(...fields), fc.jsonValue(), { maxKeys: 2 });
  await fc.assert(
    fc.asyncProperty(body, wrong, fc.constantFrom(...paths), async (body, wrong, path) => {
      const request = new Request(base + path, {
        method: "POST",
        body: JSON.stringify({ ...body, ...wrong, max_tokens: 1, max_output_tokens: 1 }),
      });
      const response = await handler(request);
      const text = await response.text();
      assert(
        response.status === 200 || (response.status >= 400 && response.status < 500),
        `${response.status} ${text}`,
      );
    }),
    { numRuns: 250 },
  );
});

test("after all that, a good request is answered", async () => {
  const { status, json } = await post(chat, short);
  assert.equal(status, 200);
  assert.equal(json.choices[0].message.role, "assistant");
  const { requests } = await model.stats();
  assert.equal(requests.running + requests.waiting, 0);
});
