import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestError } from "../../src/errors.ts";
import type { GrammarSpec } from "../../src/grammar/spec.ts";
import {
  idsOf,
  masksOf,
  matcherOf,
  mixedVocabulary,
  randomFrom,
  sourceSpec,
  vocabularyOf,
  write,
} from "./writing.ts";

const masks = masksOf(mixedVocabulary);
const start = (text: string) => matcherOf(sourceSpec({ type: "grammar", text }), masks);

function reads(grammar: string, text: string): boolean {
  const matcher = start(grammar);
  for (const byte of new TextEncoder().encode(text)) {
    if (!matcher.allows(byte)) return false;
    matcher.advance(byte);
  }
  return matcher.accepts;
}

const sums = `
  # sums of numbers, in brackets too
  root   ::= term (("+" | "-") term)*
  term   ::= number | "(" root ")"
  number ::= [0-9]{1,3}
`;

test("rules are followed, also where they call themselves", () => {
  for (const text of ["1", "12+3", "(1-(2+3))+456", "((((7))))"]) assert.ok(reads(sums, text), text);
  for (const text of ["", "1+", "(1", "1234", "1)", "()"]) assert.ok(!reads(sums, text), text);
});

test("what is written follows the rules", () => {
  for (let seed = 0; seed < 40; seed++) {
    const { text, isWhole } = write(start(sums), mixedVocabulary, randomFrom(seed), 60);
    if (isWhole) assert.ok(reads(sums, text), text);
  }
});

test("texts, sets, groups and repetitions are written as in llama-server", () => {
  const grammar = String.raw`
root ::= "a\n\"" 'b' [^x-z\]] . (
  "c"? | "d"{2} ) rest
  | "\u00e9\x41"
rest ::= [\t\-_]* "e"{2,} "f"{,}?`.replace('"f"{,}?', '"f"{0,2}');
  for (
    const text of ['a\n"ba\nee', 'a\n"b1日ddt'.slice(0, -1) + "ee", 'a\n"bwcceef'.replace("cc", "c"), "éA"]
  ) {
    assert.ok(reads(grammar, text), JSON.stringify(text));
  }
  for (const text of ['a\n"bx.ee', 'a\n"ba.de', "é"]) assert.ok(!reads(grammar, text), JSON.stringify(text));
});

test("what is no grammar is refused by what is wrong with it", () => {
  const problems: [string, RegExp][] = [
    ["", /a rule "root" is needed/],
    ["root = x", /"::=" is needed/],
    ["root ::= missing", /there is no rule "missing"/],
    ["root ::= root", /calls itself/],
    ['root ::= a "x"\na ::= b?\nb ::= "y" | a', /calls itself/],
    ['root ::= "x', /ends too early/],
    ["root ::= [b-a]", /a range goes/],
    ['root ::= ("a"', /"\)" is needed/],
    ['root ::= "a"{3,2}', /repetition/],
    ['root ::= "a"\nroot ::= "b"', /two rules/],
    ['root ::= "a" root', /finite length/],
    ['root ::= "\\q"', /is not known/],
    [`root ::= ${"(".repeat(5000)}`, /deep/],
  ];
  for (const [text, problem] of problems) {
    assert.throws(() => start(text), (error) => {
      assert.ok(error instanceof RequestError, String(error));
      assert.match(error.message, problem);
      return true;
    }, text);
  }
});

test("rules that call one another in a row of thousands are followed, or refused", () => {
  const row = (link: (next: string) => string) =>
    [
      ...Array.from({ length: 6000 }, (_, i) => `r${i} ::= ${link(`r${i + 1}`)}`),
      'r6000 ::= "z"',
      "root ::= r0",
    ]
      .join("\n");
  const inside = start(row((next) => `"a" ${next} "b"`));
  assert.ok(inside.allows(0x61) && !inside.allows(0x7a));
  const alike = start(row((next) => `${next} | "b"`)); // thousands of ways, of which one is enough
  assert.ok(alike.allows(0x62) && alike.allows(0x7a) && !alike.allows(0x61));
  assert.throws(() => start(row((next) => `${next} | "${next}"`)).allowed(), RequestError);
});

test("repetitions of many thousands are counted, not written out", () => {
  const matcher = start('root ::= ("a" item){2,1000000} "."\nitem ::= "b" | "(" item ")"');
  for (let i = 0; i < 3000; i++) for (const byte of [0x61, 0x62]) matcher.advance(byte);
  assert.ok(matcher.allows(0x2e) && matcher.allows(0x61));
});

test("control tokens are no text, and text is no control token", () => {
  const vocabulary = vocabularyOf(["<end>", "<other>", "<e", "nd>"]);
  const own = masksOf(vocabulary);
  const [end, other] = [256, 257];
  const any: GrammarSpec = sourceSpec({ type: "regex", pattern: "(.|\n)*" });
  const spec: GrammarSpec = { kind: "sequence", items: [any, { kind: "mark", mark: { token: end } }] };
  const matcher = matcherOf(spec, own);
  const ids = idsOf(matcher.allowed());
  assert.ok(ids.includes(end) && !ids.includes(other));
  assert.ok(!ids.includes(0xff), "a byte that begins no character");
  matcher.advance(258);
  matcher.advance(259);
  assert.ok(!matcher.isFinished, "the text of a mark is not the mark");
  matcher.advance(end);
  assert.ok(matcher.isFinished);
});

test("free text runs up to its mark, as a token or as a text, and goes on as the grammar says", () => {
  const vocabulary = vocabularyOf(["<end>", "<other>", "STOP", "ST", "OP!"]);
  const own = masksOf(vocabulary);
  const after: GrammarSpec = sourceSpec({ type: "choice", texts: ["!"] });
  for (const mark of [{ token: 256 }, { text: "STOP" }]) {
    const spec: GrammarSpec = { kind: "sequence", items: [{ kind: "until", mark }, after] };
    const matcher = matcherOf(spec, own);
    for (const token of [0x53, 0x53, 0x54, 257, 0x53]) matcher.advance(token);
    if ("token" in mark) matcher.advance(256);
    else for (const token of [259]) matcher.advance(token);
    if ("text" in mark) {
      assert.ok(matcher.allows(260), "OP! goes over the end of the mark");
      matcher.advance(0x4f);
      matcher.advance(0x50);
    }
    assert.deepEqual(idsOf(matcher.allowed()), [0x21]);
    matcher.advance(0x21);
    assert.ok(matcher.isFinished);
    const without = matcherOf({ kind: "without", mark }, own);
    assert.ok(without.accepts);
    assert.equal(without.allows("token" in mark ? 256 : 258), false);
  }
});
