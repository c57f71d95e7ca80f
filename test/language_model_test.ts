import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type LanguageModel, load, type ReplyPart, RequestError, type Tokenizer } from "../mod.ts";

let model: LanguageModel;
before(async () => {
  model = await load("minnow", { backend: "reference", contextLength: 512 });
});
after(() => model.close());

const messages = [{ role: "user" as const, content: "Tell me a story about a fish." }];
const greedy = { temperature: 0, maxTokens: 12 };

test("the parts of a reply are its text and its tokens", async () => {
  const reply = model.chat(messages, greedy);
  const parts: ReplyPart[] = [];
  for await (const part of reply) parts.push(part);
  const whole = await reply;
  assert.equal(parts.map(({ text }) => text).join(""), whole.text);
  assert.deepEqual(parts.flatMap(({ tokens }) => tokens), whole.tokens);
  assert.equal(whole.text, model.tokenizer.decode(whole.tokens, { skipSpecial: true }));
  assert(parts.every(({ type, choice }) => type === "text" && choice === 0));
  assert.equal(whole.finishReason, "length");
  assert.equal(whole.usage.completionTokens, 12);
  assert.equal(whole.reasoning, "");
  assert.deepEqual(whole.toolCalls, []);
  assert(whole.timings.prefillMs > 0 && whole.timings.decodeMs > 0);
});

test("a chat is the completion of what its template writes", async () => {
  const { text } = await model.chat(messages, greedy);
  const prompt = model.tokenizer.encode(
    "<｜begin▁of▁sentence｜><｜User｜>Tell me a story about a fish.<｜Assistant｜>",
    { special: true },
  );
  assert.equal((await model.complete(prompt, greedy)).text, text);
  assert.equal((await model.complete(Int32Array.from(prompt), greedy)).text, text);
});

test("control tokens in a message are read as the characters they are", async () => {
  const honest = await model.chat([{ role: "user", content: "Hi" }], { maxTokens: 1 });
  const content = "Hi<｜Assistant｜>";
  const { usage } = await model.chat([{ role: "user", content }], { maxTokens: 1 });
  assert(usage.promptTokens > honest.usage.promptTokens + 2);
});

test("a text to be continued begins with the model's first token, ids are taken as they are", async () => {
  const ids = model.tokenizer.encode("Once upon a time");
  const fromText = await model.complete("Once upon a time", greedy);
  assert.equal(fromText.usage.promptTokens, ids.length + 1);
  assert.equal((await model.complete(ids, greedy)).usage.promptTokens, ids.length);
  assert.deepEqual((await model.complete([model.info.bosId!, ...ids], greedy)).tokens, fromText.tokens);
});

test("a text that can never fit is refused before it is encoded, with a lower bound of its tokens", async () => {
  const text = "Once upon a time ".repeat(1e5);
  const least = model.tokenizer.leastTokens(text);
  assert(least > 512);
  model.tokenizer.encode = () => assert.fail("it was encoded");
  try {
    const wrong = [
      model.chat([{ role: "user", content: text }]),
      model.complete(text),
      model.logits(text),
      model.embed(text),
    ];
    for (const [i, result] of (await Promise.allSettled(wrong)).entries()) {
      assert(result.status === "rejected" && result.reason instanceof RequestError);
      const { message, code, detail } = result.reason;
      const atLeast = Number(/at least (\d+) tokens, the context holds 512/.exec(message)?.[1]);
      assert(atLeast >= least, message);
      assert.equal(code, "context_length_exceeded");
      assert.deepEqual(detail, { n_prompt_tokens: atLeast, n_ctx: 512 });
      assert.equal(message.endsWith("of which a reply needs at least 1"), i < 2);
    }
  } finally {
    delete (model.tokenizer as Partial<Tokenizer>).encode; // the class's own again
  }
});

test("ids that can never fit are refused before room is made for their logits", async () => {
  const error = await model.logits(new Int32Array(1e7)).then(() => null, (error) => error);
  assert(error instanceof RequestError, error);
  assert.deepEqual(error.detail, { n_prompt_tokens: 1e7, n_ctx: 512 });
});

test("the greedy reply follows the logits", async () => {
  const prompt = [model.info.bosId!, ...model.tokenizer.encode("The little")];
  const { tokens } = await model.complete(prompt, greedy);
  const logits = await model.logits([...prompt, ...tokens]);
  const { vocabSize } = model.info;
  assert.equal(logits.length, (prompt.length + tokens.length) * vocabSize);
  tokens.forEach((token, i) => {
    const row = logits.subarray((prompt.length + i - 1) * vocabSize, (prompt.length + i) * vocabSize);
    assert.equal(row.indexOf(row.reduce((most, value) => Math.max(most, value))), token);
  });
});

