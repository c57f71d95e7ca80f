/**
 * Guesses ahead on real networks: the reply is the one that comes without them. HADAL_SPECULATIVE_PROMPTS
 * says how many random prompts are tried with each kind; the suite takes few.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EngineStats, LanguageModel, LoadOptions, SpeculationOption } from "../mod.ts";
import { load, openaiHandler, RequestError, UnsupportedError } from "../mod.ts";
import { kernelLibrary } from "./backends.ts";
import { openGolden } from "./model/golden.ts";

const minnow = fileURLToPath(new URL("../examples/minnow", import.meta.url));
const tiny = openGolden("v3bf16")!.folder;
const nPromptsOn = (backend: "cpu" | "reference") =>
  Number(process.env.HADAL_SPECULATIVE_PROMPTS ?? { cpu: 40, reference: 6 }[backend]);
const hasCpu = await kernelLibrary() !== null;
const fast: LoadOptions = { backend: hasCpu ? "cpu" : "reference", contextLength: 320 };

/** The other model of two on one vocabulary guesses for the first. */
const v3 = openGolden("v3")?.folder;
const cases: {
  source: string;
  draftModel?: string;
  kind: SpeculationOption;
  backend: "cpu" | "reference";
}[] = [
  { source: tiny, kind: "ngram", backend: "reference" },
  { source: tiny, draftModel: tiny, kind: "model", backend: "reference" },
  ...(v3 === undefined ? [] : [
    { source: v3, kind: { type: "mtp", tokens: 3 }, backend: "reference" },
    { source: v3, draftModel: tiny, kind: "model", backend: "reference" },
  ] as const),
  ...(hasCpu
    ? [
      { source: "minnow", kind: "ngram", backend: "cpu" },
      { source: "minnow", kind: "mtp", backend: "cpu" },
      { source: "minnow", draftModel: "minnow", kind: { type: "model", tokens: 5 }, backend: "cpu" },
    ] as const
    : []),
];

/** Numbers that only the seed decides. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = Math.imul(state, 1664525) + 1013904223 >>> 0;
    return state / 2 ** 32;
  };
}

for (const { source, draftModel, kind, backend } of cases) {
  const name = source.replace(/^.*\//, "");
  const nPrompts = nPromptsOn(backend);
  const by = `${typeof kind === "string" ? kind : JSON.stringify(kind)} on ${backend}`;
  test(`${name} says greedily what it says without guesses, after ${nPrompts} random prompts: ${by}`, async () => {
    await using model = await load(source, { ...fast, backend, draftModel });
    const random = randomFrom(nPrompts);
    for (let i = 0; i < nPrompts; i += 2) {
      await Promise.all(Array.from({ length: Math.min(2, nPrompts - i) }, async () => {
        const prompt = randomPrompt(random, model.info.vocabSize);
        const options = { maxTokens: 8 + Math.floor(40 * random()), temperature: 0 };
        const [plain, guessed] = await Promise.all([
          model.complete(prompt, options),
          model.complete(prompt, { ...options, speculative: kind }),
        ]);
        assert.deepEqual(guessed.tokens, plain.tokens);
        assert.equal(guessed.finishReason, plain.finishReason);
      }));
    }
    const { drafted, accepted } = (await model.stats()).speculative;
    console.log(`${name}, ${by}: ${accepted} of ${drafted} guesses were right`);
    assert(drafted > 0);
  });
}

/** Some of it twice, as texts have it. */
function randomPrompt(random: () => number, vocabSize: number): number[] {
  const ids = Array.from(
    { length: 1 + Math.floor(40 * random()) },
    () => 3 + Math.floor((vocabSize - 3) * random()),
  );
  return [...ids, ...ids.slice(Math.floor(ids.length * random()))];
}

test("with a seed every way of sampling gives the same tokens and log-probabilities with guesses and without", async () => {
  await using model = await load("minnow", { ...fast, draftModel: "minnow", threads: 1 });
  const ways = [
    { temperature: 1 },
    { temperature: 0.6, topP: 0.9, topK: 40 },
    { temperature: 1.3, minP: 0.05, repetitionPenalty: 1.2, presencePenalty: 0.3 },
    { temperature: 0.9, typicalP: 0.8, topLogprobs: 3, minTokens: 30 },
    { temperature: 0.8, n: 3, stop: "the" },
    { temperature: 1, regex: "( [a-z]+)+\\." },
  ];
  for (const [seed, way] of ways.entries()) {
    const options = { maxTokens: hasCpu ? 60 : 6, seed, ...way };
    const reply = (speculative: SpeculationOption) =>
      model.complete("Once upon a time there was a", { ...options, speculative });
    const plain = await reply("none");
    for (const kind of ["mtp", "ngram", "model"] as const) {
      const guessed = await reply(kind);
      assert.deepEqual(guessed.choices, plain.choices, `${kind}, ${JSON.stringify(way)}`);
      assert.deepEqual([plain.usage.acceptedPredictionTokens, plain.usage.rejectedPredictionTokens], [0, 0]);
    }
  }
  const { byKind } = (await model.stats()).speculative;
  if (hasCpu) {
    for (const { accepted } of Object.values(byKind)) assert(accepted > 0, JSON.stringify(byKind));
  }
});

