import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { RequestError } from "../../src/errors.ts";
import type { Matcher } from "../../src/grammar/matcher.ts";
import { type Schema, SchemaMaker, validatorOf } from "./schemas.ts";
import { masksOf, matcherOf, mixedVocabulary, randomFrom, sourceSpec, write } from "./writing.ts";

const masks = masksOf(mixedVocabulary);
const utf8 = new TextEncoder();
/** Random schemas; HADAL_SCHEMAS=1000 is what acceptance asks for. */
const nSchemas = Number(process.env.HADAL_SCHEMAS ?? 60);

function start(schema: unknown): Matcher {
  return matcherOf(sourceSpec({ type: "jsonSchema", schema }), masks);
}

/** Whether a matcher reads a text to its end. */
function reads(matcher: Matcher, text: string): boolean {
  const own = matcher.copy();
  for (const byte of utf8.encode(text)) {
    if (!own.allows(byte)) return false;
    own.advance(byte);
  }
  return own.accepts;
}

const accepts = (schema: unknown, value: unknown) => reads(start(schema), JSON.stringify(value));

/** Writes documents and holds them to the schema. @returns how many ended */
function writeSome(schema: Schema, matcher: Matcher, nDocuments: number, seed: number): number {
  const follows = validatorOf(schema);
  let nWhole = 0;
  for (let i = 0; i < nDocuments; i++) {
    const { text, isWhole } = write(matcher.copy(), mixedVocabulary, randomFrom(seed + 7919 * i));
    if (!isWhole) continue;
    nWhole++;
    const value: unknown = JSON.parse(text);
    assert.ok(follows(value), `${text} does not follow ${JSON.stringify(schema)}`);
  }
  return nWhole;
}

test("what is written under random schemas follows them", () => {
  let nCompiled = 0, nWhole = 0, nRefused = 0;
  for (let seed = 1; seed <= nSchemas; seed++) {
    const schema = new SchemaMaker(randomFrom(seed)).whole();
    let matcher: Matcher;
    try {
      matcher = start(schema);
    } catch (error) {
      assert.ok(error instanceof RequestError, `${JSON.stringify(schema)}: ${error}`);
      nRefused++;
      continue;
    }
    nCompiled++;
    nWhole += writeSome(schema, matcher, 3, seed);
  }
  console.log(
    `  ${nCompiled} schemas of ${nSchemas} compiled, ${nWhole} documents were written, ${nRefused} refused`,
  );
  assert.ok(nCompiled > 0.8 * nSchemas);
  assert.ok(nWhole > 2 * nCompiled);
});

/** Cases whose references ajv cannot follow: what is written is not checked there, what is read is. */
const beyondAjv = new Set([
  "refs with relative uris and defs",
  "relative refs with absolute uris and defs",
  "URN ref with nested pointer ref",
]);

interface Case {
  readonly file: string;
  readonly description: string;
  readonly schema: Schema;
  readonly tests: readonly { readonly data: unknown; readonly valid: boolean }[];
}

const cases: Case[] = JSON.parse(
  readFileSync(new URL("../golden/json_schema/cases.json", import.meta.url), "utf8"),
);

test("of the JSON Schema Test Suite's cases that compile, what is written follows the schema, and nothing else is read", () => {
  const counts = { groups: 0, compiled: 0, documents: 0, valid: 0, read: 0 };
  for (const { file, description, schema, tests } of cases) {
    counts.groups++;
    let matcher: Matcher;
    try {
      matcher = start(schema);
    } catch (error) {
      assert.ok(error instanceof RequestError, `${file}: ${description}: ${error}`);
      continue;
    }
    counts.compiled++;
    if (!beyondAjv.has(description)) counts.documents += writeSome(schema, matcher, 3, counts.groups);
    for (const { data, valid } of tests) {
      const isRead = reads(matcher, JSON.stringify(data));
      assert.ok(valid || !isRead, `${file}: ${description}: ${JSON.stringify(data)}`);
      counts.valid += Number(valid);
      counts.read += Number(isRead);
    }
  }
  console.log(`  ${JSON.stringify(counts)}`);
  // Those that are refused say something that cannot be enforced from left to right; see the next test.
  assert.ok(counts.compiled >= 190, `${counts.compiled} of ${counts.groups} compile`);
  assert.ok(counts.read > 0.8 * counts.valid);
});