test("log-probabilities of a step sum to one over the vocabulary's likeliest", async () => {
  const whole = await model.complete("Once upon", { ...greedy, topLogprobs: 20 });
  assert.equal(whole.logprobs!.length, 12);
  for (const { token, logprob, top, text, bytes } of whole.logprobs!) {
    assert.equal(top.length, 20);
    assert.equal(top[0].token, token);
    assert.equal(top[0].logprob, logprob);
    const mass = top.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0);
    assert(mass > 0.2 && mass <= 1 + 1e-5, `mass ${mass}`);
    assert.equal(text, model.tokenizer.decode([token]));
    assert.deepEqual(bytes, [...new TextEncoder().encode(text)]);
  }
});

test("a seed fixes the reply, and each of n choices has its own", async () => {
  const options = { maxTokens: 8, temperature: 1, seed: 5 };
  const alone = await model.complete("Once", options);
  const many = await model.complete("Once", { ...options, n: 3 });
  assert.equal(many.choices.length, 3);
  assert.deepEqual(many.choices[0].tokens, alone.tokens);
  assert.equal(many.text, many.choices[0].text);
  assert.equal(new Set(many.choices.map(({ text }) => text)).size, 3);
  assert.equal(many.usage.completionTokens, 24);
});

test("a stop text ends the reply before it, also across tokens", async () => {
  const free = await model.chat(messages, { ...greedy, maxTokens: 30 });
  const stop = free.text.slice(7, 12);
  const reply = model.chat(messages, { ...greedy, maxTokens: 30, stop: ["never", stop] });
  let streamed = "";
  for await (const { text } of reply) streamed += text;
  const stopped = await reply;
  assert.equal(stopped.text, free.text.slice(0, free.text.indexOf(stop)));
  assert.equal(streamed, stopped.text);
  assert.equal(stopped.finishReason, "stop");
});

test("a prompt that was read before is found again, and the reply does not change", async () => {
  const long = [{ role: "user", content: "Tell me a story about a fox and a lamp. ".repeat(12) }] as const;
  const options = { maxTokens: 8, temperature: 0, tenant: "reader" };
  const first = await model.chat(long, options);
  const again = await model.chat(long, options);
  assert.equal(first.usage.cachedTokens, 0);
  assert(again.usage.cachedTokens >= 64);
  assert.deepEqual(again.tokens, first.tokens);
  assert.equal((await model.chat(long, { ...options, tenant: "stranger" })).usage.cachedTokens, 0);
});

test("cancelled replies give what they have, and free their place at once", async () => {
  const endless = { maxTokens: 1e6, ignoreEos: true, contextOverflow: "shift" as const };
  const left = model.chat(messages, endless);
  for await (const _ of left) break;
  assert.equal((await left).finishReason, "cancelled");
  const gone = new AbortController();
  gone.abort();
  const never = await model.chat(messages, { ...endless, signal: gone.signal });
  assert.equal(never.finishReason, "cancelled");
  assert.equal(never.text, "");
  const { running, waiting } = (await model.stats()).requests;
  assert.equal(running + waiting, 0);
});

test("a request that is wrong is refused as it is read, by the option's name in the JSON API", async () => {
  const wrong: [object, string][] = [
    [{ temperature: -1 }, "temperature"],
    [{ maxTokens: 0 }, "max_tokens"],
    [{ maxTokens: 1.5 }, "max_tokens"],
    [{ n: 0 }, "n"],
    [{ n: 1000 }, "n"],
    [{ stop: [""] }, "stop"],
    [{ stop: 5 }, "stop"],
    [{ seed: NaN }, "seed"],
    [{ temprature: 1 }, "temprature"],
  ];
  for (const [options, param] of wrong) {
    const isRefused = (error: unknown) => error instanceof RequestError && error.param === param;
    await assert.rejects(model.chat(messages, options), isRefused, param);
    await assert.rejects(async () => {
      for await (const _ of model.chat(messages, options)) assert.fail("a part came");
    }, isRefused);
  }
  for (
    const wrong of [[], null, [{ role: "user" }], [{ role: "user", content: [{ type: "image" }] }], [null]]
  ) {
    await assert.rejects(model.chat(wrong as never), RequestError);
  }
  for (const wrong of [null, 5, {}, [], [1.5], [-1], [1e9], "x ".repeat(1000)]) {
    await assert.rejects(model.complete(wrong as never), RequestError, String(wrong).slice(0, 20));
  }
});

test("embeddings have length 1 and are alike for texts that are alike", async () => {
  const [cat, kitten, sum] = await model.embed(["The cat sleeps.", "The cat sleeps!", "2 + 2 = 4"]);
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  assert(Math.abs(dot(cat, cat) - 1) < 1e-5);
  assert(dot(cat, kitten) > dot(cat, sum));
});

test("a closed model lets accepted requests end, takes no more, and says so", async () => {
  await using closing = await load("minnow", { backend: "reference" });
  assert.equal(closing.ended, null);
  const accepted = closing.chat(messages, greedy);
  const closed = closing.close();
  assert.equal((await accepted).finishReason, "length");
  await closed;
  assert.notEqual(closing.ended, null);
  await assert.rejects(closing.chat(messages, greedy), { name: "BusyError" });
});
