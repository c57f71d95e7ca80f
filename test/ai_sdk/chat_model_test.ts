/** The first-party provider under the AI SDK's own functions: nothing is asked over HTTP. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { APICallError, NoSuchModelError, UnsupportedFunctionalityError } from "@ai-sdk/provider";
import {
  createProviderRegistry,
  embed,
  embedMany,
  generateText,
  jsonSchema,
  type ModelMessage,
  RetryError,
  streamText,
  tool,
} from "ai";
import { createHadal, hadal, hadalEmbedding, type HadalOptions } from "../../ai_sdk.ts";
import {
  BusyError,
  DeviceError,
  type LanguageModel,
  load,
  RequestError,
  UnsupportedError,
} from "../../mod.ts";
import { Tokenizer } from "../../src/text/tokenizer.ts";
import { writePoisoned } from "../poisoned_model.ts";

// Warnings are what some of these tests are about: they are asserted, not printed.
(globalThis as { AI_SDK_LOG_WARNINGS?: boolean }).AI_SDK_LOG_WARNINGS = false;

let loaded: LanguageModel;
/** The same, some ten times slower. */
let slow: LanguageModel;
before(async () => {
  [loaded, slow] = await Promise.all([load("minnow"), load("minnow", { backend: "reference" })]);
});
after(() => Promise.all([loaded.close(), slow.close()]));

const prompt = "Tell me a story about a fish.";
const short = { prompt, maxOutputTokens: 12, temperature: 0, maxRetries: 0 } as const;
/** It cannot be done before it is told to stop. */
const endless = { hadal: { ignoreEos: true, contextOverflow: "shift" } } as const;
const weather = tool({
  description: "Tells the weather.",
  inputSchema: jsonSchema<{ city: string }>({ type: "object", properties: { city: { type: "string" } } }),
});
const forced = { tools: { weather }, toolChoice: { type: "tool", toolName: "weather" } } as const;