test("what cannot be enforced is refused by where it stands", () => {
  const refused: [Schema, string][] = [
    [{ type: "array", uniqueItems: true }, "#/uniqueItems"],
    [{ properties: { a: { not: { const: 1 } } } }, "#/properties/a/not"],
    [{ type: "array", contains: { type: "string" } }, "#/contains"],
    [{ if: {}, then: {} }, "#/if"],
    [{ type: "object", dependentRequired: { a: "b" } }, "#/dependentRequired"],
    [{ type: "object", dependencies: { a: 1 } }, "#/dependencies"],
    [{ type: "object", propertyNames: { anyOf: [{ const: "a" }] } }, "#/propertyNames/anyOf"],
    [{ type: "object", propertyNames: { if: true, then: false } }, "#/propertyNames/if"],
    [{ type: "string", format: "nonsense" }, "#/format"],
    [{ type: "string", pattern: "(?<=a)b" }, "#/pattern"],
    [{ type: "string", pattern: 1 } as never, "#/pattern"],
    [{ type: "number", multipleOf: 0.01 }, "#/multipleOf"],
    [{ $ref: "other.json" }, "#/$ref"],
    [{ $ref: "#/$defs/none" }, "#/$ref"],
    [{ $defs: { a: { $ref: "#/$defs/a" } }, $ref: "#/$defs/a" }, "#/$defs/a"],
    [{ anyOf: [{ type: "null" }, { $ref: "#" }] }, "#:"],
    [{ type: "text" }, "#/type"],
    [{ type: "string", maxLength: -1 }, "#/maxLength"],
    [{ properties: { "a/b": { properties: { c: 5 } } } } as never, "#/properties/a~1b/properties/c"],
    [{ oneOf: [{ type: "integer" }, { type: "number" }] }, "#/oneOf"],
    [{ type: "object", minProperties: 5 }, "#/minProperties"],
  ];
  for (const [schema, path] of refused) {
    assert.throws(() => start(schema), (error) => {
      assert.ok(error instanceof RequestError, String(error));
      assert.equal(error.param, "json_schema");
      assert.ok(error.message.includes(path), `${path} is not in ${error.message}`);
      return true;
    }, JSON.stringify(schema));
  }
});

test("a schema that nothing follows is refused", () => {
  const unfulfillable: Schema[] = [
    false,
    { enum: [] },
    { type: "string", minLength: 3, maxLength: 2 },
    { type: "integer", minimum: 0.1, maximum: 0.9 },
    { allOf: [{ type: "string" }, { type: "number" }] },
    { type: "object", properties: { a: { $ref: "#" } }, required: ["a"] },
    { type: "array", items: false, minItems: 1 },
    { type: "string", enum: [1, 2] },
  ];
  for (const schema of unfulfillable) {
    assert.throws(() => start(schema), RequestError, JSON.stringify(schema));
  }
});

test("numbers are held to their bounds, digit by digit", () => {
  const random = randomFrom(11);
  const edges = [0, 1, -1, 9, 10, 99, 100, 101, 0.1, 0.01, -0.5, 1.25, 12.75, 999.999, 1e-7, 1e15 - 1, 5e9];
  for (let i = 0; i < 50; i++) {
    const of = () => edges[Math.floor(random() * edges.length)] * (random() < 0.3 ? -1 : 1);
    const [low, high] = [of(), of()].sort((a, b) => a - b);
    const isStrict = random() < 0.4;
    const schema = {
      type: random() < 0.4 ? "integer" : "number",
      [isStrict ? "exclusiveMinimum" : "minimum"]: low,
      [random() < 0.5 ? "maximum" : "exclusiveMaximum"]: high,
    };
    const follows = validatorOf(schema);
    let matcher: Matcher;
    try {
      matcher = start(schema);
    } catch (error) {
      assert.ok(error instanceof RequestError);
      const middle = (low + high) / 2;
      assert.ok(
        schema.type === "integer" || low === high || middle === low,
        `${JSON.stringify(schema)}: ${error}`,
      );
      continue;
    }
    for (
      const value of [low, high, (low + high) / 2, Math.ceil(low), Math.floor(high), 0, low - 1, high + 1]
    ) {
      // In decimals: an exponent is not written where there are bounds.
      const text = value.toFixed(9).replace(/\.?0+$/, "").replace(/^-0$/, "0");
      const isShort = text.replace(/\D/g, "").length <= 15;
      if (isShort) {
        assert.equal(reads(matcher, text), follows(Number(text)), `${text} and ${JSON.stringify(schema)}`);
      }
    }
    writeSome(schema, matcher, 3, i);
  }
});

