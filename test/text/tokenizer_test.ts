import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Tokenizer } from "../../src/text/tokenizer.ts";
import { golden, sharedGolden, tiny, tinyFile, type TokenizerFiles, v3 } from "./golden.ts";
import { spentBy } from "../spent.ts";

interface Decoded {
  readonly ids: number[];
  readonly decoded: string;
  readonly decoded_skip_special: string;
}

interface TextGolden {
  readonly vocab_size: number;
  readonly strings: readonly (Decoded & { text: string })[];
  readonly random_ids: readonly Decoded[];
  readonly prefixes: readonly { ids: number[]; prefix_decodes: string[] }[];
}

function equalsGolden({ tokenizer }: TokenizerFiles, wanted: TextGolden): void {
  assert.equal(tokenizer.vocabSize, wanted.vocab_size);
  for (const { text, ids } of wanted.strings) {
    assert.deepEqual(tokenizer.encode(text, { special: true }), ids, JSON.stringify(text));
  }
  for (const { ids, decoded, decoded_skip_special } of [...wanted.strings, ...wanted.random_ids]) {
    assert.equal(tokenizer.decode(ids), decoded);
    assert.equal(tokenizer.decode(ids, { skipSpecial: true }), decoded_skip_special);
  }
  for (const { ids, prefix_decodes } of wanted.prefixes) {
    prefix_decodes.forEach((text, i) => assert.equal(tokenizer.decode(ids.slice(0, i + 1)), text));
  }
}

test("the tiny tokenizer equals Hugging Face's", () => equalsGolden(tiny, golden("tiny.json")));

test("DeepSeek-V3's tokenizer equals Hugging Face's", () => equalsGolden(v3, golden("v3.json")));

test("both tokenizers equal Hugging Face's on all shared goldens", () => {
  for (const [files, name] of [[tiny, "golden.json"], [v3, "deepseek_v3_golden.json"]] as const) {
    const wanted = sharedGolden<TextGolden>(name);
    if (wanted) equalsGolden(files, wanted);
  }
});

const units = fc.array(fc.integer({ min: 0, max: 0x10ffff }), { maxLength: 60 })
  .map((codes) =>
    String.fromCodePoint(...codes.map((code) => (code % 3 ? code % 0x3100 : code))).toWellFormed()
  );
const mixed = fc.array(
  fc.oneof(
    units,
    fc.constantFrom("<｜User｜>", "</think>", "  \n", "123456", "don't", "中文カタ", "\u0300", "\ufeff"),
  ),
  { maxLength: 12 },
).map((parts) => parts.join(""));

test("no text has fewer tokens than its bytes say, and a run of the longest token has as many", () => {
  const halves = fc.string({ unit: "binary" }); // half surrogate pairs too
  fc.assert(
    fc.property(fc.oneof(mixed, halves), fc.boolean(), fc.constantFrom(tiny, v3), (text, special, of) => {
      const { tokenizer } = of;
      assert(tokenizer.leastTokens(text) <= tokenizer.encode(text, { special }).length);
    }),
  );
  for (const { tokenizer } of [tiny, v3]) {
    let longest = 0;
    for (let id = 0; id < tokenizer.vocabSize; id++) {
      longest = Math.max(longest, tokenizer.tokenBytes(id).length);
    }
    assert.equal(tokenizer.leastTokens("x".repeat(longest)), 1);
    assert.equal(tokenizer.leastTokens("x".repeat(longest) + "x"), 2);
    assert.equal(tokenizer.leastTokens("é".repeat(longest)), 2);
  }
});

test("a text comes back from its tokens, with and without control tokens", () => {
  fc.assert(fc.property(mixed, fc.boolean(), fc.constantFrom(tiny, v3), (text, special, { tokenizer }) => {
    assert.equal(tokenizer.decode(tokenizer.encode(text, { special })), text);
  }));
});

test("half a surrogate pair is encoded as U+FFFD", () => {
  fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 30 }), (codes) => {
    const text = String.fromCharCode(...codes);
    assert.deepEqual(v3.tokenizer.encode(text), v3.tokenizer.encode(text.toWellFormed()));
    assert.equal(v3.tokenizer.decode(v3.tokenizer.encode(text)), text.toWellFormed());
  }));
});

test("control tokens are plain text unless asked for", () => {
  const { tokenizer } = v3;
  const text = "<｜User｜>Hi<｜end▁of▁sentence｜>";
  const [user, eos] = [tokenizer.tokenId("<｜User｜>")!, tokenizer.eosId!];
  assert.deepEqual(tokenizer.encode(text, { special: true }), [user, ...tokenizer.encode("Hi"), eos]);
  const plain = tokenizer.encode(text);
  assert.ok(!plain.includes(user) && !plain.includes(eos));
  assert.equal(tokenizer.decode(plain), text);
});

