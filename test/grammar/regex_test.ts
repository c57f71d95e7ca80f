import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RequestError } from "../../src/errors.ts";
import { masksOf, matcherOf, mixedVocabulary, randomFrom, sourceSpec, write } from "./writing.ts";

const masks = masksOf(mixedVocabulary);
const specOf = (pattern: string) => sourceSpec({ type: "regex", pattern });
const utf8 = new TextEncoder();

/** Whether a grammar reads a text to its end, a byte token at a time. */
function reads(pattern: string, text: string): boolean {
  const matcher = matcherOf(specOf(pattern), masks);
  for (const byte of utf8.encode(text)) {
    if (!matcher.allows(byte)) return false;
    matcher.advance(byte);
  }
  return matcher.accepts;
}

const atom = fc.oneof(
  fc.constantFrom(
    "a",
    "b",
    "ab",
    ".",
    "[ab]",
    "[^a]",
    "\\d",
    "\\w",
    "ü",
    "日",
    "[a-c日]",
    "\\s",
    "\\n",
    "\\x41",
    "\\u0062",
  ),
);
const pattern = fc.letrec<{ pattern: string }>((tie) => ({
  pattern: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    atom,
    fc.tuple(tie("pattern"), tie("pattern")).map(([a, b]) => a + b),
    fc.tuple(tie("pattern"), tie("pattern")).map(([a, b]) => `(?:${a}|${b})`),
    fc.tuple(tie("pattern"), fc.constantFrom("*", "+", "?", "{2}", "{1,3}", "{2,}", "*?")).map(([a, q]) =>
      `(${a})${q}`
    ),
  ),
})).pattern;

test("a pattern reads the texts that the runtime's own expressions match", () => {
  const text = fc.array(fc.constantFrom("a", "b", "c", "ü", "日", "1", " ", "\n", "A"), { maxLength: 8 })
    .map((all) => all.join(""));
  fc.assert(
    fc.property(pattern, text, (source, text) => {
      assert.equal(reads(source, text), new RegExp(`^(?:${source})$`, "u").test(text));
    }),
    { numRuns: 300 },
  );
});

test("what is written under a pattern's masks matches the pattern", () => {
  fc.assert(
    fc.property(pattern, fc.integer(), (source, seed) => {
      const matcher = matcherOf(specOf(source), masks);
      const { text, isWhole } = write(matcher, mixedVocabulary, randomFrom(seed), 60);
      if (isWhole) assert.match(text, new RegExp(`^(?:${source})$`, "u"));
    }),
    { numRuns: 300 },
  );
});

test("a mask allows exactly the tokens that can be read", () => {
  fc.assert(
    fc.property(pattern, fc.integer(), (source, seed) => {
      const matcher = matcherOf(specOf(source), masks);
      const random = randomFrom(seed);
      for (let step = 0; step < 5 && !matcher.isFinished; step++) {
        const { ids, words } = matcher.allowed();
        const isAllowed = (id: number) =>
          words === null ? ids.includes(id) : ((words[id >>> 5] >>> (id & 31)) & 1) === 1;
        const allowed: number[] = [];
        for (let id = 0; id < mixedVocabulary.size; id++) {
          assert.equal(isAllowed(id), matcher.allows(id), `token ${id} after ${step} tokens of ${source}`);
          if (isAllowed(id)) allowed.push(id);
        }
        matcher.advance(allowed[Math.floor(random() * allowed.length)]);
      }
    }),
    { numRuns: 60 },
  );
});

test("anchors at the ends of a pattern change nothing, as all of the text has to match", () => {
  for (const source of ["^ab$", "^ab", "ab$", "^(ab)$", "^ab$|^ab$"]) {
    assert.ok(reads(source, "ab"), source);
    assert.ok(!reads(source, "abb"), source);
  }
});

test("character classes, escapes and properties mean what they mean in ECMAScript", () => {
  const sources = [
    "\\p{Lu}\\p{L}*",
    "[\\p{Script=Greek}]+",
    "\\P{L}",
    "[^\\s\\d]",
    "[\\w-]",
    "\\cJ",
    "\\0",
    "\\u{1f600}",
    "\\ud83d\\ude00",
    "[\\]\\\\^-]",
    "\\$\\.\\/",
  ];
  for (const source of sources) {
    const expected = new RegExp(`^(?:${source})$`, "u");
    for (const text of ["Äb", "αβγ", "1", "a", "-", "\n", "\0", "😀", "]", "^", "$./", " ", "日"]) {
      assert.equal(reads(source, text), expected.test(text), `${source} and ${JSON.stringify(text)}`);
    }
  }
});

test("what is no regular expression, or not regular, is refused by what is wrong with it", () => {
  const problems: [string, RegExp][] = [
    ["(?=a)", /lookaround/],
    ["(?<!a)b", /lookaround/],
    ["(a)\\1", /references to groups/],
    ["a\\b", /word boundaries/],
    ["(a", /"\)" is needed/],
    ["a)", /closes no group/],
    ["*a", /nothing is there to repeat/],
    ["[b-a]", /a range goes/],
    ["a{3,2}", /repetition/],
    ["\\p{Nonsense}", /not known/],
    ["[a", /ends too early/],
    ["(".repeat(5000), /deep/],
  ];
  for (const [source, problem] of problems) {
    assert.throws(() => matcherOf(specOf(source), masks), (error) => {
      assert.ok(error instanceof RequestError);
      assert.equal(error.param, "regex");
      assert.match(error.message, problem);
      return true;
    }, source);
  }
});

test("patterns that explode are followed in bounded memory, or refused", () => {
  for (
    const source of [
      "(a|b)*a(a|b){25}",
      "((a*)*)*b",
      "(a|a)*",
      "([ab]{1,100000}c)?",
      "(a?){1000}",
      "(((a{1,50}){1,50}){1,50}){1,50}",
      "(.*a){50}",
    ]
  ) {
    try {
      const matcher = matcherOf(specOf(source), masks);
      write(matcher, mixedVocabulary, randomFrom(7), 200);
    } catch (error) {
      assert.ok(error instanceof RequestError, `${source}: ${error}`);
    }
  }
});

test("a class of thousands of ranges is one character of them, or refused", () => {
  const every3rd = Array.from({ length: 8000 }, (_, i) => String.fromCharCode(0x3400 + 3 * i)).join("");
  for (const source of [`[${every3rd}]`, `[^${every3rd}]+`, `x[${every3rd}]{2}`]) {
    try {
      write(matcherOf(specOf(source), masks), mixedVocabulary, randomFrom(7), 20);
    } catch (error) {
      assert.ok(
        error instanceof RequestError || /^nothing may follow/.test((error as Error).message),
        `${error}`,
      );
    }
  }
});
