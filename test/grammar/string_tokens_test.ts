/** The tokens that may come inside of strings, against trying each of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Matcher } from "../../src/grammar/matcher.ts";
import type { TokenMasks } from "../../src/grammar/token_masks.ts";
import type { Vocabulary } from "../../src/grammar/vocabulary.ts";
import {
  idsOf,
  masksOf,
  matcherOf,
  mixedVocabulary,
  randomFrom,
  sourceSpec,
  vocabularyOf,
} from "./writing.ts";

const pieces = [
  "a",
  "b",
  "é",
  "日",
  "😀",
  '\\"',
  "\\n",
  "\\u0041",
  "\\ud83d\\ude00",
  '"',
  ",",
  "]",
  " ",
  "\\",
];

/** Tokens of a few pieces each, some of them twice: far more than a list of ids holds. */
function manyTokens(): Vocabulary {
  const random = randomFrom(5);
  const draw = () =>
    Array.from({ length: 1 + Math.floor(random() * 5) }, () => pieces[Math.floor(random() * pieces.length)])
      .join("");
  return vocabularyOf(Array.from({ length: 3000 }, draw));
}

const strings: Record<string, unknown>[] = [
  {},
  { maxLength: 0 },
  { maxLength: 3 },
  { minLength: 2 },
  { minLength: 3, maxLength: 5 },
  { minLength: 4, maxLength: 4 },
  { minLength: 2, maxLength: 300 },
  { pattern: "^[^b]{1,4}$" },
  { pattern: '^[a\\n"]+$', maxLength: 3 },
  { pattern: "^.$" },
  { pattern: "a.*b" },
  { pattern: "^(aé)*$", maxLength: 4 },
];

function check(matcher: Matcher, vocabulary: Vocabulary, what: string): void {
  const found = idsOf(matcher.allowed());
  const expected = Array.from({ length: vocabulary.size }, (_, id) => id).filter((id) => matcher.allows(id));
  assert.deepEqual(found, expected, what);
}

/** Follows some drawn texts, and looks at what may come after each of their tokens. */
function follow(masks: TokenMasks, schema: unknown, seed: number): void {
  const { vocabulary } = masks, random = randomFrom(seed);
  for (let text = 0; text < 2; text++) {
    const matcher = matcherOf(sourceSpec({ type: "jsonSchema", schema }), masks);
    for (let n = 0; n < 8; n++) {
      check(matcher, vocabulary, `${JSON.stringify(schema)}, after ${n} tokens of text ${text}`);
      const ids = idsOf(matcher.allowed());
      if (ids.length === 0) break;
      matcher.advance(ids[Math.floor(random() * ids.length)]);
    }
  }
}

test("what may follow in a string is what each token may by itself, whatever counts and patterns hold it", () => {
  for (const masks of [masksOf(mixedVocabulary), masksOf(manyTokens())]) {
    // Twice, so that strings of one kind find what others left behind.
    for (const seed of [1, 2]) {
      for (const string of strings) {
        follow(masks, { type: "array", items: { type: "string", ...string } }, seed);
      }
    }
  }
});