test("lengths count characters, not bytes or halves of pairs", () => {
  const three = { type: "string", minLength: 3, maxLength: 3 };
  for (const text of ["abc", "日本語", "😀😀😀", 'a"\\']) assert.ok(accepts(three, text), text);
  for (const text of ["ab", "abcd", "😀", "😀😀😀😀"]) assert.ok(!accepts(three, text), text);
  assert.ok(reads(start(three), String.raw`"\ud83d\ude00\u00e9x"`));
  assert.ok(!reads(start({ type: "string" }), String.raw`"\ud83d"`), "half a pair is no character");
  const long = { type: "string", minLength: 90_000, maxLength: 100_000 };
  assert.ok(accepts(long, "x".repeat(95_000)));
  assert.ok(!accepts(long, "x".repeat(100_001)));
});

test("properties come in their order, optional ones may be left out, and others only where that is said", () => {
  const properties = { a: { type: "integer" }, b: { type: "integer" }, c: { type: "integer" } };
  const schema = { type: "object", properties, required: ["b"] };
  for (
    const [value, isRead] of [
      [{ a: 1, b: 2, c: 3 }, true],
      [{ b: 2 }, true],
      [{ b: 2, c: 3 }, true],
      [{ a: 1, c: 3 }, false],
      [{ c: 3, b: 2 }, false],
      [{ b: 2, d: 4 }, false],
    ] as const
  ) assert.equal(accepts(schema, value), isRead, JSON.stringify(value));
  const open = { ...schema, additionalProperties: { type: "boolean" } };
  assert.ok(accepts(open, { b: 2, d: true, e: false }));
  assert.ok(!accepts(open, { b: 2, d: 4 }));
  assert.ok(!reads(start(open), '{"b":2,"a":true}'), "a declared name is none of the others");
  assert.ok(!reads(start(open), String.raw`{"b":2,"\u0061":true}`), "however it is written");
});

test("a property brings others with it", () => {
  const properties = { a: { type: "integer" }, b: { type: "integer" }, c: { type: "integer" } };
  const closed = { type: "object", properties, dependentRequired: { a: ["b"], b: ["c"] } };
  for (const value of [{}, { c: 1 }, { b: 1, c: 1 }, { a: 1, b: 1, c: 1 }]) assert.ok(accepts(closed, value));
  for (const value of [{ a: 1 }, { b: 1 }, { a: 1, b: 1 }, { a: 1, c: 1 }]) {
    assert.ok(!accepts(closed, value));
  }
  const open = { type: "object", dependentRequired: { a: ["b"] } };
  for (const value of [{}, { z: 1 }, { a: 1, b: 2 }, { a: 1, b: 2, z: 3 }]) assert.ok(accepts(open, value));
  assert.ok(!accepts(open, { z: 1, a: 1 }));
  const also = { properties: { b: { type: "integer", minimum: 5 } }, required: ["b"] };
  for (const keyword of ["dependentSchemas", "dependencies"]) {
    const schema = { type: "object", properties, [keyword]: { a: also } };
    assert.ok(accepts(schema, { b: 1, c: 1 }) && accepts(schema, { a: 1, b: 5 }));
    assert.ok(!accepts(schema, { a: 1 }) && !accepts(schema, { a: 1, b: 1 }));
  }
});

