/** Conversations as users have them: over the API and in process, through restarts, and longer than the context. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  type ChatOptions,
  type LanguageModel,
  load,
  type LoadOptions,
  type Message,
  openaiHandler,
} from "../mod.ts";
import { serveModel } from "./clients/served.ts";

const scratch = mkdtempSync(join(tmpdir(), "hadal-talks-"));
after(() => rmSync(scratch, { recursive: true, force: true }));
const nTurns = 20;
const sampling = { maxTokens: 16, temperature: 0.8 };

/** A turn, and what it cost. */
interface Turn {
  readonly text: string;
  readonly promptTokens: number;
  readonly cachedTokens: number;
}
/** Answers a conversation. */
type Answer = (messages: readonly Message[], seed: number) => Promise<Turn>;

/** @returns the turns of a conversation that only its seed decides */
async function converse(
  answer: Answer,
  seed: number,
  nTurns: number,
  messages: Message[] = [],
): Promise<Turn[]> {
  const turns: Turn[] = [];
  for (let turn = messages.length / 2; turn < nTurns; turn++) {
    messages.push({
      role: "user",
      content: `And then, says ${["the fox", "a lamp", "Ann"][(turn + seed) % 3]}?`,
    });
    turns.push(await answer(messages, seed + turn));
    messages.push({ role: "assistant", content: turns.at(-1)!.text });
  }
  return turns;
}

function inProcess(model: LanguageModel, options: ChatOptions = {}): Answer {
  return async (messages, seed) => {
    const { text, usage } = await model.chat(messages, { ...sampling, seed, ...options });
    return { text, promptTokens: usage.promptTokens, cachedTokens: usage.cachedTokens };
  };
}

function overHttp(model: LanguageModel): Answer {
  const handler = openaiHandler(model);
  return async (messages, seed) => {
    const body = JSON.stringify({ messages, max_tokens: 16, temperature: 0.8, seed });
    const answer = await handler(
      new Request("http://localhost/v1/chat/completions", { method: "POST", body }),
    );
    const { choices, usage } = await answer.json();
    return {
      text: choices[0].message.content,
      promptTokens: usage.prompt_tokens,
      cachedTokens: usage.prompt_tokens_details.cached_tokens,
    };
  };
}

/**
 * No turn computes more of its prompt than the words that are new, and what frames them.
 * @param nKnown what the first one knows at least; the reply before it may not have been settled
 */
function assertNothingTwice(turns: readonly Turn[], nKnown = 0): void {
  for (const [i, { promptTokens, cachedTokens }] of turns.entries()) {
    const before = i === 0 ? nKnown : turns[i - 1].promptTokens;
    assert.ok(cachedTokens >= before, `turn ${i} knows ${cachedTokens} of ${before} tokens`);
    const nNew = promptTokens - cachedTokens;
    assert.ok(before === 0 || nNew <= (i === 0 ? 48 : 24), `turn ${i} computes ${nNew} tokens`);
  }
}

const texts = (turns: readonly Turn[]) => turns.map(({ text }) => text);
const open = (options: LoadOptions = {}) => load("minnow", { backend: "auto", ...options });

test("a conversation of twenty turns computes no earlier turn again, over HTTP and in process", async () => {
  await using plain = await open({ prefixCache: false });
  const expected = texts(await converse(inProcess(plain), 1, nTurns));
  await using model = await open();
  const turns = await converse(overHttp(model), 1, nTurns);
  assertNothingTwice(turns);
  assert.deepEqual(texts(turns), expected);
  assert.deepEqual(texts(await converse(inProcess(model, { tenant: "another" }), 1, nTurns)), expected);
  const { tokens, prefixCache } = await model.stats();
  assert.ok(prefixCache.hitTokens > 5 * tokens.prompt, "most of all prompts was known");
});

test("after a restart a conversation goes on from disk, and says what it would have said", async () => {
  const folder = join(scratch, "cache");
  const messages: Message[] = [];
  const turns: Turn[] = [];
  for (const until of [4, 8, 12]) {
    await using model = await open({ prefixCache: { folder, maxBytes: "64 MiB" } });
    const some = await converse(inProcess(model), 2, until, messages);
    assertNothingTwice(some, until === 4 ? 0 : turns.at(-1)!.promptTokens);
    turns.push(...some);
  }
  await using plain = await open({ prefixCache: false });
  assert.deepEqual(texts(turns), texts(await converse(inProcess(plain), 2, 12)));
});

test("a reply whose thought later turns leave out is not kept for them, an answer is", async () => {
  const served = await serveModel("thinker");
  try {
    const { model } = served;
    const question: Message = { role: "user", content: "Why is the sea salty?" };
    const goOn = async (prompt: readonly number[], reply: readonly number[]) => {
      const { usage } = await model.complete([...prompt, ...reply, 60], { maxTokens: 1 });
      return usage.cachedTokens;
    };
    const { tokens: prompt } = model.renderChat([question]);
    const thought = await model.chat([question], { maxTokens: 20, ignoreEos: true });
    assert.equal(await goOn(prompt, thought.tokens), prompt.length);
    const said = await model.complete([...prompt, 70, 71], { maxTokens: 20, ignoreEos: true });
    assert.equal(await goOn([...prompt, 70, 71], said.tokens), prompt.length + 22);
  } finally {
    await served.close();
  }
});

