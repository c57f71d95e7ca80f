import assert from "node:assert/strict";
import { test } from "node:test";
import { maskLogits } from "../../src/engine/masking.ts";
import { Random } from "../../src/engine/random.ts";
import { Sampler } from "../../src/engine/sampler.ts";
import { resolveSampling } from "../../src/engine/sampling_options.ts";
import type { Matcher } from "../../src/grammar/matcher.ts";
import { manyTokens } from "../grammar/following.ts";
import { masksOf, matcherOf, mixedVocabulary, randomFrom, sourceSpec } from "../grammar/writing.ts";

const stopIds = [3, 200];
const patterns = ["(a|b|é)*\\n?x", '[^"]{2,9}"{3}', "[ab]{2}(日|😀){1,4}(, )?", "(.|\\n)*"];

/** Comes to where texts of some patterns stand, in vocabularies of few tokens and of many. */
function eachPlace(look: (matcher: Matcher, random: () => number, vocabSize: number) => void): void {
  for (const vocabulary of [mixedVocabulary, manyTokens()]) {
    const random = randomFrom(11), masks = masksOf(vocabulary);
    for (const pattern of patterns) {
      const matcher = matcherOf(sourceSpec({ type: "regex", pattern }), masks);
      const ids = Array.from({ length: vocabulary.size }, (_, id) => id);
      for (let n = 0; n < 8 && !matcher.isFinished; n++) {
        look(matcher, random, vocabulary.size);
        const next = ids.filter((id) => matcher.allows(id));
        matcher.advance(next[Math.floor(random() * next.length)]);
      }
    }
  }
}

const mayCome = (matcher: Matcher, id: number) => stopIds.includes(id) ? matcher.accepts : matcher.allows(id);

test("a mask leaves the logits of what may come, and of stop tokens where the text may end", () => {
  eachPlace((matcher, random, vocabSize) => {
    for (const width of [vocabSize, vocabSize + 7, vocabSize + 90]) { // a network may have more than its tokenizer
      const logits = Float32Array.from({ length: width }, () => random() - 0.5);
      const expected = logits.map((logit, id) => mayCome(matcher, id) ? logit : -Infinity);
      maskLogits(logits, matcher, stopIds);
      assert.deepEqual(logits, expected);
    }
  });
});

test("greedy tokens in a form are the likeliest of those that may come, whether or not a device found one", () => {
  const plain = resolveSampling({ temperature: 0 }, { vocabSize: 4000, eosIds: stopIds });
  const seen = { allowed: 0, banned: 0 };
  eachPlace((matcher, random, vocabSize) => {
    const logits = Float32Array.from({ length: vocabSize }, () => random());
    const ids = [...logits.keys()], likely = ids.filter((id) => mayCome(matcher, id));
    const isBanned = random() < 0.5;
    if (!isBanned) logits[likely[Math.floor(random() * likely.length)]] = 2;
    const likeliest = (some: number[]) => some.reduce((best, id) => logits[id] > logits[best] ? id : best);
    const best = likeliest(ids);
    seen[mayCome(matcher, best) ? "allowed" : "banned"]++;
    for (const sampling of [plain, { ...plain, logitBias: [[best, -1]] as const }]) {
      const drawn = [best, null].map((found) =>
        new Sampler(vocabSize).sample(logits, sampling, null, 0, Random.fromSeed(1), found, matcher)
      );
      const biased = logits.slice();
      for (const [id, bias] of sampling.logitBias) biased[id] += bias;
      const expected = likely.reduce((most, id) => biased[id] > biased[most] ? id : most);
      assert.deepEqual(drawn, [expected, expected]);
    }
  });
  assert.ok(seen.allowed > 5 && seen.banned > 5, JSON.stringify(seen));
});
