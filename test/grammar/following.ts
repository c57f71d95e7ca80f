/**
 * Texts that a grammar allows, and what may come after each of their tokens, against trying each token.
 * @module
 */
import assert from "node:assert/strict";
import type { Matcher } from "../../src/grammar/matcher.ts";
import type { GrammarSource } from "../../src/grammar/spec.ts";
import type { TokenMasks } from "../../src/grammar/token_masks.ts";
import type { Vocabulary } from "../../src/grammar/vocabulary.ts";
import { idsOf, matcherOf, randomFrom, sourceSpec, vocabularyOf } from "./writing.ts";

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
export function manyTokens(): Vocabulary {
  const random = randomFrom(5);
  const draw = () =>
    Array.from({ length: 1 + Math.floor(random() * 5) }, () => pieces[Math.floor(random() * pieces.length)])
      .join("");
  return vocabularyOf(Array.from({ length: 3000 }, draw));
}

function check(matcher: Matcher, vocabulary: Vocabulary, what: string): void {
  const found = idsOf(matcher.allowed());
  const expected = Array.from({ length: vocabulary.size }, (_, id) => id).filter((id) => matcher.allows(id));
  assert.deepEqual(found, expected, what);
}

/** Follows some drawn texts, and looks at what may come after each of their tokens. */
export function follow(masks: TokenMasks, source: GrammarSource, seed: number): void {
  const { vocabulary } = masks, random = randomFrom(seed);
  for (let text = 0; text < 2; text++) {
    const matcher = matcherOf(sourceSpec(source), masks);
    for (let n = 0; n < 8; n++) {
      check(matcher, vocabulary, `${JSON.stringify(source)}, after ${n} tokens of text ${text}`);
      const ids = idsOf(matcher.allowed());
      if (ids.length === 0) break;
      matcher.advance(ids[Math.floor(random() * ids.length)]);
    }
  }
}
