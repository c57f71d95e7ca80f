import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CheckpointError, UnsupportedError } from "../../src/errors.ts";
import { Tokenizer } from "../../src/text/tokenizer.ts";
import { golden, tiny, tinyFile, v3File } from "./golden.ts";

// deno-lint-ignore no-explicit-any -- a file in which anything may be changed
type File = any;

/** The tiny tokenizer's file, changed. */
function changed(change: (file: File) => void): string {
  const file = JSON.parse(tinyFile());
  change(file);
  return JSON.stringify(file);
}

function refused(
  json: string | Uint8Array,
  message: RegExp,
  kind: typeof CheckpointError | typeof UnsupportedError = CheckpointError,
): void {
  assert.throws(() => Tokenizer.parse(json, null, "folder/tokenizer.json"), (error: Error) => {
    assert.ok(error instanceof kind, `${error.name}: ${error.message}`);
    assert.match(error.message, message);
    assert.match(error.message, /folder\/tokenizer\.json/);
    return true;
  });
}

const unsupported = (change: (file: File) => void, message: RegExp): void =>
  refused(changed(change), message, UnsupportedError);

test("a file that is not JSON, or not a tokenizer, is refused", () => {
  refused("", /found the end at byte 0, needed an object/);
  refused("[]", /needed an object/);
  refused("{}", /has no model/);
  refused(tinyFile().slice(0, 9000), /found the end at byte/);
  refused(tinyFile() + "x", /found "x" at byte \d+, needed the end/);
  refused('{"version": tru}', /found "tru}" at byte 12, needed a value/);
  refused("\ufeff" + tinyFile(), /needed an object/);
  refused(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a]), /not UTF-8/);
  refused('{"a":'.repeat(100_000), /nest/);
  refused("[".repeat(100_000), /needed an object/);
  refused('{"version":' + "[".repeat(1_000_000), /nested deeper than 128/);
});

test("a key that is there twice is refused", () => {
  refused(tinyFile().replace('"truncation"', '"version"'), /"version" twice/);
  refused(tinyFile().replace('"dropout"', '"type"'), /"type" twice/);
  refused('{"model":{"type":"BPE","vocab":{"a":0,"a":1},"merges":[]}}', /"a" is twice/);
  refused(String.raw`{"model":{"type":"BPE","vocab":{"a":0,"\u0061":1},"merges":[]}}`, /"a" is twice/);
});

test("a message quotes little of a file, however long what is wrong is", () => {
  const long = "x ".repeat(1e6);
  for (
    const change of [
      (file: File) => file.model.merges = [long],
      (file: File) => file.model.type = long,
      (file: File) => file.model.dropout = { long },
      (file: File) => file.normalizer = { type: long },
      (file: File) => file.added_tokens[0].content = long,
      (file: File) => file.added_tokens[0].id = long,
      (file: File) => file.pre_tokenizer = { type: "Split", pattern: { Regex: long } },
    ]
  ) {
    assert.throws(() => Tokenizer.parse(changed(change)), ({ message }: Error) => message.length < 1000);
  }
});

test("ids that are not unique whole numbers in range are refused", () => {
  const file = changed(() => {});
  const withId = (id: string): string => file.replace('"!":3,', `"!":${id},`);
  assert.notEqual(withId("7"), file);
  refused(withId("4"), /two tokens in its vocabulary have id 4/);
  for (const id of ["-1", "1.5", "1e3", "null", '"3"', "[3]", "1e400", "99999999999999999999"]) {
    refused(withId(id), /needed a whole number .* for an id|is not below/);
  }
  refused(withId("2147483647"), /not below 524288/);
});

test("a vocabulary that cannot spell every byte is refused", () => {
  refused(changed((file) => delete file.model.vocab["!"]), /no token for the byte 0x21/);
  refused(changed((file) => file.model.vocab = {}), /merge 0 needs token/);
  refused(changed((file) => file.model.vocab[""] = 600), /0 bytes/);
  refused(changed((file) => file.model.vocab["x".repeat(5000)] = 600), /5000 bytes/);
  refused(changed((file) => file.model.vocab["a b"] = 600), /"a b" \(600\) is not spelled in bytes/);
  refused(changed((file) => delete file.model.vocab), /no vocab/);
  refused(changed((file) => file.model.vocab = []), /needed an object/);
});

