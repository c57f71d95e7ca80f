import assert from "node:assert/strict";
import { test } from "node:test";
import { limitedMarks, LimitedThought } from "../../src/grammar/limited_thought.ts";
import type { GrammarSpec, Mark } from "../../src/grammar/spec.ts";
import { hasToken } from "../../src/grammar/token_set.ts";
import { masksOf, matcherOf, vocabularyOf } from "./writing.ts";

const vocabulary = vocabularyOf(["<think>", "</think>", "</", "think", "> ", "a", "<pad>"]);
const [opening, closing] = [256, 257]; // control tokens; of texts the other marks are spelled
const [begin, word, end] = [258, 259, 260];
const byte = (character: string) => character.charCodeAt(0);

/** A limit with marks that are tokens of their own, or texts. */
function limited(
  maxTokens: number,
  { opens = false, asText = false, grammar = null as GrammarSpec | null } = {},
): LimitedThought {
  const mark = (token: number, text: string): Mark => asText ? { text } : { token };
  const limit = {
    maxTokens,
    opening: opens ? mark(opening, "<think>") : null,
    closing: mark(closing, "</think>"),
    closingTokens: asText ? [begin, word, byte(">")] : [closing],
  };
  const matcher = grammar && matcherOf(grammar, masksOf(vocabulary));
  return new LimitedThought(limitedMarks(limit), vocabulary, matcher);
}

/** Takes tokens, each of which must be allowed, and asks for each place what may come in both ways. */
function after(thought: LimitedThought, ...tokens: readonly number[]): LimitedThought {
  for (const token of tokens) {
    const allowed = thought.allowed();
    for (let id = 0; id < vocabulary.size; id++) {
      assert.equal(thought.allows(id), allowed === null || hasToken(allowed, id), `token ${id}`);
    }
    assert.ok(thought.allows(token), `token ${token}`);
    thought.advance(token);
  }
  return thought;
}

const forcedOf = (thought: LimitedThought) => {
  const ids = thought.allowed()?.ids;
  return ids?.length === 1 ? ids[0] : null;
};

test("after its tokens a thought is closed, and what follows is free", () => {
  const thought = after(limited(3), word, word);
  assert.equal(forcedOf(thought), null);
  assert.equal(forcedOf(after(thought, word)), closing);
  assert.equal(thought.accepts, false, "a reply does not end before the mark");
  assert.equal(after(thought, closing).allowed(), null);
  assert.equal(after(thought, word, word, word, word).allowed(), null);
  assert.ok(thought.accepts && !thought.isFinished);
  assert.equal(forcedOf(limited(0)), closing);
});

test("a thought that ends by itself is not closed again", () => {
  assert.equal(after(limited(3), word, closing, word, word, word).allowed(), null);
  assert.equal(after(limited(3, { asText: true }), begin, word, end, word, word).allowed(), null);
});

test("a mark that is a text is written token by token, and read across tokens", () => {
  const thought = after(limited(2, { asText: true }), word, begin);
  assert.deepEqual([begin, word, byte(">")].map((token) => [forcedOf(thought), thought.advance(token)][0]), [
    begin,
    word,
    byte(">"),
  ]);
  assert.equal(thought.allowed(), null);
});

test("a thought that the reply opens itself is limited from its mark on, and an answer never is", () => {
  const space = byte("\n");
  for (const asText of [false, true]) {
    const marks = asText ? [byte("<"), word, byte(">")] : [opening];
    const own = after(limited(2, { opens: true, asText }), space, ...marks, word, word);
    assert.equal(forcedOf(own), asText ? begin : closing);
    const answer = after(limited(2, { opens: true, asText }), word, ...marks, word, word, word);
    assert.equal(answer.allowed(), null);
  }
});

test("a grammar holds before the limit, at it and after it", () => {
  const grammar: GrammarSpec = {
    kind: "sequence",
    items: [
      { kind: "until", mark: { token: closing } },
      { kind: "source", source: { type: "choice", texts: ["aa"] } },
    ],
  };
  const thought = after(limited(2, { grammar }), word, word);
  assert.equal(forcedOf(thought), closing);
  thought.advance(closing);
  assert.ok(!hasToken(thought.allowed()!, word) && !thought.accepts);
  assert.ok(after(thought, byte("a"), byte("a")).isFinished);
});

test("sequences that part at a place count on their own", () => {
  const one = after(limited(2), word), other = one.copy();
  assert.equal(forcedOf(after(one, word)), closing);
  assert.equal(forcedOf(other), null);
  assert.equal(after(other, closing, word, word).allowed(), null);
});
