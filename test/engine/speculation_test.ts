import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { SamplingOptions } from "../../src/engine/sampling_options.ts";
import { DraftModel } from "../../src/engine/draft_model.ts";
import { FakeModel, Harness, type Outcome, poisonToken, prompt, throwingToken } from "./fake_model.ts";

/** What a request gives without guesses, on an engine of its own. */
function plain(tokens: readonly number[], options: SamplingOptions, limits = {}): Outcome {
  const harness = new Harness(limits);
  return harness.result(harness.generate(tokens, { ...options, speculative: "none" }));
}

/** The same network once more, which guesses all that comes by greed. */
function fakeDraft({ nBlocks, ...limits }: { nBlocks: number; contextLength: number; chunkTokens: number }) {
  const network = new FakeModel(nBlocks);
  const shape = { nLayers: 1, nBlocks, kvLoraRank: 1, qkRopeHeadDim: 0, dtype: "f32", sizeBytes: 0 } as const;
  return { network, model: new DraftModel(network, shape, limits) };
}

/** Only these tokens come, in an order that is hard to guess and yet is guessed often. */
const fewTokens = (...ids: number[]) => Object.fromEntries(ids.map((id) => [id, 100]));

const requests = fc.array(
  fc.record({
    length: fc.integer({ min: 1, max: 90 }),
    seed: fc.integer({ min: 1, max: 50 }),
    temperature: fc.constantFrom(0, 0, 0.7, 2),
    maxTokens: fc.integer({ min: 1, max: 120 }),
    nFew: fc.integer({ min: 0, max: 3 }),
    minTokens: fc.constantFrom(0, 1, 20),
    stops: fc.boolean(),
    repetitionPenalty: fc.constantFrom(1, 1, 1.3),
    presencePenalty: fc.constantFrom(0, 0, 0.5),
    topLogprobs: fc.constantFrom(null, null, 2),
    kind: fc.constantFrom("ngram", "mtp", "model", "none"),
    tokens: fc.integer({ min: 1, max: 15 }),
  }),
  { minLength: 1, maxLength: 6 },
);
const limits = fc.record({
  nBlocks: fc.integer({ min: 4, max: 12 }),
  chunkTokens: fc.constantFrom(3, 64, 500),
  maxSequences: fc.integer({ min: 1, max: 6 }),
  prefixCache: fc.boolean(),
  draft: fc.record({
    nBlocks: fc.integer({ min: 1, max: 12 }),
    contextLength: fc.constantFrom(50, 300),
    chunkTokens: fc.constantFrom(4, 100),
  }),
});

test("whatever is guessed, a reply is the one that comes without guesses, token by token", () => {
  let accepted = 0, rejected = 0, preemptions = 0;
  fc.assert(
    fc.property(requests, limits, (asked, { draft, ...given }) => {
      const harness = new Harness({ ...given, contextLength: 4 * 64 });
      harness.model.guess = (token) => 20 + token % 3;
      harness.model.mostHoles = asked.length;
      harness.engine.useDraftModel(fakeDraft(draft).model);
      const all = asked.map(({ length, stops, nFew, kind, tokens, ...rest }) => ({
        tokens: prompt(length, rest.seed),
        options: {
          ...rest,
          minTokens: Math.min(rest.minTokens, rest.maxTokens),
          logitBias: fewTokens(...[20, 21, 22].slice(0, nFew)),
          stopIds: stops ? [21, 30, 31, 32] : [],
        },
        speculative: { type: kind, tokens } as const,
      }));
      const ids = all.map(({ tokens, options, speculative }) =>
        harness.generate(tokens, { ...options, speculative })
      );
      harness.run();
      for (const [i, id] of ids.entries()) {
        const { events, finish } = harness.outcomes.get(id)!;
        const expected = plain(all[i].tokens, all[i].options, { contextLength: 4 * 64 });
        assert.deepEqual(events, expected.events);
        assert.equal(finish!.reason, expected.finish!.reason);
      }
      const { speculative, cacheBlocks, ...stats } = harness.engine.stats();
      accepted += speculative.accepted;
      rejected += speculative.drafted - speculative.accepted;
      preemptions += stats.preemptions;
      assert.equal(cacheBlocks.used, 0);
    }),
    { numRuns: 150, seed: 5 },
  );
  assert(accepted > 1000 && rejected > 1000 && preemptions > 0, `${[accepted, rejected, preemptions]}`);
});