test("sampled tokens are spread as the model's own distribution says, whatever guesses them", async () => {
  // Seeds of their own for each kind, so that the spread is tested and not the sameness of draws.
  await using model = await load("minnow", {
    ...fast,
    draftModel: "minnow",
    maxQueue: 1000,
    maxSequences: 4,
  });
  const prompt = [...model.tokenizer.encode("The little dog ran to the")];
  const nDraws = hasCpu ? 240 : 4;
  const options = { maxTokens: 3, temperature: 1, topK: 6 } as const;
  const third = await distributionOfThird(model, prompt, options.topK);
  for (const [k, kind] of (["mtp", "ngram", "model"] as const).entries()) {
    const counts = new Map<string, number>();
    const replies = await Promise.all(
      Array.from({ length: nDraws }, (_, i) =>
        model.complete([...prompt, ...prompt], {
          ...options,
          seed: 1 + 100_000 * k + i,
          speculative: { type: kind, tokens: 2 },
          ignoreEos: true,
        })),
    );
    for (const { tokens } of replies) counts.set(tokens.join(), (counts.get(tokens.join()) ?? 0) + 1);
    assertSpread(counts, third, nDraws, kind);
  }
  if (hasCpu) assert(accepted(await model.stats()) > 100);

  /** The probability of each reply of three tokens, one token after the other. */
  async function distributionOfThird(model: LanguageModel, prompt: number[], topK: number) {
    const found = new Map<string, number>();
    const grow = async (tokens: number[], probability: number): Promise<void> => {
      if (tokens.length === 3) return void found.set(tokens.join(), probability);
      const { logprobs } = await model.complete([...prompt, ...prompt, ...tokens], {
        maxTokens: 1,
        temperature: 0,
        topLogprobs: topK,
        ignoreEos: true,
      });
      const top = logprobs![0].top.slice(0, topK);
      const total = top.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0);
      await Promise.all(
        top.map(({ token, logprob }) => grow([...tokens, token], probability * Math.exp(logprob) / total)),
      );
    };
    await grow([], 1);
    return found;
  }
});

function accepted({ speculative }: EngineStats): number {
  return speculative.accepted;
}

/** Pearson's test; replies that are expected fewer than 5 times are taken together. */
function assertSpread(
  counts: ReadonlyMap<string, number>,
  probabilities: ReadonlyMap<string, number>,
  nDraws: number,
  what: string,
): void {
  for (const reply of counts.keys()) assert(probabilities.has(reply), `${what}: ${reply} cannot come`);
  let statistic = 0, degrees = -1, restExpected = 0, restFound = 0;
  const add = (found: number, expected: number) => {
    statistic += (found - expected) ** 2 / expected;
    degrees++;
  };
  for (const [reply, probability] of probabilities) {
    const expected = nDraws * probability, found = counts.get(reply) ?? 0;
    if (expected >= 5) add(found, expected);
    else [restExpected, restFound] = [restExpected + expected, restFound + found];
  }
  if (restExpected > 0) add(restFound, restExpected);
  // Wilson and Hilferty's cube root: beyond 3.1 standard deviations is one case in a thousand.
  const limit = degrees * (1 - 2 / (9 * degrees) + 3.1 * Math.sqrt(2 / (9 * degrees))) ** 3;
  assert(
    statistic <= limit,
    `${what}: chi-square ${statistic} of ${degrees} degrees, at most ${limit} expected`,
  );
}

