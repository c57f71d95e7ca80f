/** The responses and embeddings of the official client against a handler. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { type LanguageModel, load, openaiHandler } from "../../mod.ts";
import { responseEvent } from "../../src/openai/answers_responses.ts";
import { writeDialect } from "../dialect_folder.ts";

let model: LanguageModel;
let client: OpenAI;

before(async () => {
  model = await load("minnow", { backend: "reference" });
  const handler = openaiHandler(model);
  const fetch = (input: string | URL | Request, init?: RequestInit) => handler(new Request(input, init));
  client = new OpenAI({ baseURL: "http://localhost/v1", apiKey: "none", maxRetries: 0, fetch });
});
after(() => model.close());

const input = "Tell me a story about a fish.";
const short = { model: "minnow", input, max_output_tokens: 12, temperature: 0 };

test("a response says what a chat of the same words says", async () => {
  const response = await client.responses.create(short);
  const same = await model.chat([{ role: "user", content: input }], { maxTokens: 12, temperature: 0 });
  assert.equal(response.output_text, same.text);
  assert.equal(response.status, "incomplete");
  assert.deepEqual(response.incomplete_details, { reason: "max_output_tokens" });
  assert.equal(response.usage!.output_tokens, 12);
  assert.equal(response.usage!.total_tokens, response.usage!.input_tokens + 12);
});

test("a stream's events are numbered, and its text adds up to the whole", async () => {
  const whole = await client.responses.create(short);
  const stream = await client.responses.create({ ...short, stream: true });
  const types: string[] = [];
  let text = "", numbers = 0;
  for await (const event of stream) {
    if (types.at(-1) !== event.type) types.push(event.type);
    assert.equal(event.sequence_number, numbers++);
    if (event.type === "response.output_text.delta") text += event.delta;
    if (event.type === "response.incomplete") assert.equal(event.response.usage!.output_tokens, 12);
  }
  assert.equal(text, whole.output_text);
  assert.deepEqual(types, [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.incomplete",
  ]);
});

test("log-probabilities of a response are those of the library, whole and streamed", async () => {
  const { logprobs } = await model.chat([{ role: "user", content: input }], {
    maxTokens: 12,
    temperature: 0,
    topLogprobs: 2,
  });
  const entry = ({ text, logprob, bytes }: { text: string; logprob: number; bytes: readonly number[] }) => (
    { token: text, logprob, bytes }
  );
  const known = logprobs!.map((one) => ({ ...entry(one), top_logprobs: one.top.map(entry) }));
  const include = ["message.output_text.logprobs"] as ["message.output_text.logprobs"];
  const asked = { ...short, include, top_logprobs: 2 };
  const { output: [item] } = await client.responses.create(asked);
  assert(item.type === "message" && item.content[0].type === "output_text");
  assert.deepEqual(item.content[0].logprobs, known);
  const pieces: unknown[] = [];
  for await (const event of await client.responses.create({ ...asked, stream: true })) {
    responseEvent.parse(event);
    if (event.type === "response.output_text.delta") pieces.push(...event.logprobs);
    if (event.type === "response.output_text.done") assert.deepEqual(event.logprobs, known);
  }
  assert.deepEqual(pieces, known);
  const plain = await client.responses.create({ ...short, include });
  assert(plain.output[0].type === "message" && plain.output[0].content[0].type === "output_text");
  assert.deepEqual(plain.output[0].content[0].logprobs![0].top_logprobs, []);
});

test("instructions and a conversation become one chat", async () => {
  const conversation = [
    { role: "user" as const, content: "Hi" },
    { role: "assistant" as const, content: "Hello!" },
    { role: "user" as const, content: [{ type: "input_text" as const, text: input }] },
  ];
  const response = await client.responses.create({ ...short, instructions: "Be kind.", input: conversation });
  const same = await model.chat([
    { role: "system", content: "Be kind." },
    { role: "user", content: "Hi" },
    { role: "assistant", content: "Hello!" },
    { role: "user", content: input },
  ], { maxTokens: 12, temperature: 0 });
  assert.equal(response.output_text, same.text);
});

test("the calls of one reply come back as one message, as the model wrote them", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hadal-responses-"));
  try {
    await using other = await load(writeDialect(folder, "v31"), { backend: "reference" });
    const handler = openaiHandler(other);
    const user = { role: "user" as const, content: "Look." };
    const calls = ["a", "b"].map((id) => ({ id, name: "look", arguments: `{"at": "${id}"}` }));
    const body = {
      max_output_tokens: 1,
      input: [
        user,
        { type: "reasoning", summary: [] },
        ...calls.map(({ id, ...call }) => ({ type: "function_call", call_id: id, ...call })),
        ...calls.map(({ id }) => ({ type: "function_call_output", call_id: id, output: `seen ${id}` })),
      ],
    };
    const url = "http://localhost/v1/responses";
    const response = await handler(new Request(url, { method: "POST", body: JSON.stringify(body) }));
    const { usage } = await response.json();
    const toolCalls = calls.map(({ id, ...call }) => ({ id, type: "function" as const, function: call }));
    const { tokens } = other.renderChat([
      user,
      { role: "assistant", content: null, toolCalls },
      ...calls.map(({ id }) => ({ role: "tool" as const, content: `seen ${id}`, toolCallId: id })),
    ]);
    assert.equal(usage.input_tokens, tokens.length);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("what a response cannot do yet is refused by name", async () => {
  for (const field of ["previous_response_id", "conversation", "background"]) {
    const asked = client.responses.create({ ...short, [field]: field === "background" ? true : "id" });
    await assert.rejects(asked, (error: InstanceType<typeof OpenAI.APIError>) => {
      assert.equal(error.status, 400);
      assert.equal(error.param, field);
      return true;
    });
  }
});

test("embeddings are the library's vectors, as numbers or in base64", async () => {
  const texts = ["a fox and a lamp", "a bear"];
  const vectors = await model.embed(texts);
  // Without a format the client asks for base64 and reads it back.
  const { data, usage } = await client.embeddings.create({ model: "minnow", input: texts });
  const plain = await client.embeddings.create({ model: "minnow", input: texts, encoding_format: "float" });
  for (const [i, vector] of vectors.entries()) {
    assert.deepEqual(data[i].embedding, [...vector]);
    assert.deepEqual(plain.data[i].embedding, [...vector]);
  }
  assert.equal(usage.prompt_tokens, texts.reduce((sum, text) => sum + model.promptTokens(text).length, 0));
  const cut = client.embeddings.create({ model: "minnow", input: "a", dimensions: 3 });
  await assert.rejects(cut, OpenAI.BadRequestError);
});
