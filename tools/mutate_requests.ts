/**
 * Bodies of requests, for mutate.ts: whatever is asked, the answer is one of the API and no fault of the
 * server's.
 * @module
 */
import assert from "node:assert/strict";
import { load, openaiHandler } from "../mod.ts";
import { RequestError } from "../src/errors.ts";
import type { Parser } from "./mutation.ts";

const messages = [{ role: "system", content: "Be brief." }, { role: "user", content: "Hi" }];
const weather = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tool = {
  type: "function",
  function: { name: "weather", description: "of a city", parameters: weather },
};
const sampling = {
  max_tokens: 4,
  min_tokens: 1,
  temperature: 0.7,
  top_k: 20,
  top_p: 0.9,
  min_p: 0.01,
  typical_p: 0.95,
  repetition_penalty: 1.1,
  frequency_penalty: 0.1,
  presence_penalty: 0.1,
  seed: 7,
  n: 2,
  stop: ["\n\n", "END"],
  logit_bias: { "5": -1, "7": 2.5 },
};
const requests: readonly (readonly [path: string, body: unknown])[] = [
  ["/v1/chat/completions", { messages, ...sampling, logprobs: true, top_logprobs: 2 }],
  ["/v1/chat/completions", {
    messages: [
      { role: "user", content: [{ type: "text", text: "Hi" }] },
      {
        role: "assistant",
        content: null,
        tool_calls: [{
          id: "a",
          type: "function",
          function: { name: "weather", arguments: '{"city":"Bonn"}' },
        }],
      },
      { role: "tool", tool_call_id: "a", content: "rain" },
    ],
    tools: [tool],
    tool_choice: "none",
    max_tokens: 3,
    stream: true,
    stream_options: { include_usage: true },
  }],
  ["/v1/chat/completions", {
    messages,
    max_completion_tokens: 5,
    response_format: { type: "json_schema", json_schema: { name: "x", strict: true, schema: weather } },
  }],
  ["/v1/completions", { prompt: ["A fox", "The"], ...sampling, echo: true, logprobs: 1, best_of: 2 }],
  ["/v1/completions", { prompt: [1, 2, 3], max_tokens: 2, grammar: 'root ::= "a" | [b-d]+', stream: true }],
  ["/v1/responses", {
    input: [{ role: "user", content: [{ type: "input_text", text: "Hi" }] }],
    instructions: "Be brief.",
    max_output_tokens: 3,
    tools: [{ type: "function", name: "weather", parameters: weather, strict: true }],
    tool_choice: "none",
    stream: true,
  }],
  ["/v1/messages", {
    model: "minnow",
    system: [{ type: "text", text: "Be brief." }],
    messages: [{ role: "user", content: [{ type: "text", text: "Hi" }] }],
    max_tokens: 3,
    stop_sequences: ["x"],
    tools: [{ name: "weather", input_schema: weather }],
    tool_choice: { type: "none" },
  }],
  ["/v1/messages/count_tokens", { model: "minnow", messages: [{ role: "user", content: "Hi" }] }],
  ["/v1/embeddings", { input: ["a", "b c"], encoding_format: "base64" }],
  ["/tokenize", { content: "A text", add_special: true, with_pieces: true }],
  ["/detokenize", { tokens: [1, 2, 3] }],
  ["/apply-template", { messages }],
];

const opened = async () => {
  const model = await load("minnow", { contextLength: 64, maxSequences: 4 });
  return { model, handler: openaiHandler(model, { modelName: "minnow" }) };
};
let open: ReturnType<typeof opened> | null = null;

/** One seed a kind of request. */
export const requestParser: Parser = {
  kind: "json",
  mostMs: 20_000,
  seeds: requests.map(([, body]) => new TextEncoder().encode(JSON.stringify(body))),
  async parse(bytes, seed) {
    const { handler } = await (open ??= opened());
    const [path] = requests[seed];
    const request = new Request(`http://localhost${path}`, { method: "POST", body: new Uint8Array(bytes) });
    const answer = await handler(request);
    const text = await answer.text();
    assert.ok(answer.status < 500, `${answer.status}: ${text.slice(0, 500)}`);
    assert.ok(!/"type":\s*"(?:server_error|api_error)"|internal_error/.test(text), text.slice(-1000));
    if (answer.status === 200) return;
    const { error } = JSON.parse(text);
    assert.ok(typeof error.message === "string" && error.message.length < 2000, text.slice(0, 500));
    throw new RequestError(error.message);
  },
  close: async () => await (await open)?.model.close(),
};