test("a draft model is named at load or by a request, once, and must have the same vocabulary", async () => {
  await using model = await load(tiny, fast);
  const tokens = [5, 6, 7];
  const ask = (speculative: SpeculationOption) =>
    model.complete(tokens, { maxTokens: 9, temperature: 0, speculative });
  await assert.rejects(ask("model"), RequestError);
  await assert.rejects(ask({ model: openGolden("v2lite")!.folder }), (error) => {
    assert(error instanceof UnsupportedError);
    assert.match(error.message, /its vocabulary has 512 tokens, 384 needed/);
    return true;
  });
  const plain = await ask("none");
  const guessed = await ask({ model: tiny });
  assert.deepEqual(guessed.tokens, plain.tokens);
  assert(guessed.usage.acceptedPredictionTokens > 0);
  assert.equal(guessed.usage.rejectedPredictionTokens, 0, "it guesses for itself");
  assert.deepEqual(model.info.draftKinds, ["ngram", "model"]);
  await assert.rejects(ask({ model: minnow }), RequestError, "one draft model a model");
  await assert.rejects(load(tiny, { ...fast, draftModel: "/no/such/folder" }), /no such folder/);
});

test("a draft model whose tokens stand for other text is refused", async () => {
  const folder = await mkdtemp(join(tmpdir(), "hadal-draft-"));
  try {
    await cp(minnow, folder, { recursive: true });
    const tokenizer = JSON.parse(readFileSync(join(minnow, "tokenizer.json"), "utf8"));
    const vocab: Record<string, number> = tokenizer.model.vocab;
    const [a, b] = Object.keys(vocab).filter((word) => /^[a-z]$/.test(word));
    [vocab[a], vocab[b]] = [vocab[b], vocab[a]];
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
    await assert.rejects(load("minnow", { ...fast, draftModel: folder }), (error) => {
      assert(error instanceof UnsupportedError);
      assert.match(error.message, /as draft model: token \d+ is "[a-z]" there, "[a-z]" needed/);
      return true;
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("what guesses by default is said at load, and what cannot be had is refused there", async () => {
  await using model = await load(tiny, { ...fast, speculative: { type: "ngram", tokens: 4 } });
  const options = { maxTokens: 40, temperature: 0, logitBias: { 7: 100 } };
  const { usage } = await model.complete([5, 6, 7, 7], options);
  assert(usage.acceptedPredictionTokens > 20);
  const { usage: none } = await model.complete([5, 6, 7, 7], { ...options, speculative: "none" });
  assert.equal(none.acceptedPredictionTokens, 0);
  await assert.rejects(load(tiny, { ...fast, speculative: "mtp" }), UnsupportedError);
  await assert.rejects(load(tiny, { ...fast, speculative: "model" }), UnsupportedError);
  await assert.rejects(load("minnow", { ...fast, mtp: false, speculative: "mtp" }), UnsupportedError);
  await assert.rejects(load(tiny, { ...fast, speculative: "magic" as "mtp" }), TypeError);
});

test("without the layer for multi-token prediction its memory is free, and requests for it are refused", async () => {
  await using whole = await load("minnow", { ...fast, threads: 1 });
  await using without = await load("minnow", { ...fast, threads: 1, mtp: false });
  assert(without.info.bytes.weights < whole.info.bytes.weights);
  assert.equal(without.info.bytes.cache / whole.info.bytes.cache, 5 / 6);
  assert.deepEqual([whole.info.draftKinds, without.info.draftKinds], [["mtp", "ngram"], ["ngram"]]);
  await assert.rejects(without.complete([5], { speculative: "mtp" }), /is not loaded/);
});

test("the API takes the field, counts guesses in usage and metrics, and opens no files for clients", async () => {
  await using model = await load(tiny, { ...fast, draftModel: tiny });
  const handler = openaiHandler(model);
  const ask = async (speculative: unknown) => {
    const body = { model: "v3bf16", prompt: [5, 6, 7], max_tokens: 20, temperature: 0, speculative };
    const response = await handler(
      new Request("http://localhost/v1/completions", { method: "POST", body: JSON.stringify(body) }),
    );
    return { status: response.status, body: await response.json() };
  };
  const { status, body } = await ask({ type: "model", tokens: 3 });
  assert.equal(status, 200, JSON.stringify(body));
  const { accepted_prediction_tokens, rejected_prediction_tokens } = body.usage.completion_tokens_details;
  assert(accepted_prediction_tokens > 8);
  assert.equal(rejected_prediction_tokens, 0);
  const metrics = await (await handler(new Request("http://localhost/metrics"))).text();
  assert.match(
    metrics,
    new RegExp(`hadal_accepted_draft_tokens_total\\{kind="model"\\} ${accepted_prediction_tokens}\n`),
  );
  for (const wrong of ["magic", { model: tiny }, { type: "ngram", tokens: 99 }, 5]) {
    const refused = await ask(wrong);
    assert.deepEqual([refused.status, refused.body.error.param?.split(".")[0]], [400, "speculative"]);
  }
});