test("names of properties follow a schema of their own, also one that is referred to", () => {
  const $defs = { color: { type: "string", enum: ["red", "green"] } };
  const schema = {
    $defs,
    type: "object",
    propertyNames: { $ref: "#/$defs/color" },
    additionalProperties: { type: "integer" },
  };
  assert.ok(accepts(schema, {}) && accepts(schema, { red: 1 }) && accepts(schema, { green: 2, red: 1 }));
  assert.ok(!accepts(schema, { blue: 1 }));
  assert.ok(accepts({ type: "object", propertyNames: { type: "integer" } }, {}));
  assert.ok(
    !accepts({ type: "object", propertyNames: { type: "integer" } }, { a: 1 }),
    "no name is a number",
  );
  const held = { type: "object", required: ["a"], unevaluatedProperties: { type: "integer" } };
  assert.ok(accepts(held, { a: 1 }) && !accepts(held, { a: "x" }), "a name that nothing else speaks of");
});

test("white space between the parts is a space, or a line break with some indentation", () => {
  const schema = {
    type: "object",
    properties: { a: { type: "array", items: { type: "integer" } } },
    required: ["a"],
  };
  for (const indent of [0, 1, 2, 4, "\t"]) {
    assert.ok(reads(start(schema), JSON.stringify({ a: [1, 2] }, null, indent)));
  }
  assert.ok(reads(start(schema), '{"a": [1, 2]}'));
  assert.ok(!reads(start(schema), '{"a":   [1]}'));
  assert.ok(!reads(start(schema), `{"a":[\n${" ".repeat(99)}1]}`));
});

test("lists nest as deep as is allowed and can always be closed", () => {
  const matcher = start({ $defs: { l: { type: "array", items: { $ref: "#/$defs/l" } } }, $ref: "#/$defs/l" });
  let depth = 0;
  for (; matcher.allows(0x5b) && depth < 5000; depth++) matcher.advance(0x5b);
  assert.ok(depth > 50 && depth < 1000, `${depth}`);
  for (; depth > 0; depth--) matcher.advance(0x5d);
  assert.ok(matcher.isFinished);
});

test("schemas that explode are compiled in bounded time, or refused", () => {
  const wide = { anyOf: Array.from({ length: 40 }, (_, i) => ({ properties: { [`p${i}`]: true } })) };
  const deep = (depth: number): Schema => depth === 0 ? true : { type: "array", items: deep(depth - 1) };
  const hostile: Schema[] = [
    { allOf: [wide, wide, wide] },
    { type: "string", pattern: "(a|b)*a(a|b){30}" },
    { type: "string", pattern: "(.*a){40}" },
    { type: "string", pattern: "^((a{1,100}){1,100}){1,100}$" },
    { type: "string", pattern: "x".repeat(100_000) },
    { enum: Array.from({ length: 20_000 }, (_, i) => `value ${i}`) },
    { type: "object", properties: Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`p${i}`, {}])) },
    { type: "array", minItems: 1e9, maxItems: 2e9 },
    deep(400),
    deep(2000),
    {
      $defs: { a: { allOf: [{ $ref: "#/$defs/b" }] }, b: { allOf: [{ $ref: "#/$defs/a" }] } },
      $ref: "#/$defs/a",
    },
    {
      type: "object",
      minProperties: 60,
      maxProperties: 90,
      properties: Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`p${i}`, {}])),
    },
  ];
  for (const [i, schema] of hostile.entries()) {
    try {
      write(start(schema), mixedVocabulary, randomFrom(3), 50);
    } catch (error) {
      assert.ok(error instanceof RequestError, `schema ${i}: ${error}`);
    }
  }
});