test("merges of anything but two known tokens are refused", () => {
  const withMerge = (merge: unknown): string => changed((file) => file.model.merges[5] = merge);
  refused(withMerge("ab"), /merge 5 is "ab"/);
  refused(withMerge("a b c"), /merge 5 is "a b c"/);
  refused(withMerge(" a"), /merge 5/);
  refused(withMerge("a "), /merge 5/);
  refused(withMerge(["a"]), /merge 5 has 1 parts/);
  refused(withMerge(["a", "b", "c"]), /merge 5/);
  refused(withMerge([]), /merge 5 has 0 parts/);
  refused(withMerge(["", "b"]), /merge 5/);
  refused(withMerge(7), /needed a string for a/);
  refused(withMerge(["a", 7]), /needed a string for a/);
  refused(withMerge("Ġth e"), /needs token " th"/);
  refused(withMerge("q z"), /needs token "qz"/);
  refused(withMerge("x".repeat(5000) + " y"), /merge 5/);
  refused(changed((file) => delete file.model.merges), /no merges/);
  refused(changed((file) => file.model.merges = {}), /needed an array/);
  refused(changed((file) => file.model.merges = Array(1_100_000).fill("h e")), /more than 1048576 merges/);
});

test("merges are read in both forms, before and after the vocabulary", () => {
  const texts = golden<{ strings: { text: string; ids: number[] }[] }>("tiny.json").strings;
  const pairs = changed((file) =>
    file.model.merges = file.model.merges.map((merge: string) => merge.split(" "))
  );
  const first = changed((file) => file.model = { merges: file.model.merges, ...file.model });
  for (const json of [pairs, first]) {
    const tokenizer = Tokenizer.parse(json);
    for (const { text, ids } of texts) assert.deepEqual(tokenizer.encode(text, { special: true }), ids);
  }
});

test("a pair that has two rules merges by the later one, as in a map", () => {
  // Hugging Face's tokenizers put the rules into a map by pair.
  const twice = Tokenizer.parse(changed((file) => file.model.merges.push(file.model.merges[0])));
  assert.equal(twice.decode(twice.encode(" the tree")), " the tree");
});

test("a token that is a whole word skips the merges where the file says so", () => {
  const file = (ignore: boolean): string =>
    changed((file) => {
      file.model.ignore_merges = ignore;
      file.model.vocab["qzx"] = 600;
    });
  assert.deepEqual(Tokenizer.parse(file(true)).encode("qzx"), [600]);
  assert.equal(Tokenizer.parse(file(false)).encode("qzx").length, 3);
});