test("eight conversations larger than the cache say what each says alone", async () => {
  const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
  await using roomy = await open({ prefixCache: false, maxSequences: 1 });
  const alone: string[][] = [];
  for (const seed of seeds) alone.push(texts(await converse(inProcess(roomy), seed, 5)));
  const perBlock = roomy.info.bytes.cache / Math.ceil(roomy.info.contextLength / 64);
  await using model = await open({ kvCache: { memory: 9 * perBlock }, contextLength: 256, maxSequences: 8 });
  const together = await Promise.all(seeds.map((seed) => converse(inProcess(model), seed, 5)));
  assert.deepEqual(together.map(texts), alone);
  const { cacheBlocks, prefixCache, preemptions } = await model.stats();
  assert.ok(cacheBlocks.total < 16 && prefixCache.evictedBlocks + preemptions > 0);
});

test("a chat that outgrows the context is refused, or goes on without its oldest turns where that is asked for", async () => {
  await using model = await open({ contextLength: 192 });
  const system: Message = { role: "system", content: "You tell stories." };
  const turns = Array.from({ length: 30 }, (_, i): Message[] => [
    { role: "user", content: `Tell me the story number ${i}, please.` },
    { role: "assistant", content: "Once upon a time there was a fox." },
  ]).flat();
  const messages = [system, ...turns, { role: "user", content: "And the last one?" } as const];
  await assert.rejects(async () => await model.chat(messages), { code: "context_length_exceeded" });
  const reply = await model.chat(messages, {
    maxTokens: 300,
    temperature: 0,
    ignoreEos: true,
    contextOverflow: "shift",
  });
  assert.equal(reply.tokens.length, 300);
  assert.ok(reply.usage.promptTokens <= 144 && reply.usage.droppedTokens > 300);
  assert.equal((await model.stats()).contextShifts.shifts > 0, true);
  const again = await model.chat(messages, {
    maxTokens: 300,
    temperature: 0,
    ignoreEos: true,
    contextOverflow: "shift",
  });
  assert.deepEqual(again.tokens, reply.tokens);
  const [, ...withoutSystem] = messages;
  const other = await model.chat(withoutSystem, { maxTokens: 4, contextOverflow: "shift" });
  assert.ok(other.usage.promptTokens <= 188);
  const alone: Message[] = [{ role: "user", content: "word ".repeat(400) }];
  await assert.rejects(
    async () => await model.chat(alone, { contextOverflow: "shift" }),
    { code: "context_length_exceeded" },
    "a turn is not cut",
  );
});

test("a text that outgrows the context keeps its first and its last tokens", async () => {
  await using model = await open({ contextLength: 128 });
  const ids = Array.from({ length: 500 }, (_, i) => 10 + i % 300);
  await assert.rejects(async () => await model.complete(ids, { maxTokens: 4 }), {
    code: "context_length_exceeded",
  });
  const options = {
    maxTokens: 40,
    temperature: 0,
    ignoreEos: true,
    contextOverflow: "shift",
    keepTokens: 5,
  } as const;
  const { usage, tokens } = await model.complete(ids, options);
  assert.ok(usage.promptTokens <= 96 && usage.droppedTokens >= 500 - 96);
  const left = [...ids.slice(0, 5), ...ids.slice(5 + 500 - usage.promptTokens)];
  assert.equal(left.length, usage.promptTokens);
  assert.deepEqual((await model.complete(left, options)).tokens, tokens);
  const endless = await model.complete(ids, { temperature: 0, ignoreEos: true, contextOverflow: "shift" });
  assert.equal(endless.tokens.length, 8 * 128, "a reply that might never end has a bound");
});

test("options of the context are refused by name", async () => {
  await using model = await open({ contextLength: 128 });
  const wrong: [object, string][] = [
    [{ contextOverflow: "slide" }, "context_overflow"],
    [{ keepTokens: 4 }, "keep_tokens"],
    [{ contextOverflow: "shift", keepTokens: 127 }, "keep_tokens"],
    [{ contextOverflow: "shift", keepTokens: -1 }, "keep_tokens"],
  ];
  for (const [options, param] of wrong) {
    await assert.rejects(async () => await model.complete([5, 6], options as ChatOptions), {
      param,
      status: 400,
    });
  }
  const body = JSON.stringify({
    prompt: [5, 6, 7],
    max_tokens: 300,
    context_overflow: "shift",
    keep_tokens: 2,
    ignore_eos: true,
  });
  const answer = await openaiHandler(model)(
    new Request("http://localhost/v1/completions", { method: "POST", body }),
  );
  const { usage } = await answer.json();
  assert.equal(usage.completion_tokens, 300);
  assert.ok(usage.dropped_tokens > 100);
  const metrics = await (await openaiHandler(model)(new Request("http://localhost/metrics"))).text();
  for (
    const name of [
      "context_shifts_total",
      "dropped_tokens_total",
      "settled_tokens_total",
      "disk_blocks_total",
    ]
  ) {
    assert.match(metrics, new RegExp(`^hadal_${name}`, "m"));
  }
});
