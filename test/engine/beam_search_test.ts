import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BeamSearch, type Continuations, nContinuations } from "../../src/engine/beam_search.ts";
import type { Beam } from "../../src/engine/protocol.ts";

/** ln p of each token after some others. */
type Language = (tokens: readonly number[]) => number[];

interface Reply {
  readonly tokens: readonly number[];
  readonly score: number;
  readonly reason: string;
}

const plain: Beam = { width: 3, groups: 1, diversityPenalty: 0, lengthPenalty: 1, earlyStopping: false };

/** A language of its own for each seed, in which what was said decides what follows. */
function language(seed: number, vocabSize: number): Language {
  return (tokens) => {
    let state = tokens.reduce((hash, token) => Math.imul(hash, 31) + token + 1 | 0, seed + 12345);
    const weights = Array.from({ length: vocabSize }, () => {
      state = Math.imul(state ^ state >>> 15, 0x2c1b3c6d) + 0x6d2b79f5 | 0;
      return Math.exp(((state ^ state >>> 13) >>> 0) / 2 ** 32 * 6);
    });
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return weights.map((weight) => Math.log(weight / total));
  };
}

/** The likeliest continuations, as many as a search asks for. */
function rowOf(logprobs: readonly number[], count: number): Continuations {
  const ids = [...logprobs.keys()].sort((a, b) => logprobs[b] - logprobs[a]).slice(0, count);
  return {
    ids,
    scores: ids.map((id) => logprobs[id]),
    isFinal: () => false,
    penaltyFactor: () => 1,
    event: (token) => ({ token, logprob: logprobs[token], top: [] }),
  };
}

function searchFor(
  speak: Language,
  beam: Beam,
  maxTokens: number,
  stopIds: readonly number[],
  n: number,
): Reply[] {
  const search = new BeamSearch(beam, maxTokens, new Set(stopIds));
  let alive: number[][] = [[]];
  for (let steps = 0; alive.length > 0; steps++) {
    assert.ok(steps < maxTokens, "a search goes on for ever");
    const rows = alive.map((tokens) => rowOf(speak(tokens), nContinuations(beam, stopIds.length)));
    alive = search.advance(rows).map(({ parent, token }) => [...alive[parent], token]);
  }
  return search.results(n).map(({ events, score, reason }) => ({
    tokens: events.map(({ token }) => token),
    score,
    reason,
  }));
}

/** The same, from the definition: over whole rows, with nothing left out. */
function defined(
  speak: Language,
  beam: Beam,
  maxTokens: number,
  stopIds: readonly number[],
  n: number,
): Reply[] {
  const size = beam.width / beam.groups;
  const groups = Array.from({ length: beam.groups }, () => ({
    alive: [{ tokens: [] as number[], sum: 0 }],
    ended: [] as Reply[],
    isOver: false,
  }));
  for (let length = 1; length <= maxTokens; length++) {
    const said: number[] = []; // in this step, by groups before
    for (const group of groups.filter(({ isOver }) => !isOver)) {
      const all = group.alive.flatMap(({ tokens, sum }) =>
        speak(tokens).map((logprob, token) => {
          const nSaid = said.filter((one) => one === token).length;
          return { tokens, token, sum: sum + logprob - beam.diversityPenalty * nSaid };
        })
      ).sort((a, b) => b.sum - a.sum);
      const scored = (sum: number) => sum / Math.pow(length, beam.lengthPenalty);
      for (const { tokens, token, sum } of all.slice(0, size)) {
        if (stopIds.includes(token)) group.ended.push({ tokens, score: scored(sum), reason: "stop" });
      }
      const going = all.filter(({ token }) => !stopIds.includes(token)).slice(0, size);
      group.alive = going.map(({ tokens, token, sum }) => ({ tokens: [...tokens, token], sum }));
      said.push(...going.map(({ token }) => token));
      if (length === maxTokens) {
        group.ended.push(
          ...group.alive.map(({ tokens, sum }) => ({ tokens, score: scored(sum), reason: "length" })),
        );
      }
      group.ended = group.ended.sort((a, b) => b.score - a.score).slice(0, size);
      const isFull = group.ended.length === size;
      const best = beam.groups > 1 ? all[0].sum : group.alive[0]?.sum ?? -Infinity;
      const isFar = beam.earlyStopping === "never" && beam.lengthPenalty > 0;
      const hope = best / Math.pow(isFar ? maxTokens : length, beam.lengthPenalty);
      group.isOver = group.alive.length === 0 ||
        isFull && (beam.earlyStopping === true || hope <= group.ended[size - 1].score);
    }
  }
  return groups.flatMap(({ ended }) => ended).sort((a, b) => b.score - a.score).slice(0, n);
}

function assertSame(found: readonly Reply[], expected: readonly Reply[]): void {
  assert.deepEqual(
    found.map(({ tokens, reason }) => ({ tokens, reason })),
    expected.map(({ tokens, reason }) => ({ tokens, reason })),
  );
  for (const [i, { score }] of found.entries()) assert.ok(Math.abs(score - expected[i].score) < 1e-9);
}