/** The requests that were cancelled so far, once none runs. */
async function cancelledSoon(): Promise<number> {
  while (true) {
    const { running, waiting, cancelled } = (await slow.stats()).requests;
    if (running + waiting === 0) return cancelled;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("generateText gives what the model's own chat gives, and what it cost", async () => {
  const own = await loaded.chat([{ role: "user", content: prompt }], { maxTokens: 12, temperature: 0 });
  const result = await generateText({ model: hadal(loaded), ...short });
  assert.equal(result.text, own.text);
  assert.equal(result.finishReason, "length");
  assert.equal(result.usage.inputTokens, own.usage.promptTokens);
  assert.equal(result.usage.outputTokens, 12);
  assert.equal(result.response.modelId, "minnow");
  assert.deepEqual(result.warnings ?? [], []);
});

test("streamText streams the same text, and ends with reason and usage", async () => {
  const whole = await generateText({ model: hadal(loaded), ...short });
  const stream = streamText({ model: hadal(loaded), ...short });
  const pieces: string[] = [];
  for await (const piece of stream.textStream) pieces.push(piece);
  assert(pieces.length > 3);
  assert.equal(pieces.join(""), whole.text);
  assert.equal(await stream.finishReason, "length");
  assert.equal((await stream.usage).outputTokens, 12);
});

test("a stop sequence, a seed and hadal's own options are heard", async () => {
  const model = hadal(loaded);
  const { text } = await generateText({ model, ...short });
  const stop = text.split(" ")[3];
  const stopped = await generateText({ model, ...short, stopSequences: [stop] });
  assert.equal(stopped.finishReason, "stop");
  assert.equal(stopped.text, text.slice(0, text.indexOf(stop)));
  const drawn = { ...short, temperature: 1, seed: 5 };
  const [one, same] = [await generateText({ model, ...drawn }), await generateText({ model, ...drawn })];
  assert.equal(one.text, same.text);
  const options = { logitBias: { [loaded.tokenizer.encode(text)[0]]: -100 }, topLogprobs: 2 };
  const other = await generateText({
    model,
    ...short,
    providerOptions: { hadal: options satisfies HadalOptions },
  });
  assert.notEqual(other.text, text);
  const { logprobs } = other.finalStep.providerMetadata!.hadal as { logprobs: { top: unknown[] }[] };
  assert.deepEqual(logprobs.map(({ top }) => top.length), Array(12).fill(2));
});

test("an option that hadal does not have, or that the AI SDK decides, is refused by name", async () => {
  for (const [name, value] of [["minp", 0.1], ["n", 2], ["tools", []]] as const) {
    const asked = generateText({
      model: hadal(loaded),
      ...short,
      providerOptions: { hadal: { [name]: value } },
    });
    await assert.rejects(asked, (error) => error instanceof RequestError && error.param === name);
  }
});

test("a forced call comes as one, whole and as deltas that add up to it", async () => {
  const { toolCalls: [call] } = await generateText({ model: hadal(loaded), ...short, ...forced });
  assert.equal(call.toolName, "weather");
  const stream = streamText({ model: hadal(loaded), ...short, ...forced });
  let json = "", input: unknown, started = "";
  for await (const part of stream.stream) {
    if (part.type === "tool-input-start") started = part.toolName;
    if (part.type === "tool-input-delta") json += part.delta;
    if (part.type === "tool-call") input = part.input;
  }
  assert.equal(started, "weather");
  assert(json.length > 0);
  assert.equal(input, json, "what is no JSON is handed on as it is");
});

test("a conversation with calls and results becomes the prompt that the model's own messages make", async () => {
  const json = '{"city":  "Paris"}'; // as JSON.stringify would not write it
  const messages: ModelMessage[] = [
    { role: "system", content: "Be brief." },
    { role: "user", content: [{ type: "text", text: "What is" }, { type: "text", text: "the weather?" }] },
    {
      role: "assistant",
      content: [{
        type: "tool-call",
        toolCallId: "c1",
        toolName: "weather",
        input: JSON.parse(json),
        providerOptions: { hadal: { arguments: json } },
      }],
    },
    {
      role: "tool",
      content: [
        {
          type: "tool-result",
          toolCallId: "c1",
          toolName: "weather",
          output: { type: "json", value: { sky: "clear" } },
        },
      ],
    },
  ];
  const { usage, text } = await generateText({
    model: hadal(loaded),
    messages,
    allowSystemInMessages: true,
    maxOutputTokens: 4,
    temperature: 0,
  });
  const call = { id: "c1", type: "function", function: { name: "weather", arguments: json } } as const;
  const own = await loaded.chat([
    { role: "system", content: "Be brief." },
    { role: "user", content: "What is\nthe weather?" },
    { role: "assistant", content: null, toolCalls: [call] },
    { role: "tool", content: '{"sky":"clear"}', toolCallId: "c1" },
  ], { maxTokens: 4, temperature: 0 });
  assert.equal(usage.inputTokens, own.usage.promptTokens);
  assert.equal(text, own.text);
});

test("what the model cannot do is a warning, and what it cannot read an error of the AI SDK", async () => {
  const { warnings } = await generateText({ model: hadal(loaded), ...short, reasoning: "high" });
  assert.deepEqual(warnings?.map((each) => each.type === "unsupported" && each.feature), ["reasoning"]);
  const image = {
    type: "file",
    data: { type: "data", data: new Uint8Array(4) },
    mediaType: "image/png",
  } as const;
  const asked = hadal(loaded).doGenerate({ prompt: [{ role: "user", content: [image] }] });
  await assert.rejects(Promise.resolve(asked), (error) => {
    assert(error instanceof UnsupportedError);
    return UnsupportedFunctionalityError.isInstance(error);
  });
});

test("a signal ends a call, a stream and an embedding", async () => {
  const before = await cancelledSoon();
  const asked = { model: hadal(slow), prompt, maxRetries: 0, maxOutputTokens: 1e6, providerOptions: endless };
  const gone = AbortSignal.abort();
  await assert.rejects(generateText({ ...asked, abortSignal: gone }), { name: "AbortError" });
  const abort = new AbortController();
  const stream = streamText({ ...asked, abortSignal: abort.signal });
  const types: string[] = [];
  for await (const part of stream.stream) {
    types.push(part.type);
    if (part.type === "text-delta") abort.abort();
  }
  assert.equal(types.at(-1), "abort");
  await assert.rejects(embed({ model: hadalEmbedding(slow), value: "a", abortSignal: gone }), {
    name: "AbortError",
  });
  assert.equal(await cancelledSoon(), before + 1);
});

test("a stream that nobody reads on ends its request", async () => {
  const before = await cancelledSoon();
  const call = { prompt: [{ role: "user" as const, content: [{ type: "text" as const, text: prompt }] }] };
  const { stream } = await hadal(slow).doStream({
    ...call,
    maxOutputTokens: 1e6,
    providerOptions: endless,
  });
  const reader = stream.getReader();
  for (let i = 0; i < 5; i++) await reader.read();
  await reader.cancel();
  assert.equal(await cancelledSoon(), before + 1);
});

test("a stream that fails half way tells the error, after what it had", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hadal-test-"));
  const v2lite = join(import.meta.dirname!, "../golden/v2lite");
  const tokenizer = Tokenizer.parse(readFileSync(join(v2lite, "tokenizer.json")));
  const [poison] = tokenizer.encode("x");
  writePoisoned(folder, v2lite, poison);
  await using model = await load(folder);
  const providerOptions = { hadal: { logitBias: { [poison]: 100 } } };
  const stream = streamText({ model: hadal(model), ...short, prompt: "Go", providerOptions, onError() {} });
  let text = "", told: unknown;
  for await (const part of stream.stream) {
    if (part.type === "text-delta") text += part.text;
    if (part.type === "error") told = part.error;
  }
  assert.equal(text, "x");
  assert(told instanceof DeviceError, String(told));
  rmSync(folder, { recursive: true });
});

test("a model that is busy is asked again, and the error is a BusyError all the same", async () => {
  const closed = await load("minnow");
  await closed.close(); // it is told as a full queue is
  const asked = generateText({ model: hadal(closed), ...short, maxRetries: 1 });
  await assert.rejects(asked, (error) => {
    assert(RetryError.isInstance(error));
    assert.equal(error.errors.length, 2);
    assert(error.lastError instanceof BusyError);
    return APICallError.isInstance(error.lastError);
  });
});

test("embeddings are the model's own", async () => {
  const values = ["a fox and a lamp", "the sea"];
  const { embeddings, usage } = await embedMany({ model: hadalEmbedding(loaded), values });
  const own = await loaded.embed(values);
  assert.deepEqual(embeddings, own.map((vector) => [...vector]));
  assert.equal(usage.tokens, values.reduce((sum, text) => sum + loaded.promptTokens(text).length, 0));
});

test("a registry finds models by name, and says which there are", async () => {
  const registry = createProviderRegistry({ hadal: createHadal({ small: loaded }) });
  const { text } = await generateText({ model: registry.languageModel("hadal:small"), ...short });
  assert(text.length > 10);
  assert.equal(registry.embeddingModel("hadal:small").modelId, "small");
  const isTold = (error: unknown) => NoSuchModelError.isInstance(error) && /it has/.test(error.message);
  assert.throws(() => registry.languageModel("hadal:large"), isTold);
  assert.throws(() => registry.embeddingModel("hadal:large"), isTold);
  assert.throws(() => registry.imageModel("hadal:small"), isTold);
});
