import assert from "node:assert/strict";
import { test } from "node:test";
import { resolveSampling, type SamplingOptions } from "../../src/engine/sampling_options.ts";
import { RequestError } from "../../src/errors.ts";

const context = { vocabSize: 100, eosIds: [1] };
const refusal = (options: unknown): RequestError => {
  try {
    resolveSampling(options as SamplingOptions, context);
  } catch (error) {
    assert.ok(error instanceof RequestError, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: `${JSON.stringify(options)} was accepted` });
};

const numbers: [option: string, param: string, below: number, above: number][] = [
  ["maxTokens", "max_tokens", 0, 2 ** 31],
  ["minTokens", "min_tokens", -1, 2 ** 31],
  ["temperature", "temperature", -0.1, 2.1],
  ["topK", "top_k", -2, 2 ** 31],
  ["topP", "top_p", -0.1, 1.1],
  ["minP", "min_p", -0.1, 1.1],
  ["typicalP", "typical_p", -0.1, 1.1],
  ["repetitionPenalty", "repetition_penalty", 0, 101],
  ["frequencyPenalty", "frequency_penalty", -2.1, 2.1],
  ["presencePenalty", "presence_penalty", -2.1, 2.1],
  ["topLogprobs", "top_logprobs", -1, 21],
  ["seed", "seed", -(2 ** 53), 2 ** 53],
];
for (const [option, param, below, above] of numbers) {
  test(`${option} refuses what is no number in its range, and names ${param}`, () => {
    for (const value of [below, above, NaN, Infinity, -Infinity, "1", "", true, {}, []]) {
      const error = refusal({ [option]: value });
      assert.equal(error.param, param);
      assert.equal(error.status, 400);
      assert.ok(error.message.startsWith(`Cannot use ${param}: `), error.message);
    }
  });
}

test("counts and seeds must be whole", () => {
  for (const option of ["maxTokens", "minTokens", "topK", "topLogprobs", "seed"]) {
    refusal({ [option]: 1.5 });
  }
});

test("without options the model's own defaults hold, then plain sampling", () => {
  const plain = resolveSampling({}, context);
  assert.equal(plain.temperature, 1);
  assert.equal(plain.topLogprobs, null);
  assert.deepEqual(plain.stopIds, [1]);
  const own = { ...context, defaults: { temperature: 0.3, topP: 0.95 } };
  assert.equal(resolveSampling({}, own).temperature, 0.3);
  assert.equal(resolveSampling({ temperature: null }, own).temperature, 0.3);
  assert.equal(resolveSampling({ temperature: 0 }, own).temperature, 0);
});

test("a seed is kept, and without one each request gets another", () => {
  assert.equal(resolveSampling({ seed: -5 }, context).seed, -5);
  const seeds = new Set(Array.from({ length: 20 }, () => resolveSampling({}, context).seed));
  assert.equal(seeds.size, 20);
  for (const seed of seeds) assert.ok(Number.isSafeInteger(seed));
});

test("log-probabilities come with either of their options", () => {
  assert.equal(resolveSampling({ logprobs: true }, context).topLogprobs, 0);
  assert.equal(resolveSampling({ topLogprobs: 3 }, context).topLogprobs, 3);
  assert.equal(resolveSampling({ logprobs: false, topLogprobs: 3 }, context).topLogprobs, null);
});

test("biases are by token id, from -100 to 100", () => {
  assert.deepEqual(resolveSampling({ logitBias: { "7": -100 } }, context).logitBias, [[7, -100]]);
  const wrong = [{ "100": 1 }, { "-1": 1 }, { "1.5": 1 }, { "": 1 }, { "1e1": 1 }, { "7": 101 }, {
    "7": NaN,
  }];
  for (const logitBias of [...wrong, { "7": "1" }, "x", [1], 3]) {
    assert.equal(refusal({ logitBias }).param, "logit_bias");
  }
});

test("tokens that may be drawn are ids of the vocabulary, each once", () => {
  assert.equal(resolveSampling({}, context).allowedIds, null);
  assert.deepEqual(resolveSampling({ allowedTokenIds: [9, 0, 9, 5] }, context).allowedIds, [0, 5, 9]);
  for (const allowedTokenIds of [[], [100], [-1], [1.5], ["1"], "1", { 0: 1 }, 1]) {
    const options = { allowedTokenIds } as SamplingOptions;
    assert.equal(refusal(options).param, "allowed_token_ids");
  }
});

test("ignoreEos leaves only the caller's stop tokens", () => {
  assert.deepEqual(resolveSampling({ ignoreEos: true, stopIds: [5] }, context).stopIds, [5]);
  assert.deepEqual(resolveSampling({ stopIds: [5] }, context).stopIds, [1, 5]);
  assert.equal(refusal({ stopIds: [100] }).param, "stop_token_ids");
  assert.equal(refusal({ stopIds: "5" }).param, "stop_token_ids");
  assert.equal(refusal({ ignoreEos: 1 }).param, "ignore_eos");
});

test("more least than most tokens is refused", () => {
  assert.equal(refusal({ minTokens: 9, maxTokens: 8 }).param, "min_tokens");
});

test("what guesses tokens ahead is named, with how many, or refused", () => {
  const speculationOf = (speculative: unknown) => {
    const options = { speculative } as SamplingOptions;
    return resolveSampling(options, context).speculative;
  };
  assert.equal(speculationOf(undefined), null);
  assert.equal(speculationOf(null), null);
  assert.equal(speculationOf("none"), null);
  assert.equal(speculationOf("ngram")!.kind, "ngram");
  assert.deepEqual(speculationOf({ type: "mtp", tokens: 3 }), { kind: "mtp", tokens: 3 });
  assert.equal(speculationOf({ model: "small" })!.kind, "model");
  const wrong = ["", "MTP", true, 1, {}, [], { type: "mtp", model: "small" }, { model: 5 }, { tokens: 2 }];
  const counts = [0, 16, 1.5, NaN, "2"].map((tokens) => ({ type: "mtp", tokens }));
  for (const speculative of [...wrong, ...counts, { type: "ngram", depth: 2 }]) {
    assert.throws(() => speculationOf(speculative), { name: "RequestError", param: "speculative" });
  }
});