test("guesses that hold save steps, and are counted", () => {
  const harness = new Harness();
  const options = { maxTokens: 100, logitBias: fewTokens(40) };
  const { tokens, finish } = harness.result(
    harness.generate(prompt(9), { ...options, speculative: "ngram" }),
  );
  assert.deepEqual(tokens, new Array(100).fill(40));
  const { speculative, steps } = harness.engine.stats();
  assert.equal(steps + speculative.accepted, 100);
  assert(steps < 25, `${steps} steps`);
  assert.deepEqual(finish!.drafts, { drafted: speculative.drafted, accepted: speculative.accepted });
  assert.deepEqual(speculative.byKind.ngram, {
    drafted: speculative.drafted,
    accepted: speculative.accepted,
    steps: speculative.steps,
  });
  assert.deepEqual(speculative.byKind.mtp, { drafted: 0, accepted: 0, steps: 0 });
});

test("guesses fill a step up to eight rows, and a full batch makes none", () => {
  for (const [nSequences, mostRows] of [[1, 8], [3, 8], [5, 8], [8, 8], [10, 10]]) {
    const harness = new Harness({ maxSequences: 10, chunkTokens: 2000 });
    for (let i = 0; i < nSequences; i++) {
      const speculative = { type: "ngram", tokens: 15 } as const;
      harness.generate(prompt(5, i), { maxTokens: 40, logitBias: fewTokens(40), speculative });
    }
    harness.run();
    const rows = harness.model.steps.map(({ runs }) => {
      const decoding = runs.filter(({ isPrompt }) => !isPrompt);
      return decoding.reduce((sum, { count }) => sum + count, 0);
    });
    assert.equal(Math.max(...rows), mostRows, `${nSequences} sequences`);
    const { accepted } = harness.engine.stats().speculative;
    assert(nSequences < 8 ? accepted > 25 : accepted === 0, `${accepted} of ${nSequences} sequences`);
  }
});

for (
  const [what, token] of [
    ["makes the network's values NaN", poisonToken],
    ["makes it throw", throwingToken],
    ["is of a layer whose values are NaN", -1],
  ] as const
) {
  test(`a guess that ${what} does no harm to the request, nor to those that come later`, () => {
    for (const seed of [1, 2, 3]) {
      const tokens = prompt(70, seed);
      const options = { maxTokens: 150, logitBias: fewTokens(20, 21) };
      const expected = plain(tokens, options).tokens;
      const harness = new Harness({ nBlocks: 5 });
      let guesses = 0;
      harness.model.guess = () => ++guesses > 12 ? token : 20;
      const id = harness.generate(tokens, { ...options, speculative: { type: "mtp", tokens: 3 } });
      assert.deepEqual(harness.result(id).tokens, expected);
      assert(guesses > 12);
      for (let i = 0; i < 5; i++) harness.generate(prompt(10));
      harness.run();
      assert.equal(harness.engine.stats().requests.failed, 0);
    }
  });
}

test("the layer for multi-token prediction sees each token of a prompt that was cached by one that it saw too", () => {
  const harness = new Harness({ chunkTokens: 30 });
  harness.model.guess = () => 40;
  const options = { maxTokens: 20, logitBias: fewTokens(40) };
  harness.result(harness.generate(prompt(150), options));
  const cached = (id: number) => harness.result(id).finish!.cachedTokens;
  const speculative = { type: "mtp", tokens: 3 } as const;
  assert.equal(cached(harness.generate(prompt(150), { ...options, speculative })), 0);
  assert.equal(cached(harness.generate(prompt(150), { ...options, speculative })), 149);
  assert.equal(cached(harness.generate(prompt(150), options)), 149);
  // The next turn finds all of this one, reply and all; at its end alone it was not known what follows.
  harness.model.mostHoles = 1;
  const next = [...prompt(150), ...new Array(20).fill(40), ...prompt(30)];
  assert.equal(cached(harness.generate(next, { ...options, speculative })), 170);
  const { drafted, accepted } = harness.engine.stats().speculative.byKind.mtp;
  assert(drafted > 20 && drafted === accepted);
});