test("references, lists and alternatives that go on and on are refused by where they stand", () => {
  const many = <T>(n: number, make: (i: number) => T) => Array.from({ length: n }, (_, i) => make(i));
  const chain = (n: number, link: (next: Schema) => Schema) => ({
    $ref: "#/$defs/d0",
    $defs: Object.fromEntries([
      ...many(n, (i) => [`d${i}`, link({ $ref: `#/$defs/d${i + 1}` })]),
      [`d${n}`, { type: "null" }],
    ]),
  });
  const nested: unknown = JSON.parse("[".repeat(5000) + "]".repeat(5000));
  const tooFar = /#\/\$defs\/d\d+\S*: more than 500 references and combinations lead here$/;
  const hostile: [schema: Schema, problem: RegExp][] = [
    [chain(8000, (next) => next), tooFar],
    [chain(4000, (next) => ({ allOf: [next] })), tooFar],
    [chain(900, (next) => ({ anyOf: [next, { type: "boolean" }] })), tooFar],
    [
      chain(200, (next) => ({ anyOf: [next, { type: "array", items: { type: "integer" } }] })),
      /takes too long/,
    ],
    [{ allOf: many(20_000, () => ({ minLength: 1 })) }, /takes too long/],
    [{ enum: [nested] }, /#\/enum: it lies more than 500 lists and objects deep$/],
    [{ properties: { a: { const: nested } } }, /#\/properties\/a\/const: it lies more than 500/],
    [{ enum: [many(40_000, (i) => i)], items: { type: "integer" } }, /takes too long|too many/],
  ];
  for (const [schema, problem] of hostile) {
    assert.throws(() => start(schema), (error) => {
      assert.ok(error instanceof RequestError, String(error));
      assert.match(error.message, problem);
      return true;
    });
  }
  assert.ok(accepts(chain(100, (next) => ({ anyOf: [next, { type: "boolean" }] })), true));
});

test("hundreds of alternatives that a property tells apart are compiled, in whatever way it lists its values", () => {
  const many = <T>(n: number, make: (i: number) => T) => Array.from({ length: n }, (_, i) => make(i));
  const kind = (tag: Schema) => ({
    type: "object",
    properties: { kind: tag, size: { type: "integer" } },
    required: ["kind", "size"],
    additionalProperties: false,
  });
  const tagged = many(300, (i) => kind({ const: `k${i}` }));
  const listed = many(300, (i) => kind({ enum: [`k${2 * i}`, `k${2 * i + 1}`] }));
  const named = many(300, (i) => ({ $ref: `#/$defs/d${i}` }));
  const $defs = Object.fromEntries(tagged.map((each, i) => [`d${i}`, each]));
  for (const schema of [{ oneOf: tagged }, { oneOf: listed }, { oneOf: named, $defs }]) {
    assert.ok(accepts(schema, { kind: "k299", size: 1 }));
    assert.ok(!accepts(schema, { kind: "k600", size: 1 }));
  }
  const several = {
    oneOf: [...many(9, (i) => kind({ const: i })), { anyOf: [kind({ const: "a" }), kind({ const: "b" })] }],
  };
  assert.ok(accepts(several, { kind: "b", size: 1 }));
  for (
    const alike of [
      [...tagged.slice(0, 20), kind({ const: "k7" })],
      [...listed.slice(0, 20), kind({ enum: ["x", "k3"] })],
      [...tagged.slice(0, 20), { type: "object" }],
      [...tagged.slice(0, 20), kind({ type: "string" })],
    ]
  ) {
    assert.throws(() => start({ oneOf: alike }), /a document may follow both/);
  }
});

test("listed values are the same however their properties are ordered", () => {
  const one = { a: [1, { b: "é", c: null }], d: -0 }, other = { d: 0, a: [1, { c: null, b: "é" }] };
  assert.ok(accepts({ enum: [one], allOf: [{ enum: [other, 5] }] }, one));
  assert.ok(accepts({ enum: [one, 7], const: other }, other));
  for (
    const different of [{ a: [1, { b: "é" }], d: 0 }, { a: [{ b: "é", c: null }, 1], d: 0 }, [one], "{}"]
  ) {
    assert.throws(() => start({ enum: [one], allOf: [{ enum: [different] }] }), /no text of finite length/);
  }
});

test("texts of any length are written out, alone and in an object", () => {
  for (const length of [3999, 4000, 5000, 50_000]) {
    const text = "xy".repeat(length / 2) + (length % 2 ? "x" : "");
    assert.ok(accepts({ const: text }, text));
    assert.ok(accepts({ properties: { a: { enum: [text] } }, required: ["a"] }, { a: text }));
    assert.ok(!accepts({ const: text }, text + "x"));
  }
});