test("added tokens without a text and an id of their own are refused", () => {
  const withToken = (token: Record<string, unknown>): string =>
    changed((file) => file.added_tokens.push({ id: 600, content: "<new>", ...token }));
  Tokenizer.parse(withToken({}));
  refused(withToken({ content: "" }), /a text needed/);
  refused(withToken({ content: null }), /a text needed/);
  refused(withToken({ content: "\ud800" }), /half a surrogate pair/);
  refused(withToken({ content: "<｜User｜>" }), /twice/);
  for (const id of [-1, 1.5, "600", null, 2 ** 31]) refused(withToken({ id }), /has id/);
  refused(withToken({ id: 500 }), /twice/);
  refused(withToken({ id: 3 }), /another token's/);
  refused(changed((file) => file.added_tokens = {}), /not a list/);
  refused(changed((file) => file.added_tokens.push(null)), /not an object/);
  for (const flag of ["single_word", "lstrip", "rstrip"]) {
    refused(withToken({ [flag]: true }), new RegExp(flag), UnsupportedError);
  }
});

test("ten thousand added tokens are found", () => {
  const many = Tokenizer.parse(
    changed((file) => {
      for (let i = 0; i < 10_000; i++) file.added_tokens.push({ id: 1000 + i, content: `<t${i}>` });
    }),
  );
  assert.deepEqual(many.encode("<t0><t9999><t77", { special: true }).slice(0, 2), [1000, 10_999]);
});

test("what would change a token's meaning and is not built is named", () => {
  const steps = (file: File): File[] => file.pre_tokenizer.pretokenizers;
  unsupported((file) => file.model.type = "Unigram", /"Unigram"/);
  unsupported((file) => file.model.dropout = 0.1, /dropout is 0.1/);
  unsupported((file) => file.model.byte_fallback = true, /byte_fallback/);
  unsupported((file) => file.model.continuing_subword_prefix = "##", /continuing_subword_prefix/);
  unsupported((file) => file.normalizer = { type: "Replace", pattern: { Regex: "(a+)+$" } }, /"Replace"/);
  unsupported((file) => file.decoder = null, /decoder is null/);
  unsupported((file) => file.pre_tokenizer = null, /plain ByteLevel/);
  unsupported((file) => steps(file)[3].use_regex = true, /plain ByteLevel/);
  unsupported((file) => steps(file)[3].add_prefix_space = true, /plain ByteLevel/);
  unsupported((file) => steps(file)[0].behavior = "Removed", /"Removed"/);
  unsupported((file) => steps(file)[0].invert = true, /inverted/);
  unsupported((file) => steps(file)[0].type = "Whitespace", /"Whitespace"/);
  for (const Regex of ["(a+)+$", "(?<=a)b", "[", "\\p{L}".repeat(10_000)]) {
    unsupported((file) => steps(file)[0].pattern = { Regex }, /splits by the pattern \{"Regex":/);
  }
  unsupported((file) => steps(file)[0].pattern = { String: " " }, /\{"String":" "\}/);
});

test("components of a wrong type are refused", () => {
  for (const value of [7, "x", [], true]) {
    refused(changed((file) => file.pre_tokenizer = value), /pre_tokenizer is not an object/);
    refused(changed((file) => file.decoder = value), /decoder is not an object/);
  }
  refused(changed((file) => file.pre_tokenizer.pretokenizers = 7), /without pretokenizers/);
  refused(changed((file) => file.pre_tokenizer.pretokenizers[0].pattern = null), /pattern is not an object/);
});

test("a file in which some bytes are changed gives a tokenizer or a typed error", () => {
  const bytes = new TextEncoder().encode(tinyFile());
  const change = fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
      const damaged = bytes.slice();
      for (const [at, byte] of changes) damaged[at] = byte;
      try {
        const tokenizer = Tokenizer.parse(damaged);
        assert.equal(typeof tokenizer.decode(tokenizer.encode("Hello, world!")), "string");
      } catch (error) {
        assert.ok(error instanceof CheckpointError || error instanceof UnsupportedError, String(error));
      }
    }),
    { numRuns: 300 },
  );
});

test("the configuration beside it must name tokens that there are", () => {
  const parse = (config: unknown): Tokenizer => Tokenizer.parse(tinyFile(), JSON.stringify(config));
  assert.equal(parse({ bos_token: "<｜User｜>", eos_token: { content: "<|EOT|>" } }).bosId, 500);
  assert.equal(parse({}).eosId, null);
  assert.equal(parse({ eos_token: null }).eosId, null);
  assert.ok(parse({ eos_token: "<｜User｜>" }).isSpecial(500));
  for (const config of [{ bos_token: "<nothing>" }, { bos_token: 7 }, { eos_token: [] }, [], null, 7]) {
    assert.throws(() => parse(config), CheckpointError);
  }
  assert.throws(() => Tokenizer.parse(tinyFile(), "{"), CheckpointError);
});

test("a tokenizer is made from text as from bytes", () => {
  const tokenizer = Tokenizer.parse(tinyFile());
  assert.equal(tokenizer.vocabSize, tiny.tokenizer.vocabSize);
  assert.deepEqual(tokenizer.encode("Hello"), tiny.tokenizer.encode("Hello"));
  assert.ok(Tokenizer.parse(v3File()).vocabSize > 128_000);
});