test("of added tokens that begin at one place the longest is read", () => {
  const file = JSON.parse(tinyFile());
  const added = (id: number, content: string, normalized: boolean) => ({ id, content, normalized });
  file.added_tokens.push(
    added(600, "<a", false),
    added(601, "<ab>", false),
    added(602, "b>c", true),
    added(603, "<a>", false),
  );
  const tokenizer = Tokenizer.parse(JSON.stringify(file));
  const [b, c, x] = ["b", "c", "x"].map((text) => tokenizer.tokenId(text)!);
  assert.deepEqual(tokenizer.encode("<ab>c<a>x<ab", { special: true }), [601, c, 603, x, 600, b]);
  // Those for normalised text are looked for in what the others leave.
  assert.deepEqual(tokenizer.encode("xb>c<ab>c", { special: true }), [x, 602, 601, c]);
});

test("the first and the last token are those that the configuration names", () => {
  for (const { tokenizer } of [tiny, v3]) {
    assert.equal(tokenizer.bosId, 0);
    assert.equal(tokenizer.eosId, 1);
    assert.ok(tokenizer.isSpecial(0) && tokenizer.isSpecial(1));
  }
  const nameless = Tokenizer.parse(tinyFile());
  assert.equal(nameless.bosId, null);
  assert.equal(nameless.eosId, null);
});

test("a token is found by its exact text, added or ordinary", () => {
  const { tokenizer } = v3;
  for (const text of ["<｜Assistant｜>", "Hello", " the", "\n\n", "世界"]) {
    const id = tokenizer.tokenId(text)!;
    assert.equal(tokenizer.tokenText(id), text);
    assert.deepEqual(tokenizer.tokenBytes(id), new TextEncoder().encode(text));
  }
  for (const text of ["", "no token is like this", "\ud800"]) assert.equal(tokenizer.tokenId(text), null);
  assert.equal(tokenizer.isSpecial(tokenizer.tokenId("<｜User｜>")!), false);
});

test("the bytes of all tokens of a text are its bytes", () => {
  fc.assert(fc.property(mixed, (text) => {
    const bytes = tiny.tokenizer.encode(text).flatMap((id) => [...tiny.tokenizer.tokenBytes(id)]);
    assert.deepEqual(Uint8Array.from(bytes), new TextEncoder().encode(text));
  }));
});

test("an id that no token has is refused", () => {
  for (const id of [-1, 0.5, NaN, Infinity, v3.tokenizer.vocabSize, 2 ** 31, 2 ** 53]) {
    assert.throws(() => v3.tokenizer.decode([id]), RangeError);
    assert.throws(() => v3.tokenizer.tokenBytes(id), RangeError);
    assert.throws(() => v3.tokenizer.tokenText(id), RangeError);
    assert.equal(v3.tokenizer.isSpecial(id), false);
  }
});

test("encoding takes time in proportion to the text, whatever the text", () => {
  const shapes: Record<string, (length: number) => string> = {
    "one letter": (n) => "a".repeat(n),
    "spaces": (n) => " ".repeat(n),
    "spaces, then a letter": (n) => " ".repeat(n) + "a",
    "line breaks and spaces": (n) => "\n ".repeat(n / 2),
    "digits": (n) => "7".repeat(n),
    "punctuation": (n) => "!?".repeat(n / 2),
    "Chinese": (n) => "中文".repeat(n / 2),
    "joined emoji": (n) => "👩‍👧".repeat(n / 5),
    "marks": (n) => "\u0301".repeat(n),
    "half a control token": (n) => "<｜User".repeat(n / 6),
    "control characters": (n) => "\u0001".repeat(n),
  };
  // 0.15 s at most; with the square of the text it would be a minute.
  for (const [name, shape] of Object.entries(shapes)) {
    const ms = spentBy(() => void v3.tokenizer.encode(shape(200_000), { special: true }));
    assert.ok(ms < 8000, `${name}: ${ms} ms`);
  }
});

test("a million times the same letter is encoded as one word", () => {
  const { tokenizer } = v3;
  const ids = tokenizer.encode("a".repeat(1_000_000));
  assert.equal(tokenizer.decode(ids).length, 1_000_000);
  // The longest token of only this letter has eight.
  assert.deepEqual(new Set(ids), new Set([tokenizer.tokenId("aaaaaaaa")]));
  assert.equal(ids.length, 125_000);
});
