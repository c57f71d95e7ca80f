/** The shapes of OpenAI's answers, as its official client sees them: minnow alone. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { get } from "node:http";
import { before, test } from "node:test";
import OpenAI from "openai";
import { apiKey, servedModels } from "./served.ts";

const at = servedModels(["minnow"]);
let client: OpenAI;
before(() => void (client = new OpenAI({ baseURL: `${at("minnow").url}/v1`, apiKey, maxRetries: 0 })));

const messages = [{ role: "user" as const, content: "Tell me a story about a fish." }];
const short = { model: "minnow", messages, max_tokens: 12, temperature: 0 };

test("a page that lets its name resolve to this server is refused", async () => {
  const { port } = new URL(at("minnow").url);
  for (const [host, status] of [["evil.example", 421], ["127.0.0.1", 200]] as const) {
    const asked = get({ port, path: "/health", headers: { host: `${host}:${port}` } });
    const [answer] = await once(asked, "response");
    answer.resume();
    assert.equal(answer.statusCode, status);
  }
});

test("a whole chat completion has the shape that the API has", async () => {
  const whole = await client.chat.completions.create(short);
  const [choice] = whole.choices;
  assert.match(whole.id, /^chatcmpl-[0-9a-f]{32}$/);
  assert.equal(whole.object, "chat.completion");
  assert.equal(whole.model, "minnow");
  assert(Math.abs(whole.created - Date.now() / 1000) < 60);
  assert.match(whole.system_fingerprint ?? "", /^fp_[0-9a-f]{12}$/);
  assert.equal(choice.index, 0);
  assert.equal(choice.message.role, "assistant");
  assert(choice.message.content!.length > 10);
  assert.equal(choice.finish_reason, "length");
  assert.equal(whole.usage!.completion_tokens, 12);
  assert.equal(whole.usage!.total_tokens, whole.usage!.prompt_tokens + 12);
  assert.equal(whole.usage!.completion_tokens_details!.reasoning_tokens, 0);
});

test("a stream gives role, pieces, reason and usage, and the same text as a whole reply", async () => {
  const whole = await client.chat.completions.create(short);
  const stream = await client.chat.completions.create({
    ...short,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  assert.deepEqual(chunks[0].choices[0].delta, { role: "assistant", content: "" });
  assert.equal(
    chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join(""),
    whole.choices[0].message.content,
  );
  assert.equal(chunks.at(-2)!.choices[0].finish_reason, "length");
  assert(chunks.slice(0, -2).every(({ choices }) => choices[0].finish_reason === null));
  assert.deepEqual(chunks.at(-1)!.choices, []);
  assert.deepEqual(chunks.at(-1)!.usage, whole.usage);
  assert(chunks.slice(0, -1).every(({ usage }) => usage === null));
  assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
  assert(chunks.every(({ object }) => object === "chat.completion.chunk"));
});

test("n choices come with an index each, whole and streamed", async () => {
  const many = { ...short, n: 3, temperature: 1, seed: 7 };
  const whole = await client.chat.completions.create(many);
  const texts = whole.choices.map(({ message }) => message.content ?? "");
  assert.deepEqual(whole.choices.map(({ index }) => index), [0, 1, 2]);
  assert.equal(new Set(texts).size, 3, "three seeds gave one text");
  assert.equal(whole.usage!.completion_tokens, 36);
  const streamed = ["", "", ""];
  for await (const { choices } of await client.chat.completions.create({ ...many, stream: true })) {
    streamed[choices[0].index] += choices[0].delta.content ?? "";
  }
  assert.deepEqual(streamed, texts);
});

test("a stop string ends the reply before it", async () => {
  const { choices: [free] } = await client.chat.completions.create({ ...short, max_tokens: 40 });
  const words = free.message.content!.split(" ");
  const stop = ` ${words[4]}`;
  const { choices: [stopped] } = await client.chat.completions.create({ ...short, max_tokens: 40, stop });
  assert.equal(stopped.finish_reason, "stop");
  assert.equal(stopped.message.content, free.message.content!.slice(0, free.message.content!.indexOf(stop)));
});

test("raw prompts are continued, as text, as token ids, and several at once", async () => {
  const options = { model: "minnow", max_tokens: 8, temperature: 0 };
  const whole = await client.completions.create({ ...options, prompt: "Once upon a time" });
  assert.match(whole.id, /^cmpl-/);
  assert.equal(whole.object, "text_completion");
  assert.equal(whole.usage!.completion_tokens, 8);
  const ids = Array.from(at("minnow").model.promptTokens("Once upon a time"));
  const same = await client.completions.create({ ...options, prompt: ids });
  assert.equal(same.choices[0].text, whole.choices[0].text);
  const both = await client.completions.create({ ...options, prompt: ["Once upon a time", "The sea"], n: 2 });
  assert.deepEqual(both.choices.map(({ index }) => index), [0, 1, 2, 3]);
  assert.deepEqual(both.choices.slice(0, 2).map(({ text }) => text), Array(2).fill(whole.choices[0].text));
  const streamed = ["", "", "", ""];
  const stream = await client.completions.create({
    ...options,
    prompt: ["Once upon a time", "The sea"],
    n: 2,
    stream: true,
  });
  for await (const { choices: [{ index, text }] } of stream) streamed[index] += text;
  assert.deepEqual(streamed, both.choices.map(({ text }) => text));
});

test("echo repeats the prompt, and logprobs come in columns", async () => {
  const options = { model: "minnow", max_tokens: 5, temperature: 0, prompt: "The old man" };
  const { choices: [echoed] } = await client.completions.create({ ...options, echo: true });
  assert(echoed.text.startsWith("The old man"));
  const { choices: [{ text, logprobs }] } = await client.completions.create({ ...options, logprobs: 2 });
  assert.equal(logprobs!.tokens!.join(""), text);
  assert.equal(logprobs!.token_logprobs!.length, 5);
  assert(logprobs!.top_logprobs!.every((top) => Object.keys(top).length === 2));
  const offsets = logprobs!.tokens!.map((_, i) => logprobs!.tokens!.slice(0, i).join("").length);
  assert.deepEqual(logprobs!.text_offset, offsets);
});

test("the models are listed, and unknown ones are not found", async () => {
  const { data } = await client.models.list();
  assert.deepEqual(data.map(({ id, object }) => [id, object]), [["minnow", "model"]]);
  assert.equal((await client.models.retrieve("minnow")).id, "minnow");
  await assert.rejects(client.models.retrieve("a/b"), OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create({ ...short, model: "gpt-4" }), (error) => {
    assert(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    return true;
  });
});

test("a wrong key is refused", async () => {
  const stranger = new OpenAI({ baseURL: `${at("minnow").url}/v1`, apiKey: "wrong" });
  await assert.rejects(stranger.chat.completions.create(short), OpenAI.AuthenticationError);
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
});

test("a prompt that is too long is refused with both lengths", async () => {
  for (const stream of [false, true]) {
    const content = "word ".repeat(2000);
    const asked = client.chat.completions.create({ ...short, stream, messages: [{ role: "user", content }] });
    await assert.rejects(asked, (error) => {
      assert(error instanceof OpenAI.BadRequestError);
      const { code, n_prompt_tokens, n_ctx } = error.error as Record<string, unknown>;
      assert.equal(code, "context_length_exceeded");
      assert.equal(n_ctx, at("minnow").model.info.contextLength);
      assert(Number(n_prompt_tokens) > 2000);
      assert(error.message.includes(String(n_prompt_tokens)) && error.message.includes(String(n_ctx)));
      return true;
    });
  }
});