test("a draft model reads a prompt once, in chunks, and guesses what it would say itself", () => {
  const harness = new Harness();
  const { network, model } = fakeDraft({ nBlocks: 10, contextLength: 640, chunkTokens: 40 });
  harness.engine.useDraftModel(model);
  const options = { maxTokens: 60, speculative: { type: "model", tokens: 4 } } as const;
  const expected = plain(prompt(150), options).tokens;
  assert.deepEqual(harness.result(harness.generate(prompt(150), options)).tokens, expected);
  const { drafted, accepted } = harness.engine.stats().speculative.byKind.model;
  assert(drafted > 35 && drafted === accepted, `${accepted} of ${drafted}`);
  const rowsOf = ({ runs }: { readonly runs: readonly { readonly count: number }[] }) =>
    runs.reduce((sum, { count }) => sum + count, 0);
  assert.equal(Math.max(...network.steps.map(rowsOf)), 40);
  const first = network.steps.reduce((sum, step) => sum + rowsOf(step), 0);
  assert(first < 150 + 60 + 10, `${first} tokens were computed`);
  // A second one finds the prompt's whole blocks.
  harness.result(harness.generate(prompt(150), options));
  const second = network.steps.reduce((sum, step) => sum + rowsOf(step), 0) - first;
  assert(first - second > 100, `${first}, then ${second}`);
});

test("a draft model whose values are not finite, or which throws, fails nobody else", () => {
  const options = { maxTokens: 80, speculative: { type: "model", tokens: 3 } } as const;
  for (const fails of ["NaN", "throws"]) {
    const harness = new Harness();
    const { network, model } = fakeDraft({ nBlocks: 10, contextLength: 640, chunkTokens: 400 });
    harness.engine.useDraftModel(model);
    const predict = network.predict.bind(network);
    let asked = 0;
    network.predict = (...step) => {
      const predicted = predict(...step);
      if (predicted.best.length === 0 || ++asked < 5 || asked > 9) return predicted;
      if (fails === "throws") throw new Error("the device is tired");
      return { ...predicted, best: predicted.best.fill(-1) };
    };
    const guessed = [1, 2].map((seed) => harness.generate(prompt(30, seed), options));
    const other = harness.generate(prompt(30, 3), { maxTokens: 80 });
    harness.run();
    assert.deepEqual(harness.outcomes.get(other)!.tokens, plain(prompt(30, 3), { maxTokens: 80 }).tokens);
    for (const [i, id] of guessed.entries()) {
      const { tokens, error } = harness.outcomes.get(id)!;
      const expected = plain(prompt(30, i + 1), options).tokens;
      if (fails === "NaN") assert.deepEqual(tokens, expected);
      else assert.match(String(error), /the device is tired/);
    }
    assert.equal(harness.engine.stats().cacheBlocks.used, 0);
  }
});

test("guesses of what is not loaded are refused by name", () => {
  const harness = new Harness();
  for (const speculative of ["mtp", "model", { model: "small" }] as const) {
    assert.throws(() => harness.generate(prompt(5), { speculative }), {
      name: "RequestError",
      param: "speculative",
      message: /is not loaded/,
    });
  }
});

test("a guess is never made past the end of a reply", () => {
  for (const [maxTokens, contextLength] of [[7, 500], [500, 64]] as const) {
    const harness = new Harness({ contextLength });
    const options = {
      maxTokens,
      logitBias: fewTokens(40),
      speculative: { type: "ngram", tokens: 15 },
    } as const;
    const { tokens, finish } = harness.result(harness.generate(prompt(50), options));
    assert.equal(tokens.length, Math.min(maxTokens, contextLength - 50));
    assert.equal(finish!.reason, "length");
    const ends = harness.model.steps.flatMap(({ runs }) => runs.map((run) => run.firstPosition + run.count));
    assert.equal(Math.max(...ends), 50 + tokens.length - 1, "positions up to the last but one");
  }
});
