/**
 * Writes texts that a grammar allows, token by token, as an engine does that draws at random.
 * @module
 */
import assert from "node:assert/strict";
import { Automaton } from "../../src/grammar/automaton.ts";
import { compileGrammar } from "../../src/grammar/compile.ts";
import { Matcher } from "../../src/grammar/matcher.ts";
import type { GrammarSource, GrammarSpec } from "../../src/grammar/spec.ts";
import { TokenMasks } from "../../src/grammar/token_masks.ts";
import type { TokenSet } from "../../src/grammar/token_set.ts";
import { Vocabulary } from "../../src/grammar/vocabulary.ts";

const utf8 = new TextEncoder();

/** A vocabulary of these tokens after all single bytes; texts in <> are control tokens. */
export function vocabularyOf(texts: readonly string[]): Vocabulary {
  const tokens = [
    ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
    ...texts.map((text) => utf8.encode(text)),
  ];
  const ends = new Int32Array(tokens.length);
  let end = 0;
  tokens.forEach((token, id) => ends[id] = end += token.length);
  const bytes = new Uint8Array(end);
  tokens.forEach((token, id) => bytes.set(token, ends[id] - token.length));
  const control = texts.flatMap((text, i) => /^<.+>$/.test(text) ? [256 + i] : []);
  return new Vocabulary({ bytes, ends, control });
}

/** Pieces that lie across the parts of JSON and of the grammars in the tests. */
export const mixedVocabulary: Vocabulary = vocabularyOf([
  ...'{} [] ": ", "," ":" {" "} "]} }] , 1 12 007 -1 0. .5 e+ E1 true false null tr ue \\" \\n \\u \\u00 ü 日本 語 a b ab ba aa bb abc the cat and'
    .split(" "),
  " ",
  "\n  ",
  '\n    "',
  ', "',
  '": ',
  '": {"',
  "-01-",
  "2024",
  "<think>",
  "</think>",
]);

export const masksOf = (vocabulary: Vocabulary): TokenMasks => new TokenMasks(vocabulary);

export function sourceSpec(source: GrammarSource): GrammarSpec {
  return { kind: "source", source };
}

/** Starts at the beginning of a grammar. */
export function matcherOf(spec: GrammarSpec, masks: TokenMasks): Matcher {
  return new Matcher(new Automaton(compileGrammar(spec)), masks);
}

/** Small numbers that look random, from a seed. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function idsOf({ ids, words }: TokenSet): number[] {
  if (words === null) return [...ids];
  const found: number[] = [];
  words.forEach((word, i) => {
    for (let bit = 0; bit < 32; bit++) if ((word >>> bit) & 1) found.push(32 * i + bit);
  });
  return found;
}

/** What was written, and whether the grammar lets it end there. */
export interface Written {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly isWhole: boolean;
}

/**
 * Draws tokens that are allowed until the text may end and the dice say so, or until `most` were drawn; from
 * half of them on the shortest way out is looked for by taking what closes.
 */
export function write(matcher: Matcher, vocabulary: Vocabulary, random: () => number, most = 400): Written {
  const bytes: number[] = [];
  const tokens: number[] = [];
  while (!matcher.isFinished && tokens.length < most) {
    const hurries = tokens.length > most / 4;
    if (matcher.accepts && (hurries || random() < 0.3)) break;
    const ids = idsOf(matcher.allowed());
    assert.ok(
      ids.length > 0,
      `nothing may follow ${JSON.stringify(new TextDecoder().decode(Uint8Array.from(bytes)))}`,
    );
    const closing = hurries
      ? ids.filter((id) => `"}]`.includes(String.fromCharCode(vocabulary.bytesOf(id)[0])))
      : [];
    const from = closing.length > 0 && random() < 0.8 ? closing : ids;
    const id = from[Math.floor(random() * from.length)];
    matcher.advance(id);
    tokens.push(id);
    bytes.push(...Array.from(vocabulary.bytesOf(id)));
  }
  const text = new TextDecoder("utf-8", { fatal: matcher.accepts && !bytes.includes(0xff), ignoreBOM: true })
    .decode(
      Uint8Array.from(bytes),
    );
  return { text, tokens, isWhole: matcher.accepts };
}