test("a search finds what its definition finds, whatever its size, groups, penalties and ends", () => {
  const sizes = fc.record({
    seed: fc.integer({ min: 0, max: 1000 }),
    vocabSize: fc.integer({ min: 2, max: 30 }),
    size: fc.integer({ min: 1, max: 6 }),
    groups: fc.integer({ min: 1, max: 4 }),
    diversityPenalty: fc.constantFrom(0, 0.3, 1, 5),
    lengthPenalty: fc.constantFrom(1, 0, 2, -1, 0.5),
    earlyStopping: fc.constantFrom(false, true, "never" as const),
    maxTokens: fc.integer({ min: 1, max: 8 }),
    nStops: fc.integer({ min: 0, max: 3 }),
  });
  fc.assert(
    fc.property(sizes, ({ seed, vocabSize, size, groups, maxTokens, nStops, ...rest }) => {
      const width = size * groups;
      const beam = { width, groups, ...rest };
      const stops = Array.from(
        { length: Math.min(nStops, vocabSize - 1) },
        (_, i) => (i * 5 + seed) % vocabSize,
      );
      const speak = language(seed, vocabSize);
      assertSame(
        searchFor(speak, beam, maxTokens, [...new Set(stops)], width),
        defined(speak, beam, maxTokens, stops, width),
      );
    }),
    { numRuns: 300 },
  );
});

test("a search that is wide enough finds the likeliest sequence of all", () => {
  for (let seed = 0; seed < 20; seed++) {
    const speak = language(seed, 4);
    const all: { tokens: number[]; sum: number }[] = [{ tokens: [], sum: 0 }];
    for (const { tokens, sum } of all) {
      if (tokens.length < 4) {
        speak(tokens).forEach((logprob, token) =>
          all.push({ tokens: [...tokens, token], sum: sum + logprob })
        );
      }
    }
    const whole = all.filter(({ tokens }) => tokens.length === 4).sort((a, b) => b.sum - a.sum);
    const beam: Beam = { ...plain, width: 64, lengthPenalty: 0, earlyStopping: "never" };
    const found = searchFor(speak, beam, 4, [], 5);
    assert.deepEqual(found.map(({ tokens }) => tokens), whole.slice(0, 5).map(({ tokens }) => tokens));
  }
});

test("the length of a reply counts the token that ends it", () => {
  const speak: Language = () => [Math.log(0.5), Math.log(0.5)];
  const beam: Beam = { ...plain, width: 3, lengthPenalty: 2, earlyStopping: "never" };
  const found = searchFor(speak, beam, 2, [0], 3);
  assert.deepEqual(found, [
    { tokens: [1], score: Math.log(0.25) / 4, reason: "stop" },
    { tokens: [1, 1], score: Math.log(0.25) / 4, reason: "length" },
    { tokens: [], score: Math.log(0.5), reason: "stop" },
  ]);
});

test("groups without penalty are all the same, and with a large one begin with different tokens", () => {
  const speak = language(3, 20);
  const beam: Beam = { ...plain, width: 6, groups: 3 };
  const same = searchFor(speak, beam, 5, [], 6).map(({ tokens }) => tokens.join());
  assert.equal(new Set(same).size, 2);
  const apart = searchFor(speak, { ...beam, width: 3, diversityPenalty: 50 }, 5, [], 3);
  for (let i = 0; i < 5; i++) assert.equal(new Set(apart.map(({ tokens }) => tokens[i])).size, 3);
  // What is taken off for likeness stays off in the score.
  const sum = (tokens: readonly number[]) =>
    tokens.reduce((total, token, i) => total + speak(tokens.slice(0, i))[token], 0);
  assert.ok(apart.every(({ tokens, score }) => score <= sum(tokens) / 5 + 1e-9));
});

test("a token that a grammar ends the reply with is part of it, and ends it as a stop token does", () => {
  const search = new BeamSearch({ ...plain, width: 2 }, 9, new Set());
  const row = (isFinal: (id: number) => boolean): Continuations => ({ ...rowOf([-1, -2, -3], 4), isFinal });
  assert.deepEqual(search.advance([row((id) => id === 0)]), [{ parent: 0, token: 1 }, {
    parent: 0,
    token: 2,
  }]);
  assert.deepEqual(search.advance([row(() => true), row(() => true)]), []);
  const [best, second] = search.results(2);
  assert.deepEqual(best, { events: [{ token: 0, logprob: -1, top: [] }], score: -1, reason: "stop" });
  assert.deepEqual(second.events.map(({ token }) => token), [1, 0]);
});

test("a search without any continuation has no reply", () => {
  const search = new BeamSearch(plain, 9, new Set());
  assert.deepEqual(search.advance([rowOf([], 3)]), []);
  assert.deepEqual(search.results(3), []);
});
